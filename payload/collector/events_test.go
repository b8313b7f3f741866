//go:build linux

package main

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// A run whose runner is gone is closed by whoever looks, with the reason: the
// boot id tells a reboot.
func TestDied(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	tests := map[string]struct {
		change func(journal []byte) []byte
		reason string
	}{
		"killed":          {func(b []byte) []byte { return b }, "killed"},
		"in mid line":     {func(b []byte) []byte { return append(b, `{"n":99,"k":"out","t"`...) }, "killed"},
		"by a reboot":     {func(b []byte) []byte { return []byte(strings.Replace(string(b), bootID(), "another", 1)) }, "rebooted"},
		"while it starts": {func(b []byte) []byte { return b[:slices.Index(b, '\n')+1] }, "killed"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			s := h.begin(planOf("r1", "sleep 30"))
			s.until(wire.KindStep)
			s.cut()
			h.killRunner("r1")
			path := h.run("r1").journal()
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, tt.change(b), 0o600); err != nil {
				t.Fatal(err)
			}
			stdout, stderr, code := h.verb("follow", "r1", "0", "0")
			if code != exitDone {
				t.Fatalf("exit %d: %s", code, stderr)
			}
			events := decode(t, stdout)
			end := endOf(t, events)
			if end.Status != wire.Failed || end.Stage != "died" || !strings.Contains(end.Reason, tt.reason) {
				t.Errorf("end %+v", end)
			}
			if n := events[len(events)-1].N; n != int64(len(events)) {
				t.Errorf("the end has number %d of %d", n, len(events))
			}
			if again, _, _ := h.verb("follow", "r1", "0", "0"); again != stdout {
				t.Errorf("following again says something else:\n%s\n%s", stdout, again)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	h := newHost(t)
	mark := filepath.Join(h.home, "mark")
	s := h.begin(planOf("r1", "sleep 321 & echo $! > "+mark+"; wait", "echo never"))
	waitFor(t, "the step", func() bool { b, _ := os.ReadFile(mark); return len(b) > 1 })
	if _, stderr, code := h.verb("cancel", "r1"); code != exitDone {
		t.Fatalf("cancel: exit %d: %s", code, stderr)
	}
	events := s.rest()
	if end := endOf(t, events); end.Status != wire.Cancelled || end.Stage != "cancel" {
		t.Errorf("end %+v", end)
	}
	if e := stepEndOf(t, events, "p/s0"); e.Status != wire.Cancelled {
		t.Errorf("step %+v", e)
	}
	find(t, events, "cancelling", func(e *wire.Event) bool { return e.Kind == wire.KindCancelled })
	b, err := os.ReadFile(mark)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the step's child to be killed", func() bool { return unix.Kill(pid, 0) != nil })
	if _, _, code := h.verb("cancel", "r1"); code != exitDone {
		t.Errorf("cancelling a run that has ended: exit %d", code)
	}
	if _, _, code := h.verb("cancel", "nosuch"); code != exitNoRun {
		t.Errorf("cancelling a run that never was: exit %d", code)
	}
}

// No spelling of a secret leaves the host or lies on its disk, however it is
// cut into pieces; the step itself can read it.
func TestSecrets(t *testing.T) {
	h := newHost(t)
	secret := `pa"ss w0rd'€/+`
	plan := planOf("r1", `
cat "$VPSCTL_SECRETS/token"; echo
base64 < "$VPSCTL_SECRETS/token"
printf x | cat - "$VPSCTL_SECRETS/token" | base64
od -An -v -tx1 "$VPSCTL_SECRETS/token" | tr -d ' \n'; echo
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do cut -b $i "$VPSCTL_SECRETS/token" | tr -d '\n'; sleep 0.03; done; echo
stat -c '%a %n' "$VPSCTL_SECRETS" "$VPSCTL_SECRETS/token"
cat "$VPSCTL_SECRETS/token" >&2
exit 3`)
	plan.Secrets = map[string]string{"token": secret}
	plan.HostLogs = true
	plan.Phases[0].Steps[0].Secrets = []string{"token"}
	plan.Phases[0].Steps[0].Run.Undo = "echo " + secret
	events := h.start(plan)
	e := stepEndOf(t, events, "p/s0")
	if e.Stderr != wire.Mask {
		t.Errorf("stderr of the step: %q", e.Stderr)
	}
	var said string
	for _, e := range events {
		if e.IsOutput() {
			said += e.Output.Text + string(e.Output.Bytes)
		}
	}
	if lines := strings.Split(said, "\n"); len(lines) < 6 || lines[0] != wire.Mask || lines[4] != wire.Mask || !strings.HasPrefix(lines[5], "700 /") {
		t.Errorf("said %q", lines)
	}
	dir := regexp.MustCompile(`700 (/\S+)`).FindStringSubmatch(said)
	if dir == nil || fileExists(dir[1]) || fileExists(filepath.Dir(dir[1])) {
		t.Errorf("the secrets' folder is still there: %q", dir)
	}
	spellings := []string{secret, base64.StdEncoding.EncodeToString([]byte(secret))[:16], hex.EncodeToString([]byte(secret)), `pa\"ss w0rd`}
	err := filepath.WalkDir(h.home, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "/undo/") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, s := range spellings {
			if strings.Contains(string(b), s) {
				t.Errorf("%s has %q", path, s)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// 100 MB from one step: all of it comes through, runner and follower stay
// small, and status is not kept waiting behind it.
func TestFloodOfOutput(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	const total = 100_000_000
	h := newHost(t)
	plan := planOf("r1", fmt.Sprintf("yes 'sixty-three bytes of output, as many as it takes for a line ..' | head -c %d", total), "true")
	plan.Secrets = map[string]string{"s": "as many bytes"}
	s := h.begin(plan)
	s.until(wire.KindStep)
	pids := map[string]int{"runner": h.runnerPID("r1"), "follower": s.cmd.Process.Pid}
	peak := map[string]int{}
	got, pieces, uncut, endSeen := 0, 0, 0, false
	for !endSeen || got < total {
		_, e, err := s.r.Next()
		if err != nil {
			t.Fatalf("after %d bytes: %v", got, err)
		}
		if e.IsOutput() {
			got += len(e.Output.Text)
			pieces++
			if e.Output.Text[len(e.Output.Text)-1] != '\n' && got < total {
				uncut++
			}
			if len(e.Output.Text) > maxChunk {
				t.Fatalf("event %d: %d bytes", e.N, len(e.Output.Text))
			}
		}
		endSeen = endSeen || e.End != nil
		if e.N%100 == 0 {
			for who, pid := range pids {
				peak[who] = max(peak[who], memoryOf(pid))
			}
		}
	}
	if got != total || uncut > pieces/50 { // a machine that stands still may cut a line in two
		t.Errorf("%d of %d bytes in %d pieces, %d not cut at a line's end", got, total, pieces, uncut)
	}
	for who, kib := range peak {
		t.Logf("%s: at most %d KiB", who, kib)
		if kib > 24<<10 && !raceEnabled {
			t.Errorf("%s grew to %d KiB", who, kib)
		}
	}
}

// memoryOf is the peak resident memory of a process in KiB, 0 once it is gone.
func memoryOf(pid int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	n := 0
	fmt.Sscan(rest, &n)
	return n
}

// A slow reader gets status before the output that came earlier.
func TestStatusOvertakesOutput(t *testing.T) {
	h := newHost(t)
	s := h.begin(planOf("r1", "yes line | head -c 4000000"))
	waitFor(t, "the run to end while nobody reads", func() bool { return fileExists(h.run("r1").journal()) && !runs(h.run("r1")) })
	before := 0
	for {
		_, e, err := s.r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e.IsOutput() {
			before += len(e.Output.Text)
		}
		if e.Kind == wire.KindEnd {
			break
		}
	}
	// What had gone into the pipe already, and one piece.
	if before > 300<<10 {
		t.Errorf("%d bytes of output came before the end", before)
	}
	s.rest()
}

// An event reaches the follower's reader within milliseconds.
func TestLatency(t *testing.T) {
	h := newHost(t)
	plan := planOf("r1")
	for i := range 30 {
		plan.Phases[0].Steps = append(plan.Phases[0].Steps, wire.Step{Name: fmt.Sprint(i), Run: &wire.Run{Script: "sleep 0.02"}})
	}
	s := h.begin(plan)
	start := s.until(wire.KindStart)
	base := boottime() - start.T // not before the event, so all delays come out too small by its own
	var delays []time.Duration
	for {
		_, e, err := s.r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == wire.KindStepEnd {
			delays = append(delays, time.Duration(boottime()-base-e.T))
		}
		if e.End != nil {
			break
		}
	}
	slices.Sort(delays)
	// The fastest is the zero point; others are busy machines' affair.
	if median := delays[len(delays)/2] - delays[0]; median > 5*time.Millisecond {
		t.Errorf("median %v later than the fastest", median)
	}
	t.Logf("delays of 30 events: %v … %v", delays[0], delays[len(delays)-1])
}

func TestHostLogs(t *testing.T) {
	h := newHost(t)
	for i := range 2 {
		plan := planOf(fmt.Sprintf("r%d", i), "true")
		plan.HostLogs, plan.Interval = true, 10*time.Second
		plan.Phases[0].Target.Standard = time.Minute
		h.start(plan)
	}
	read := func(name string) []string {
		b, err := os.ReadFile(filepath.Join(h.place().logs, name))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	}
	timing := read("timing.csv")
	if len(timing) != 3 || timing[0] != strings.Join(wire.TimingHeader, ",") || !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ,p,[\d.]+,success,\d+,\d+,60,-\d+\.\d$`).MatchString(timing[1]) {
		t.Errorf("timing.csv %q", timing)
	}
	usage := read("resources.csv")
	if len(usage) != 3 || usage[0] != strings.Join(wire.ResourcesHeader, ",") || strings.Count(usage[1], ",") != len(wire.ResourcesHeader)-1 {
		t.Errorf("resources.csv %q", usage)
	}
	talk := read("provision.log")
	for i, want := range []string{`^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] Phase 1/1: The phase$`, `^\[[-\d: ]{19}\] Phase 1 completed in \d+\.\ds$`} {
		if !regexp.MustCompile(want).MatchString(talk[i]) {
			t.Errorf("provision.log line %d: %q", i+1, talk[i])
		}
	}
}

func TestLogRotation(t *testing.T) {
	dir := t.TempDir()
	l := logFile{path: filepath.Join(dir, "timing.csv"), header: "head\n"}
	line := strings.Repeat("x", 1<<20-1) + "\n"
	for range 22 {
		l.add(line)
	}
	l.close()
	archived, err := filepath.Glob(filepath.Join(dir, "archive", "timing-*.csv"))
	if err != nil || len(archived) != 2 || l.err != nil {
		t.Fatalf("archive %v %v %v", archived, err, l.err)
	}
	for _, name := range append(archived, l.path) {
		b, err := os.ReadFile(name)
		if err != nil || !strings.HasPrefix(string(b), "head\n") || len(b) > rotateAt || strings.Count(string(b), "head") != 1 {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
}

// A sample is there also of a run that is shorter than the interval, over the
// run and never since boot.
func TestSamples(t *testing.T) {
	h := newHost(t)
	plan := planOf("short", "sleep 0.1")
	plan.Interval = time.Minute
	events := h.start(plan)
	e := find(t, events, "sample", func(e *wire.Event) bool { return e.Sample != nil })
	if s := e.Sample; s.Elapsed <= 0 || s.Elapsed > time.Duration(e.T) || s.MemAvailMB == 0 || s.Procs == 0 {
		t.Errorf("sample %+v of a run of %v", s, time.Duration(e.T))
	}
	plan = planOf("long", "sleep 0.65")
	plan.Interval = 200 * time.Millisecond
	n := 0
	for _, e := range h.start(plan) {
		if e.Sample != nil {
			n++
			if !slices.Equal(e.Sample.Running, []string{"p"}) {
				t.Errorf("running %v", e.Sample.Running)
			}
		}
	}
	if n < 2 || n > 4 {
		t.Errorf("%d samples in 0.65 s, one per 0.2 s", n)
	}
}

// What a phase's processes used is counted, also of children that outlive
// their parents.
func TestFigures(t *testing.T) {
	h := newHost(t)
	const burn = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"
	plan := planOf("r1", burn, "(("+burn+"; touch "+h.home+"/done) >/dev/null 2>&1 &); while ! test -e "+h.home+"/done; do sleep 0.02; done; sleep 0.1")
	events := h.start(plan)
	f := find(t, events, "phase end", func(e *wire.Event) bool { return e.PhaseEnd != nil }).PhaseEnd.Cost
	one := 0.0
	single := h.start(planOf("r2", burn))
	one = find(t, single, "phase end", func(e *wire.Event) bool { return e.PhaseEnd != nil }).PhaseEnd.Cost.CPUSec
	if f.CPUSec < 1.4*one || one <= 0 {
		t.Errorf("two loops used %v s, one alone %v s", f.CPUSec, one)
	}
	if f.CPUMethod == "" || f.MemoryMethod == "" || f.DiskMethod == "" || f.PeakMemoryMB <= 0 {
		t.Errorf("figures %+v", f)
	}
}
