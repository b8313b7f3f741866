//go:build linux

package main

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"
	"unsafe"

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
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(p.depth + 2))
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
				if p.write {
					d.freshen(buf)
				}
				from := time.Now()
				err := d.once(p, buf, at)
				now := time.Now()
				mu.Lock()
				if err != nil {
					failed = err
				}
				c.ended(now, now.Sub(from))
				more := c.more(now, t)
				mu.Unlock()
				if !more {
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

// once is one operation. Go's scheduler is not told of the call: it would take
// the processor away meanwhile, and giving it back costs a fast disk's operation
// a sixth of its time. Others run on, there is a processor for every thread.
func (d *disk) once(p pattern, buf []byte, at int64) error {
	call := uintptr(unix.SYS_PREAD64)
	if p.write {
		call = unix.SYS_PWRITE64
	}
	n, _, e := unix.RawSyscall6(call, uintptr(d.fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), uintptr(at), 0, 0)
	if e != 0 {
		return e
	}
	if err := shortWrite(int(n), len(buf)); err != nil {
		return err
	}
	if p.sync {
		if _, _, e := unix.RawSyscall(unix.SYS_FDATASYNC, uintptr(d.fd), 0, 0); e != 0 {
			return e
		}
	}
	return nil
}
