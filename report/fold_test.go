package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpsctl/vpsctl/payload/wire"
)

func TestFoldOfARecordedRun(t *testing.T) {
	r := foldAll("web1", journal(t, "web1.jsonl"))
	var phases []string
	for _, p := range r.Phases {
		phases = append(phases, fmt.Sprintf("%s %s %v %d/%d/%d", p.ID, p.Status, p.Duration(), p.OK, p.Changed, p.Failed))
	}
	want := []string{"system-prep changed 39.1s 1/3/0", "user-creation changed 46.6995s 0/1/1", "dev-tools failed 32.799s 0/0/1", "verification not_reached 0s 0/0/0"}
	if diff := cmp.Diff(want, phases); diff != "" {
		t.Error(diff)
	}
	var alerts []string
	for _, a := range r.Alerts {
		alerts = append(alerts, fmt.Sprintf("%s x%d", a.Line(), a.Samples))
	}
	want = []string{"[WARN] ALERT: Available memory below threshold: 450MB < 500MB x2", "[WARN] ALERT: CPU usage above threshold: 97% > 95% x2",
		"[WARN] Phase 'user-creation' exceeded expected duration: 46s vs 30s (155%) x0", "[WARN] Phase 'dev-tools' exceeded expected duration: 32s vs 20s (163%) x0"}
	if diff := cmp.Diff(want, alerts); diff != "" {
		t.Error(diff)
	}
	if len(r.Undo) != 4 || len(r.Guards) != 3 || r.Guards[2].Outcome != "unconfirmed" || len(r.Waits) != 1 || !r.Waits[0].Done ||
		!slices.Equal(r.Created, []string{"user devuser"}) || r.Strange != 1 || r.End == nil || r.Output == 0 {
		t.Errorf("record: %+v", r)
	}
	if s := r.firstFailed(); s == nil || s.ID != "dev-tools/fetch" || *s.RC != 7 || strings.Contains(s.Stderr, "\x1b") {
		t.Errorf("first failed step: %+v", s)
	}
	if got := r.Wall(r.EndAt).Format(time.RFC3339Nano); got != "2026-11-23T10:17:01.852Z" {
		t.Errorf("ended at %s", got)
	}
}

// Half a journal is half a record, and going on from there makes the whole one.
func TestFoldInTwoPieces(t *testing.T) {
	events := journal(t, "web1.jsonl")
	whole := foldAll("web1", events)
	for n := range events {
		r := foldAll("web1", events[:n])
		if _, err := Performance(r).JSON(); err != nil {
			t.Fatalf("after %d events: %v", n, err)
		}
		for i := n; i < len(events); i++ {
			r.Apply(&events[i].e)
		}
		if !reflect.DeepEqual(r, whole) {
			t.Fatalf("cut after %d events: another record", n)
		}
	}
}

// Output may be sent earlier or later than status: the record is the same.
func TestFoldIgnoresTheOrderOfClasses(t *testing.T) {
	events := journal(t, "web1.jsonl")
	whole := foldAll("web1", events)
	for seed := range uint64(200) {
		if r := foldAll("web1", shuffleClasses(events, seed)); !reflect.DeepEqual(r, whole) {
			t.Fatalf("seed %d: another record", seed)
		}
	}
}

// shuffleClasses mixes the two classes anew; within each the order stays.
func shuffleClasses(events []recorded, seed uint64) []recorded {
	var status, output, mixed []recorded
	for _, e := range events {
		if e.e.IsOutput() {
			output = append(output, e)
		} else {
			status = append(status, e)
		}
	}
	rnd := rand.New(rand.NewPCG(seed, 1))
	for len(status)+len(output) > 0 {
		if len(output) == 0 || len(status) > 0 && rnd.IntN(2) == 0 {
			mixed, status = append(mixed, status[0]), status[1:]
		} else {
			mixed, output = append(mixed, output[0]), output[1:]
		}
	}
	return mixed
}

