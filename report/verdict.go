package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// Outcome is how a host or a run came out. The program has one table that
// makes exit codes of them.
type Outcome string

// The outcomes.
const (
	Done               Outcome = "done"
	PreflightFailed    Outcome = "preflight_failed"
	PhaseFailed        Outcome = "phase_failed"
	RollbackFailed     Outcome = "rollback_failed"
	VerificationFailed Outcome = "verification_failed"
	BadUsage           Outcome = "usage"
	NoRights           Outcome = "no_rights"
	Unreachable        Outcome = "unreachable"
	Drift              Outcome = "drift"
	Locked             Outcome = "locked"
	Mixed              Outcome = "mixed" // of runs only
	LocalFault         Outcome = "local_fault"
	Cancelled          Outcome = "cancelled"
	NotReached         Outcome = "not_reached" // of hosts only; not counted
	Running            Outcome = "running"     // left to itself, or not over yet
)

// Outcomes are all there are.
var Outcomes = []Outcome{Done, PreflightFailed, PhaseFailed, RollbackFailed, VerificationFailed, BadUsage, NoRights, Unreachable,
	Drift, Locked, Mixed, LocalFault, Cancelled, NotReached, Running}

// Verdict is a run in one word, one outcome and one sentence.
type Verdict struct {
	Status  wire.Status // empty while the run goes on
	Outcome Outcome
	Text    string
	Hosts   []HostVerdict // as in Run.Hosts
}

// HostVerdict is the same of a host.
type HostVerdict struct {
	Host    string
	Status  wire.Status // empty while the run goes on
	Outcome Outcome
	Text    string
	Error   *HostError // why, unless done
}

// Judge says how a run came out, from what this machine saw and what the hosts
// said. recs are the records of run.Hosts in their order; nil where there is
// none.
func Judge(run *Run, recs []*HostRecord) Verdict {
	var v Verdict
	for i := range run.Hosts {
		var rec *HostRecord
		if i < len(recs) {
			rec = recs[i]
		}
		v.Hosts = append(v.Hosts, JudgeHost(run, &run.Hosts[i], rec))
	}
	v.Status, v.Outcome = fleetStatus(v.Hosts), fleetOutcome(run, v.Hosts)
	v.Text = fleetText(v.Hosts)
	return v
}

// JudgeHost says how one host of a run came out. What the host said of its end
// counts first; what this machine saw counts where the host said nothing.
func JudgeHost(run *Run, h *HostRun, rec *HostRecord) HostVerdict {
	if rec == nil {
		rec = &HostRecord{}
	}
	v := HostVerdict{Host: h.Host}
	v.Status, v.Outcome, v.Error = hostOutcome(run, h, rec)
	if v.Error == nil && v.Outcome != Done && v.Outcome != Running && v.Outcome != NotReached {
		v.Error = &HostError{Stage: "vpsctl", Message: "the run was never seen to end"}
	}
	if v.Error != nil {
		e := *v.Error
		e.Kind, e.Stage, e.Message, e.Hint = v.Outcome, cleanLine(e.Stage), cleanLine(e.Message), cleanLine(e.Hint)
		v.Error = &e
	}
	v.Text = hostText(&v, rec)
	return v
}

func hostOutcome(run *Run, h *HostRun, rec *HostRecord) (wire.Status, Outcome, *HostError) {
	switch {
	case rec.End != nil:
		return ended(h, rec)
	case rec.Refused != nil:
		return wire.Failed, refusal(rec.Refused.Stage), refusedError(rec.Refused)
	case h.Status == wire.Skipped:
		return wire.Skipped, Done, nil
	case h.Status == wire.NotReached:
		return wire.NotReached, NotReached, nil
	case h.Error != nil && h.Error.Kind == Cancelled:
		return wire.Cancelled, Cancelled, h.Error
	case h.Error != nil:
		return wire.Failed, cmp.Or(h.Error.Kind, LocalFault), h.Error
	case run.Interrupted != "":
		return wire.Cancelled, Cancelled, &HostError{Stage: "vpsctl", Message: "vpsctl was left before the host had ended (" + run.Interrupted + ")",
			Hint: "vpsctl runs attach " + run.ID}
	case run.Detached || run.Finished.IsZero():
		return "", Running, nil
	}
	return wire.Failed, LocalFault, nil
}

// StageBench is what this machine measures of a host after the host itself.
const StageBench = "bench"

// ended is the outcome of a host that said how it ended.
func ended(h *HostRun, rec *HostRecord) (wire.Status, Outcome, *HostError) {
	end := rec.End
	switch end.Status {
	case wire.OK, wire.Changed, wire.Skipped:
		if h.Error != nil && h.Error.Kind == LocalFault { // the host is done, its record here is not
			return end.Status, LocalFault, h.Error
		}
		if h.Error != nil && h.Error.Kind == VerificationFailed { // what this machine saw of it
			return wire.Failed, VerificationFailed, h.Error
		}
		if e := h.Error; e != nil && e.Kind == Cancelled && e.Stage == StageBench { // in what follows the host's own part
			return wire.Cancelled, Cancelled, e
		}
		if s := rec.failedCheck(); s != nil {
			return wire.Failed, VerificationFailed, &HostError{Stage: s.ID, Message: cmp.Or(s.Reason, "does not hold"), Hint: s.Hint}
		}
		return end.Status, Done, nil
	case wire.Cancelled:
		return wire.Cancelled, Cancelled, endError(rec)
	}
	switch end.Stage {
	case "requires":
		return wire.Failed, PreflightFailed, endError(rec)
	case "verification":
		return wire.Failed, VerificationFailed, endError(rec)
	case "cancel":
		return wire.Cancelled, Cancelled, endError(rec)
	case "rollback":
		return wire.Failed, RollbackFailed, endError(rec)
	}
	if rec.Start != nil && rec.Start.Verb == "verify" {
		return wire.Failed, VerificationFailed, endError(rec)
	}
	return wire.Failed, PhaseFailed, endError(rec)
}

