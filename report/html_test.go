package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// comparedReport is testReport with an earlier run that was quicker, and with
// what dpkg said.
func comparedReport(t testing.TB) *Report {
	t.Helper()
	r := testReport(t)
	h := &r.Hosts[0]
	h.Record.Apply(&wire.Event{N: 1e6, Kind: wire.KindOutput, Phase: "system-prep", Step: "system-prep/packages", Output: &wire.Output{Stream: "stdout",
		Text: "Setting up jq (1.7.1-6) ...\nnot Setting up this (1) ...\nSetting up git (1:2.47.3-0+deb13u1) ...\nSetting up x (1)\nSetting up y z (1) ...\n"}})
	now := Performance(h.Record)
	before := Performance(h.Record)
	before.RunID, before.Timestamp, before.Phases = "20261122-101502-aaaa", "2026-11-22T10:17:02Z", append([]PerfPhase(nil), before.Phases...)
	before.Phases[0].DurationSec = 20
	h.Regression = Compare(&now, &before)
	return r
}

const evil = "<script>alert('pwned')</script></style><img src=x onerror=alert(1)>\u202e\u2066\x1b]0;pwned\x07\"'{{.}}=cmd|'/c calc'!A0"

// hostileReport is what a host says that wants to be more than a row.
func hostileReport(t testing.TB) *Report {
	t.Helper()
	rec := NewHostRecord(testRun, "web1", Limits{})
	phase := wire.PhaseHead{ID: evil, Title: evil, Steps: []string{evil, "b"}, Target: wire.Target{Standard: time.Second}}
	id := evil + "/" + evil
	facts := wire.Facts{OSName: evil, Kernel: evil, CPUModel: evil, Virt: evil, Arch: evil, Cores: 1, MemoryMB: 2000}
	f := 1e300
	for i, e := range []wire.Event{
		{Kind: wire.KindStart, Start: &wire.Start{Verb: evil, Wall: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Facts: facts, Phases: []wire.PhaseHead{phase, {ID: "verification", Steps: []string{evil}}}}},
		{Kind: wire.KindPhase, Phase: evil, T: 1e9}, {Kind: wire.KindStep, Step: id, T: 1e9},
		{Kind: wire.KindOutput, Step: id, Output: &wire.Output{Text: "Setting up <script>alert(2)</script> (1\"onclick=x) ...\nSetting up <b> (</table>) ...\n"}},
		{Kind: wire.KindWait, Step: id, T: 2e9, Wait: &wire.Wait{For: evil, Holder: evil}},
		{Kind: wire.KindSample, T: 3e9, Sample: &wire.Sample{CPUPct: 1e99, MemUsedMB: 1 << 40, DiskWritMBs: &f, Running: []string{evil}}},
		{Kind: wire.KindSample, T: 9e9, Sample: &wire.Sample{CPUPct: 99, DiskWritMBs: &f}},
		{Kind: wire.KindNote, T: 9e9, Note: &wire.Note{Level: evil, Text: evil, Hint: evil}},
		{Kind: wire.KindStepEnd, Step: id, T: 1e10, StepEnd: &wire.StepEnd{Status: wire.Status(evil), Reason: evil, Stderr: evil + "\n]]>\ufffe\u0001", Hint: evil, Created: evil}},
		{Kind: wire.KindPhaseEnd, Phase: evil, T: 1e10, PhaseEnd: &wire.PhaseEnd{Status: wire.Failed, Reason: evil, Cost: wire.Figures{CPUMethod: evil, CPUSec: 1e300}}},
		{Kind: wire.KindEnd, T: 2e10, End: &wire.End{Status: wire.Failed, Stage: evil, Reason: evil, Hint: evil}},
	} {
		e.N = int64(i + 1)
		rec.Apply(&e)
	}
	run := Run{Schema: Schema, ID: testRun, Verb: evil, Version: evil, Hosts: []HostRun{{Host: "web1", Address: evil}, {Host: "web2", Error: &HostError{Kind: Unreachable, Stage: evil, Message: evil, Hint: evil}}}}
	r := NewReport(run, "d", []*HostRecord{rec, nil})
	now := Performance(rec)
	r.Hosts[0].Regression = Compare(&now, &now)
	r.Hosts[0].Problem = cleanLine(evil)
	return r
}

