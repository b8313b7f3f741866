package report

import (
	"strings"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// What a budget ran out of, from the record alone.
func TestExplainBudget(t *testing.T) {
	const sec = int64(time.Second)
	lock := &wire.Wait{For: "the apt lock", Holder: "pid 812 unattended-upgr"}
	done := *lock
	done.Done = true
	psi := func(io float64) *wire.Sample {
		mem := 90.0
		s := &wire.Sample{Elapsed: 10 * time.Second, PSIIO: &io}
		if io > 50 {
			s.PSIMem = &mem
		}
		return s
	}
	run := func(reason string, between ...wire.Event) string {
		plan := planOf(wire.Step{Name: "a"}, wire.Step{Name: "b"})
		rec := NewHostRecord("r", "a", Limits{})
		start := &wire.Start{Wire: wire.Version, Wall: time.Unix(1, 0), Phases: []wire.PhaseHead{{ID: plan.Phases[0].ID, Steps: []string{"a", "b"}}}}
		all := append([]wire.Event{{Kind: wire.KindStart, Start: start}, {Kind: wire.KindPhase, Phase: "p"},
			{Kind: wire.KindStep, Phase: "p", Step: "p/a"}, {Kind: wire.KindStepEnd, Phase: "p", Step: "p/a", T: 8 * sec, StepEnd: &wire.StepEnd{Status: wire.OK}},
			{Kind: wire.KindStep, Phase: "p", Step: "p/b", T: 8 * sec}}, between...)
		all = append(all, wire.Event{Kind: wire.KindStepEnd, Phase: "p", Step: "p/b", T: 90 * sec, StepEnd: &wire.StepEnd{Status: wire.Failed, Reason: reason}},
			wire.Event{Kind: wire.KindPhaseEnd, Phase: "p", T: 90 * sec, PhaseEnd: &wire.PhaseEnd{Status: wire.Failed, Reason: "step b: " + reason}},
			wire.Event{Kind: wire.KindEnd, T: 90 * sec, End: &wire.End{Status: wire.Failed, Stage: "phase", Reason: reason}})
		for i := range all {
			all[i].N = int64(i + 1)
			rec.Apply(&all[i])
		}
		v := JudgeHost(&Run{}, &HostRun{Host: "a"}, rec)
		if v.Outcome != PhaseFailed || !strings.HasPrefix(v.Error.Message, reason) {
			t.Errorf("%+v", v)
		}
		return strings.TrimPrefix(v.Error.Message, reason)
	}
	const phase, step = "stopped: the phase is over its budget of 1m 30s", "stopped: the step is over its budget of 1m"
	for name, c := range map[string]struct{ got, want string }{
		"nothing":  {run(phase), ". no pressure seen: the time went into p/b 82 s"},
		"another":  {run("exit 7"), ""},
		"waited":   {run(phase, wire.Event{Kind: wire.KindWait, Step: "p/b", T: 10 * sec, Wait: lock}, wire.Event{Kind: wire.KindWait, Step: "p/b", T: 71 * sec, Wait: &done}), ". 61 s waiting for the apt lock, held by pid 812 unattended-upgr; of steps, most went into p/b 82 s"},
		"waits":    {run(step, wire.Event{Kind: wire.KindWait, Step: "p/b", T: 10 * sec, Wait: lock}), ". 80 s waiting for the apt lock, held by pid 812 unattended-upgr; of steps, most went into p/b 82 s"},
		"pressure": {run(phase, wire.Event{Kind: wire.KindSample, T: 20 * sec, Sample: psi(60)}, wire.Event{Kind: wire.KindSample, T: 30 * sec, Sample: psi(10)}, wire.Event{Kind: wire.KindSample, T: 40 * sec, Sample: psi(80)}), ". disk pressure 70 % for 20 s; memory pressure 90 % for 20 s; of steps, most went into p/b 82 s"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, not %q", name, c.got, c.want)
		}
	}
}