// failedCheck is the first check of the verification that does not hold. What
// is not critical there lets a run go on, but is no success either.
func (r *HostRecord) failedCheck() *StepRecord {
	for i := range r.Phases {
		for j := range r.Phases[i].Steps {
			if s := &r.Phases[i].Steps[j]; r.Phases[i].ID == "verification" && s.Status == wire.Failed {
				return s
			}
		}
	}
	return nil
}

// endError says what failed: the step that did says more than the end.
func endError(rec *HostRecord) *HostError {
	e := &HostError{Stage: cmp.Or(rec.End.Stage, "phase"), Message: rec.End.Reason, Hint: rec.End.Hint}
	if s := rec.firstFailed(); s != nil && (e.Stage == "phase" || e.Stage == "verification") {
		e.Stage = s.ID
		e.Message = cmp.Or(s.Reason, e.Message)
		e.Hint = cmp.Or(s.Hint, e.Hint)
	}
	if why := rec.explainBudget(e.Message); why != "" {
		e.Message += ". " + why
	}
	e.Message = cmp.Or(e.Message, string(rec.End.Status))
	return e
}

// firstFailed is the first step that failed and was not optional.
func (r *HostRecord) firstFailed() *StepRecord {
	var first *StepRecord
	for i := range r.Phases {
		for j := range r.Phases[i].Steps {
			s := &r.Phases[i].Steps[j]
			if s.Status == wire.Failed && !s.Optional && (first == nil || s.End < first.End) {
				first = s
			}
		}
	}
	return first
}

func refusal(stage string) Outcome {
	switch stage {
	case "lock":
		return Locked
	case "plan":
		return BadUsage
	case "exists":
		return LocalFault
	}
	return PreflightFailed
}

func refusedError(r *wire.Refused) *HostError {
	e := &HostError{Stage: r.Stage, Message: r.Text}
	if r.Holder != nil {
		e.Hint = fmt.Sprintf("it is held by run %s (%s) since %s", r.Holder.RunID, r.Holder.Verb, r.Holder.Since.UTC().Format(time.RFC3339))
	}
	return e
}

// fleetOutcome joins hosts: done only if all are, what all failures share, else
// mixed. A run that was interrupted is that, unless all was done already.
func fleetOutcome(run *Run, hosts []HostVerdict) Outcome {
	out := Done
	for _, h := range hosts {
		switch {
		case h.Outcome == Done || h.Outcome == NotReached || h.Outcome == out:
		case out == Done || out == Running:
			out = h.Outcome
		case h.Outcome != Running:
			out = Mixed
		}
	}
	undone := func(h HostVerdict) bool { return h.Outcome != Done }
	if run.Interrupted != "" && slices.ContainsFunc(hosts, undone) {
		return Cancelled
	}
	return out
}

// fleetStatus is the word that says most: one failed host makes a failed run.
func fleetStatus(hosts []HostVerdict) wire.Status {
	order := []wire.Status{wire.Failed, wire.Cancelled, "", wire.NotReached, wire.Changed, wire.OK, wire.Skipped}
	for _, s := range order {
		if slices.ContainsFunc(hosts, func(h HostVerdict) bool { return h.Status == s }) {
			return s
		}
	}
	return wire.Skipped
}

func fleetText(hosts []HostVerdict) string {
	count := map[wire.Status]int{}
	for _, h := range hosts {
		count[h.Status]++
	}
	text := plural(len(hosts), "host")
	sep := ": "
	for _, s := range []wire.Status{wire.OK, wire.Changed, wire.Failed, wire.Skipped, wire.Cancelled, wire.NotReached, ""} {
		if count[s] > 0 {
			text += fmt.Sprintf("%s%d %s", sep, count[s], cmp.Or(string(s), "running"))
			sep = ", "
		}
	}
	return text
}

func hostText(v *HostVerdict, rec *HostRecord) string {
	switch {
	case v.Error != nil:
		text := strings.TrimPrefix(v.Error.Message, v.Host+": ") // the reader knows whose line this is
		if strings.HasPrefix(text, v.Error.Stage) {
			return text
		}
		return v.Error.Stage + ": " + text
	case v.Outcome == NotReached:
		return "not started, because others failed before"
	case v.Outcome == Running:
		return "not over yet"
	case rec.End == nil:
		return "nothing to do here"
	}
	_, changed, failed, _ := rec.Counts()
	text := plural(changed, "step") + " changed something"
	switch {
	case changed == 0 && failed == 0:
		text = "everything was as it should be"
	case changed == 0:
		text = "nothing was changed"
	}
	if failed > 0 {
		text += fmt.Sprintf(", %s did not hold or failed, and may", plural(failed, "step"))
	}
	return text + ", in " + took(rec.EndAt)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