// What hosts say is text wherever it is written.
func TestHostileWordsStayWords(t *testing.T) {
	r := hostileReport(t)
	for name, write := range writers() {
		var b bytes.Buffer
		if err := write(&b, r); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text := b.String()
		for _, bad := range []string{"\u202e", "\u2066", "\x1b", "\x07"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s: %q got through", name, bad)
			}
		}
		switch name {
		case "html":
			for _, bad := range []string{"<script", "<img", "onclick=x", "<b>", "ZgotmplZ", "NaN", "Inf"} {
				if strings.Contains(strings.ReplaceAll(text, "&#34;onclick=x", ""), bad) {
					t.Errorf("html: %q is in the page", bad)
				}
			}
			if n := strings.Count(text, "</style>"); n != 1 {
				t.Errorf("html: %d ends of style", n)
			}
		case "junit":
			if strings.Contains(text, "\ufffe") {
				t.Error("junit: XML does not allow U+FFFE")
			}
			if err := xml.Unmarshal(b.Bytes(), new(TestSuites)); err != nil {
				t.Errorf("junit: %v", err)
			}
		case "openmetrics":
			checkMetrics(t, b.Bytes())
		}
	}
}

func writers() map[string]func(*bytes.Buffer, *Report) error {
	return map[string]func(*bytes.Buffer, *Report) error{
		"html":        func(b *bytes.Buffer, r *Report) error { return HTML(b, r) },
		"junit":       func(b *bytes.Buffer, r *Report) error { return JUnit(b, r) },
		"openmetrics": func(b *bytes.Buffer, r *Report) error { return OpenMetrics(b, r) },
		"csv":         func(b *bytes.Buffer, r *Report) error { return CSV(b, r) },
		"text":        func(b *bytes.Buffer, r *Report) error { return Text(b, r, TextOptions{}) },
	}
}

func TestFormatsGolden(t *testing.T) {
	for name, file := range map[string]string{"html": "report.html", "junit": "junit.xml", "openmetrics": "metrics.txt"} {
		var b bytes.Buffer
		if err := writers()[name](&b, comparedReport(t)); err != nil {
			t.Fatal(err)
		}
		golden(t, file, b.Bytes())
	}
}

// Half a run, and a run of which nothing is known, have a page too.
func TestPageOfEveryHalf(t *testing.T) {
	events := journal(t, "web1.jsonl")
	for n := range events {
		half := NewReport(Run{ID: testRun, Hosts: []HostRun{{Host: "web1"}}}, "d", []*HostRecord{foldAll("web1", events[:n])})
		for name, write := range writers() {
			if err := write(new(bytes.Buffer), half); err != nil {
				t.Fatalf("%s after %d events: %v", name, n, err)
			}
		}
	}
}

func TestMetricsPassPromtool(t *testing.T) {
	var b bytes.Buffer
	if err := OpenMetrics(&b, testReport(t)); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(b.String(), "\n# EOF\n") {
		t.Error("no end is marked")
	}
	checkMetrics(t, b.Bytes())
}

// checkMetrics asks promtool, where it is installed, and sees that every family
// comes once and in one piece.
func checkMetrics(t *testing.T, text []byte) {
	t.Helper()
	seen, now := map[string]bool{}, ""
	for _, line := range strings.Split(string(text), "\n") {
		if name, ok := strings.CutPrefix(line, "# HELP "); ok {
			if now, _, _ = strings.Cut(name, " "); seen[now] {
				t.Errorf("%s comes twice", now)
			}
			seen[now] = true
		} else if line != "" && line[0] != '#' && !strings.HasPrefix(line, now+"{") && !strings.HasPrefix(line, now+" ") {
			t.Errorf("%s stands below %s", line, now)
		}
	}
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Log("promtool is not installed: apt-get install prometheus")
		return
	}
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin = bytes.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		span time.Duration
		want string
	}{{48 * time.Millisecond, "0 10ms 20ms 30ms 40ms"}, {10 * time.Second, "0 2s 4s 6s 8s 10s"}, {90 * time.Second, "0 15s 30s 45s 1m 1m15s 1m30s"},
		{time.Hour, "0 10m 20m 30m 40m 50m 1h"}, {9 * time.Hour, "0 2h 4h 6h 8h"}, {0, ""}} {
		var got []string
		for _, m := range (axis{0, c.span}).ticks() {
			got = append(got, m.Text)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%v: %v, want %s", c.span, got, c.want)
		}
	}
	if n := len(axis{0, maxT}.ticks()); n == 0 || n > 7 {
		t.Errorf("%d ticks", n)
	}
}

