//go:build linux

package main

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// workSeed is what all data and places are made from, in every session: other
// keys are another sort, and no two sessions could be compared.
const workSeed = 1

// A job is fixed work, done over and over by one thread: each call does the
// same amount, counted in units.
type job struct {
	name, unit string
	units      float64       // of the metric's unit times seconds, per call
	start      func() func() // one thread's own data
}

// sink keeps compilers from leaving work out.
var sink atomic.Uint64

func cpuJobs() []job {
	const (
		blocks = 2000     // of 64 bytes, about 0.3 ms
		text   = 64 << 10 // bytes
		n      = 96       // matrices of n times n
		keys   = 16 << 10
	)
	return []job{
		{"sha256", "ops/s", blocks, func() func() {
			block := [64]byte{}
			return func() {
				for range blocks {
					sum := sha256.Sum256(block[:])
					copy(block[:], sum[:])
				}
				sink.Store(uint64(block[0]))
			}
		}},
		{"deflate", "MB/s", text / 1e6, func() func() {
			in := words(workSeed, text)
			w, _ := flate.NewWriter(io.Discard, 6) // the level is a valid one
			return func() {
				w.Reset(io.Discard)
				_, _ = w.Write(in)
				_ = w.Close()
			}
		}},
		{"matrix", "MFLOP/s", 2 * n * n * n / 1e6, func() func() {
			a, b, c := numbers(workSeed, n*n), numbers(workSeed+1, n*n), make([]float64, n*n)
			return func() { multiply(a, b, c, n); sink.Store(uint64(c[n])) }
		}},
		{"sort", "Mkeys/s", keys / 1e6, func() func() {
			from, to := make([]uint32, keys), make([]uint32, keys)
			r := rand.New(rand.NewPCG(workSeed, 2))
			for i := range from {
				from[i] = r.Uint32()
			}
			return func() { copy(to, from); slices.Sort(to); sink.Store(uint64(to[7])) }
		}},
	}
}

// words are text that compresses about as prose does, the same for a seed.
func words(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 3))
	dict := make([][]byte, 600)
	for i := range dict {
		word := make([]byte, 2+r.IntN(9))
		for j := range word {
			word[j] = byte('a' + r.IntN(26))
		}
		dict[i] = append(word, ' ')
	}
	var b bytes.Buffer
	for b.Len() < n {
		b.Write(dict[int(float64(len(dict))*r.Float64()*r.Float64())]) // some words are common
	}
	return b.Bytes()[:n]
}

func numbers(seed uint64, n int) []float64 {
	r := rand.New(rand.NewPCG(seed, 4))
	out := make([]float64, n)
	for i := range out {
		out[i] = r.Float64() + 0.5
	}
	return out
}

// multiply is c = a·b, row by row so that the inner loop goes through memory in order.
func multiply(a, b, c []float64, n int) {
	clear(c)
	for i := range n {
		row := c[i*n : i*n+n]
		for k := range n {
			x, other := a[i*n+k], b[k*n:k*n+n]
			for j := range row {
				row[j] += x * other[j]
			}
		}
	}
}

// cpuProbes are the jobs on one thread and on all.
func cpuProbes() []probe {
	var out []probe
	for _, j := range cpuJobs() {
		for _, w := range []struct {
			name    string
			threads int
		}{{"1", 1}, {"all", runtime.NumCPU()}} {
			out = append(out, probe{"cpu/" + j.name + "/" + w.name, j.unit, "higher",
				func(ctx context.Context, ramp, d time.Duration) (reading, error) {
					calls, seconds, err := busy(ctx, j, w.threads, ramp, d, nil)
					return reading{value: calls * j.units / seconds, seconds: seconds}, err
				}})
		}
	}
	return out
}

// busy has threads do a job for d, and says how many calls they did in how many
// seconds behind the ramp. Each thread counts whole calls over its own time, so
// that none is lost at the edges. tick, if any, is told about once a second how
// many calls all threads together did per second.
func busy(ctx context.Context, j job, threads int, ramp, d time.Duration, tick func(float64)) (calls, seconds float64, err error) {
	var all sync.WaitGroup
	var mu sync.Mutex
	var count atomic.Int64
	var rate float64
	begin := time.Now()
	for range threads {
		all.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			work, n, from := j.start(), 0, time.Time{}
			for ctx.Err() == nil {
				work()
				now := time.Now()
				switch {
				case from.IsZero() && now.Sub(begin) >= ramp:
					from = now
				case !from.IsZero():
					n++
					count.Add(1)
				}
				if now.Sub(begin) >= d && n > 0 {
					mu.Lock()
					rate += float64(n) / now.Sub(from).Seconds()
					mu.Unlock()
					return
				}
			}
		})
	}
	watch(&all, &count, tick)
	seconds = (d - ramp).Seconds()
	return rate * seconds, seconds, ctx.Err()
}

// watch waits for all and calls tick about once a second with the rate since the
// last time: where others have the CPUs, a second comes late.
func watch(all *sync.WaitGroup, count *atomic.Int64, tick func(float64)) {
	over := make(chan struct{})
	go func() { all.Wait(); close(over) }()
	if tick == nil {
		<-over
		return
	}
	t := time.NewTicker(time.Second)
	defer t.Stop()
	last, from := int64(0), time.Now()
	for {
		select {
		case <-over:
			return
		case <-t.C:
			now, at := count.Load(), time.Now()
			tick(float64(now-last) / at.Sub(from).Seconds())
			last, from = now, at
		}
	}
}
