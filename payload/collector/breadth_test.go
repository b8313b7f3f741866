//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

func TestStepBudget(t *testing.T) {
	h := newHost(t)
	plan := planOf("budget", "sleep 60", "true")
	plan.Phases[0].Steps[0].Budget = 300 * time.Millisecond
	plan.Phases[0].Steps[0].Optional = true
	// Tries that fail of what can pass, and the waits between them, count together.
	plan.Phases[0].Steps[1].Run.Script = "echo 'Could not resolve host' >&2; exit 1"
	plan.Phases[0].Steps[1].Budget, plan.Phases[0].Steps[1].Retries = 600*time.Millisecond, 9
	events := h.start(plan)
	first, second := plan.Phases[0].ID+"/"+plan.Phases[0].Steps[0].Name, plan.Phases[0].ID+"/"+plan.Phases[0].Steps[1].Name
	if e := stepEndOf(t, events, first); e.Status != wire.Failed || !e.TimedOut || !strings.HasPrefix(e.Reason, "stopped: the step is over its budget of 0.3s") && !strings.Contains(e.Reason, "budget of 300ms") {
		t.Errorf("%+v", e)
	}
	if e := stepEndOf(t, events, second); e.Status != wire.Failed || !strings.Contains(e.Reason, "over its budget of") || !strings.Contains(e.Reason, ": the last try failed: the script exited 1") {
		t.Errorf("%+v", e)
	}
}

// A reboot takes root; a run that cannot have it ends and says so.
func TestRebootTakesRoot(t *testing.T) {
	h := newHost(t)
	plan := planOf("reboot", "true", "true")
	plan.Phases[0].Steps[0].Reboot = true
	events := h.start(plan)
	if end := endOf(t, events); end.Status != wire.Failed || end.Stage != "reboot" || !strings.Contains(end.Reason, "takes root") {
		t.Errorf("%+v", end)
	}
	// What changed nothing asks for nothing.
	plan = planOf("calm", "true", "true")
	plan.Phases[0].Steps[0].Reboot, plan.Phases[0].Steps[0].Run.Check = true, "true"
	if end := endOf(t, h.start(plan)); end.Status != wire.Changed {
		t.Errorf("%+v", end)
	}
}

