//go:build linux

package main

import (
	"math/bits"
	"time"
)

// histogram counts durations in buckets 1/64 of their size wide, so that a
// percentile is off by less than 1.6 %, in fixed memory.
type histogram struct {
	counts [64 * 58]int64
	total  int64
}

func bucket(v uint64) int {
	if v < 64 {
		return int(v)
	}
	shift := bits.Len64(v) - 7
	return 64*shift + int(v>>shift)
}

// middle is the value that stands for a bucket.
func middle(i int) float64 {
	if i < 128 {
		return float64(i)
	}
	shift := i/64 - 1
	return (float64(i-64*shift) + 0.5) * float64(uint64(1)<<shift)
}

func (h *histogram) add(d time.Duration) {
	h.counts[min(bucket(uint64(max(d, 0))), len(h.counts)-1)]++
	h.total++
}

// merge adds what o counted.
func (h *histogram) merge(o *histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.total += o.total
}

// percentiles are p50, p95 and p99 in microseconds.
func (h *histogram) percentiles() map[string]float64 {
	if h.total == 0 {
		return nil
	}
	out := map[string]float64{}
	for name, share := range map[string]float64{"p50_us": 0.50, "p95_us": 0.95, "p99_us": 0.99} {
		seen := int64(0)
		for i, n := range h.counts {
			if seen += n; float64(seen) >= share*float64(h.total) {
				out[name] = middle(i) / 1e3
				break
			}
		}
	}
	return out
}
