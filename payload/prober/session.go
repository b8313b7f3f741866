//go:build linux

package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// A probe measures one thing, again and again.
type probe struct {
	metric, unit, better string
	// measure runs for about d, of which the part before the ramp's end counts
	// for nothing. It returns early only with an error.
	measure func(ctx context.Context, ramp, d time.Duration) (reading, error)
}

// reading is what one repeat found.
type reading struct {
	value       float64 // in the probe's unit
	seconds     float64 // measured
	bytes       int64
	percentiles map[string]float64
	note        string
}

// options are what a session is asked for.
type options struct {
	only      map[string]bool // cpu, memory, disk
	metrics   []string        // only these; none: all
	seed      uint64          // of the order; the work is the same for every seed
	repeats   int
	each      time.Duration // of one repeat
	sustained time.Duration // of each sustained probe; 0: none
	dir       string        // on the disk to measure
	fileMB    int64
	quiet     time.Duration // how long a busy host is waited for
	against   bool          // have other programs of the host measure the same
}

// ramp is the part of a repeat that counts for nothing: caches fill, clocks rise.
const ramp = 5 // a fifth

func parseOptions(args []string) (options, error) {
	var o options
	var only, metrics string
	f := flag.NewFlagSet("measure", flag.ContinueOnError)
	f.StringVar(&only, "only", "cpu,memory,disk", "")
	f.StringVar(&metrics, "metrics", "", "")
	f.Uint64Var(&o.seed, "seed", 1, "")
	f.IntVar(&o.repeats, "repeats", 3, "")
	f.DurationVar(&o.each, "each", time.Second, "")
	f.DurationVar(&o.sustained, "sustained", 0, "")
	f.StringVar(&o.dir, "dir", "/var/tmp", "")
	f.Int64Var(&o.fileMB, "file-mb", 2048, "")
	f.DurationVar(&o.quiet, "quiet", 20*time.Second, "")
	f.BoolVar(&o.against, "against", false, "")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if metrics != "" {
		o.metrics = strings.Split(metrics, ",")
	}
	o.only = map[string]bool{}
	for kind := range strings.SplitSeq(only, ",") {
		if !slices.Contains([]string{"cpu", "memory", "disk", "network"}, kind) { // network: by verbs of its own, after this one
			return o, fmt.Errorf("--only %q: cpu, memory and disk can be measured", kind)
		}
		o.only[kind] = true
	}
	if o.repeats < 1 || o.repeats > 100 || o.each < 50*time.Millisecond || o.each > 10*time.Minute {
		return o, fmt.Errorf("%d repeats of %s: 1 to 100, of 50 ms to 10 min", o.repeats, o.each)
	}
	return o, nil
}

// measure is a whole session.
func measure(ctx context.Context, p *printer, args []string) error {
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	host := describe(o.dir)
	host.Busy = waitQuiet(ctx, o.quiet)
	host.Load1, host.PSICPU = load1(), psiCPU()
	if err := p.line(wire.ProbeLine{Host: &host}); err != nil {
		return err
	}
	began, steal, others := time.Now(), readTicks(), readProcesses()
	probes, sustained, release, err := prepare(ctx, p, o)
	defer release()
	if err != nil {
		return err
	}
	if len(o.metrics) > 0 {
		probes = slices.DeleteFunc(probes, func(pr probe) bool { return !slices.Contains(o.metrics, pr.metric) })
	}
	if err := repeat(ctx, p, o, probes, len(sustained)); err != nil {
		return err
	}
	for i, s := range sustained {
		at := wire.ProbeAt{Metric: s.burst.metric, N: len(probes)*o.repeats + i + 1, Of: len(probes)*o.repeats + len(sustained)}
		if err := s.run(ctx, p, at, o.sustained); err != nil {
			return err
		}
	}
	return p.line(wire.ProbeLine{End: &wire.ProbeEnd{Seconds: time.Since(began).Seconds(),
		StealPct: steal.stealPct(readTicks()), Busy: others.busiest(readProcesses().programs(), time.Since(began))}})
}

