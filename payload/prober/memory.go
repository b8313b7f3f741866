//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// memoryProbes measure with one thread, over four times the last level's cache
// so that caches do not answer: bandwidth in GB/s of the bytes that the program
// reads or writes (a copy of 1 GB is 1 GB), latency in ns per dependent load.
func memoryProbes() ([]probe, func(), error) {
	size, err := bufferSize(lastCache(), available())
	if err != nil {
		return nil, nil, err
	}
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, nil, fmt.Errorf("%d MiB of memory: %w", size>>20, err)
	}
	_ = unix.Madvise(mem, unix.MADV_HUGEPAGE) // less of the time is the page table's; where there are none it is as it was
	all := unsafe.Slice((*uint64)(unsafe.Pointer(&mem[0])), size/8)
	half := len(all) / 2
	for i := range all {
		all[i] = uint64(i) // faulted in now and not while measuring
	}
	pass := func(bytes int, work func()) func(context.Context, time.Duration, time.Duration) (reading, error) {
		return func(ctx context.Context, ramp, d time.Duration) (reading, error) {
			n, seconds := again(ctx, ramp, d, work)
			moved := float64(n) * float64(bytes)
			return reading{value: moved / seconds / 1e9, seconds: seconds, bytes: int64(moved)}, ctx.Err()
		}
	}
	// A part at a time, so that the clock is looked at often enough.
	const part = 1 << 19 // words, 4 MiB
	at := 0
	next := func(words int) []uint64 {
		if at+part > words {
			at = 0
		}
		at += part
		return all[at-part : at]
	}
	chain := &chase{mem: all}
	return []probe{
		{"memory/read", "GB/s", "higher", pass(part*8, func() { sink.Store(sum(next(len(all)))) })},
		{"memory/write", "GB/s", "higher", pass(part*8, func() { fill(next(len(all)), uint64(at)) })},
		{"memory/copy", "GB/s", "higher", pass(part*8, func() { from := next(half); copy(all[half+at-part:], from) })},
		{"memory/latency", "ns", "lower", func(ctx context.Context, ramp, d time.Duration) (reading, error) {
			chain.lay(workSeed)
			const loads = 20000
			n, seconds := again(ctx, ramp, d, func() { chain.follow(loads) })
			return reading{value: seconds * 1e9 / (float64(n) * loads), seconds: seconds}, ctx.Err()
		}},
	}, func() { _ = unix.Munmap(mem) }, nil
}

// bufferSize is four caches, at least 64 MiB, at most 1 GiB and a fifth of what
// is free.
func bufferSize(cache, free int) (int, error) {
	size := min(max(4*cache, 64<<20), 1<<30)
	if size > free/5 {
		size = free / 5
	}
	size &^= 1<<23 - 1
	if size < max(2*cache, 16<<20) {
		return 0, fmt.Errorf("%d MiB are available, a fifth of it does not outgrow a cache of %d MiB", free>>20, cache>>20)
	}
	return size, nil
}

// again calls work until d is over, and counts the calls behind the ramp.
func again(ctx context.Context, ramp, d time.Duration, work func()) (n int, seconds float64) {
	begin := time.Now()
	var from time.Time
	for ctx.Err() == nil {
		work()
		now := time.Now()
		switch {
		case from.IsZero() && now.Sub(begin) >= ramp:
			from = now
		case !from.IsZero():
			n++
		}
		if n > 0 && now.Sub(begin) >= d {
			return n, now.Sub(from).Seconds()
		}
	}
	return max(n, 1), d.Seconds()
}

func sum(x []uint64) uint64 {
	var a, b, c, d uint64 // four chains, so that adding does not wait for adding
	for len(x) >= 8 {
		v := x[:8:8]
		a, b, c, d = a+v[0]+v[4], b+v[1]+v[5], c+v[2]+v[6], d+v[3]+v[7]
		x = x[8:]
	}
	return a + b + c + d
}

func fill(x []uint64, v uint64) {
	for len(x) >= 8 {
		w := x[:8:8]
		w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7] = v, v, v, v, v, v, v, v
		x = x[8:]
	}
}

// chase is a walk through memory in which each load says where the next one is.
type chase struct {
	mem []uint64
	at  uint64
}

const wordsPerLine = 8 // 64 bytes

// lay links every cache line to another one: one random cycle through all
// (Sattolo's algorithm), so that nothing can be fetched ahead.
func (c *chase) lay(seed uint64) {
	lines := len(c.mem) / wordsPerLine
	for i := range lines {
		c.mem[i*wordsPerLine] = uint64(i * wordsPerLine)
	}
	r := rand.New(rand.NewPCG(seed, 5))
	for i := lines - 1; i > 0; i-- {
		j := r.IntN(i)
		a, b := i*wordsPerLine, j*wordsPerLine
		c.mem[a], c.mem[b] = c.mem[b], c.mem[a]
	}
	c.at = 0
}

func (c *chase) follow(n int) {
	at := c.at
	for range n {
		at = c.mem[at]
	}
	c.at = at
	sink.Store(at)
}

// lastCache is the size of the last level's cache in bytes, 32 MiB where the
// kernel does not say.
func lastCache() int {
	files, _ := filepath.Glob("/sys/devices/system/cpu/cpu0/cache/index*/size") // the pattern is a valid one
	most := 0
	for _, name := range files {
		b, err := os.ReadFile(name)
		if n, e := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(string(b)), "K")); err == nil && e == nil {
			most = max(most, n<<10)
		}
	}
	if most == 0 {
		most = 32 << 20
	}
	return most
}

// available is MemAvailable in bytes.
func available() int { return field("/proc/meminfo", "MemAvailable:") << 10 }
