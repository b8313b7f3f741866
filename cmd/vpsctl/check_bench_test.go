package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/vpsctl/vpsctl/bench"
	"github.com/vpsctl/vpsctl/report"
)

// TestCheckAgrees: the test results fail where check does, whatever was compared
// and whatever was not, strict or not, and say how much was judged.
func TestCheckAgrees(t *testing.T) {
	v := func(x float64) *float64 { return &x }
	results := func(cpu, read, write *float64) bench.Results {
		return bench.Results{CPU: bench.ResultsCPU{Ops: cpu}, Disk: bench.ResultsDisk{Read: read, Write: write}}
	}
	full := results(v(100), v(100), v(100))
	busy := results(v(100), v(50), v(100))
	busy.Excluded = "busy: load 3"
	for _, c := range []struct {
		name         string
		now, base    bench.Results
		fails        [2]bool // and strictly
		judged, text string
	}{
		{"all right", full, full, [2]bool{false, false}, "3 of 3", "3 OK"},
		{"worse", results(v(100), v(50), v(100)), full, [2]bool{true, true}, "3 of 3", "1 more than 20 % worse: web1 Disk I/O read"},
		{"no CPU now", results(nil, v(100), v(100)), full, [2]bool{false, true}, "2 of 3", "1 cannot be told: web1 CPU Performance"},
		{"half a line", results(v(100), v(100), nil), full, [2]bool{false, true}, "2 of 3", "1 cannot be told: web1 Disk I/O write"},
		{"nothing at all", results(nil, nil, nil), results(nil, nil, nil), [2]bool{false, true}, "0 of 0", ""},
		{"a busy host", busy, full, [2]bool{false, true}, "0 of 3", "3 cannot be told: web1 CPU Performance, web1 Disk I/O read, web1 Disk I/O write"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := checkDoc{Single: true}
			d.take(compareTwo("web1", c.now, c.base, false), c.now.Excluded)
			for i, strict := range []bool{false, true} {
				var b bytes.Buffer
				if err := d.junit(&b, strict); err != nil {
					t.Fatal(err)
				}
				failed := strings.Contains(b.String(), "<failure")
				if exits := d.judge(strict) == exitRegression; exits != c.fails[i] || failed != c.fails[i] {
					t.Errorf("strict %v: check fails: %v, its test results: %v, want %v\n%s", strict, exits, failed, c.fails[i], b.String())
				}
			}
			if got, text := fmt.Sprintf("%d of %d", d.Judged, d.Compared), d.paragraph(); got != c.judged || !strings.HasPrefix(text, got+" figures were judged") || !strings.Contains(text, c.text) {
				t.Errorf("%s judged, want %s: %s", got, c.judged, text)
			}
		})
	}
}

// TestCheckWithout: a host of which nothing is recorded cannot be told.
func TestCheckWithout(t *testing.T) {
	d := checkDoc{Judged: 1, Compared: 1, Without: []string{"web2"}}
	var lax, strict bytes.Buffer
	if err := errors.Join(d.junit(&lax, false), d.junit(&strict, true)); err != nil {
		t.Fatal(err)
	}
	if d.judge(false) != exitDone || d.judge(true) != exitRegression || strings.Contains(lax.String(), "<failure") || !strings.Contains(strict.String(), "<failure") {
		t.Errorf("%s\n%s", lax.String(), strict.String())
	}
}

// TestCheckTells: times are told of with the verdicts on benchmarks, and not
// twice; of many only some by name.
func TestCheckTells(t *testing.T) {
	d := checkDoc{RunID: "20261123-101502-x7k2", Bench: &bench.Report{Text: "1 of 1 metrics on 1 host were judged."}}
	h := report.Regression{Host: "web1"}
	for i := range 9 {
		h.Rows = append(h.Rows, report.RegressionRow{Name: fmt.Sprint("p", i), Verdict: map[bool]string{true: "OK", false: "INCONCLUSIVE"}[i < 2]})
	}
	d.Hosts = append(d.Hosts, h)
	want := "1 of 1 metrics on 1 host were judged. 2 of 9 times of run 20261123-101502-x7k2 were judged, by earlier runs that did the same. " +
		"7 cannot be told: web1 p2, web1 p3, web1 p4, web1 p5, web1 p6 and 2 more. 2 OK."
	if got := d.paragraph(); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
