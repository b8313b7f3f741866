//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/vpsctl/vpsctl/bench"
	"github.com/vpsctl/vpsctl/bench/stat"
)

const splits = 2000

// nothingHappened judges the calm sessions, after each of them and split at
// random, and tells of every alarm.
func nothingHappened(calm []bench.Session) (table string, wrong error) {
	host := calm[0].Host
	for n := 1; n <= len(calm); n++ {
		r := bench.Judge(map[string][]bench.Session{host: calm[:n]}, bench.Question{})
		for _, f := range r.Findings {
			if f.Verdict == bench.Regressed {
				wrong = errors.Join(wrong, fmt.Errorf("false alarm after session %d: %s %s", n, f.Metric, f.Text))
			}
		}
	}
	c := bench.CheckSelf(host, calm, splits, 1)
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d short sessions on one lab host in which nothing happened, %d of them called a day (days are made up: the sessions\n"+
		"followed each other within minutes), split %d times at random by whole days into a baseline and the sessions that confirm:\n\n",
		len(calm), perDay, splits)
	fmt.Fprintln(&b, "| metric | median | CV of sessions | baseline v confirming | one session > 10 % slower | called a regression | without the screen |")
	fmt.Fprintln(&b, "|---|---|---|---|---|---|---|")
	for _, m := range c.Metrics {
		if m.Splits == 0 {
			fmt.Fprintf(&b, "| %s | %s | %.1f %% | – | – | – | %s |\n", m.Metric, medianText(calm, m.Metric), m.CVPct, m.Note)
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %.1f %% | %d v %d | %.1f %% | %d of %d | %d |\n", m.Metric, medianText(calm, m.Metric), m.CVPct, m.Base, m.Confirm,
			m.SlowPct, m.Alarms, m.Splits, m.Unscreened)
	}
	return b.String(), wrong
}

func medianText(sessions []bench.Session, metric string) string {
	value, unit := medianOf(sessions, metric)
	return fmt.Sprintf("%.4g %s", value, unit)
}

func medianOf(sessions []bench.Session, metric string) (float64, string) {
	var values []float64
	unit := ""
	for _, s := range sessions {
		for _, m := range s.Metrics {
			if m.Name == metric {
				values, unit = append(values, m.Median), m.Unit
			}
		}
	}
	return stat.Median(values), unit
}

// A limit makes the host slow in one respect.
type limit struct {
	name string
	kind string // the probes that must show it
	set  func(context.Context) error
	lift func(context.Context) error
}

// after is a slow session and those that confirm it.
const after = 9

// limits are what the host is slowed by: half of its CPU time and of its line,
// and a tenth of what its disk reads, because a disk may go beyond a limit for
// as long as a short probe takes.
func (b *bencher) limits(calm []bench.Session) []limit {
	disk, _ := medianOf(calm, "disk/read-1m/qd8")
	push, _ := medianOf(calm, linePush)
	disk, push = math.Round(disk/10), math.Round(8*push/2)
	return []limit{
		{fmt.Sprintf("CPU time: %.1f instead of %.1f cores", cores/2, cores), "cpu",
			func(ctx context.Context) error { return b.host.Throttle(ctx, cores/2) },
			func(ctx context.Context) error { return b.host.Throttle(ctx, cores) }},
		{fmt.Sprintf("disk: %.0f MB/s each way", disk), "disk",
			func(ctx context.Context) error { return b.host.ThrottleDisk(ctx, int64(disk*1e6)) },
			func(ctx context.Context) error { return b.host.ThrottleDisk(ctx, 0) }},
		{fmt.Sprintf("line: %.0f Mbit/s each way", push), line,
			func(ctx context.Context) error { return b.host.Rate(ctx, push) },
			func(ctx context.Context) error { return b.host.Rate(ctx, 0) }},
	}
}

// limited measures the host under a limit and tells what the verdict says.
func (b *bencher) limited(ctx context.Context, calm []bench.Session, l limit) (table string, err error) {
	if err := l.set(ctx); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, l.lift(ctx)) }()
	history, err := b.sessions(ctx, l.name, calm, after, []string{l.kind})
	if err != nil {
		return "", err
	}
	r := bench.Judge(map[string][]bench.Session{b.host.Name: history}, bench.Question{Metrics: ofKind(history, l.kind)})
	fmt.Fprintln(os.Stderr, r.Text)
	var t strings.Builder
	fmt.Fprintf(&t, "\n%s, %d sessions:\n\n| metric | verdict | slower by | lower and upper bound | p | since |\n|---|---|---|---|---|---|\n", l.name, after)
	found := 0
	for _, f := range r.Findings {
		if f.Verdict == bench.Regressed {
			found++
		}
		if f.Effect == nil {
			fmt.Fprintf(&t, "| %s | %s | %.0f %% | – | – | – |\n", f.Metric, f.Verdict, f.SlowerPct)
			continue
		}
		fmt.Fprintf(&t, "| %s | %s | %.0f %% | %.0f to %.0f %% | %.1g | session %d |\n", f.Metric, f.Verdict, f.Effect.SlowerPct, f.Effect.LowPct, f.Effect.HighPct,
			f.Effect.P, sessionAt(history, f))
	}
	fmt.Fprintf(&t, "\n> %s\n", r.Text)
	if found == 0 {
		return t.String(), fmt.Errorf("%s: not found: %s", l.name, r.Text)
	}
	return t.String(), nil
}

// ofKind are the metrics of a kind that the newest session has.
func ofKind(history []bench.Session, kind string) []string {
	var out []string
	for _, m := range history[len(history)-1].Metrics {
		if strings.HasPrefix(m.Name, kind+"/") {
			out = append(out, m.Name)
		}
	}
	return out
}

// sessionAt is the number of the session a finding dates a change to.
func sessionAt(history []bench.Session, f bench.Finding) int {
	when := f.Changed
	if when.IsZero() {
		when = f.Since
	}
	for i, s := range history {
		if s.Start.Equal(when) {
			return i + 1
		}
	}
	return 0
}
