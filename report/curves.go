package report

import (
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// maxSlots bounds the curves of a host, whatever the number of its samples.
const maxSlots = 480

// Curves are the samples of a run over its time, thinned so that peaks survive:
// of every slot of time they keep the least and the most of each figure. While
// a run is short a slot holds one sample; each time they are full, two slots
// become one.
type Curves struct {
	Width time.Duration // of a slot
	Slots []Slot        // those that have samples, in order of time
}

// Slot begins at its index times the width, since Start.Wall.
type Slot struct {
	Index int
	Range [figureCount]Range
}

// Range is the least and the most of a figure in a slot; None when the kernel
// did not say.
type Range struct {
	Min, Max float32
	None     bool
}

// figure is one of the things that are drawn.
type figure int

const (
	figCPU    figure = iota // percent
	figSteal                // percent
	figMemory               // MiB used
	figSwap                 // MiB used
	figRead                 // MiB/s
	figWrite                // MiB/s
	figRx                   // MiB/s
	figTx                   // MiB/s
	figureCount
)

const firstWidth = time.Second / 4

// take adds a sample that was taken at a time since Start.
func (c *Curves) take(s *wire.Sample, at time.Duration) {
	if c.Width == 0 {
		c.Width = firstWidth
	}
	for int(at/c.Width) >= maxSlots {
		c.halve()
	}
	now := Slot{Index: int(at / c.Width), Range: [figureCount]Range{figCPU: of(&s.CPUPct), figSteal: of(&s.StealPct), figMemory: count(s.MemUsedMB),
		figSwap: count(s.SwapUsedMB), figRead: of(s.DiskReadMBs), figWrite: of(s.DiskWritMBs), figRx: of(s.NetRxMBs), figTx: of(s.NetTxMBs)}}
	if n := len(c.Slots); n > 0 && c.Slots[n-1].Index >= now.Index { // a host's clock that goes backwards stays where it was
		c.Slots[n-1].join(&now)
		return
	}
	c.Slots = append(c.Slots, now)
}

// halve doubles the width of slots.
func (c *Curves) halve() {
	c.Width *= 2
	kept := c.Slots[:0]
	for _, s := range c.Slots {
		s.Index /= 2
		if n := len(kept); n > 0 && kept[n-1].Index == s.Index {
			kept[n-1].join(&s)
			continue
		}
		kept = append(kept, s)
	}
	c.Slots = kept
}

// thin is a copy with at most so many slots.
func (c *Curves) thin(most int) Curves {
	t := Curves{Width: c.Width, Slots: append([]Slot(nil), c.Slots...)}
	for len(t.Slots) > most {
		t.halve()
	}
	return t
}

func (s *Slot) join(o *Slot) {
	for i := range s.Range {
		a, b := &s.Range[i], o.Range[i]
		switch {
		case a.None:
			*a = b
		case !b.None:
			a.Min, a.Max = min(a.Min, b.Min), max(a.Max, b.Max)
		}
	}
}

func of(v *float64) Range {
	if v == nil {
		return Range{None: true}
	}
	f := float32(clampNumber(*v))
	return Range{Min: f, Max: f}
}

func count(n int) Range { return Range{Min: float32(n), Max: float32(n)} }

// peak of a figure; ok is false when there is none.
func (c *Curves) peak(f figure) (most float64, ok bool) {
	for i := range c.Slots {
		if r := c.Slots[i].Range[f]; !r.None {
			most, ok = max(most, float64(r.Max)), true
		}
	}
	return most, ok
}
