//go:build linux

package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// goal is what a case may take at most: times the floor's, or seconds.
type goal struct {
	name  string
	floor string
	ratio float64
	limit time.Duration
}

var goals = []goal{
	{ping, floorTrue, 1.15, 0},
	{execTrue, floorTrue, 1.1, 0},
	{pushFile, scpFile, 1.2, 0},
	{tenRun, floorTen, 1.5, 0},
	{tenTyped, floorTen, 1.5, 0},
	{firstRun, "", 0, 2500 * time.Millisecond},
}

const (
	memoryGoal = 40 << 20
	cpuGoal    = 300 * time.Millisecond
)

// table is the page's part that was measured.
func (b *bencher) table(rounds int) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s\n\n", where(len(b.addrs), rounds))
	s.WriteString("| what | median | least to most | goal | reached |\n|---|---|---|---|---|\n")
	for _, f := range []string{floorTrue, floorTen, scpFile} {
		fmt.Fprintf(&s, "| %s | %s | %s | | |\n", f, seconds(median(b.walls(f))), span(b.walls(f)))
	}
	for _, g := range goals {
		m := median(b.walls(g.name))
		want, reached, ok := b.judge(g, m)
		fmt.Fprintf(&s, "| %s | %s | %s | %s | %s |\n", g.name, seconds(m), span(b.walls(g.name)), want, verdict(reached, ok))
	}
	for _, name := range []string{floorTrue, ping, execTrue, scpFile, pushFile, floorTen, tenRun, tenTyped, firstRun} {
		fmt.Fprintf(&s, "| CPU of all hosts together, %s | %s | | | |\n", name, seconds(median(pick(b.got[name], func(u usage) time.Duration { return u.Hosts }))))
	}
	for _, name := range []string{ping, tenRun, firstRun} {
		cpu, mem := median(pick(b.got[name], func(u usage) time.Duration { return u.CPU })), b.memory(name)
		fmt.Fprintf(&s, "| CPU of vpsctl, %s | %s | | at most %s | %s |\n", name, seconds(cpu), seconds(cpuGoal), verdict("", cpu <= cpuGoal))
		fmt.Fprintf(&s, "| peak memory of vpsctl, %s | %.1f MiB | | at most %d MiB | %s |\n", name, float64(mem)/(1<<20), memoryGoal>>20, verdict("", mem <= memoryGoal))
	}
	return s.String()
}

func (b *bencher) judge(g goal, m time.Duration) (want, reached string, ok bool) {
	if g.floor == "" {
		return "at most " + seconds(g.limit), "", m <= g.limit
	}
	ratio := float64(m) / float64(median(b.walls(g.floor)))
	return fmt.Sprintf("at most %.2f × floor", g.ratio), fmt.Sprintf("%.2f × floor", ratio), ratio <= g.ratio
}

func verdict(reached string, ok bool) string {
	return strings.TrimPrefix(reached+map[bool]string{true: ", yes", false: ", **no**"}[ok], ", ")
}

func (b *bencher) walls(name string) []time.Duration {
	return pick(b.got[name], func(u usage) time.Duration { return u.Wall })
}

func (b *bencher) memory(name string) int64 {
	return int64(median(pick(b.got[name], func(u usage) time.Duration { return time.Duration(u.Memory) })))
}

func pick(us []usage, of func(usage) time.Duration) []time.Duration {
	out := make([]time.Duration, len(us))
	for i, u := range us {
		out[i] = of(u)
	}
	return out
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	if len(d) == 0 {
		return 0
	}
	return (d[len(d)/2] + d[(len(d)-1)/2]) / 2
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func span(d []time.Duration) string {
	return fmt.Sprintf("%.2f to %.2f", slices.Min(d).Seconds(), slices.Max(d).Seconds())
}

// where says on what machine and when the figures were taken.
func where(hosts, rounds int) string {
	var u syscall.Utsname
	_ = syscall.Uname(&u)
	return fmt.Sprintf("Taken on %s, %d cores of %s, Linux %s, %s, with %d lab hosts on the same machine; medians of %d interleaved rounds.",
		time.Now().UTC().Format("2 January 2006"), runtime.NumCPU(), cpuModel(), text(u.Release[:]), runtime.Version(), hosts, rounds)
}

func text(c []int8) string {
	var b strings.Builder
	for _, v := range c {
		if v == 0 {
			break
		}
		b.WriteByte(byte(v))
	}
	return b.String()
}

func cpuModel() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if key, model, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(model)
		}
	}
	return "an unnamed CPU"
}
