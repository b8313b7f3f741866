//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/vpsctl/vpsctl/bench"
)

// A series is the sessions of what is measured in one way. How long a repeat
// takes is part of the way: a disk's need longer ones.
type series struct {
	name  string
	kinds []string
	each  time.Duration
	cores float64
	pair  bool // with the host at the other end of the line
	calm  []bench.Session
}

func allSeries() []*series {
	return []*series{
		{name: "CPU and memory", kinds: []string{"cpu", "memory"}, each: 200 * time.Millisecond, cores: cpuCores},
		{name: "disk", kinds: []string{"disk"}, each: 400 * time.Millisecond, cores: restCores},
		{name: "line", kinds: []string{"network"}, each: 2 * time.Second, cores: restCores, pair: true},
	}
}

// session is one short visit to the host, as a user makes it, inside of the
// host's limits.
func (b *bencher) session(ctx context.Context, s *series) (bench.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if err := b.host.Throttle(ctx, s.cores); err != nil {
		return bench.Session{}, err
	}
	args := []string{"run", "--quick", "--yes", "--quiet-wait", "0s", "--each", s.each.String()}
	if !s.pair {
		args = append(args, "--limit", b.host.Name)
	}
	for _, k := range s.kinds {
		args = append(args, "--only", k)
	}
	if _, err := b.run(ctx, b.dir, "bench", args...); err != nil {
		return bench.Session{}, err
	}
	history, _, err := bench.Store{Dir: filepath.Join(b.dir, "vpsctl", "bench")}.History(b.host.Name)
	if err != nil || len(history) == 0 {
		return bench.Session{}, fmt.Errorf("no session was kept: %w", err)
	}
	got := history[len(history)-1]
	got.Excluded = "" // whatever else runs on this machine, nothing of it is known to be there in one phase only
	return got, nil
}

// perDay is how many sessions make a day here: a host cannot be watched for
// weeks, so days are made up, and the page says so.
const perDay = 2

// next is one more session of a series, dated as if it were its turn.
func (b *bencher) next(ctx context.Context, s *series, before []bench.Session) ([]bench.Session, error) {
	i := len(before)
	got, err := b.session(ctx, s)
	if err != nil {
		return before, fmt.Errorf("%s: session %d: %w", s.name, i+1, err)
	}
	got.Start = time.Date(2026, 1, 1, 8, 0, 0, 0, time.UTC).AddDate(0, 0, i/perDay).Add(time.Duration(i%perDay) * 9 * time.Hour)
	fmt.Fprintf(os.Stderr, "%s: session %d, %.0f s\n", s.name, i+1, got.Took.Seconds())
	return append(slices.Clip(before), got), nil
}

// calm measures n times while nothing happens. The series take turns, so that
// what disturbs this machine for a while disturbs a bit of each.
func (b *bencher) calm(ctx context.Context, n int) (err error) {
	for range n {
		for _, s := range b.series {
			if s.calm, err = b.next(ctx, s, s.calm); err != nil {
				return err
			}
		}
	}
	return nil
}
