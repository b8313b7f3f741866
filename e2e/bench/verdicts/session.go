//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/bench"
	"github.com/vpsctl/vpsctl/bench/stat"
)

// The kinds of what is measured. A line is measured by a copy over it.
const (
	line      = "line"
	linePush  = "line/push"
	pushBytes = 64 << 20
)

var all = []string{"cpu", "memory", "disk", line}

// session is one short visit to the host, as a user makes it, inside of the
// host's limits.
func (b *bencher) session(ctx context.Context, kinds []string) (bench.Session, error) {
	limit, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	args := []string{"--quick", "--yes", "--each", b.each.String(), "--quiet-wait", "0s"}
	for _, k := range kinds {
		if k != line {
			args = append(args, "--only", k)
		}
	}
	if len(args) == 6 {
		args = append(args, "--only", "cpu") // a session needs some probe
	}
	if _, err := b.run(limit, "bench", append([]string{"run"}, args...)...); err != nil {
		return bench.Session{}, err
	}
	history, _, err := bench.Store{Dir: filepath.Join(b.dir, "vpsctl", "bench")}.History(b.host.Name)
	if err != nil || len(history) == 0 {
		return bench.Session{}, fmt.Errorf("no session was kept: %w", err)
	}
	s := history[len(history)-1]
	s.Excluded = "" // whatever else runs on this machine, nothing of it is known to be there in one phase only
	if strings.Contains(strings.Join(kinds, " "), line) {
		m, err := b.push(limit)
		if err != nil {
			return s, err
		}
		s.Metrics = append(s.Metrics, m)
	}
	return s, nil
}

// push copies a file to the host three times.
func (b *bencher) push(ctx context.Context) (bench.Metric, error) {
	m := bench.Metric{Name: linePush, Unit: "MB/s", Better: bench.Higher}
	file := filepath.Join(b.dir, "pushed")
	if _, err := os.Stat(file); err != nil {
		if err := os.WriteFile(file, make([]byte, pushBytes), 0o600); err != nil {
			return m, err
		}
	}
	for range 3 {
		began := time.Now()
		if _, err := b.run(ctx, "push", file, "/run/pushed"); err != nil {
			return m, err
		}
		m.Values = append(m.Values, pushBytes/1e6/time.Since(began).Seconds())
	}
	m.Median = stat.Median(m.Values)
	return m, nil
}