// largeFleet is a record of 100 hosts that were sampled each second for an hour.
func largeFleet(t testing.TB) Store {
	t.Helper()
	s := Store{Dir: t.TempDir()}
	run := Run{ID: testRun, Verb: "provision", Started: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC), Finished: time.Date(2026, 11, 23, 11, 0, 0, 0, time.UTC)}
	for i := range 100 {
		run.Hosts = append(run.Hosts, HostRun{Host: fmt.Sprintf("web%d", i+1), Address: fmt.Sprintf("203.0.113.%d", i)})
	}
	d, err := s.Create(run)
	if err != nil {
		t.Fatal(err)
	}
	for i, h := range run.Hosts {
		dir := d.HostDir(h.Host)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, eventsFile), largeJournal(t, uint64(i)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

func largeJournal(t testing.TB, seed uint64) []byte {
	var b bytes.Buffer
	n := int64(0)
	put := func(at time.Duration, e wire.Event) {
		n++
		e.N, e.T = n, int64(at)
		line, err := wire.Encode(&e)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(line)
	}
	start := wire.Start{Wire: 1, Verb: "provision", Wall: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC), Interval: time.Second, Facts: wire.Facts{OSName: "Debian GNU/Linux 13 (trixie)", Cores: 2, MemoryMB: 3911, DiskMB: 60000}}
	for p := range 10 {
		head := wire.PhaseHead{ID: fmt.Sprintf("phase-%d", p), Title: "A phase", Target: wire.Target{Standard: 300 * time.Second}}
		for s := range 10 {
			head.Steps = append(head.Steps, fmt.Sprintf("step-%d", s))
		}
		start.Phases = append(start.Phases, head)
	}
	put(0, wire.Event{Kind: wire.KindStart, Start: &start})
	noise := seed*7919 + 1
	random := func() float64 {
		noise = noise*6364136223846793005 + 1442695040888963407
		return float64(noise>>40) / (1 << 24)
	}
	for sec := range 3600 {
		at := time.Duration(sec) * time.Second
		phase, step := fmt.Sprintf("phase-%d", sec/360), fmt.Sprintf("phase-%d/step-%d", sec/360, sec%360/36)
		if sec%360 == 0 {
			put(at, wire.Event{Kind: wire.KindPhase, Phase: phase})
		}
		if sec%36 == 0 {
			put(at, wire.Event{Kind: wire.KindStep, Phase: phase, Step: step})
		}
		r, w, rx, tx := random()*50, random()*90, random()*12, random()
		put(at+time.Second/2, wire.Event{Kind: wire.KindSample, Sample: &wire.Sample{Elapsed: time.Second, MemUsedMB: 800 + int(random()*900), MemAvailMB: 2000, CPUPct: random() * 99,
			DiskAvailMB: 50000, Load1: random() * 3, Procs: 120, PSICPU: &r, PSIMem: &tx, PSIIO: &w, DiskReadMBs: &r, DiskWritMBs: &w, NetRxMBs: &rx, NetTxMBs: &tx, Running: []string{phase}}})
		if sec%36 == 35 {
			put(at+time.Second*9/10, wire.Event{Kind: wire.KindStepEnd, Phase: phase, Step: step, StepEnd: &wire.StepEnd{Status: wire.Changed, Reason: "3 of 11 packages were missing"}})
		}
		if sec%360 == 359 {
			put(at+time.Second*19/20, wire.Event{Kind: wire.KindPhaseEnd, Phase: phase, PhaseEnd: &wire.PhaseEnd{Status: wire.Changed, Changed: 10}})
		}
	}
	put(time.Hour, wire.Event{Kind: wire.KindEnd, End: &wire.End{Status: wire.Changed}})
	return b.Bytes()
}

// The page of 100 hosts with an hour of samples each stays small.
func TestPageOfALargeFleet(t *testing.T) {
	if testing.Short() {
		t.Skip("130 MB of events")
	}
	d, err := largeFleet(t).Open(testRun)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var b bytes.Buffer
	if err := HTML(&b, d.Load()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", b.Len())
	if b.Len() > 5e6 {
		t.Errorf("a page of %d bytes, at most 5 MB are promised", b.Len())
	}
}

// BenchmarkPageOfALargeFleet is from the record on disk to the page.
func BenchmarkPageOfALargeFleet(b *testing.B) {
	s := largeFleet(b)
	for b.Loop() {
		d, err := s.Open(testRun)
		if err != nil {
			b.Fatal(err)
		}
		var page bytes.Buffer
		if err := HTML(&page, d.Load()); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(page.Len()), "bytes/page")
		d.Close()
	}
}
