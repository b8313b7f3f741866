package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

func ptr[T any](v T) *T { return &v }

// oneOfEach is a journal with an event of each kind.
func oneOfEach() []Event {
	facts := Facts{Hostname: "alpha", OS: "debian-13", OSName: "Debian GNU/Linux 13 (trixie)", Kernel: "6.12.48", Arch: "amd64", CPUModel: "AMD EPYC", Cores: 2,
		MemoryMB: 3910, SwapMB: 0, DiskMB: 79000, DiskAvailMB: 70000, Virt: "kvm", Cgroup: "v2", UID: 0, User: "root", Systemd: true}
	lock := &Lock{RunID: "20261123-101501-aaaa", Verb: "provision", PID: 812, Since: time.Date(2026, 11, 23, 10, 15, 1, 0, time.UTC)}
	events := []Event{
		{Kind: KindStart, Start: &Start{Wire: Version, RunID: "20261123-101502-x7k2", Verb: "provision", Collector: strings.Repeat("ab", 32), Plan: strings.Repeat("cd", 32),
			BootID: "96730ad3-0645-48fa-8774-9b3daad2371c", Wall: time.Date(2026, 11, 23, 10, 15, 2, 5, time.UTC), Interval: 10 * time.Second, Facts: facts,
			Phases: []PhaseHead{{ID: "system-prep", Title: "System Preparation", Target: Target{Standard: time.Minute, Small: 2 * time.Minute}, Steps: []string{"sshd", "tools", "note"}}}}},
		{Kind: KindPhase, Phase: "system-prep"},
		{Kind: KindStep, Phase: "system-prep", Step: "system-prep/sshd"},
		{Kind: KindWait, Phase: "system-prep", Step: "system-prep/tools", Wait: &Wait{For: "apt lock /var/lib/dpkg/lock-frontend", Holder: "pid 812 unattended-upgr (apt-daily-upgrade.service)"}},
		{Kind: KindUndo, Phase: "system-prep", Step: "system-prep/sshd", Undo: &Undo{Kind: "file", What: "restore /etc/ssh/sshd_config.d/00-vpsctl.conf", Data: map[string]string{"path": "/etc/ssh/sshd_config.d/00-vpsctl.conf"}, Hash: strings.Repeat("ef", 32)}},
		{Kind: KindOutput, Phase: "system-prep", Step: "system-prep/tools", Output: &Output{Stream: "stdout", Text: "tab\tquote\" ampersand & <angle> ünïcödé \x1b[31m\n"}},
		{Kind: KindOutput, Phase: "system-prep", Step: "system-prep/tools", Output: &Output{Stream: "stderr", Bytes: []byte{0xff, 0, 'a'}}},
		{Kind: KindGuard, Phase: "system-prep", Step: "system-prep/sshd", Guard: &Guarding{Token: strings.Repeat("0a", 16), Login: "devuser", Window: 45 * time.Second, Attached: true}},
		{Kind: KindGuardEnd, Phase: "system-prep", Step: "system-prep/sshd", Guard: &Guarding{Token: strings.Repeat("0a", 16), Outcome: "unconfirmed", Reason: "no new connection confirmed it within 45s", Attached: true}},
		{Kind: KindStepEnd, Phase: "system-prep", Step: "system-prep/tools", StepEnd: &StepEnd{Status: Failed, Reason: "exit 7", RC: ptr(7), Stderr: "E: no\n", Hint: "look", Attempts: 2}},
		{Kind: KindSample, Sample: &Sample{Elapsed: 10 * time.Second, MemUsedMB: 900, MemAvailMB: 3010, CPUPct: 42.5, StealPct: 0.5, DiskAvailMB: 69000, Load1: 0.61, Procs: 121,
			PSICPU: ptr(1.5), PSIMem: ptr(0.0), PSIIO: ptr(2.25), DiskReadMBs: ptr(0.5), DiskWritMBs: ptr(12.125), NetRxMBs: ptr(8.0), NetTxMBs: ptr(0.25), Running: []string{"system-prep"}}},
		{Kind: KindNote, Phase: "system-prep", Note: &Note{Level: "warn", Text: "unknown var `x`", Hint: "remove it"}},
		{Kind: KindCancelled, Wait: &Wait{For: "the package transaction of system-prep/tools"}},
		{Kind: KindPhaseEnd, Phase: "system-prep", PhaseEnd: &PhaseEnd{Status: Failed, Reason: "step tools: exit 7", OK: 1, Failed: 1, Cost: Figures{CPUSec: 1.25, CPUMethod: "cgroup", PeakMemoryMB: 90.5, MemoryMethod: "sampled",
			DiskReadMB: 1, DiskWriteMB: 220.5, DiskMethod: "wait4", NetRxMB: 80, NetTxMB: 1, NetShared: true, WaitSec: 3.5}}},
		{Kind: KindFetched, Phase: "system-prep", Step: "system-prep/tools", Fetched: &Fetched{Files: 41, Bytes: 71_900_000, Elapsed: 6 * time.Second, Ahead: true}},
		{Kind: KindEnd, End: &End{Status: Failed, Stage: "phase", Reason: "phase system-prep: step tools: exit 7", Hint: "look"}},
	}
	for i := range events {
		events[i].N, events[i].T = int64(i+1), int64(i)*1_500_000_000
	}
	return append([]Event{{Kind: KindRefused, Refused: &Refused{Stage: "lock", Text: "another run holds this host", Holder: lock}}}, events...)
}

