//go:build linux

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/bench"
	"github.com/vpsctl/vpsctl/bench/stat"
)

const splits = 2000

// intro says what was done, and what was not.
func (b *bencher) intro(n int, took time.Duration) string {
	return fmt.Sprintf("Taken on %s within %.0f minutes: two lab hosts; the measured one has %.1f cores of CPU time while that is measured (%.1f otherwise), a\n"+
		"disk of %d MB/s and a line of %d Mbit/s, each way, as a rented host has its plan's. **The days are simulated**: %d sessions of each kind followed each\n"+
		"other within minutes and were dated two a day. Good and bad days of a real host are not in these figures.\n",
		time.Now().Format("2 January 2006"), took.Minutes(), cpuCores, restCores, diskRate, lineRate, n)
}

// nothingHappened judges the calm sessions, after each of them, by `vpsctl
// check` at the end, and split at random, and tells of every alarm.
func (b *bencher) nothingHappened(ctx context.Context) (table string, wrong error) {
	var t strings.Builder
	fmt.Fprintf(&t, "\n**Nothing happened.** `vpsctl check`, and %d random splits of the sessions by whole days into a baseline and those that confirm:\n\n", splits)
	fmt.Fprintln(&t, "| metric | median | CV of sessions | baseline v confirming | one session > 10 % slower | called a regression | without the screen | `vpsctl check` |")
	fmt.Fprintln(&t, "|---|---|---|---|---|---|---|---|")
	for _, s := range b.series {
		alarm := func(when string, r bench.Report) map[string]bench.Word {
			words := map[string]bench.Word{}
			for _, f := range r.Findings {
				words[f.Metric] = f.Verdict
				if f.Verdict == bench.Regressed {
					wrong = errors.Join(wrong, fmt.Errorf("false alarm %s: %s %s", when, f.Metric, f.Text))
				}
			}
			return words
		}
		for n := 1; n <= len(s.calm); n++ {
			alarm(fmt.Sprintf("after session %d", n), bench.Judge(map[string][]bench.Session{b.host.Name: s.calm[:n]}, bench.Question{}))
		}
		r, err := b.check(ctx, s.calm)
		if err != nil {
			return "", errors.Join(wrong, err)
		}
		words := alarm("of vpsctl check", r)
		for _, m := range bench.CheckSelf(b.host.Name, s.calm, time.Time{}, splits, 1).Metrics {
			fmt.Fprintln(&t, splitRow(s.calm, m, words[m.Metric]))
		}
	}
	return t.String(), wrong
}

func splitRow(calm []bench.Session, m bench.SplitCheck, word bench.Word) string {
	value, unit := medianOf(calm, m.Metric)
	head := fmt.Sprintf("| %s | %.4g %s | %.1f %% |", m.Metric, value, unit, m.CVPct)
	if m.Splits == 0 {
		return head + fmt.Sprintf(" – | – | – | %s | %s |", m.Note, word)
	}
	return head + fmt.Sprintf(" %d v %d | %.1f %% | %d of %d | %d | %s |", m.Base, m.Confirm, m.SlowPct, m.Alarms, m.Splits, m.Unscreened, word)
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
	of   *series
	must []string // one of these has to be found and named
	set  func(context.Context) error
	lift func(context.Context) error
}

// after is a slow session and those that confirm it, and some more: a session
// that was slow by chance just before has the first look taken too early.
const after = 12

// limits are half of each thing that the host has.
func (b *bencher) limits() []limit {
	cpu := func(n float64) func(context.Context) error { // it acts with the next session
		return func(context.Context) error { b.series[0].cores = n; return nil }
	}
	disk := func(mb int64) func(context.Context) error {
		return func(ctx context.Context) error { return b.host.ThrottleDisk(ctx, mb*1e6) }
	}
	line := func(mbit float64) func(context.Context) error {
		return func(ctx context.Context) error { return b.host.Rate(ctx, mbit) }
	}
	peer := "net/peer/" + b.lab.Hosts[1].Name + "/"
	return []limit{
		{fmt.Sprintf("CPU time: %.2f instead of %.2f cores", cpuCores/2, cpuCores), b.series[0], []string{"cpu/sha256/1", "cpu/sha256/all"}, cpu(cpuCores / 2), cpu(cpuCores)},
		{fmt.Sprintf("disk: %d instead of %d MB/s", diskRate/2, diskRate), b.series[1], []string{"disk/read-1m/qd8", "disk/write-1m/qd8"}, disk(diskRate / 2), disk(diskRate)},
		{fmt.Sprintf("line: %d instead of %d Mbit/s", lineRate/2, lineRate), b.series[2], []string{peer + "up/8", peer + "down/8"}, line(lineRate / 2), line(lineRate)},
	}
}

// limited measures the host under a limit and tells what `vpsctl check` says.
func (b *bencher) limited(ctx context.Context, l limit) (table string, err error) {
	if err := l.set(ctx); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, l.lift(context.WithoutCancel(ctx))) }()
	fmt.Fprintln(os.Stderr, l.name)
	history := l.of.calm
	for range after {
		if history, err = b.next(ctx, l.of, history); err != nil {
			return "", err
		}
	}
	r, err := b.check(ctx, history)
	if err != nil {
		return "", err
	}
	var t strings.Builder
	fmt.Fprintf(&t, "\n**%s**, found from %d sessions after %d:\n\n| metric | verdict | slower by | lower and upper bound | p | since |\n|---|---|---|---|---|---|\n", l.name, after, len(l.of.calm))
	for _, f := range r.Findings {
		fmt.Fprintln(&t, findingRow(history, f))
	}
	for _, f := range r.Findings {
		if f.Verdict == bench.Regressed {
			fmt.Fprintf(&t, "\n> %s %s: %s: %s\n", f.Host, f.Metric, f.Verdict, f.Text)
		}
	}
	return t.String(), l.named(r)
}

func findingRow(history []bench.Session, f bench.Finding) string {
	e := f.Effect
	if e == nil {
		return fmt.Sprintf("| %s | %s | %.0f %% | – | – | – |", f.Metric, f.Verdict, f.SlowerPct)
	}
	return fmt.Sprintf("| %s | %s | %.0f %% | %.0f to %.0f %% | %.1g | session %d |", f.Metric, f.Verdict, e.SlowerPct, e.LowPct, e.HighPct, e.P, sessionAt(history, f))
}

// named tells when nothing of what must be found was.
func (l limit) named(r bench.Report) (wrong error) {
	for _, f := range r.Findings {
		if !slices.Contains(l.must, f.Metric) {
			continue
		}
		if f.Verdict == bench.Regressed {
			return nil
		}
		wrong = errors.Join(wrong, fmt.Errorf("%s: %s: %q: %s", l.name, f.Metric, f.Verdict, f.Text))
	}
	return cmp.Or(wrong, fmt.Errorf("%s: %q were not measured", l.name, l.must))
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
