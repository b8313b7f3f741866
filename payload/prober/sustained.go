//go:build linux

package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// sustained is one thing measured for minutes, second by second: rented
// machines give bursts of CPU and disk on credit.
type sustained struct {
	burst, level probe // their names and units
	// rates runs for d and tells the rate of every stretch as it ends, in the unit.
	rates func(ctx context.Context, d time.Duration, tell func(rate float64)) error
}

// A stretch is about a second, and longer where a disk takes longer for one
// operation.
type stretch struct{ rate, seconds float64 }

// fallen is how much slower the later part must be than the earlier to be
// another level: 15 %.
const fallen = 0.85

// leastStretches are those of a level, that there is one.
const leastStretches = 5

// run prints one level, or two where credits ended in between. The two are
// never averaged.
func (s sustained) run(ctx context.Context, p *printer, at wire.ProbeAt, d time.Duration) error {
	if err := p.line(wire.ProbeLine{At: &at}); err != nil {
		return err
	}
	before, log, last := readTicks(), []stretch{}, time.Now()
	err := s.rates(ctx, d, func(rate float64) {
		now := time.Now()
		log, last = append(log, stretch{rate, now.Sub(last).Seconds()}), now
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil || len(log) < 2*leastStretches {
		return p.skip(s.level.metric, fmt.Sprintf("%.0f s were measured, in %d parts: %v", seconds(log), len(log), err))
	}
	steal := before.stealPct(readTicks())
	tell := func(pr probe, part []stretch, note string) error {
		return p.line(wire.ProbeLine{Got: &wire.ProbeSample{Metric: pr.metric, Unit: pr.unit, Better: pr.better,
			Value: rateOf(part), Seconds: seconds(part), StealPct: &steal, MHz: megahertz(), Note: note}})
	}
	from, cutAt := changePoint(log)
	if cutAt == 0 {
		return tell(s.level, log, fmt.Sprintf("no end of credits within %.0f s", seconds(log)))
	}
	note := fmt.Sprintf("credits exhausted after %.0f s", seconds(log[:cutAt]))
	if from > 0 {
		note += fmt.Sprintf("; the first %.0f s were slower and are left out", seconds(log[:from]))
	}
	if err := tell(s.burst, log[from:cutAt], note); err != nil {
		return err
	}
	return tell(s.level, log[cutAt:], note)
}

// changePoint is where the rate fell by over 15 %, and from where on it had been
// what it fell from; at is 0 if it did not. Where it rose by as much first, what
// was before the rise hides no fall behind it.
func changePoint(log []stretch) (from, at int) {
	for {
		i := split(log[from:])
		if i == 0 {
			return 0, 0
		}
		a, b := rateOf(log[from:from+i]), rateOf(log[from+i:])
		switch {
		case b <= fallen*a:
			return from, from + i
		case a > fallen*b: // neither: what else there is explains less
			return 0, 0
		}
		from += i
	}
}

// split is the single split that leaves the least variance on its two sides
// (least squares), 0 where there is too little to split.
func split(log []stretch) int {
	best, at := 0.0, 0
	for i := leastStretches; i <= len(log)-leastStretches; i++ {
		a, b := log[:i], log[i:]
		apart := rateOf(a) - rateOf(b)
		// The variance that the split explains: between-group sum of squares.
		if gain := seconds(a) * seconds(b) * apart * apart; gain > best {
			best, at = gain, i
		}
	}
	return at
}

func seconds(log []stretch) float64 {
	sum := 0.0
	for _, s := range log {
		sum += s.seconds
	}
	return sum
}

// rateOf is the rate of all stretches together.
func rateOf(log []stretch) float64 {
	sum := 0.0
	for _, s := range log {
		sum += s.rate * s.seconds
	}
	return sum / max(seconds(log), 1e-9)
}

// sustainedCPU keeps all cores busy.
func sustainedCPU() sustained {
	j := cpuJobs()[0]
	return sustained{probe{metric: "cpu/burst/all", unit: j.unit, better: "higher"}, probe{metric: "cpu/sustained/all", unit: j.unit, better: "higher"},
		func(ctx context.Context, d time.Duration, tell func(float64)) error {
			_, _, err := busy(ctx, j, runtime.NumCPU(), 0, d, func(calls float64) { tell(calls * j.units) })
			return err
		}}
}