// The golden file is the promise to older and newer versions: it may grow, its
// lines do not change.
func TestGoldenEvents(t *testing.T) {
	var got bytes.Buffer
	seen := map[Kind]bool{}
	for _, e := range oneOfEach() {
		line, err := Encode(&e)
		if err != nil {
			t.Fatal(err)
		}
		got.Write(line)
		seen[e.Kind] = true
	}
	const file = "testdata/events.jsonl"
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("events differ from %s:\n%s", file, diff)
	}
	for _, k := range []Kind{KindRefused, KindStart, KindPhase, KindStep, KindWait, KindUndo, KindOutput, KindGuard, KindGuardEnd, KindStepEnd, KindPhaseEnd, KindSample, KindNote, KindCancelled, KindFetched, KindEnd} {
		if !seen[k] {
			t.Errorf("no event of kind %s", k)
		}
	}
	r := NewReader(bytes.NewReader(want))
	for _, e := range oneOfEach() {
		_, back, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, back); diff != "" {
			t.Errorf("event %d does not come back:\n%s", e.N, diff)
		}
	}
	if _, _, err := r.Next(); err != io.EOF {
		t.Errorf("after the last: %v", err)
	}
}

// A reader of today takes what a collector of tomorrow says.
func TestDecodeUnknown(t *testing.T) {
	e, err := Decode([]byte(`{"n":7,"k":"weather","t":1,"weather":{"rain":true},"phase":"p"}`))
	if err != nil || e.N != 7 || e.Kind != "weather" || e.Phase != "p" {
		t.Errorf("%+v %v", e, err)
	}
}

