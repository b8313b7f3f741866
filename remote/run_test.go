package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/remote/sshtest"
)

func runRig(t *testing.T, opt sshtest.Options, journal ...any) *rig {
	t.Helper()
	r := newRig(t, opt)
	r.collectors(t, fakeCollector)
	if len(journal) == 0 {
		journal = goodJournal()
	}
	r.journal(t, journal...)
	return r
}

// A plan without secrets goes with the command, and on stdin too; through sudo,
// or where the server does not take it, on stdin alone.
func TestPlanGoesWithTheCommand(t *testing.T) {
	accept := sshtest.Options{AcceptEnv: []string{wire.EarlyPlan}, Sudo: true}
	for name, c := range map[string]struct {
		opt    sshtest.Options
		change func(*rig, *wire.Plan)
		early  bool
		hashed bool // the command has the plan's hash
	}{
		"all is open": {accept, func(*rig, *wire.Plan) {}, true, true},
		"not taken":   {sshtest.Options{}, func(*rig, *wire.Plan) {}, false, true},
		"secrets":     {accept, func(_ *rig, p *wire.Plan) { p.Secrets = map[string]string{"a": "hunter22"} }, false, false},
		"sudo":        {accept, func(r *rig, _ *wire.Plan) { r.host.Become = true }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := runRig(t, c.opt)
			plan := testPlan()
			c.change(r, plan)
			var lines []string
			if err := r.session(t).Run(testContext(t), plan, collect(&lines)); err != nil || len(lines) != 11 {
				t.Fatalf("%d events, %v", len(lines), err)
			}
			sent, err := os.ReadFile(r.state("runs/" + testRun + "/plan"))
			if err != nil {
				t.Fatal(err)
			}
			early, err := os.ReadFile(r.state("runs/" + testRun + "/early"))
			value, sum, _ := strings.Cut(string(early), " ")
			if err != nil || c.early != (value != "") || c.hashed != (sum != "") || c.early && strings.TrimSpace(string(wire.FromEarly(value, sum))) != string(sent) {
				t.Errorf("with the command came %q, %v; on stdin %s", early, err, sent)
			}
		})
	}
}

