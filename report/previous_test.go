package report

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vpsctl/vpsctl/payload/wire"
)

func perf(id, status, rule string, sec float64, phases ...PerfPhase) PerformanceReport {
	p := PerformanceReport{Schema: Schema, RunID: id, Host: "web1", Status: status, Hardware: PerfHardware{Tier: "small"}, Phases: phases}
	p.Summary.TotalDurationSec, p.Summary.TargetRule = sec, rule
	return p
}

func phaseOf(name string, sec float64, changed int) PerfPhase {
	return PerfPhase{Name: name, Status: "changed", DurationSec: sec, Changed: changed}
}

func TestCompare(t *testing.T) {
	before := perf("20261122-000000-aaaa", "changed", "partial", 100, phaseOf("a", 10, 1), phaseOf("b", 10, 1), phaseOf("c", 0.1, 1), phaseOf("d", 10, 1), phaseOf("e", 10, 0))
	now := perf("20261123-000000-aaaa", "changed", "partial", 120, phaseOf("a", 12.1, 1), phaseOf("b", 8, 1), phaseOf("c", 0.9, 1), phaseOf("d", 15.1, 1), phaseOf("e", 30, 2))
	r := Compare(&now, &before)
	var got []string
	for _, p := range append([]PerfChange{r.Total}, r.Phases...) {
		got = append(got, p.Name+" "+p.Class)
	}
	if want := "total acceptable, a warning, b improved, c acceptable, d critical, e "; strings.Join(got, ", ") != want || !r.Detected {
		t.Errorf("%v %v, want %s", got, r.Detected, want)
	}
	now.Status = "failed"
	if r := Compare(&now, &before); r.Total.Class != "" || r.Total.Reason == "" {
		t.Errorf("the total of a failed run: %+v", r.Total)
	}
}

// The run before is the latest earlier provision of the host that did the same.
func TestPreviousRun(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	now := perf("20261123-000000-aaaa", "changed", "partial", 50, phaseOf("a", 50, 1))
	put := func(id, verb string, p PerformanceReport) {
		d := create(t, s, Run{ID: id, Verb: verb, Hosts: []HostRun{{Host: "web1"}}})
		p.RunID = id
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(d.HostDir("web1"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d.HostDir("web1"), reportFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
		closed(t, d)
	}
	want := ""
	check := func() {
		t.Helper()
		got := ""
		if r := s.previous(&now); r != nil {
			got = r.Against
		}
		if got != want {
			t.Errorf("compared with %q, want %q", got, want)
		}
	}
	check()
	put("20261120-000000-aaaa", "provision", now)
	want = "20261120-000000-aaaa"
	check()
	put("20261120-000001-aaaa", "provision", now)
	want = "20261120-000001-aaaa"
	check()
	put("20261121-000000-aaaa", "rollback", now)
	put("20261121-000001-aaaa", "provision", perf("", "failed", "partial", 50, phaseOf("a", 50, 1)))
	put("20261121-000002-aaaa", "provision", perf("", "changed", "partial", 50, phaseOf("a", 50, 1), phaseOf("b", 50, 1)))
	put("20261121-000003-aaaa", "provision", perf("", "changed", "partial", 50, phaseOf("b", 50, 1)))
	put("20261121-000004-aaaa", "provision", perf("", "ok", "rerun", 50, phaseOf("a", 50, 0)))
	put("20261124-000000-aaaa", "provision", now)
	check()
}

// A record of the first release stays readable, and says what it said then.
func TestRecordOfTheFirstRelease(t *testing.T) {
	const id = "20261123-231759-zekw"
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "record-v0.1"))); err != nil {
		t.Fatal(err)
	}
	d, err := Store{Dir: dir}.Open(id)
	if err != nil {
		t.Fatal(err)
	}
	r := d.Load()
	closed(t, d)
	if h := r.Hosts[0]; h.Problem != "" || h.Record.End == nil || h.Record.Strange != 0 || h.Record.Dropped != 0 || h.Record.End.Status != wire.Changed || len(h.Record.Curves.Slots) < 5 {
		t.Errorf("%+v %s", h.Verdict, h.Problem)
	}
	for name, write := range writers() {
		var b bytes.Buffer
		if err := write(&b, r); err != nil || !strings.Contains(b.String(), "verification") {
			t.Errorf("%s: %v: %s", name, err, b.String())
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "runs", id, "web1", reportFile))
	if err != nil {
		t.Fatal(err)
	}
	validate(t, "performance-report", json.RawMessage(text))
	var was, is any
	now, err := r.Hosts[0].Performance().JSON()
	if err != nil || json.Unmarshal(text, &was) != nil || json.Unmarshal(now, &is) != nil {
		t.Fatal(err)
	}
	stillSays(t, "", was, is)
}

// stillSays fails where a document of then says something the one of now does
// not; new fields are fine.
func stillSays(t *testing.T, at string, was, is any) {
	t.Helper()
	switch w := was.(type) {
	case map[string]any:
		i, _ := is.(map[string]any)
		for k, v := range w {
			stillSays(t, at+"."+k, v, i[k])
		}
	case []any:
		i, _ := is.([]any)
		if len(i) != len(w) {
			t.Errorf("%s: %d, was %d", at, len(i), len(w))
			return
		}
		for n := range w {
			stillSays(t, at+"[]", w[n], i[n])
		}
	default:
		if was != is {
			t.Errorf("%s: %v, was %v", at, is, was)
		}
	}
}
