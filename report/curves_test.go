package report

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// However many samples come, the curves stay small, cover the whole time and
// lose neither the highest nor the lowest of any of their parts.
func TestCurvesKeepPeaks(t *testing.T) {
	for _, c := range []struct {
		n     int
		every time.Duration
	}{{1, time.Second}, {100, 100 * time.Millisecond}, {3600, time.Second}, {8640, 10 * time.Second}, {50, time.Hour}, {3, 9 * 365 * 24 * time.Hour}} {
		rnd := rand.New(rand.NewPCG(1, uint64(c.n)))
		var curves Curves
		values, at := make([]float64, c.n), make([]time.Duration, c.n)
		for i := range values {
			values[i], at[i] = rnd.Float64()*100, min(maxT, time.Duration(i+1)*c.every)
			curves.take(&wire.Sample{CPUPct: values[i], NetRxMBs: &values[i]}, at[i])
		}
		for _, thin := range []Curves{curves, curves.thin(50)} {
			if len(thin.Slots) > maxSlots {
				t.Fatalf("%d samples: %d slots", c.n, len(thin.Slots))
			}
			checkRanges(t, &thin, values, at)
		}
		if len(curves.thin(50).Slots) > 50 {
			t.Errorf("%d samples: %d slots of 50", c.n, len(curves.thin(50).Slots))
		}
		if _, ok := curves.peak(figTx); ok {
			t.Error("a figure nobody sampled has a peak")
		}
	}
}

func checkRanges(t *testing.T, c *Curves, values []float64, at []time.Duration) {
	t.Helper()
	want := map[int]Range{}
	for i, v := range values {
		k := int(at[i] / c.Width)
		r, ok := want[k]
		if !ok {
			r = Range{Min: float32(v), Max: float32(v)}
		}
		want[k] = Range{Min: min(r.Min, float32(v)), Max: max(r.Max, float32(v))}
	}
	if len(c.Slots) != len(want) {
		t.Fatalf("%d slots, want %d", len(c.Slots), len(want))
	}
	for _, s := range c.Slots {
		if s.Range[figCPU] != want[s.Index] || s.Range[figRx] != want[s.Index] || !s.Range[figTx].None {
			t.Fatalf("slot %d: %+v, want %+v", s.Index, s.Range, want[s.Index])
		}
	}
}

// Time that goes backwards, as a hostile host may say, does no harm.
func TestCurvesOfABrokenClock(t *testing.T) {
	var c Curves
	for _, at := range []time.Duration{9e9, 3e9, 0, maxT, 1} {
		c.take(&wire.Sample{CPUPct: 50}, at)
	}
	for i := 1; i < len(c.Slots); i++ {
		if c.Slots[i].Index <= c.Slots[i-1].Index {
			t.Fatalf("out of order: %+v", c.Slots)
		}
	}
	if len(c.Slots) != 2 {
		t.Errorf("%d slots", len(c.Slots))
	}
}