func TestRunPushesTheCollectorOnceAndTellsAllEvents(t *testing.T) {
	r := runRig(t, sshtest.Options{})
	s := r.session(t)
	plan := testPlan()
	var lines []string
	if err := s.Run(testContext(t), plan, collect(&lines)); err != nil {
		t.Fatal(err)
	}
	if len(lines) != 11 {
		t.Errorf("got %d events: %v", len(lines), lines)
	}
	if n := r.Counts(); n.Connections != 1 || n.SFTP != 1 {
		t.Errorf("counts %+v: one connection, one upload wanted", n)
	}
	if !r.saw(Uploading) {
		t.Error("the upload was not told")
	}
	if left, _ := filepath.Glob(filepath.Join(r.Home, ".vpsctl-upload-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	var sent wire.Plan
	data, err := os.ReadFile(r.state("runs/" + testRun + "/plan"))
	if err != nil || json.Unmarshal(data, &sent) != nil {
		t.Fatalf("the plan that arrived: %v, %s", err, data)
	}
	if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(sent.ConnectionKey)); err != nil {
		t.Errorf("connection key %q: %v", sent.ConnectionKey, err)
	}

	plan.RunID = "second"
	r.journal(t, "")
	second := r.session(t)
	second.Run(testContext(t), plan, collect(&lines)) // the journal is empty: only the way there counts
	if n := r.Counts(); n.SFTP != 1 {
		t.Errorf("counts %+v: a collector that is there was pushed again", n)
	}
}

func TestRunEqualsAnUncutOneWhereverTheLineIsCut(t *testing.T) {
	var want []string
	r := runRig(t, sshtest.Options{})
	if err := r.session(t).Run(testContext(t), testPlan(), collect(&want)); err != nil {
		t.Fatal(err)
	}
	for n := range len(want) + 1 {
		t.Run(fmt.Sprintf("after event %d", n), func(t *testing.T) {
			if err := os.RemoveAll(r.state("runs")); err != nil {
				t.Fatal(err)
			}
			r.CutAfterEvent(n)
			before := r.Counts().Connections
			var got []string
			if err := r.session(t).Run(testContext(t), testPlan(), collect(&got)); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			// Once all is there it does not matter what becomes of the line.
			if conns := r.Counts().Connections - before; conns != 2 && (conns != 1 || n < len(want)) {
				t.Errorf("%d connections, want 2", conns)
			}
		})
	}
}

// A plan whose connection broke before any event may or may not have arrived.
func TestRunIsNotStartedTwice(t *testing.T) {
	r := runRig(t, sshtest.Options{})
	r.CutAfterEvent(0)
	var got []string
	if err := r.session(t).Run(testContext(t), testPlan(), collect(&got)); err != nil {
		t.Fatal(err)
	}
	if len(got) != 11 {
		t.Errorf("got %d events", len(got))
	}
}

func TestRunStartsAgainWhenThePlanNeverArrived(t *testing.T) {
	r := runRig(t, sshtest.Options{})
	// The first collector loses its line before it makes the run.
	r.collectors(t, strings.Replace(fakeCollector, "start)\n", "start)\n\tif mkdir \"$HOME/first\" 2>/dev/null; then exec sleep 60; fi\n", 1))
	s := r.session(t)
	done := make(chan error, 1)
	var got []string
	go func() { done <- s.Run(testContext(t), testPlan(), collect(&got)) }()
	waitFor(t, func() bool { _, err := os.Stat(filepath.Join(r.Home, "first")); return err == nil })
	r.Cut()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(got) != 11 {
		t.Errorf("got %d events", len(got))
	}
}

func TestSilentLineIsLeftAndTheRunFollowed(t *testing.T) {
	r := runRig(t, sshtest.Options{})
	s := r.session(t)
	l := &r.dialer.lim
	l.tick, l.probe, l.quiet, l.silent = 20*time.Millisecond, 200*time.Millisecond, 400*time.Millisecond, 1500*time.Millisecond
	r.FreezeAfterEvent(3)
	var got []string
	if err := s.Run(testContext(t), testPlan(), collect(&got)); err != nil {
		t.Fatal(err)
	}
	if len(got) != 11 {
		t.Errorf("got %d events", len(got))
	}
	if !r.saw(Silent) || !r.saw(Redialing) {
		t.Errorf("states %v: the silence was not told", r.states)
	}
}

func TestSlowRunOnAGoodLineIsNotCut(t *testing.T) {
	r := runRig(t, sshtest.Options{}, append([]any{startEvent(), "#wait go"}, wire.Event{N: 2, Kind: wire.KindEnd, End: &wire.End{Status: wire.OK}})...)
	s := r.session(t)
	l := &r.dialer.lim
	l.tick, l.probe, l.quiet, l.silent = 20*time.Millisecond, 100*time.Millisecond, 2*time.Second, 5*time.Second
	done := make(chan error, 1)
	go func() { done <- s.Run(testContext(t), testPlan(), func([]byte, *wire.Event) error { return nil }) }()
	waitFor(t, func() bool { _, err := os.Stat(r.state("runs/" + testRun + "/collector")); return err == nil })
	time.Sleep(300 * time.Millisecond) // a silence in which only answers to probes come
	if err := os.WriteFile(r.state("runs/"+testRun+"/go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := r.Counts().Connections; n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("waited 10s in vain")
}

func TestHostileStreamsEndTheRun(t *testing.T) {
	end := wire.Event{N: 3, Kind: wire.KindEnd, End: &wire.End{Status: wire.OK}}
	other := startEvent()
	other.Start.RunID = "other"
	wide := startEvent()
	wide.Start.Phases = append(wide.Start.Phases, wire.PhaseHead{ID: "extra"})
	tests := map[string][]any{
		"a huge line":               {startEvent(), `{"n":2,"k":"note","t":0,"x":"` + strings.Repeat("x", wire.MaxLine) + `"}`},
		"numbers that go backwards": {startEvent(), wire.Event{N: 9, Kind: wire.KindPhase, Phase: "one"}, wire.Event{N: 8, Kind: wire.KindNote}},
		"a phase nobody asked for":  {startEvent(), wire.Event{N: 2, Kind: wire.KindPhase, Phase: "two"}},
		"a step nobody asked for":   {startEvent(), wire.Event{N: 2, Kind: wire.KindStep, Phase: "one", Step: "one/c"}},
		"a start that asks more":    {wide},
		"another run's events":      {other},
		"no start":                  {wire.Event{N: 1, Kind: wire.KindPhase, Phase: "one"}},
		"a late begin":              {wire.Event{N: 2, Kind: wire.KindPhase, Phase: "one"}},
		"a second start":            {startEvent(), func() wire.Event { e := startEvent(); e.N = 2; return e }()},
		"garbage":                   {startEvent(), "\x1b]0;evil\x07 not an event"},
		"an end that says nothing":  {startEvent(), wire.Event{N: 2, Kind: wire.KindEnd}},
		"life after the end":        {startEvent(), end, wire.Event{N: 4, Kind: wire.KindNote}},
		"no end":                    {startEvent(), wire.Event{N: 2, Kind: wire.KindPhase, Phase: "one"}},
	}
	for name, journal := range tests {
		t.Run(name, func(t *testing.T) {
			r := runRig(t, sshtest.Options{}, journal...)
			err := r.session(t).Run(testContext(t), testPlan(), func([]byte, *wire.Event) error { return nil })
			e := wantError(t, err, Hostile)
			if !errors.Is(err, wire.ErrHostile) || strings.Contains(e.Error(), "\x1b") {
				t.Errorf("got %q", err)
			}
		})
	}
}

func TestTotalOfAHostIsBounded(t *testing.T) {
	r := runRig(t, sshtest.Options{})
	s := r.session(t)
	r.dialer.lim.total = 500
	wantError(t, s.Run(testContext(t), testPlan(), func([]byte, *wire.Event) error { return nil }), Hostile, "too much output")
}

func TestFollow(t *testing.T) {
	r := runRig(t, sshtest.Options{})
	var all []string
	if err := r.session(t).Run(testContext(t), testPlan(), collect(&all)); err != nil {
		t.Fatal(err)
	}
	var rest []string
	if err := r.session(t).Follow(testContext(t), testRun, wire.Cursor{Status: 7, Output: 4}, collect(&rest)); err != nil {
		t.Fatal(err)
	}
	if want := slices.DeleteFunc(slices.Clone(all), func(l string) bool {
		for _, old := range []string{`{"n":1,`, `{"n":2,`, `{"n":3,`, `{"n":4,`, `{"n":6,`, `{"n":7,`} {
			if strings.HasPrefix(l, old) {
				return true
			}
		}
		return false
	}); !slices.Equal(rest, want) {
		t.Errorf("got %v, want %v", rest, want)
	}
	rest = nil // all but the last output had come, the end too
	if err := r.session(t).Follow(testContext(t), testRun, wire.Cursor{Status: 11, Output: 5}, collect(&rest)); err != nil || len(rest) != 1 {
		t.Errorf("got %v, %v", rest, err)
	}
	err := r.session(t).Follow(testContext(t), "nobody-knows", wire.Cursor{}, collect(&rest))
	if wantError(t, err, Refused); !errors.Is(err, ErrNoRun) {
		t.Errorf("got %v, want ErrNoRun", err)
	}
	wantError(t, r.session(t).Follow(testContext(t), "../etc", wire.Cursor{}, collect(&rest)), Local, "not a run id")
}

func TestFollowUsesTheCollectorThatBeganTheRun(t *testing.T) {
	r := runRig(t, sshtest.Options{})
	if err := r.session(t).Run(testContext(t), testPlan(), func([]byte, *wire.Event) error { return nil }); err != nil {
		t.Fatal(err)
	}
	r.dialer = nil
	r.collectors(t, "#!/bin/sh\nexit 77\n") // another version of vpsctl
	var got []string
	if err := r.session(t).Follow(testContext(t), testRun, wire.Cursor{}, collect(&got)); err != nil || len(got) != 11 {
		t.Errorf("%d events, %v", len(got), err)
	}
	if err := os.RemoveAll(r.state("bin")); err != nil {
		t.Fatal(err)
	}
	wantError(t, r.session(t).Follow(testContext(t), testRun, wire.Cursor{}, collect(&got)), Refused, "no longer on the host", "version of vpsctl")
}

func TestRefusals(t *testing.T) {
	r := runRig(t, sshtest.Options{})
	quiet := func([]byte, *wire.Event) error { return nil }
	if err := r.session(t).Run(testContext(t), testPlan(), quiet); err != nil {
		t.Fatal(err)
	}
	wantError(t, r.session(t).Run(testContext(t), testPlan(), quiet), Refused, "was begun before")
	r.put(t, "refuse", `{"n":0,"k":"refused","t":0,"refused":{"stage":"lock","text":"held","holder":{"run_id":"other","verb":"provision","pid":7,"since":"2026-01-01T00:00:00Z"}}}`+"\n")
	plan := testPlan()
	plan.RunID = "new"
	e := wantError(t, r.session(t).Run(testContext(t), plan, quiet), Locked, "runs attach other")
	if e.Lock == nil || e.Lock.PID != 7 {
		t.Errorf("lock %+v", e.Lock)
	}
}

func TestSinkErrorsAreOurs(t *testing.T) {
	r := runRig(t, sshtest.Options{})
	full := errors.New("disk full")
	err := r.session(t).Run(testContext(t), testPlan(), func([]byte, *wire.Event) error { return full })
	if wantError(t, err, Local, "disk full"); !errors.Is(err, full) {
		t.Errorf("%v hides its cause", err)
	}
}

func TestCancelWhileRunning(t *testing.T) {
	r := runRig(t, sshtest.Options{}, append([]any{startEvent(), "#wait canceled"}, wire.Event{N: 2, Kind: wire.KindEnd, End: &wire.End{Status: wire.Cancelled}})...)
	r.collectors(t, strings.Replace(fakeCollector, "${verb}ed", "canceled", 1))
	s := r.session(t)
	begun, done := make(chan bool, 2), make(chan error, 1)
	go func() {
		done <- s.Run(testContext(t), testPlan(), func([]byte, *wire.Event) error { begun <- true; return nil })
	}()
	<-begun
	if err := s.Cancel(testContext(t), testRun, true); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := r.Counts().Connections; n != 1 {
		t.Errorf("%d connections for one host and verb", n)
	}
	if text, _ := os.ReadFile(r.state("runs/" + testRun + "/cancel")); strings.TrimSpace(string(text)) != testRun+" --now" {
		t.Errorf("the host was told %q", text)
	}
	if err := s.Cancel(testContext(t), "nobody-knows", false); !errors.Is(err, ErrNoRun) {
		t.Errorf("got %v, want ErrNoRun", err)
	}
}

func TestLeavingEndsTheCallAtOnce(t *testing.T) {
	r := runRig(t, sshtest.Options{}, startEvent(), "#wait never")
	ctx, cancel := context.WithCancelCause(testContext(t))
	why := errors.New("second ^C")
	err := r.session(t).Run(ctx, testPlan(), func([]byte, *wire.Event) error { cancel(why); return nil })
	var e *Error
	if !errors.Is(err, why) || errors.As(err, &e) {
		t.Errorf("got %v, want the cause and no host's error", err)
	}
	limited, stop := context.WithTimeout(testContext(t), 300*time.Millisecond)
	defer stop()
	wantError(t, r.session(t).Follow(limited, testRun, wire.Cursor{}, func([]byte, *wire.Event) error { return nil }), TimedOut, "time limit", "--timeout")
}

func TestHostThatStaysAwayIsGivenUp(t *testing.T) {
	r := runRig(t, sshtest.Options{}, startEvent(), "#wait never")
	s := r.session(t)
	r.dialer.lim.giveUp = 200 * time.Millisecond
	err := s.Run(testContext(t), testPlan(), func([]byte, *wire.Event) error { r.Down(); return nil })
	wantError(t, err, Unreachable, "gave up", "runs attach "+testRun)
}

func TestRefusalWhileRedialingLeavesAtOnce(t *testing.T) {
	for name, change := range map[Kind]func(*rig){
		HostKey:     func(r *rig) { r.RotateHostKey() },
		AuthRefused: func(r *rig) { r.RefuseKeys(true) },
	} {
		t.Run(name.String(), func(t *testing.T) {
			r := runRig(t, sshtest.Options{}, startEvent(), "#wait never")
			err := r.session(t).Run(testContext(t), testPlan(), func([]byte, *wire.Event) error {
				change(r)
				r.Cut()
				return nil
			})
			wantError(t, err, name)
		})
	}
}
