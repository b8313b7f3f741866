//go:build linux

package main

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// threads drives a pattern by one thread per operation under way, each waiting
// for its own.
func (d *disk) threads(ctx context.Context, p pattern, ramp, t time.Duration, tick func(float64)) (*spent, error) {
	buffers, err := unix.Mmap(-1, 0, p.block*p.depth, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, err
	}
	defer unix.Munmap(buffers)
	copy(buffers, d.noise)
	engine := fmt.Sprintf("pread and pwrite, %d threads", p.depth)
	if p.depth == 1 {
		engine = "pread and pwrite"
	}
	var all sync.WaitGroup
	var mu sync.Mutex // of c and of the places
	var failed error
	c, place := newCount(ramp, engine, tick), d.places(p)
	for i := range p.depth {
		all.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			buf := buffers[i*p.block:][:p.block]
			for ctx.Err() == nil {
				mu.Lock()
				at, stop := place(), failed != nil
				mu.Unlock()
				if stop {
					return
				}
				from := time.Now()
				err := d.once(p, buf, at)
				now := time.Now()
				mu.Lock()
				if err != nil {
					failed = err
				}
				c.ended(now, now.Sub(from))
				mu.Unlock()
				if now.Sub(c.begin) >= t {
					return
				}
			}
		})
	}
	all.Wait()
	if failed == nil {
		failed = ctx.Err()
	}
	if failed != nil {
		return nil, failed
	}
	return c.over()
}

// once is one operation.
func (d *disk) once(p pattern, buf []byte, at int64) error {
	var n int
	var err error
	if p.write {
		n, err = unix.Pwrite(d.fd, buf, at)
	} else {
		n, err = unix.Pread(d.fd, buf, at)
	}
	if err == nil {
		err = shortWrite(n, len(buf))
	}
	if err == nil && p.sync {
		err = unix.Fdatasync(d.fd)
	}
	return err
}
