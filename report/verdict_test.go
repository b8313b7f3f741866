package report

import (
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

func ending(e wire.End) *HostRecord {
	r := NewHostRecord(testRun, "h", Limits{})
	r.Apply(&wire.Event{N: 1, Kind: wire.KindStart, Start: &wire.Start{}})
	r.Apply(&wire.Event{N: 2, Kind: wire.KindEnd, End: &e})
	return r
}

func refusedBy(stage string) *HostRecord {
	r := NewHostRecord(testRun, "h", Limits{})
	r.Apply(&wire.Event{Kind: wire.KindRefused, Refused: &wire.Refused{Stage: stage, Text: "no"}})
	return r
}

type judged struct {
	name    string
	run     Run
	h       HostRun
	rec     *HostRecord
	status  wire.Status
	outcome Outcome
}

func hostsToJudge(t *testing.T) []judged {
	over := Run{ID: testRun, Finished: time.Unix(1, 0)}
	left := Run{ID: testRun, Finished: time.Unix(1, 0), Interrupted: "SIGINT"}
	detached := Run{ID: testRun, Finished: time.Unix(1, 0), Detached: true}
	failed := func(stage string) *HostRecord {
		return ending(wire.End{Status: wire.Failed, Stage: stage, Reason: "why"})
	}
	saw := func(kind Outcome) HostRun {
		return HostRun{Host: "h", Error: &HostError{Kind: kind, Stage: "dial", Message: "h: dial failed"}}
	}
	half := foldAll("h", journal(t, "web2.jsonl")[:4])
	return []judged{
		{"ok", over, HostRun{}, ending(wire.End{Status: wire.OK}), wire.OK, Done},
		{"changed", over, HostRun{}, ending(wire.End{Status: wire.Changed}), wire.Changed, Done},
		{"requires", over, HostRun{}, failed("requires"), wire.Failed, PreflightFailed},
		{"phase", over, HostRun{}, failed("phase"), wire.Failed, PhaseFailed},
		{"died", over, HostRun{}, failed("died"), wire.Failed, PhaseFailed},
		{"host's disk full", over, HostRun{}, failed("journal"), wire.Failed, PhaseFailed},
		{"a stage nobody knows", over, HostRun{}, failed("x"), wire.Failed, PhaseFailed},
		{"a status nobody knows", over, HostRun{}, ending(wire.End{Status: "great"}), wire.Failed, PhaseFailed},
		{"verification", over, HostRun{}, failed("verification"), wire.Failed, VerificationFailed},
		{"rollback", over, HostRun{}, failed("rollback"), wire.Failed, RollbackFailed},
		{"cancelled", over, HostRun{}, ending(wire.End{Status: wire.Cancelled, Stage: "cancel"}), wire.Cancelled, Cancelled},
		{"done there, not recorded here", over, saw(LocalFault), ending(wire.End{Status: wire.OK}), wire.OK, LocalFault},
		{"failed there, not recorded here", over, saw(LocalFault), failed("phase"), wire.Failed, PhaseFailed},
		{"reached at last", over, saw(Unreachable), ending(wire.End{Status: wire.OK}), wire.OK, Done},
		{"stopped in what followed", over, HostRun{Host: "h", Error: &HostError{Kind: Cancelled, Stage: StageBench, Message: "why"}}, ending(wire.End{Status: wire.OK}), wire.Cancelled, Cancelled},
		{"left, and done there", over, saw(Cancelled), ending(wire.End{Status: wire.OK}), wire.OK, Done},
		{"locked", over, HostRun{}, refusedBy("lock"), wire.Failed, Locked},
		{"bad plan", over, HostRun{}, refusedBy("plan"), wire.Failed, BadUsage},
		{"id used", over, HostRun{}, refusedBy("exists"), wire.Failed, LocalFault},
		{"no room to begin", over, HostRun{}, refusedBy("disk"), wire.Failed, PreflightFailed},
		{"unreachable", over, saw(Unreachable), nil, wire.Failed, Unreachable},
		{"no rights", over, saw(NoRights), nil, wire.Failed, NoRights},
		{"lost for good in the middle", over, saw(Unreachable), half, wire.Failed, Unreachable},
		{"stopped before it began", over, saw(Cancelled), nil, wire.Cancelled, Cancelled},
		{"an error without kind", over, saw(""), nil, wire.Failed, LocalFault},
		{"skipped", over, HostRun{Status: wire.Skipped}, nil, wire.Skipped, Done},
		{"not reached", over, HostRun{Status: wire.NotReached}, nil, wire.NotReached, NotReached},
		{"left with the second ^C", left, HostRun{}, half, wire.Cancelled, Cancelled},
		{"detached", detached, HostRun{}, half, "", Running},
		{"going on", Run{}, HostRun{}, half, "", Running},
		{"no end, no reason", over, HostRun{}, half, wire.Failed, LocalFault},
	}
}

func TestJudgeHost(t *testing.T) {
	for _, c := range hostsToJudge(t) {
		got := JudgeHost(&c.run, &c.h, c.rec)
		if got.Status != c.status || got.Outcome != c.outcome || got.Text == "" {
			t.Errorf("%s: %+v, want %s %s", c.name, got, c.status, c.outcome)
		}
		wantError := c.outcome != Done && c.outcome != Running && c.outcome != NotReached
		if (got.Error != nil) != wantError || wantError && (got.Error.Message == "" || got.Error.Stage == "" || got.Error.Kind != c.outcome) {
			t.Errorf("%s: error %+v", c.name, got.Error)
		}
	}
}

func TestJudgeFleet(t *testing.T) {
	type hosts []Outcome
	for _, c := range []struct {
		hosts       hosts
		interrupted string
		outcome     Outcome
		status      wire.Status
	}{
		{hosts{}, "", Done, wire.Skipped},
		{hosts{Done, Done}, "", Done, wire.OK},
		{hosts{Done, Unreachable}, "", Unreachable, wire.Failed},
		{hosts{Unreachable, Done, Unreachable}, "", Unreachable, wire.Failed},
		{hosts{Unreachable, NoRights}, "", Mixed, wire.Failed},
		{hosts{Unreachable, NoRights, Unreachable}, "", Mixed, wire.Failed},
		{hosts{Unreachable, NotReached, NotReached}, "", Unreachable, wire.Failed},
		{hosts{Done, Running}, "", Running, ""},
		{hosts{Running, Locked}, "", Locked, wire.Failed},
		{hosts{Done, Done}, "SIGINT", Done, wire.OK},
		{hosts{Done, Unreachable, NoRights}, "SIGTERM", Cancelled, wire.Failed},
		{hosts{Done, NotReached}, "SIGINT", Cancelled, wire.NotReached},
	} {
		run := Run{Finished: time.Unix(1, 0), Interrupted: c.interrupted}
		recs := make([]*HostRecord, len(c.hosts))
		for i, o := range c.hosts {
			h := HostRun{Host: "h"}
			switch o {
			case Done:
				recs[i] = ending(wire.End{Status: wire.OK})
			case NotReached:
				h.Status = wire.NotReached
			case Running:
				run.Detached = true
			default:
				h.Error = &HostError{Kind: o}
			}
			run.Hosts = append(run.Hosts, h)
		}
		if got := Judge(&run, recs); got.Outcome != c.outcome || got.Status != c.status || got.Text == "" {
			t.Errorf("%v %s: %s %q (%s), want %s %q", c.hosts, c.interrupted, got.Outcome, got.Status, got.Text, c.outcome, c.status)
		}
	}
}

// The step that failed says more than the end of the run.
func TestVerdictNamesTheStep(t *testing.T) {
	r := testReport(t)
	e := r.Hosts[0].Verdict.Error
	if e.Stage != "dev-tools/fetch" || e.Message != "exit status 7" || e.Hint != "is vendor.example.net reachable from the host?" {
		t.Errorf("%+v", e)
	}
	if r.Verdict.Outcome != Mixed || r.Verdict.Text != "4 hosts: 1 ok, 2 failed, 1 not_reached" {
		t.Errorf("%+v", r.Verdict)
	}
}