// prepare makes the probes that were asked for, and what they need.
func prepare(ctx context.Context, p *printer, o options) (probes []probe, long []sustained, release func(), err error) {
	var frees []func()
	release = func() {
		for _, free := range frees {
			free()
		}
	}
	if o.only["cpu"] {
		probes = append(probes, cpuProbes()...)
		if o.sustained > 0 {
			long = append(long, sustainedCPU())
		}
		if o.against {
			other, err := againstCPU(p)
			if err != nil {
				return nil, nil, release, err
			}
			probes = append(probes, other...)
		}
	}
	if o.only["memory"] {
		m, free, err := memoryProbes()
		switch {
		case err == nil:
			probes, frees = append(probes, m...), append(frees, free)
		default:
			if err := p.skip("memory", err.Error()); err != nil {
				return nil, nil, release, err
			}
		}
	}
	if o.only["disk"] {
		d, err := openDisk(ctx, o.dir, o.fileMB<<20, o.seed)
		if err != nil {
			if ctx.Err() != nil {
				return nil, nil, release, ctx.Err()
			}
			return probes, long, release, p.skip("disk", err.Error())
		}
		frees = append(frees, d.close)
		probes = append(probes, d.probes()...)
		if o.sustained > 0 {
			long = append(long, d.sustained(o.seed)...)
		}
		if o.against {
			other, err := d.against(p)
			if err != nil {
				return nil, nil, release, err
			}
			probes = append(probes, other...)
		}
	}
	return probes, long, release, nil
}

// repeat runs every probe o.repeats times.
func repeat(ctx context.Context, p *printer, o options, probes []probe, more int) error {
	order := inTurns(probes, o.repeats, rand.New(rand.NewPCG(o.seed, 1)))
	dropped := map[int]bool{}
	for n, i := range order {
		if dropped[i] {
			continue
		}
		pr := probes[i]
		if err := p.line(wire.ProbeLine{At: &wire.ProbeAt{Metric: pr.metric, N: n + 1, Of: len(order) + more}}); err != nil {
			return err
		}
		got, err := take(ctx, pr, o.each)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			dropped[i] = true
			err = p.skip(pr.metric, err.Error())
		} else {
			err = p.line(wire.ProbeLine{Got: got})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// inTurns is one random order of all repeats of all probes: what disturbs the
// host for a while then disturbs a bit of everything, and not one probe whole.
// Another program's probe stays next to ours that it is held against, in every
// second repeat before it: the two have the same disk in the same state.
func inTurns(probes []probe, repeats int, r *rand.Rand) []int {
	beside := map[string]int{}
	for i, pr := range probes {
		if ours := pr.heldAgainst(); ours != "" {
			beside[ours] = i
		}
	}
	var groups [][]int
	for i, pr := range probes {
		if ours := pr.heldAgainst(); slices.ContainsFunc(probes, func(pr probe) bool { return pr.metric == ours }) {
			continue // with that one
		}
		other, paired := beside[pr.metric]
		for n := range repeats {
			switch {
			case !paired:
				groups = append(groups, []int{i})
			case n%2 == 0:
				groups = append(groups, []int{i, other})
			default:
				groups = append(groups, []int{other, i})
			}
		}
	}
	r.Shuffle(len(groups), func(i, j int) { groups[i], groups[j] = groups[j], groups[i] })
	return slices.Concat(groups...)
}

// take is one repeat, with what the host did to it.
func take(ctx context.Context, pr probe, each time.Duration) (*wire.ProbeSample, error) {
	before := readTicks()
	r, err := pr.measure(ctx, each/ramp, each)
	if err != nil {
		return nil, err
	}
	steal := before.stealPct(readTicks())
	return &wire.ProbeSample{Metric: pr.metric, Unit: pr.unit, Better: pr.better, Value: r.value, Seconds: r.seconds, Bytes: r.bytes,
		StealPct: &steal, MHz: megahertz(), Percentiles: r.percentiles, Note: r.note}, nil
}
