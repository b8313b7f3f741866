package main

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/report"
)

// takingBack ends a provision with --rollback-on-failure: where the run failed,
// what it changed is undone by a run of its own.
type takingBack struct {
	*drive
	w width
}

// result tells the run, undoes it where it failed, and tells that. Its error is
// the exit code of both: a rollback that failed too says more than the failure.
func (t *takingBack) result(rep *report.Report) error {
	hosts := t.failedHosts(rep)
	if len(hosts) == 0 || rep.Run.Interrupted != "" {
		return errors.Join(t.drive.result(rep), t.passwords())
	}
	if !t.json() {
		if err := t.drive.result(rep); err != nil {
			return err
		}
	}
	back, err := t.undo(hosts)
	if err != nil {
		t.ui.explain(err)
	}
	return errors.Join(t.tell(rep, back), t.passwords(), exitError{code: t.code(rep, hosts, back, err)})
}

// failedHosts are those that said how they failed. One that cannot be reached
// cannot be undone either, and one that was stopped was meant to be.
func (t *takingBack) failedHosts(rep *report.Report) []inventory.Host {
	var failed []inventory.Host
	for _, v := range rep.Verdict.Hosts {
		if v.Outcome != report.PhaseFailed && v.Outcome != report.VerificationFailed {
			continue
		}
		if i := slices.IndexFunc(t.hosts, func(h inventory.Host) bool { return h.Name == v.Host }); i >= 0 {
			failed = append(failed, t.hosts[i])
		}
	}
	return failed
}

// undo is one more run, of the hosts that failed. Its report is nil when there
// was nothing to undo.
func (t *takingBack) undo(hosts []inventory.Host) (rep *report.Report, err error) {
	runID := report.NewID(time.Now())
	plans, steps, err := rollbackPlans(runID, t.dir, hosts)
	if err != nil {
		return nil, err
	}
	if steps == 0 {
		t.ui.say("[INFO]", "the run changed nothing on the hosts where it failed that could be undone")
		return nil, nil
	}
	t.ui.say("[INFO]", "undoing %d steps of run %s on %d hosts", steps, t.dir.ID(), len(hosts))
	dir, err := t.begin(runID, hosts, plans)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	d := t.call.drive(dir, t.inv, hosts, plans, nil)
	d.extra.result = func(r *report.Report) error { rep = r; return nil }
	var exit exitError
	if err := d.run(t.w); err != nil && !(errors.As(err, &exit) && rep != nil) {
		return rep, err
	}
	return rep, t.forget(rep)
}

// forget drops passwords of accounts that are gone again.
func (t *takingBack) forget(back *report.Report) error {
	var errs []error
	for _, v := range back.Verdict.Hosts {
		rec, err := t.dir.Record(v.Host)
		if err != nil || v.Outcome != report.Done || !slices.ContainsFunc(rec.Created, func(s string) bool { return strings.HasPrefix(s, "user ") }) {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, t.credentials().settle(v.Host, ""))
	}
	return errors.Join(errs...)
}

// tell prints what the rollback came to; for programs both in one document.
func (t *takingBack) tell(rep, back *report.Report) error {
	code := func(o report.Outcome) int { return outcomes[o] }
	if !t.json() {
		if back == nil || t.Bool("events") {
			return nil
		}
		return report.Text(t.ui.out, back, t.ui.textOptions())
	}
	doc := report.Provision(rep, code)
	if back != nil {
		undone := report.Provision(back, code)
		doc.Rollback = &undone
	}
	return t.ui.result(true, doc, nil)
}

// code is the exit code of the run and of what was undone after it.
func (t *takingBack) code(rep *report.Report, tried []inventory.Host, back *report.Report, err error) int {
	stuck := map[string]bool{}
	for _, h := range tried {
		stuck[h.Name] = err != nil
	}
	if back != nil {
		for _, v := range back.Verdict.Hosts {
			stuck[v.Host] = stuck[v.Host] || v.Outcome != report.Done
		}
	}
	var codes []int
	for _, v := range rep.Verdict.Hosts {
		c := outcomes[v.Outcome]
		if stuck[v.Host] {
			c = exitRollback
		}
		codes = append(codes, c)
	}
	return fleetCode(codes)
}