func TestDecodeHostile(t *testing.T) {
	for _, line := range []string{"", "{", "[]", "null", "Welcome to Ubuntu", `{"n":1,"t":1}`, `{"n":-1,"k":"end","t":1}`, `{"n":1,"k":"end","t":-5}`, `{"n":"1","k":"end"}`, `{"n":1e99,"k":"end"}`} {
		if _, err := Decode([]byte(line)); !errors.Is(err, ErrHostile) {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestReaderBounds(t *testing.T) {
	long := `{"n":1,"k":"note","t":0,"note":{"level":"info","text":"` + strings.Repeat("x", MaxLine) + `"}}` + "\n"
	if _, _, err := NewReader(strings.NewReader(long)).Next(); !errors.Is(err, ErrHostile) {
		t.Errorf("a line too long: %v", err)
	}
	if _, err := Encode(&Event{Kind: KindNote, Note: &Note{Text: strings.Repeat("x", MaxLine)}}); err == nil {
		t.Error("a line too long was encoded")
	}
	if _, _, err := NewReader(strings.NewReader(`{"n":1,"k":"end"`)).Next(); err != io.ErrUnexpectedEOF {
		t.Errorf("half a line: %v", err)
	}
}

func TestCursor(t *testing.T) {
	var c Cursor
	for i, step := range []struct {
		n      int64
		output bool
		bad    bool
	}{{1, false, false}, {4, false, false}, {2, true, false}, {3, true, false}, {3, true, true}, {4, false, true}, {0, true, true}, {9, true, false}, {5, false, false}} {
		e := Event{N: step.n, Kind: KindStep}
		if step.output {
			e.Kind = KindOutput
		}
		if err := c.Take(&e); errors.Is(err, ErrHostile) != step.bad {
			t.Errorf("step %d: %v", i, err)
		}
	}
	if c != (Cursor{Status: 5, Output: 9}) {
		t.Errorf("cursor %+v", c)
	}
}

// FuzzDecode: no line makes the reader panic or take a nonsense event, and what
// it takes can be written and read again.
func FuzzDecode(f *testing.F) {
	for _, e := range oneOfEach() {
		line, err := Encode(&e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
	}
	f.Add([]byte(`{"n":1,"k":"out","out":{"text":"\ud800"}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := Decode(line)
		if err != nil {
			if !errors.Is(err, ErrHostile) {
				t.Fatalf("not marked as hostile: %v", err)
			}
			return
		}
		if e.Kind == "" || e.N < 0 || e.T < 0 {
			t.Fatalf("took %+v", e)
		}
		again, err := Encode(&e)
		if err != nil {
			return // over the bound
		}
		back, err := Decode(again)
		if err != nil {
			t.Fatalf("own line refused: %v\n%s", err, again)
		}
		third, err := Encode(&back)
		if err != nil || !bytes.Equal(again, third) {
			t.Fatalf("%v\n%s\n%s", err, again, third)
		}
	})
}

func TestPlanHash(t *testing.T) {
	plan := func(change func(*Plan)) string {
		p := Plan{Wire: Version, RunID: "r", Secrets: map[string]string{"a": "secret"}, Phases: []Phase{{ID: "p", Steps: []Step{
			{Name: "open", File: &File{Path: "/a", Content: []byte("x")}}, {Name: "closed", File: &File{Path: "/b", Content: []byte("x"), Sensitive: true}}}}}}
		change(&p)
		before, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		h := p.Hash()
		if after, err := json.Marshal(p); err != nil || !bytes.Equal(before, after) {
			t.Errorf("hashing changed the plan: %v", err)
		}
		return h
	}
	base := plan(func(*Plan) {})
	for name, tt := range map[string]struct {
		change func(*Plan)
		same   bool
	}{
		"secret":            {func(p *Plan) { p.Secrets["a"] = "other secret" }, true},
		"sensitive content": {func(p *Plan) { p.Phases[0].Steps[1].File.Content = []byte("y") }, true},
		"content":           {func(p *Plan) { p.Phases[0].Steps[0].File.Content = []byte("y") }, false},
		"path":              {func(p *Plan) { p.Phases[0].Steps[1].File.Path = "/c" }, false},
	} {
		if got := plan(tt.change); (got == base) != tt.same {
			t.Errorf("%s: same hash %v", name, got == base)
		}
	}
}

func TestRows(t *testing.T) {
	start := time.Date(2025, 12, 24, 10, 30, 0, 250_000_000, time.FixedZone("x", 3600))
	for _, tt := range []struct {
		status Status
		took   time.Duration
		target time.Duration
		want   string
	}{
		{Changed, 2 * time.Minute, time.Minute, "2025-12-24T09:32:00Z p 120 success 1766568600 1766568720 60 100.0"},
		{OK, 1500 * time.Millisecond, time.Minute, "2025-12-24T09:30:01Z p 1.5 success 1766568600 1766568601 60 -97.5"},
		{Failed, time.Second, 0, "2025-12-24T09:30:01Z p 1 failure 1766568600 1766568601  "},
		{Cancelled, time.Second, time.Second, "2025-12-24T09:30:01Z p 1 failure 1766568600 1766568601 1 0.0"},
		{NotReached, 0, time.Minute, "2025-12-24T09:30:00Z p 0 skipped 1766568600 1766568600  "},
	} {
		row := TimingRow("p", tt.status, start, start.Add(tt.took), tt.target)
		if got := strings.Join(row, " "); got != tt.want || len(row) != len(TimingHeader) {
			t.Errorf("%s:\n got %s\nwant %s", tt.status, got, tt.want)
		}
	}
	s := &Sample{MemUsedMB: 900, MemAvailMB: 3010, CPUPct: 42.5, DiskAvailMB: 69000, Load1: 0.6, Procs: 121, PSICPU: ptr(1.5), NetRxMBs: ptr(0.126), Running: []string{"a", "b"}}
	row := ResourceRow(start, s)
	want := "2025-12-24T09:30:00Z,900,3010,43,69000,0.60,121,a+b,0,0.0,1.5,,,,,0.13,"
	if got := strings.Join(row, ","); got != want || len(row) != len(ResourcesHeader) {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.0s", 1240 * time.Millisecond: "1.2s", 9940 * time.Millisecond: "9.9s", 10 * time.Second: "10s", 59400 * time.Millisecond: "59s",
		59600 * time.Millisecond: "1m 0s", 2 * time.Minute: "2m 0s", 3599500 * time.Millisecond: "1h 0m 0s", 3723 * time.Second: "1h 2m 3s",
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestTier(t *testing.T) {
	target := Target{Standard: time.Minute, Small: 2 * time.Minute}
	for _, tt := range []struct {
		memory, cores int
		tier          string
		want          time.Duration
	}{{3910, 2, "standard", time.Minute}, {3583, 2, "small", 2 * time.Minute}, {8000, 1, "small", 2 * time.Minute}} {
		f := Facts{MemoryMB: tt.memory, Cores: tt.cores}
		if f.Tier() != tt.tier || target.For(f) != tt.want {
			t.Errorf("%+v: %s %v", tt, f.Tier(), target.For(f))
		}
	}
	if got := (Target{Standard: time.Minute}).For(Facts{}); got != time.Minute {
		t.Errorf("without a small target: %v", got)
	}
}
