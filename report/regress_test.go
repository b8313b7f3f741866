package report

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// provisioned is the report of a run whose phases took so many seconds, one
// after the other, each having changed something unless negative.
func provisioned(id string, secs ...float64) PerformanceReport {
	p := PerformanceReport{Schema: Schema, Host: "web1", RunID: id, Status: "changed",
		Hardware: PerfHardware{CPUCores: 2, RAMMB: 3900, Tier: "standard", CPUModel: "x", Arch: "amd64", Virt: "kvm"}}
	p.Summary.TargetRule = "partial"
	for i, s := range secs {
		ph := PerfPhase{Name: string(rune('a' + i)), Status: "changed", Changed: 1, DurationSec: s}
		if s < 0 {
			ph.DurationSec, ph.Status, ph.Changed = -s, "ok", 0
		}
		p.Summary.TotalDurationSec += ph.DurationSec
		p.Phases = append(p.Phases, ph)
	}
	return p
}

func rowOf(t *testing.T, r Regression, name string) RegressionRow {
	t.Helper()
	for _, row := range r.Rows {
		if row.Name == name {
			return row
		}
	}
	t.Fatalf("no row %s in %+v", name, r)
	return RegressionRow{}
}

// T139: more than 20 % slower is found, to the edge; the lines are the guide's.
func TestT139Edges(t *testing.T) {
	for _, c := range []struct {
		before, now float64
		line        string
		regressed   bool
	}{
		{100, 85, "Total Time: -15% variance (improved)", false},
		{100, 100, "Total Time: +0% variance (acceptable)", false},
		{100, 120, "Total Time: +20% variance (acceptable)", false},
		{1000, 1200.1, "Total Time: +20.1% variance (REGRESSION DETECTED!)", true},
		{100, 125, "Total Time: +25% variance (REGRESSION DETECTED!)", true},
		{100, 150, "Total Time: +50% variance (REGRESSION DETECTED!)", true},
		{100, 200, "Total Time: +100% variance (REGRESSION DETECTED!)", true},
		{0.1, 0.9, "Total Time: +800% variance (acceptable)", false}, // eight tenths of a second are no finding
	} {
		row := rowOf(t, Regress(provisioned("r2", c.now), []PerformanceReport{provisioned("r1", c.before)}), Total)
		if !strings.HasPrefix(row.Line(), c.line) || row.Regressed != c.regressed {
			t.Errorf("%g after %g: %s, regressed %v", c.now, c.before, row.Line(), row.Regressed)
		}
	}
}

func TestRegressComparesAlike(t *testing.T) {
	now := provisioned("now", 30, 40)
	other := provisioned("other machine", 10, 10)
	other.Hardware.CPUModel = "y"
	kernel := provisioned("other kernel", 29, 39)
	kernel.Hardware.Kernel = "6.13"
	failed := provisioned("failed", 28, 12)
	failed.Status, failed.Phases[1].Status = "failed", "failed"
	r := Regress(now, []PerformanceReport{other, kernel, provisioned("nothing to do", -1, -1), failed, provisioned("half", 30)})
	if r.Unlike != 1 || len(r.Baseline) != 4 {
		t.Errorf("baseline %v, %d unlike", r.Baseline, r.Unlike)
	}
	for name, runs := range map[string]int{Total: 1, "a": 3, "b": 1} {
		if row := rowOf(t, r, name); row.Runs != runs || row.Regressed {
			t.Errorf("%s: %+v, want %d runs", name, row, runs)
		}
	}
	first := Regress(now, nil)
	if row := rowOf(t, first, Total); row.ChangePct != nil || row.Class != "" || row.Regressed || row.Verdict != "INCONCLUSIVE" {
		t.Errorf("without a baseline: %+v", row)
	}
	failedNow := Regress(failed, []PerformanceReport{now})
	if len(failedNow.Rows) != 1 || failedNow.Rows[0].Name != "a" {
		t.Errorf("of a failed run only what was done is compared: %+v", failedNow.Rows)
	}
}

// Within the spread of what has been is no finding; the median is the baseline.
func TestRegressSpread(t *testing.T) {
	earlier := []PerformanceReport{provisioned("r3", 100), provisioned("r2", 180), provisioned("r1", 90)}
	if row := rowOf(t, Regress(provisioned("now", 170), earlier), Total); row.Regressed || *row.BaselineSec != 100 || !strings.Contains(row.Note, "spread of 3") {
		t.Errorf("%+v", row)
	}
	if row := rowOf(t, Regress(provisioned("now", 181), earlier), Total); !row.Regressed {
		t.Errorf("%+v", row)
	}
}

// History says OK of what is not slower, with enough runs, and never calls one
// slow run a regression.
func TestRegressVerdict(t *testing.T) {
	var earlier []PerformanceReport
	for i := range 30 {
		earlier = append(earlier, provisioned(fmt.Sprintf("r%d", i), 100+float64(i%3)))
	}
	for _, c := range []struct {
		runs    int
		now     float64
		verdict string
		note    string
	}{{11, 100, "INCONCLUSIVE", "12 are needed"}, {12, 100, "OK", ""}, {30, 110, "OK", ""}, {30, 112, "INCONCLUSIVE", "slow now"}, {30, 300, "INCONCLUSIVE", "slow now"}} {
		r := Regress(provisioned("now", c.now), earlier[:c.runs])
		row := rowOf(t, r, Total)
		if row.Verdict != c.verdict || !strings.Contains(row.Note, c.note) || len(r.Baseline) != min(c.runs, maxBaseline) {
			t.Errorf("%d runs, %g s: %+v", c.runs, c.now, row)
		}
	}
}

// The baseline is found in the store: complete provisioning runs of the host,
// older than this one, newest first.
func TestEarlier(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	add := func(id, verb string, done bool) {
		d := create(t, s, Run{ID: id, Verb: verb, Hosts: []HostRun{{Host: "web1"}}})
		w, err := d.Host("web1")
		if err != nil {
			t.Fatal(err)
		}
		start := wire.Event{N: 1, Kind: wire.KindStart, Start: &wire.Start{RunID: id, Wall: time.Now()}}
		line, err := wire.Encode(&start)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Append(line, &start); err != nil {
			t.Fatal(err)
		}
		if err := w.Finish(); err != nil {
			t.Fatal(err)
		}
		if done {
			if err := d.Update(func(r *Run) { r.Finished = time.Now() }); err != nil {
				t.Fatal(err)
			}
		}
		closed(t, d)
	}
	add("20261101-101502-aaaa", "provision", true)
	add("20261102-101502-bbbb", "provision", true)
	add("20261103-101502-cccc", "run", true)
	add("20261104-101502-dddd", "provision", false)
	add("20261105-101502-eeee", "provision", true)
	got, err := s.Earlier("20261105-101502-eeee", "web1")
	if err != nil || len(got) != 2 || got[0].RunID != "20261102-101502-bbbb" || got[1].RunID != "20261101-101502-aaaa" {
		t.Errorf("%v %+v", err, got)
	}
	if got, err := s.Earlier("20261105-101502-eeee", "web2"); err != nil || len(got) != 0 {
		t.Errorf("of another host: %v %+v", err, got)
	}
}