// A run that dies takes its running phase and step with it.
func TestFoldOfADeath(t *testing.T) {
	for _, c := range []struct {
		end  wire.Status
		want wire.Status
	}{{wire.Failed, wire.Failed}, {wire.Cancelled, wire.Cancelled}} {
		r := foldAll("web1", journal(t, "web1.jsonl")[:17]) // within system-prep
		if p := r.Phases[0]; p.word() != running || p.Steps[1].word() != "changed" || p.Steps[2].word() != "not_reached" || p.Changed != 2 {
			t.Errorf("before the end: %+v", p)
		}
		r.Apply(&wire.Event{N: 60, Kind: wire.KindStep, T: 4e10, Phase: "system-prep", Step: "system-prep/apt settings"})
		r.Apply(&wire.Event{N: 61, Kind: wire.KindEnd, T: 5e10, End: &wire.End{Status: c.end, Stage: "died", Reason: "host rebooted"}})
		p := r.Phases[0]
		if p.Status != c.want || p.Reason != "host rebooted" || p.Duration() != time.Duration(5e10-1500000) || p.Steps[2].Status != c.want || p.Steps[3].Status != wire.NotReached {
			t.Errorf("after the end: %+v", p)
		}
		if r.Phases[1].Status != wire.NotReached {
			t.Errorf("the next phase: %+v", r.Phases[1])
		}
	}
}

func sampleEvent(n int64, mem int, cpu float64) *wire.Event {
	return &wire.Event{N: n, Kind: wire.KindSample, T: n * 1e10, Sample: &wire.Sample{Elapsed: 10 * time.Second, MemAvailMB: mem, MemUsedMB: 100, CPUPct: cpu, DiskAvailMB: 9000}}
}

// An alert is raised by the first sample over its limit, and again only after
// three clean ones in a row; the limit itself is fine.
func TestAlertsAreRaisedOnCrossing(t *testing.T) {
	for _, c := range []struct {
		mem  []int
		want string // samples per alert
	}{
		{[]int{500, 501, 9999}, ""},
		{[]int{499}, "1"},
		{[]int{400, 400, 400}, "3"},
		{[]int{400, 600, 600, 400}, "2"},
		{[]int{400, 600, 400, 600, 600, 400}, "3"},
		{[]int{400, 600, 600, 600, 400, 400}, "1 2"},
		{[]int{600, 600, 600, 600, 400}, "1"},
	} {
		r := NewHostRecord(testRun, "web1", Limits{})
		for i, mb := range c.mem {
			r.Apply(sampleEvent(int64(i+1), mb, 95))
		}
		var got []string
		for _, a := range r.Alerts {
			got = append(got, fmt.Sprint(a.Samples))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%v: %v, want %q", c.mem, got, c.want)
		}
	}
}

func TestAlertLimits(t *testing.T) {
	for _, c := range []struct {
		limits Limits
		want   []string
	}{
		{Limits{}, []string{"ALERT: Available memory below threshold: 450MB < 500MB", "ALERT: Available disk space below threshold: 4000MB < 5120MB", "ALERT: CPU usage above threshold: 96% > 95%"}},
		{Limits{MemoryMB: 300, DiskMB: 3000, CPUPct: 99.5}, nil},
		{Limits{MemoryMB: -1, DiskMB: -1, CPUPct: -1}, nil},
		{Limits{MemoryMB: 451, DiskMB: -1, CPUPct: 95.05}, []string{"ALERT: Available memory below threshold: 450MB < 451MB", "ALERT: CPU usage above threshold: 96% > 95.05%"}},
	} {
		r := NewHostRecord(testRun, "web1", c.limits)
		r.Apply(&wire.Event{N: 1, Kind: wire.KindSample, T: 1, Sample: &wire.Sample{MemAvailMB: 450, DiskAvailMB: 4000, CPUPct: 95.1}})
		var got []string
		for _, a := range r.Alerts {
			got = append(got, a.Message)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%+v: %s", c.limits, diff)
		}
	}
}