// rest makes a journal end as if its host had gone down with the run resting.
func (h *testHost) rested(t *testing.T, plan *wire.Plan, boot string) {
	t.Helper()
	h.start(plan)
	d := h.run(plan.RunID)
	b, err := os.ReadFile(d.journal())
	if err != nil {
		t.Fatal(err)
	}
	var kept []byte
	var n int64
	step := plan.Phases[0].ID + "/" + plan.Phases[0].Steps[0].Name
	for line := range strings.Lines(string(b)) {
		e, err := wire.Decode([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		kept, n = append(kept, line...), e.N
		if e.StepEnd != nil && e.Step == step {
			break
		}
	}
	line, err := wire.Encode(&wire.Event{N: n + 1, Kind: wire.KindReboot, T: 1, Reboot: &wire.Reboot{BootID: boot, Step: step}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.journal(), append(kept, line...), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestGoesOnAfterReboot(t *testing.T) {
	h := newHost(t)
	mark := filepath.Join(h.home, "mark")
	plan := planOf("resumes", "echo first >>"+mark, "echo second >>"+mark)
	plan.Phases = append(plan.Phases, wire.Phase{ID: "later", Title: "Later", Needs: []string{plan.Phases[0].ID}, Steps: []wire.Step{{Name: "s", Run: &wire.Run{Script: "echo third >>" + mark}}}})
	h.rested(t, plan, "another-boot")
	if err := os.Remove(mark); err != nil {
		t.Fatal(err)
	}
	rest := *plan
	rest.Continues = &wire.Reboot{BootID: "another-boot", After: wire.Cursor{Status: 1}}
	events := h.start(&rest)
	if b, _ := os.ReadFile(mark); string(b) != "second\nthird\n" {
		t.Errorf("after the reboot it did %q", b)
	}
	if events[0].N != 2 || endOf(t, events).Status != wire.Changed {
		t.Errorf("%s", kinds(events))
	}
	find(t, events, "resumed", func(e *wire.Event) bool { return e.Kind == wire.KindResumed && e.Reboot.BootID == bootID() })
	end := find(t, events, "the end of the phase that rested", func(e *wire.Event) bool { return e.PhaseEnd != nil && e.Phase == plan.Phases[0].ID })
	if end.PhaseEnd.Changed != 2 {
		t.Errorf("%+v", end.PhaseEnd)
	}
	for i, e := range h.journal(plan.RunID) {
		if e.N != int64(i+1) {
			t.Errorf("event %d is number %d", i, e.N)
		}
	}
}

func TestGoesOnOnlyAsBegun(t *testing.T) {
	h := newHost(t)
	plan := planOf("resumes", "true", "true")
	refused := func(boot string, change func(*wire.Plan)) string {
		rest := *plan
		rest.Continues = &wire.Reboot{BootID: boot}
		change(&rest)
		s := h.begin(&rest)
		events := s.rest()
		_ = s.cmd.Wait() // a refusal has an exit code of its own
		if len(events) != 1 || events[0].Refused == nil {
			t.Fatalf("%s", kinds(events))
		}
		return events[0].Refused.Stage + ": " + events[0].Refused.Text
	}
	nothing := func(*wire.Plan) {}
	if got := refused("x", nothing); !strings.HasPrefix(got, "continue: ") {
		t.Error(got)
	}
	h.rested(t, plan, bootID())
	if got := refused(bootID(), nothing); got != "boot: the host has not rebooted yet" {
		t.Error(got)
	}
	if got := refused("x", func(p *wire.Plan) { p.Verb = "verify" }); !strings.Contains(got, "not the plan") {
		t.Error(got)
	}
	// A run that has ended does not go on.
	plan = planOf("ended", "true")
	h.start(plan)
	if got := refused("x", nothing); !strings.HasPrefix(got, "exists: ") {
		t.Error(got)
	}
}

func TestRollback(t *testing.T) {
	h := newHost(t)
	file, other, reloaded := filepath.Join(h.home, "a/b/file"), filepath.Join(h.home, "other"), filepath.Join(h.home, "reloaded")
	plan := planOf("first", "true")
	plan.Phases[0].Steps = []wire.Step{
		{Name: "file", File: &wire.File{Path: file, Content: []byte("one")}, OnChange: []wire.Handler{{Run: "echo x >>" + reloaded}}},
		{Name: "again", File: &wire.File{Path: file, Content: []byte("two"), Mode: "0600"}},
		{Name: "script", Run: &wire.Run{Script: "touch " + other, Undo: "rm " + other}},
		{Name: "broken", Run: &wire.Run{Script: "true", Undo: "exit 7"}},
	}
	h.start(plan)
	back := &wire.Plan{Wire: wire.Version, RunID: "back", Verb: "rollback", Phases: []wire.Phase{{ID: plan.Phases[0].ID, Title: "Undo"}}}
	for _, name := range []string{"broken", "script", "again", "file"} {
		back.Phases[0].Steps = append(back.Phases[0].Steps, wire.Step{Name: name, Revert: &wire.Revert{Run: "first", Step: plan.Phases[0].ID + "/" + name}})
	}
	events := h.start(back)
	end := endOf(t, events)
	if end.Status != wire.Failed || end.Stage != "rollback" || !strings.Contains(end.Reason, "exited 7") {
		t.Errorf("%+v", end)
	}
	for _, gone := range []string{filepath.Join(h.home, "a"), other} {
		if fileExists(gone) {
			t.Error("still there:", gone)
		}
	}
	if b, _ := os.ReadFile(reloaded); string(b) != "x\nx\n" {
		t.Errorf("the handler ran for the change and for its undo: %q", b)
	}
	back.RunID, back.Phases[0].Steps = "again", back.Phases[0].Steps[2:]
	if end := endOf(t, h.start(back)); end.Status == wire.Failed {
		t.Errorf("a second time: %+v", end)
	}
	back.RunID, back.Phases[0].Steps = "none", []wire.Step{{Name: "x", Revert: &wire.Revert{Run: "gone", Step: "p/x"}}}
	if end := endOf(t, h.start(back)); end.Stage != "rollback" || !strings.Contains(end.Reason, "no such run") {
		t.Errorf("%+v", end)
	}
}
