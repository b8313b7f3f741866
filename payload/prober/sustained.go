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
	// seconds runs for d and gives the rate of every second, in the unit.
	seconds func(ctx context.Context, d time.Duration) ([]float64, error)
}

// fallen is how much slower the later part must be than the earlier to be
// another level: 15 %.
const fallen = 0.85

// run prints one level, or two where credits ended in between. The two are
// never averaged.
func (s sustained) run(ctx context.Context, p *printer, at wire.ProbeAt, d time.Duration) error {
	if err := p.line(wire.ProbeLine{At: &at}); err != nil {
		return err
	}
	before := readTicks()
	log, err := s.seconds(ctx, d)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil || len(log) < 10 {
		return p.skip(s.level.metric, fmt.Sprintf("%d seconds were measured: %v", len(log), err))
	}
	steal := before.stealPct(readTicks())
	tell := func(pr probe, rates []float64, note string) error {
		return p.line(wire.ProbeLine{Got: &wire.ProbeSample{Metric: pr.metric, Unit: pr.unit, Better: pr.better,
			Value: mean(rates), Seconds: float64(len(rates)), StealPct: steal, MHz: megahertz(), Note: note}})
	}
	cutAt := changePoint(log)
	if cutAt == 0 {
		return tell(s.level, log, fmt.Sprintf("no end of credits within %d s", len(log)))
	}
	note := fmt.Sprintf("credits exhausted after %d s", cutAt)
	if err := tell(s.burst, log[:cutAt], note); err != nil {
		return err
	}
	return tell(s.level, log[cutAt:], note)
}

// changePoint is the second from which on the rate is over 15 % lower than
// before, 0 if there is none. Like every single split it is the one that leaves
// the least variance on its two sides (least squares).
func changePoint(log []float64) int {
	const least = 5 // seconds on either side
	best, at := 0.0, 0
	for i := least; i <= len(log)-least; i++ {
		a, b := mean(log[:i]), mean(log[i:])
		// The variance that the split explains: between-group sum of squares.
		if gain := float64(i) * float64(len(log)-i) * (a - b) * (a - b); gain > best {
			best, at = gain, i
		}
	}
	if at == 0 || mean(log[at:]) > fallen*mean(log[:at]) {
		return 0
	}
	return at
}

func mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(max(1, len(x)))
}

// sustainedCPU keeps all cores busy.
func sustainedCPU(seed uint64) sustained {
	j := cpuJobs(seed)[0]
	return sustained{probe{metric: "cpu/burst/all", unit: j.unit, better: "higher"}, probe{metric: "cpu/sustained/all", unit: j.unit, better: "higher"},
		func(ctx context.Context, d time.Duration) (log []float64, err error) {
			_, _, err = busy(ctx, j, runtime.NumCPU(), 0, d, func(calls float64) { log = append(log, calls*j.units) })
			return log, err
		}}
}
