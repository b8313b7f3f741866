//go:build linux

package lab

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestLineScripts(t *testing.T) {
	clear := "set -e\ntc qdisc del dev l1 root 2>/dev/null || true\ntc -n ns qdisc del dev host0 root 2>/dev/null || true\n"
	if got := (Line{}).qdiscs("l1", "ns"); got != clear {
		t.Errorf("a good line: %q", got)
	}
	got := (Line{Mbit: 100, Delay: 50 * time.Millisecond}).qdiscs("l1", "ns")
	for _, want := range []string{
		"tc qdisc add dev l1 root handle 1: tbf rate 100000000bit burst 50000b latency 200ms\n",
		"tc qdisc add dev l1 parent 1:1 handle 2: netem delay 25000us limit 100000\n",
		"tc -n ns qdisc add dev host0 parent 1:1 handle 2: netem delay 25000us limit 100000\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	if got := (Line{Delay: time.Millisecond}).qdiscs("l1", "ns"); !strings.Contains(got, "tc qdisc add dev l1 root handle 2: netem delay 500us") {
		t.Errorf("delay alone: %q", got)
	}
	if got := (Line{Loss: 2.5}).drops("tab", "l1"); strings.Count(got, "numgen random mod 10000 < 250 counter drop") != 2 {
		t.Errorf("loss: %q", got)
	}
}

func TestLineRefusesNonsense(t *testing.T) {
	h := &Host{Name: "h"} // of no lab: what is not refused panics
	for _, mbit := range []float64{-1, 0.001, math.NaN(), math.Inf(1)} {
		if h.Rate(t.Context(), mbit) == nil {
			t.Errorf("rate %v is taken", mbit)
		}
	}
	for _, percent := range []float64{-1, 101, math.NaN()} {
		if h.Loss(t.Context(), percent) == nil {
			t.Errorf("loss %v is taken", percent)
		}
	}
	for _, l := range []Limits{{CPUs: -1}, {MemoryMB: -1}, {MemoryMB: 10}, {CPUs: 100_000}} {
		if h.Limit(t.Context(), l) == nil {
			t.Errorf("limits %+v are taken", l)
		}
	}
}

func TestStateAgrees(t *testing.T) {
	st := state{Dir: "d"} // as labs wrote it before there were suites
	if err := st.agree(Options{Suite: "trixie", AptCache: true, Limits: Limits{CPUs: 1}}); err != nil || !st.AptCache || st.Limits.CPUs != 1 {
		t.Errorf("%+v, %v", st, err)
	}
	if err := st.agree(Options{}); err != nil || !st.AptCache || st.Limits.CPUs != 1 {
		t.Errorf("no wishes change it: %+v, %v", st, err)
	}
	for _, opt := range []Options{{Suite: "noble"}, {IPv6Only: true}} {
		if err := st.agree(opt); err == nil {
			t.Errorf("%+v is agreed to", opt)
		}
	}
}

func TestSourcesOfOtherSuites(t *testing.T) {
	got := recipes["noble"].sourcesLike("Debian|Debian|http://d/\nUbuntu|Ubuntu|http://u/\n")
	want := "deb http://u/ noble main universe\ndeb http://u/ noble-updates main universe\n"
	if len(got) != 1 || got[0] != want {
		t.Errorf("got %q, want %q", got, want)
	}
	seen := make(map[string]bool)
	for _, r := range recipes {
		if seen[r.prefix()] {
			t.Errorf("%s shares its bases with another suite", r.suite)
		}
		seen[r.prefix()] = true
	}
}
