package report

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// Samples sums up the resource samples of a run. Its size does not depend on
// their number.
type Samples struct {
	Count        int
	MemPeakMB    int
	DiskMinMB    int // available on /
	LoadPeak     float64
	CPUPeak      float64
	SwapPeakMB   int
	StealPeakPct float64

	weight   float64 // seconds the samples stand for
	cpu, mem float64 // weighted sums
	bins     map[uint16]bin
	watches  [3]watch
}

// bin holds the CPU values of one hundredth of a percent.
type bin struct {
	n   int
	max float64
}

// CPUAvg is the mean CPU use in percent over the time sampled.
func (s *Samples) CPUAvg() float64 { return s.mean(s.cpu) }

// MemAvg is the mean of memory used, in MiB.
func (s *Samples) MemAvg() float64 { return s.mean(s.mem) }

func (s *Samples) mean(sum float64) float64 {
	if s.weight == 0 {
		return 0
	}
	return sum / s.weight
}

// CPUP95 is the CPU use in percent that 95 of 100 samples do not exceed
// (nearest rank), true to a hundredth.
func (s *Samples) CPUP95() float64 {
	rank := int(math.Ceil(0.95 * float64(s.Count)))
	for _, k := range slices.Sorted(maps.Keys(s.bins)) {
		if rank -= s.bins[k].n; rank <= 0 {
			return s.bins[k].max
		}
	}
	return 0
}

func (r *HostRecord) sample(e *wire.Event, at time.Duration) {
	if e.Sample == nil {
		r.Strange++
		return
	}
	c := cleanSample(e.Sample)
	r.Samples.take(&c)
	r.Curves.take(&c, at)
	r.squeeze(&c, at)
	r.alerts(&c, at)
}

// cleanSample is a sample with every number within reason.
func cleanSample(s *wire.Sample) wire.Sample {
	c := *s
	c.CPUPct, c.StealPct, c.Load1 = min(clampNumber(c.CPUPct), 100), min(clampNumber(c.StealPct), 100), clampNumber(c.Load1)
	c.Elapsed = max(0, min(c.Elapsed, maxT))
	for _, n := range []*int{&c.MemUsedMB, &c.MemAvailMB, &c.DiskAvailMB, &c.SwapUsedMB, &c.Procs} {
		*n = max(0, *n)
	}
	return c
}

func (s *Samples) take(c *wire.Sample) {
	weight := c.Elapsed.Seconds()
	if weight == 0 {
		weight = 1 // a sample of an instant still counts
	}
	s.weight += weight
	s.cpu += weight * c.CPUPct
	s.mem += weight * float64(c.MemUsedMB)
	s.MemPeakMB = max(s.MemPeakMB, c.MemUsedMB)
	s.SwapPeakMB = max(s.SwapPeakMB, c.SwapUsedMB)
	s.CPUPeak = max(s.CPUPeak, c.CPUPct)
	s.StealPeakPct = max(s.StealPeakPct, c.StealPct)
	s.LoadPeak = max(s.LoadPeak, c.Load1)
	if s.Count == 0 || c.DiskAvailMB < s.DiskMinMB {
		s.DiskMinMB = c.DiskAvailMB
	}
	s.Count++
	if s.bins == nil {
		s.bins = map[uint16]bin{}
	}
	k := uint16(c.CPUPct * 100)
	b := s.bins[k]
	s.bins[k] = bin{b.n + 1, max(b.max, c.CPUPct)}
}
