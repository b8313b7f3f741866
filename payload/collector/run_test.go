//go:build linux

package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// The journal of a run begins with start and ends with end, is numbered without
// gaps, and what a follower prints is all of it.
func TestRunIsJournaledAndFollowed(t *testing.T) {
	h := newHost(t)
	printed := h.start(planOf("r1", "echo one; echo err >&2", "exit 0"))
	journal := h.journal("r1")
	for i, e := range journal {
		if e.N != int64(i+1) {
			t.Fatalf("event %d has number %d", i+1, e.N)
		}
	}
	if journal[0].Kind != wire.KindStart || endOf(t, journal).Status != wire.Changed {
		t.Errorf("first %s, end %+v", journal[0].Kind, endOf(t, journal))
	}
	if diff := gocmp.Diff(journal, printed); diff != "" {
		t.Errorf("printed is not the journal:\n%s", diff)
	}
}

// Whatever was read before the line was lost, follow prints exactly the rest.
func TestFollowAfterEachEvent(t *testing.T) {
	h := newHost(t)
	h.start(planOf("r1", "echo one; sleep 0.2; echo two", "echo three"))
	journal := h.journal("r1")
	stride := 1
	if testing.Short() {
		stride = 5
	}
	for status := 0; status <= len(journal); status += stride {
		for _, output := range []int{0, status / 2, status} {
			var want []wire.Event
			for _, e := range journal {
				if e.IsOutput() && e.N > int64(output) || !e.IsOutput() && e.N > int64(status) {
					want = append(want, e)
				}
			}
			stdout, stderr, code := h.verb("follow", "r1", strconv.Itoa(status), strconv.Itoa(output))
			if code != exitDone {
				t.Fatalf("follow %d %d: exit %d: %s", status, output, code, stderr)
			}
			got := decode(t, stdout)
			slices.SortFunc(got, func(a, b wire.Event) int { return cmp.Compare(a.N, b.N) })
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Fatalf("follow %d %d:\n%s", status, output, diff)
			}
		}
	}
}

