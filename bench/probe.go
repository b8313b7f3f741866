package bench

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"

	"github.com/vpsctl/vpsctl/payload/wire"
)

var (
	probeName  = regexp.MustCompile(`^[a-z0-9]([a-z0-9./:_-]{0,118}[a-z0-9])?$`)
	probeUnits = regexp.MustCompile(`^[A-Za-z/]{1,12}$`)
)

// ParseProbe reads one line of a prober. The host may say anything: what is too
// long, not a number, or no name is refused; words are cut.
func ParseProbe(line []byte) (wire.ProbeLine, error) {
	var p wire.ProbeLine
	if len(line) > wire.MaxProbeLine {
		return p, fmt.Errorf("%w: a probe's line of %d bytes", wire.ErrHostile, len(line))
	}
	if err := json.Unmarshal(line, &p); err != nil {
		return wire.ProbeLine{}, fmt.Errorf("%w: a probe's line: %w", wire.ErrHostile, err)
	}
	bodies := 0
	for _, set := range []bool{p.Host != nil, p.At != nil, p.Got != nil, p.Skip != nil, p.End != nil} {
		if set {
			bodies++
		}
	}
	if bodies != 1 {
		return wire.ProbeLine{}, fmt.Errorf("%w: a probe's line with %d bodies", wire.ErrHostile, bodies)
	}
	if err := checkProbe(&p); err != nil {
		return wire.ProbeLine{}, err
	}
	return p, nil
}

func checkProbe(p *wire.ProbeLine) error {
	switch {
	case p.Host != nil:
		return checkProbeHost(p.Host)
	case p.At != nil:
		if !probeName.MatchString(p.At.Metric) || p.At.N < 1 || p.At.Of < p.At.N || p.At.Of > 10000 {
			return fmt.Errorf("%w: a probe that is no probe", wire.ErrHostile)
		}
	case p.Got != nil:
		return checkSample(p.Got)
	case p.Skip != nil:
		p.Skip.What, p.Skip.Why = cut(p.Skip.What, 120), cut(p.Skip.Why, 500)
	case p.End != nil:
		p.End.Busy = cut(p.End.Busy, 200)
		return inRange(p.End.Seconds, 0, 1e6, p.End.StealPct, 0, 100)
	}
	return nil
}

func checkProbeHost(h *wire.ProbeHost) error {
	for _, s := range []*string{&h.CPUModel, &h.Disk, &h.Virt, &h.Kernel, &h.Microcode, &h.Mirror, &h.Provider, &h.Plan, &h.Region, &h.Hostname, &h.Busy} {
		*s = cut(*s, 200)
	}
	if h.Method < 1 || h.Cores < 1 || h.Cores > 1<<16 || h.MemoryMB < 1 || h.DiskGB < 0 {
		return fmt.Errorf("%w: a host without cores or memory", wire.ErrHostile)
	}
	return inRange(h.Load1, 0, 1e6, h.PSICPU, -1, 100, h.QuotaCPU, 0, 1<<16)
}

func checkSample(s *wire.ProbeSample) error {
	if !probeName.MatchString(s.Metric) || !probeUnits.MatchString(s.Unit) || s.Better != "higher" && s.Better != "lower" {
		return fmt.Errorf("%w: a sample of %q in %q", wire.ErrHostile, cut(s.Metric, 40), cut(s.Unit, 20))
	}
	if len(s.Percentiles) > 16 || s.Bytes < 0 {
		return fmt.Errorf("%w: a sample of %s", wire.ErrHostile, s.Metric)
	}
	for name, v := range s.Percentiles {
		if !probeName.MatchString(name) || inRange(v, 0, 1e12) != nil {
			return fmt.Errorf("%w: a percentile of %s", wire.ErrHostile, s.Metric)
		}
	}
	s.Note = cut(s.Note, 300)
	if s.StealPct != nil {
		if err := inRange(*s.StealPct, 0, 100); err != nil {
			return err
		}
	}
	// Zero is no rate and no time: nothing can be divided by it.
	return inRange(s.Value, math.SmallestNonzeroFloat64, 1e18, s.Seconds, 0, 1e6, s.MHz, 0, 1e6)
}

// inRange takes triples of a number, its least and its most.
func inRange(triples ...float64) error {
	for i := 0; i+2 < len(triples); i += 3 {
		if v := triples[i]; !(v >= triples[i+1] && v <= triples[i+2]) { // not so for NaN, either
			return fmt.Errorf("%w: the number %g", wire.ErrHostile, v)
		}
	}
	return nil
}

// cut bounds a host's words and removes what a terminal would obey.
func cut(s string, n int) string {
	out := make([]rune, 0, min(len(s), n))
	for _, r := range s {
		if len(out) == n {
			break
		}
		if r >= ' ' && r != 0x7f && (r < 0x80 || r > 0x9f) && r != '\ufffd' && (r < 0x200b || r > 0x206f) {
			out = append(out, r)
		}
	}
	return string(out)
}
