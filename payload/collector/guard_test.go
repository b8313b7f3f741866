//go:build linux

package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// guardedPlan changes a file, tells so by a handler, and must be confirmed.
func guardedPlan(h *testHost, id string, window time.Duration) (plan *wire.Plan, file string) {
	file = filepath.Join(h.home, "conf")
	plan = planOf(id)
	plan.Exclusive = true
	plan.Phases[0].Steps = []wire.Step{
		{Name: "guarded", File: &wire.File{Path: file, Content: []byte("new\n")}, Guard: &wire.Guard{Window: window, Login: "dev"},
			OnChange: []wire.Handler{{Run: "cat " + file + " >> " + h.home + "/handled"}}},
		{Name: "after", Run: &wire.Run{Script: "cat " + file + " > " + h.home + "/after"}},
	}
	return plan, file
}

// old makes the file that guardedPlan changes.
func (h *testHost) old(file string) {
	h.t.Helper()
	if err := os.WriteFile(file, []byte("old\n"), 0o644); err != nil {
		h.t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(file, nobodyID, nobodyID); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *testHost) content(name string) string {
	b, err := os.ReadFile(filepath.Join(h.home, name))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func TestGuardConfirmed(t *testing.T) {
	h := newHost(t)
	plan, file := guardedPlan(h, "r1", time.Minute)
	h.old(file)
	s := h.begin(plan)
	g := s.until(wire.KindGuard)
	if g.Guard.Login != "dev" || g.Guard.Window != time.Minute || !g.Guard.Attached || h.content("handled") != "new\n" {
		t.Errorf("guard %+v, handled %q", g.Guard, h.content("handled"))
	}
	if _, _, code := h.verb("confirm", "r1", strings.Repeat("0", 32)); code != exitRefused {
		t.Errorf("a wrong token: exit %d", code)
	}
	if _, _, code := h.verb("confirm", "r1", "../x"); code != exitUsage {
		t.Errorf("no token: exit %d", code)
	}
	if _, stderr, code := h.verb("confirm", "r1", g.Guard.Token); code != exitDone {
		t.Errorf("confirm: exit %d: %s", code, stderr)
	}
	events := s.rest()
	if e := stepEndOf(t, events, "p/guarded"); e.Status != wire.Changed {
		t.Errorf("step %+v", e)
	}
	e := find(t, events, "guard end", func(e *wire.Event) bool { return e.Kind == wire.KindGuardEnd })
	if e.Guard.Outcome != "confirmed" || h.content("conf") != "new\n" || h.content("after") != "new\n" {
		t.Errorf("guard end %+v, file %q", e.Guard, h.content("conf"))
	}
}

// Without a confirmation the change is undone, its handlers run again, the run
// goes on, and the step is tried once more before the end, which says that it
// is not done.
func TestGuardUnconfirmed(t *testing.T) {
	h := newHost(t)
	plan, file := guardedPlan(h, "r1", 200*time.Millisecond)
	h.old(file)
	events := h.start(plan)
	var ends []*wire.StepEnd
	outcomes := 0
	for _, e := range events {
		if e.StepEnd != nil && e.Step == "p/guarded" {
			ends = append(ends, e.StepEnd)
		}
		if e.Kind == wire.KindGuardEnd && e.Guard.Outcome == "unconfirmed" {
			outcomes++
		}
	}
	if len(ends) != 2 || outcomes != 2 {
		t.Fatalf("%d ends, %d outcomes: %s", len(ends), outcomes, kinds(events))
	}
	if e := ends[0]; e.Status != wire.Skipped || !strings.HasPrefix(e.Reason, "unconfirmed") {
		t.Errorf("step %+v", e)
	}
	if h.content("conf") != "old\n" || h.content("after") != "old\n" || h.content("handled") != "new\nold\nnew\nold\n" {
		t.Errorf("file %q, seen after %q, handled %q", h.content("conf"), h.content("after"), h.content("handled"))
	}
	if end := endOf(t, events); end.Status != wire.Failed || end.Stage != "unconfirmed" || !strings.Contains(end.Reason, "p/guarded") {
		t.Errorf("end %+v", end)
	}
}

// With nobody attached the change is not even begun; when somebody comes before
// the end, it is.
func TestGuardAttachedLater(t *testing.T) {
	for _, comes := range []bool{false, true} {
		h := newHost(t)
		plan, file := guardedPlan(h, "r1", time.Minute)
		h.old(file)
		gates := []string{filepath.Join(h.home, "gate0"), filepath.Join(h.home, "gate1")}
		wait := func(i int) wire.Step {
			return wire.Step{Name: filepath.Base(gates[i]), Run: &wire.Run{Script: "while ! test -e " + gates[i] + "; do sleep 0.02; done"}}
		}
		plan.Phases[0].Steps = append(append([]wire.Step{wait(0)}, plan.Phases[0].Steps...), wait(1))
		s := h.begin(plan)
		s.until(wire.KindStep)
		s.cut()
		touch(t, gates[0])
		waitFor(t, "the step after the guard", func() bool { return strings.HasSuffix(h.content("after"), "\n") })
		if got := h.content("after"); got != "old\n" {
			t.Errorf("with nobody attached the file became %q", got)
		}
		if !comes {
			touch(t, gates[1])
			waitFor(t, "the end", func() bool { return !runs(h.run("r1")) })
			events := h.journal("r1")
			if e := stepEndOf(t, events, "p/guarded"); e.Status != wire.Skipped || e.Reason != nobody || h.content("conf") != "old\n" {
				t.Errorf("step %+v", e)
			}
			if end := endOf(t, events); end.Status != wire.Failed || end.Stage != "unconfirmed" {
				t.Errorf("end %+v", end)
			}
			continue
		}
		again := h.follow(h.command("follow", "r1", "0", "0"))
		again.until(wire.KindStart)
		touch(t, gates[1])
		g := again.until(wire.KindGuard)
		if _, stderr, code := h.verb("confirm", "r1", g.Guard.Token); code != exitDone {
			t.Errorf("confirm: %s", stderr)
		}
		again.rest()
		if h.content("conf") != "new\n" {
			t.Errorf("file %q", h.content("conf"))
		}
	}
}

// What a dead run left unconfirmed is put back by the timer's verb, or by the
// next run, whichever comes first.
func TestGuardOfADeadRun(t *testing.T) {
	for _, by := range []string{"revert", "next run"} {
		h := newHost(t)
		plan, file := guardedPlan(h, "r1", time.Minute)
		h.old(file)
		s := h.begin(plan)
		g := s.until(wire.KindGuard)
		h.killRunner("r1")
		if h.content("conf") != "new\n" {
			t.Fatalf("file %q", h.content("conf"))
		}
		if by == "revert" {
			if _, stderr, code := h.verb("revert", "r1", g.Guard.Token); code != exitDone {
				t.Fatalf("revert: exit %d: %s", code, stderr)
			}
		} else {
			next := planOf("r2", "cat "+file)
			next.Exclusive = true
			find(t, h.start(next), "old content", func(e *wire.Event) bool { return e.IsOutput() && e.Output.Text == "old\n" })
		}
		if h.content("conf") != "old\n" || h.content("handled") != "new\nold\n" {
			t.Errorf("%s: file %q, handled %q", by, h.content("conf"), h.content("handled"))
		}
		if _, _, code := h.verb("confirm", "r1", g.Guard.Token); code != exitRefused {
			t.Errorf("%s: confirmed too late, exit %d", by, code)
		}
	}
}

func TestGuardCancelled(t *testing.T) {
	h := newHost(t)
	plan, file := guardedPlan(h, "r1", time.Minute)
	h.old(file)
	s := h.begin(plan)
	s.until(wire.KindGuard)
	h.verb("cancel", "r1")
	events := s.rest()
	if end := endOf(t, events); end.Status != wire.Cancelled || h.content("conf") != "old\n" {
		t.Errorf("end %+v, file %q", end, h.content("conf"))
	}
}

func TestGuardUnits(t *testing.T) {
	service := guardService("/var/lib/vpsctl/bin/abc", "r1", "t0k")
	if !strings.Contains(service, "\nExecStart=/var/lib/vpsctl/bin/abc revert r1 t0k\n") {
		t.Errorf("service:\n%s", service)
	}
	if timer := guardTimer("r1", 165*time.Second); !strings.Contains(timer, "\nOnActiveSec=165s\n") || !strings.Contains(timer, "\nWantedBy=timers.target\n") {
		t.Errorf("timer:\n%s", timer)
	}
}

// Our few bytes of D-Bus are what a D-Bus library reads.
func TestStartTransientUnit(t *testing.T) {
	msg, err := dbus.DecodeMessage(strings.NewReader(string(startTransientUnit("vpsctl-r1.scope", "a run", 4711).Message(1))))
	if err != nil {
		t.Fatal(err)
	}
	if err := msg.IsValid(); err != nil {
		t.Error(err)
	}
	if msg.Headers[dbus.FieldMember].Value() != "StartTransientUnit" || msg.Headers[dbus.FieldPath].Value() != dbus.ObjectPath("/org/freedesktop/systemd1") {
		t.Errorf("headers %v", msg.Headers)
	}
	var unit, mode string
	var properties []struct {
		Name  string
		Value dbus.Variant
	}
	var aux []struct {
		Name       string
		Properties []struct {
			Name  string
			Value dbus.Variant
		}
	}
	if err := dbus.Store(msg.Body, &unit, &mode, &properties, &aux); err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	for _, p := range properties {
		values[p.Name] = p.Value.Value()
	}
	if pids, ok := values["PIDs"].([]uint32); !ok || len(pids) != 1 || pids[0] != 4711 || values["Delegate"] != true || unit != "vpsctl-r1.scope" || mode != "fail" || len(aux) != 0 {
		t.Errorf("%s %s %v", unit, mode, values)
	}
}

func TestClean(t *testing.T) {
	h := newHost(t)
	plan, file := guardedPlan(h, "r1", time.Minute)
	plan.HostLogs = true
	h.old(file)
	s := h.begin(plan)
	g := s.until(wire.KindGuard)
	if _, _, code := h.verb("clean"); code != exitLocked {
		t.Errorf("clean during a run: exit %d", code)
	}
	h.verb("confirm", "r1", g.Guard.Token)
	s.rest()
	waitFor(t, "the runner to end", func() bool { return !runs(h.run("r1")) })
	dry, _, code := h.verb("clean", "-n")
	if code != exitDone || !fileExists(h.place().dir) || !strings.Contains(dry, h.place().dir+"\n") || !strings.Contains(dry, "roll back 1 run") {
		t.Errorf("clean -n: exit %d: %s", code, dry)
	}
	if out, stderr, code := h.verb("clean"); code != exitDone || out != dry || fileExists(h.place().dir) {
		t.Errorf("clean: exit %d: %s %s", code, out, stderr)
	}
	if out, _, code := h.verb("clean"); code != exitDone || out != "" {
		t.Errorf("clean again: exit %d: %s", code, out)
	}
}

// Where the home is mounted noexec the collectors lie elsewhere, and go too.
func TestCleanElsewhere(t *testing.T) {
	h := newHost(t)
	away := filepath.Join(h.home, "away", "vpsctl-abc")
	for _, dir := range []string{filepath.Join(away, "bin"), h.place().dir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(away, "bin"), filepath.Join(h.place().dir, "bin")); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(h.home, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && os.Geteuid() == 0 {
			err = os.Lchown(path, nobodyID, nobodyID)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if out, stderr, code := h.verb("clean"); code != exitDone || fileExists(away) || !strings.Contains(out, away+"\n") {
		t.Errorf("clean: exit %d: %s %s", code, out, stderr)
	}
}

func TestRetention(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	h := newHost(t)
	ids := []string{"20260101-000000-old1", "20261101-000000-a", "20261102-000000-b", "20261103-000000-c", "20261104-000000-d"}
	for _, id := range ids {
		plan := planOf(id, "true")
		plan.Keep = wire.Keep{Runs: 100, Days: 10000}
		h.start(plan)
	}
	plan := planOf("20261105-000000-e", "true")
	plan.Keep.Runs = 3
	h.start(plan)
	want := map[string]bool{ids[0]: false, ids[1]: false, ids[2]: true, ids[3]: true, ids[4]: true, plan.RunID: true}
	for id, kept := range want {
		if fileExists(string(h.run(id))) != kept {
			t.Errorf("run %s kept: %v", id, !kept)
		}
	}
	plan = planOf("20261210-000000-f", "true")
	h.start(plan)
	if left := listRuns(h.place()); len(left) != 1 {
		t.Errorf("after 35 days: %v", left)
	}
	out, _, _ := h.verb("runs")
	if !strings.Contains(out, `"run_id":"20261210-000000-f","verb":"run"`) || !strings.Contains(out, `"status":"changed","running":false`) {
		t.Errorf("runs: %s", out)
	}
}

func TestReportVerb(t *testing.T) {
	h := newHost(t)
	h.start(planOf("r1", "true"))
	path := filepath.Join(h.place().logs, "performance-report.json")
	for _, tt := range []struct {
		run, stdin string
		code       int
	}{{"r1", `{"schema":1}`, exitDone}, {"r1", `{"schema":`, exitUsage}, {"r2", `{}`, exitNoRun}} {
		cmd := h.command("report", tt.run)
		cmd.Stdin = strings.NewReader(tt.stdin)
		if _, stderr, code := h.finish(cmd); code != tt.code {
			t.Errorf("report %s %s: exit %d: %s", tt.run, tt.stdin, code, stderr)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != `{"schema":1}` {
			t.Errorf("%s %v", b, err)
		}
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A file put into the place of the lock by somebody else is not trusted.
func TestLockFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "lock")
	target := filepath.Join(dir, "target")
	touch(t, target)
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	f, err := takeLock(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if isLink(path) || !fileExists(target) {
		t.Error("the link was followed or its target removed")
	}
	if _, err := takeLock(path); err == nil || !strings.Contains(err.Error(), "another run holds") {
		t.Errorf("taken twice: %v", err)
	}
}

func TestUsageErrors(t *testing.T) {
	h := newHost(t)
	for _, args := range [][]string{{}, {"bogus"}, {"follow", "r1"}, {"follow", "r1", "x", "0"}, {"follow", "../r1", "0", "0"}, {"cancel", "r1", "--later"}, {"clean", "-x"}} {
		if _, stderr, code := h.verb(args...); code != exitUsage || stderr == "" {
			t.Errorf("%q: exit %d %s", args, code, stderr)
		}
	}
	if _, _, code := h.verb("follow", "nosuch", "0", "0"); code != exitNoRun {
		t.Errorf("follow of no run: exit %d", code)
	}
}