func decode(t testing.TB, text string) []wire.Event {
	t.Helper()
	var events []wire.Event
	for line := range strings.Lines(text) {
		e, err := wire.Decode([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}

// A run goes on when nobody reads it any more, and is found again.
func TestRunOutlivesItsLine(t *testing.T) {
	h := newHost(t)
	gate := filepath.Join(h.home, "gate")
	s := h.begin(planOf("r1", "while ! test -e "+gate+"; do sleep 0.02; done; echo after"))
	s.until(wire.KindStep)
	s.cut()
	touch(t, gate)
	again := h.follow(h.command("follow", "r1", "3", "0"))
	events := again.rest()
	out := find(t, events, "output", func(e *wire.Event) bool { return e.IsOutput() })
	if out.Output.Text != "after\n" || endOf(t, events).Status != wire.Changed || events[0].N != 4 {
		t.Errorf("got %s", kinds(events))
	}
}

// Steps find signals as a login shell has them. What is started by make comes
// with glibc's own signals, 32 and 33, ignored: those are nobody's.
func TestSignalsOfSteps(t *testing.T) {
	h := newHost(t)
	events := h.start(planOf("r1", "grep SigIgn /proc/self/status; ls -l /proc/self/fd | grep -c ' -> /.*\\(journal\\|lock\\|plan\\|attached\\)'; cat <&0; yes | head -n 1"))
	var said, complained string
	for _, e := range events {
		if e.IsOutput() && e.Output.Stream == "stdout" {
			said += e.Output.Text
		} else if e.IsOutput() {
			complained += e.Output.Text
		}
	}
	var ignored uint64
	if _, err := fmt.Sscanf(said, "SigIgn:\t%x\n", &ignored); err != nil || ignored&^(3<<31) != 0 || !strings.HasSuffix(said, "\n0\ny\n") || complained != "" {
		t.Errorf("said %q, complained %q", said, complained)
	}
}

func touch(t testing.TB, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

// A follower whose reader went away ends by itself, also when nothing happens.
func TestFollowerEndsWithItsReader(t *testing.T) {
	h := newHost(t)
	s := h.begin(planOf("r1", "sleep 30"))
	s.until(wire.KindStep)
	s.out.Close()
	done := make(chan error, 1)
	go func() { done <- s.cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the follower still runs")
	}
	h.verb("cancel", "r1")
	h.verb("follow", "r1", "0", "0")
}

// What is refused says why in one event numbered 0, and leaves nothing behind.
func TestRefused(t *testing.T) {
	good := planOf("r1", "true")
	change := func(f func(*wire.Plan)) []byte {
		p := *good
		p.Phases = slices.Clone(p.Phases)
		f(&p)
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	whole := change(func(*wire.Plan) {})
	tests := []struct {
		name, stage, text string
		plan              []byte
	}{
		{"nothing", "plan", "not complete JSON", nil},
		{"half a plan", "plan", "not complete JSON", whole[:len(whole)/2]},
		{"another wire", "plan", "wire version 9", change(func(p *wire.Plan) { p.Wire = 9 })},
		{"bad run id", "plan", "not a run id", change(func(p *wire.Plan) { p.RunID = "../x" })},
		{"short secret", "plan", "5 bytes", change(func(p *wire.Plan) { p.Secrets = map[string]string{"a": "short"} })},
		{"bad phase", "plan", "not a name", change(func(p *wire.Plan) { p.Phases[0].ID = "a/b" })},
		{"circle", "plan", "circle", change(func(p *wire.Plan) {
			p.Phases = []wire.Phase{{ID: "a", Needs: []string{"b"}}, {ID: "b", Needs: []string{"a"}}}
		})},
		{"unknown need", "plan", "not in the plan", change(func(p *wire.Plan) { p.Phases[0].Needs = []string{"x"} })},
		{"fast samples", "plan", "at least 100ms", change(func(p *wire.Plan) { p.Interval = 1 })},
	}
	h := newHost(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd := h.command("start")
			cmd.Stdin = bytes.NewReader(tt.plan)
			stdout, _, code := h.finish(cmd)
			events := decode(t, stdout)
			if code != exitRefused || len(events) != 1 || events[0].N != 0 || events[0].Refused == nil {
				t.Fatalf("exit %d, %s", code, stdout)
			}
			if r := events[0].Refused; r.Stage != tt.stage || !strings.Contains(r.Text, tt.text) {
				t.Errorf("refused %+v, want %s: …%s…", r, tt.stage, tt.text)
			}
			if left, err := filepath.Glob(h.place().runs() + "/*"); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
}

// A run id is used once.
func TestRunTwice(t *testing.T) {
	h := newHost(t)
	plan := planOf("r1", "true")
	h.start(plan)
	before := h.journal("r1")
	s := h.begin(plan)
	events := s.rest()
	if len(events) != 1 || events[0].Refused == nil || events[0].Refused.Stage != "exists" {
		t.Errorf("got %s", kinds(events))
	}
	if diff := gocmp.Diff(before, h.journal("r1")); diff != "" {
		t.Errorf("the first run's journal changed:\n%s", diff)
	}
}

// Of two exclusive runs the second is refused and told who holds the host; it
// may start as soon as the first one's end was read.
func TestLock(t *testing.T) {
	h := newHost(t)
	gate := filepath.Join(h.home, "gate")
	first := planOf("first", "while ! test -e "+gate+"; do sleep 0.02; done")
	first.Exclusive, first.Verb = true, "provision"
	s := h.begin(first)
	s.until(wire.KindStep)
	second := planOf("second", "true")
	second.Exclusive = true
	b := h.begin(second)
	events := b.rest()
	_ = b.cmd.Wait()
	if code := b.cmd.ProcessState.ExitCode(); code != exitLocked || len(events) != 1 || events[0].Refused == nil {
		t.Fatalf("exit %d: %s", code, kinds(events))
	}
	holder := events[0].Refused.Holder
	if holder == nil || holder.RunID != "first" || holder.Verb != "provision" || holder.PID != h.runnerPID("first") {
		t.Errorf("holder %+v", holder)
	}
	if _, err := os.Stat(string(h.run("second"))); err == nil {
		t.Error("the refused run left its folder")
	}
	if end := endOf(t, h.start(planOf("free", "true"))); end.Status != wire.Changed {
		t.Errorf("a run that is not exclusive: %+v", end)
	}
	touch(t, gate)
	s.until(wire.KindEnd)
	if end := endOf(t, h.start(second)); end.Status != wire.Changed {
		t.Errorf("after the first: %+v", end)
	}
}

func TestFailures(t *testing.T) {
	h := newHost(t)
	plan := planOf("r1", "echo out; echo broken >&2; exit 7", "echo never")
	plan.Phases = append(plan.Phases,
		wire.Phase{ID: "q", Title: "Q", Needs: []string{"p"}, Steps: []wire.Step{{Name: "s", Run: &wire.Run{Script: "true"}}}},
		wire.Phase{ID: "other", Title: "Other", Steps: []wire.Step{
			{Name: "optional", Optional: true, Run: &wire.Run{Script: "exit 1"}},
			{Name: "when", When: "echo because >&2; exit 1", Run: &wire.Run{Script: "true"}},
			{Name: "skip", Skip: "phase x is not in the plan", Run: &wire.Run{Script: "true"}},
			{Name: "slow", Optional: true, Timeout: 300 * time.Millisecond, Run: &wire.Run{Script: "sleep 20 & wait"}},
			{Name: "again", Optional: true, Retries: 1, Run: &wire.Run{Script: "echo Temporary failure resolving x >&2; exit 1"}},
			{Name: "once", Optional: true, Retries: 2, Run: &wire.Run{Script: "exit 1"}}}},
		wire.Phase{ID: "asks", Title: "Asks", Needs: []string{"p", "q", "other"}, Steps: []wire.Step{
			{Name: "no", Assert: &wire.Assert{Check: "false", Critical: true, Hint: "do it"}},
			{Name: "warn", Assert: &wire.Assert{Check: "false"}},
			{Name: "yes", Assert: &wire.Assert{Check: "true"}}}})
	events := h.start(plan)
	if e := stepEndOf(t, events, "p/s0"); e.Status != wire.Failed || e.RC == nil || *e.RC != 7 || !strings.Contains(e.Stderr, "broken") {
		t.Errorf("p/s0: %+v", e)
	}
	for _, e := range events {
		if e.Step == "p/s1" || e.Step == "q/s" {
			t.Errorf("ran after a failure: %s", e.Step)
		}
	}
	phase := func(id string) *wire.PhaseEnd {
		return find(t, events, "end of "+id, func(e *wire.Event) bool { return e.PhaseEnd != nil && e.Phase == id }).PhaseEnd
	}
	for id, want := range map[string]wire.Status{"p": wire.Failed, "q": wire.NotReached, "other": wire.OK, "asks": wire.Failed} {
		if got := phase(id); got.Status != want {
			t.Errorf("phase %s: %+v, want %s", id, got, want)
		}
	}
	if e := stepEndOf(t, events, "other/when"); e.Status != wire.Skipped || !strings.Contains(e.Reason, "because") {
		t.Errorf("when: %+v", e)
	}
	if e := stepEndOf(t, events, "other/skip"); e.Status != wire.Skipped || e.Reason != "phase x is not in the plan" {
		t.Errorf("skip: %+v", e)
	}
	if e := stepEndOf(t, events, "other/slow"); !e.TimedOut || e.Reason != "timed out after 0.3s" {
		t.Errorf("slow: %+v", e)
	}
	if e := stepEndOf(t, events, "other/again"); e.Attempts != 2 || e.Status != wire.Failed {
		t.Errorf("again: %+v", e)
	}
	if e := stepEndOf(t, events, "other/once"); e.Attempts != 0 || e.Status != wire.Failed { // another try would do no better
		t.Errorf("once: %+v", e)
	}
	if e := stepEndOf(t, events, "asks/yes"); e.Status != wire.OK {
		t.Errorf("a question after one that was answered with no: %+v", e)
	}
	if got := phase("asks"); got.Failed != 2 || got.OK != 1 {
		t.Errorf("asks: %+v", got)
	}
	if end := endOf(t, events); end.Status != wire.Failed || end.Stage != "phase" || !strings.Contains(end.Reason, "phase p: step s0") {
		t.Errorf("end %+v", end)
	}
}

// Handlers run once, at the end of the phase, also when a later step failed.
func TestHandlers(t *testing.T) {
	h := newHost(t)
	log := filepath.Join(h.home, "log")
	handler := []wire.Handler{{Run: "echo handled >> " + log}}
	plan := planOf("r1", "echo 1 >> "+log, "echo 2 >> "+log, "exit 1")
	plan.Phases[0].Steps[0].OnChange, plan.Phases[0].Steps[1].OnChange = handler, handler
	h.start(plan)
	if b, err := os.ReadFile(log); err != nil || string(b) != "1\n2\nhandled\n" {
		t.Errorf("%q %v", b, err)
	}
}

func TestRequiresAndBudget(t *testing.T) {
	h := newHost(t)
	plan := planOf("r1", "true")
	plan.Phases[0].Requires = &wire.Requires{OS: []string{"plan9-4"}, Arch: []string{"mips"}, MemoryMB: 1 << 30, DiskMB: 1 << 30}
	events := h.start(plan)
	end := endOf(t, events)
	if end.Stage != "requires" {
		t.Fatalf("end %+v", end)
	}
	for _, want := range []string{"plan9-4", "mips", "MiB of memory", "MiB of room"} {
		if !strings.Contains(end.Reason, want) {
			t.Errorf("%q does not name %q", end.Reason, want)
		}
	}
	plan = planOf("r2", "sleep 20")
	plan.Phases[0].Budget = 200 * time.Millisecond
	if end := endOf(t, h.start(plan)); end.Status != wire.Failed || !strings.Contains(end.Reason, "p: ") {
		t.Errorf("over budget: %+v", end)
	}
}

// Phases that say so run side by side, the others alone, each after its needs.
func TestOrder(t *testing.T) {
	h := newHost(t)
	phase := func(id string, parallel bool, needs ...string) wire.Phase {
		return wire.Phase{ID: id, Title: id, Parallel: parallel, Needs: needs, Steps: []wire.Step{{Name: "s", Run: &wire.Run{Script: "sleep 0.2"}}}}
	}
	plan := planOf("r1")
	plan.Phases = []wire.Phase{phase("last", false, "a", "b"), phase("a", true, "first"), phase("b", true, "first"), phase("first", false)}
	for _, sequential := range []bool{false, true} {
		plan.Sequential = sequential
		plan.RunID = map[bool]string{false: "r1", true: "r2"}[sequential]
		events := h.start(plan)
		running, most := map[string]bool{}, 0
		ended := map[string]bool{}
		for _, e := range events {
			switch e.Kind {
			case wire.KindPhase:
				running[e.Phase] = true
				most = max(most, len(running))
				if e.Phase == "last" && (!ended["a"] || !ended["b"]) || e.Phase != "first" && !ended["first"] {
					t.Errorf("%s began too early", e.Phase)
				}
			case wire.KindPhaseEnd:
				delete(running, e.Phase)
				ended[e.Phase] = true
				if shared := e.PhaseEnd.Cost.NetShared; shared != (!sequential && most == 2 && (e.Phase == "a" || e.Phase == "b")) {
					t.Errorf("sequential %v: %s shared its network: %v", sequential, e.Phase, shared)
				}
			}
		}
		facts := events[0].Start.Facts
		if small := facts.MemoryMB < smallHostMB; (most == 2) != (!sequential && !small) || len(ended) != 4 {
			t.Errorf("sequential %v: %d side by side, %d ended", sequential, most, len(ended))
		}
	}
}