// The sample at the end of a run of milliseconds is all the run itself.
func TestShortSampleIsNoCPUAlert(t *testing.T) {
	r := NewHostRecord(testRun, "web1", Limits{})
	r.Apply(&wire.Event{N: 1, Kind: wire.KindSample, T: 1, Sample: &wire.Sample{Elapsed: 12 * time.Millisecond, MemAvailMB: 4500, DiskAvailMB: 40000, CPUPct: 100}})
	if len(r.Alerts) > 0 {
		t.Errorf("alerts: %+v", r.Alerts)
	}
	r.Apply(&wire.Event{N: 2, Kind: wire.KindSample, T: 2, Sample: &wire.Sample{Elapsed: time.Second, MemAvailMB: 4500, DiskAvailMB: 40000, CPUPct: 100}})
	if len(r.Alerts) != 1 {
		t.Errorf("alerts of a whole second: %+v", r.Alerts)
	}
}

func TestSampleSummary(t *testing.T) {
	r := NewHostRecord(testRun, "web1", Limits{})
	for i := range 100 {
		r.Apply(sampleEvent(int64(i+1), 1000, float64(i)+0.129))
	}
	r.Apply(&wire.Event{N: 101, Kind: wire.KindSample, T: 101e10, Sample: &wire.Sample{Elapsed: 100 * time.Second, CPUPct: 0, MemUsedMB: 1200, DiskAvailMB: 42, Load1: 3.5}})
	s := &r.Samples
	// 101 samples: 95 % of them is rank 96, and the hundred values begin at rank 2.
	if s.Count != 101 || s.CPUP95() != 94.129 || s.CPUPeak != 99.129 || s.MemPeakMB != 1200 || s.DiskMinMB != 42 || s.LoadPeak != 3.5 {
		t.Errorf("%+v, p95 %v", s, s.CPUP95())
	}
	// the long sample stands for 100 of 1100 seconds
	if avg := s.CPUAvg(); avg < 45.11 || avg > 45.12 {
		t.Errorf("average %v", avg)
	}
	if avg := s.MemAvg(); avg != 200 {
		t.Errorf("memory average %v", avg)
	}
}

// No journal, however hostile, makes the fold or the writers fail, or lets an
// escape through.
func FuzzFold(f *testing.F) {
	for _, name := range []string{"web1.jsonl", "web2.jsonl"} {
		var b bytes.Buffer
		for _, e := range journal(f, name) {
			b.Write(append(e.raw, '\n'))
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte(`{"n":1,"k":"start","t":9223372036854775807,"start":{"wall":"9999-12-31T23:59:59Z","phases":[{"id":"a","target":{"standard":-5},"steps":["x","x"]},{"id":"a"}],"facts":{"cores":-1}}}
{"n":2,"k":"phase_end","t":5,"phase":"a","phase_end":{"ok":-3,"cost":{"cpu_sec":1e308,"disk_read_mb":1e308,"disk_write_mb":1e308}}}
{"n":3,"k":"sample","t":1,"sample":{"elapsed":-1,"cpu_pct":1e300,"load1":-1e300,"mem_used_mb":-9}}
{"n":4,"k":"guard_end","t":1,"guard":{}}
{"n":5,"k":"end","t":1,"end":{"status":"\u001b[31m"}}
{"n":0,"k":"refused","t":1,"refused":{"stage":"lock","text":"\u202e","holder":{"run_id":"x"}}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		rec := NewHostRecord(testRun, "web1", Limits{})
		for _, line := range bytes.Split(in, []byte("\n")) {
			if e, err := wire.Decode(line); err == nil {
				rec.Apply(&e)
			}
		}
		rep := NewReport(Run{ID: testRun, Hosts: []HostRun{{Host: "web1"}}}, "d", []*HostRecord{rec})
		for _, doc := range []any{Performance(rec), Provision(rep, codes), Show(rep, StateKilled, codes)} {
			b, err := json.Marshal(doc)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(b), `\u001b`) || strings.Contains(string(b), "\u202e") {
				t.Fatalf("an escape got through: %s", b)
			}
		}
		var text, table bytes.Buffer
		if err := Text(&text, rep, TextOptions{}); err != nil {
			t.Fatal(err)
		}
		if s := text.String(); Clean(s) != s {
			t.Fatalf("an escape got through: %q", s)
		}
		if err := CSV(&table, rep); err != nil {
			t.Fatal(err)
		}
	})
}
