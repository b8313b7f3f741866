//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errNoAIO says that the kernel gives this process no asynchronous I/O.
var errNoAIO = errors.New("no asynchronous I/O")

// The kernel's own interface, linux/aio_abi.h, as io_submit(2) has it; both
// architectures are little-endian.
type iocb struct {
	data     uint64
	key      uint32
	rwFlags  uint32
	opcode   uint16
	priority int16
	fd       uint32
	buf      uint64
	bytes    uint64
	offset   int64
	_        uint64
	flags    uint32
	resFD    uint32
}

type ioEvent struct {
	data, obj uint64
	res, res2 int64
}

const (
	iocbRead  = 0
	iocbWrite = 1
)

// ring keeps operations under way. What the kernel is given the address of lies
// outside of Go's heap.
type ring struct {
	id      uintptr
	mem     []byte
	cbs     []iocb
	events  []ioEvent
	next    *iocb // is handed over
	started []time.Time
	p       pattern
	disk    *disk
	place   func() int64
}

func (d *disk) newRing(p pattern) (*ring, error) {
	r := &ring{p: p, disk: d, place: d.places(p), started: make([]time.Time, p.depth), events: make([]ioEvent, p.depth)}
	if _, _, e := unix.Syscall(unix.SYS_IO_SETUP, uintptr(p.depth), uintptr(unsafe.Pointer(&r.id)), 0); e != 0 {
		return nil, fmt.Errorf("%w: %w", errNoAIO, e)
	}
	size := p.depth*p.block + 64*p.depth
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		r.close()
		return nil, err
	}
	r.mem = mem
	copy(mem[:p.depth*p.block], d.noise)
	r.cbs = unsafe.Slice((*iocb)(unsafe.Pointer(&mem[p.depth*p.block])), p.depth)
	return r, nil
}

// close waits for what is under way, then gives all back.
func (r *ring) close() {
	_, _, _ = unix.Syscall(unix.SYS_IO_DESTROY, r.id, 0, 0)
	if r.mem != nil {
		_ = unix.Munmap(r.mem)
	}
}

// submit starts the operations with these numbers, by one call each: what is
// handed over together the kernel holds back until it has it all, and the disk
// waits meanwhile.
func (r *ring) submit(slots []int) error {
	for _, slot := range slots {
		buf := r.mem[slot*r.p.block:][:r.p.block]
		cb := &r.cbs[slot]
		*cb = iocb{data: uint64(slot), opcode: iocbRead, fd: uint32(r.disk.fd), bytes: uint64(r.p.block), offset: r.place(),
			buf: uint64(uintptr(unsafe.Pointer(&buf[0])))}
		if r.p.write {
			cb.opcode = iocbWrite
			r.disk.freshen(buf)
		}
		r.next = cb
		r.started[slot] = time.Now()
		n, _, e := unix.RawSyscall(unix.SYS_IO_SUBMIT, r.id, 1, uintptr(unsafe.Pointer(&r.next)))
		if e != 0 || n != 1 {
			return fmt.Errorf("io_submit: %w", e)
		}
	}
	return nil
}

// wait gives the operations that have ended, one at least, or none after a second.
func (r *ring) wait() ([]ioEvent, error) {
	timeout := unix.NsecToTimespec(int64(time.Second))
	// As with pread, Go's scheduler is not told: see once.
	n, _, e := unix.RawSyscall6(unix.SYS_IO_GETEVENTS, r.id, 1, uintptr(len(r.events)), uintptr(unsafe.Pointer(&r.events[0])), uintptr(unsafe.Pointer(&timeout)), 0)
	if e == unix.EINTR {
		return nil, nil
	}
	if e != 0 {
		return nil, fmt.Errorf("io_getevents: %w", e)
	}
	return r.events[:n], nil
}

// asynchronous drives a pattern by Linux' asynchronous I/O: one thread, p.depth
// operations under way.
func (d *disk) asynchronous(ctx context.Context, p pattern, ramp, t time.Duration, tick func(float64)) (*spent, error) {
	r, err := d.newRing(p)
	if err != nil {
		return nil, err
	}
	defer r.close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.NumCPU() + 2))
	free := make([]int, p.depth)
	for i := range free {
		free[i] = i
	}
	c := newCount(ramp, fmt.Sprintf("libaio's calls, %d under way", p.depth), tick)
	for busy := 0; busy > 0 || free != nil; {
		if len(free) > 0 {
			if err := r.submit(free); err != nil {
				return nil, err
			}
			busy += len(free)
		}
		done, err := r.wait()
		if err != nil {
			return nil, err
		}
		now := time.Now()
		more := c.more(now, t) && ctx.Err() == nil
		if free = free[:0]; !more {
			free = nil
		}
		for _, e := range done {
			if e.res != int64(p.block) {
				return nil, fmt.Errorf("an operation of %d bytes gave %d", p.block, e.res)
			}
			busy--
			if slot := int(e.data % uint64(p.depth)); more {
				c.ended(now, now.Sub(r.started[slot]))
				free = append(free, slot)
			}
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return c.over()
}
