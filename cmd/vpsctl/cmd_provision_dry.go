package main

import (
	"context"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/phases"
	"github.com/vpsctl/vpsctl/remote"
	"github.com/vpsctl/vpsctl/report"
)

// dryRun looks at every host. Nothing is recorded, here or there.
type dryRun struct {
	*call
	inv     *inventory.Inventory
	catalog *phases.Catalog
	id      string
	dialer  *remote.Dialer
	said    sync.Mutex
}

// checkDryFlags refuses what makes no sense with, or without, --dry-run.
func (k *call) checkDryFlags() error {
	dry := k.Bool("dry-run")
	if k.Bool("exit-code") && !dry {
		return usageError{"--exit-code says whether a dry run found something to do", "add --dry-run"}
	}
	if k.Bool("detach") && k.Bool("rollback-on-failure") {
		return usageError{"--rollback-on-failure has to see how the run ends", "leave out --detach; later: vpsctl rollback RUN"}
	}
	for _, other := range []string{"detach", "events", "rollback-on-failure"} {
		if dry && k.Bool(other) {
			return usageError{"--dry-run and --" + other + " exclude each other", ""}
		}
	}
	return nil
}

func (k *call) dryRun(inv *inventory.Inventory, hosts []inventory.Host, plans []wire.Plan, cat *phases.Catalog, w width) error {
	ctx, stop := k.interruptible()
	defer stop()
	d := &dryRun{call: k, inv: inv, catalog: cat, id: wire.LookRun + report.NewID(time.Now()), dialer: k.dialer(func(string, remote.Status) {})}
	defer d.dialer.Close()
	byName := map[string]*wire.Plan{}
	for i := range plans {
		byName[plans[i].Host] = &plans[i]
	}
	looked := fleet(ctx, hosts, w, func(ctx context.Context, h inventory.Host) (report.LookedHost, bool) {
		got := d.host(ctx, h, byName[h.Name])
		return got, got.Outcome == report.Done || got.Outcome == report.Drift
	})
	doc := d.document(hosts, looked)
	err := k.ui.result(k.json(), doc, func(w io.Writer) error {
		return report.LookText(w, doc, k.ui.verbose, k.ui.textOptions())
	})
	if err != nil {
		return err
	}
	return ended(ctx, doc.ExitCode)
}

// document joins the hosts. Drift is an exit code only where it was asked for.
func (d *dryRun) document(hosts []inventory.Host, looked []*report.LookedHost) *report.LookDoc {
	doc := &report.LookDoc{Schema: report.Schema, DryRun: true, Status: string(wire.OK), Hosts: []report.LookedHost{}}
	var codes []int
	for i, h := range hosts {
		one := looked[i]
		if one == nil {
			one = &report.LookedHost{Host: h.Name, Status: wire.NotReached, Outcome: report.NotReached, Phases: []report.LookedPhase{}}
		}
		if one.ExitCode = outcomes[one.Outcome]; one.Outcome == report.Drift && !d.Bool("exit-code") {
			one.ExitCode = exitDone
		}
		codes = append(codes, one.ExitCode)
		doc.Hosts = append(doc.Hosts, *one)
	}
	for _, s := range []wire.Status{wire.Changed, wire.NotReached, wire.Cancelled, wire.Failed} {
		if slices.ContainsFunc(doc.Hosts, func(h report.LookedHost) bool { return h.Status == s }) {
			doc.Status = string(s)
		}
	}
	doc.ExitCode = fleetCode(codes)
	return doc
}

// host looks at one host.
func (d *dryRun) host(ctx context.Context, h inventory.Host, plan *wire.Plan) report.LookedHost {
	if len(plan.Phases) == 0 {
		return report.LookedHost{Host: h.Name, Status: wire.Skipped, Outcome: report.Done, Phases: []report.LookedPhase{}}
	}
	if t := d.Duration("timeout"); t > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, t, timeoutError{t})
		defer cancel()
	}
	rec := report.NewHostRecord(d.id, h.Name, report.Limits{})
	err := d.look(ctx, h, rec)
	if err == nil {
		d.said.Lock()
		d.ui.say("[INFO]", "%s: looked at %d phases in %s", h.Name, len(plan.Phases), wire.FormatDuration(rec.Duration()))
		d.said.Unlock()
		return report.LookHost(plan, rec, nil)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return report.LookHost(plan, rec, seenError(err))
}

// look has the host carry out the plan that only looks, and folds what it says.
// A host that is left is asked to stop; it has changed nothing.
func (d *dryRun) look(ctx context.Context, h inventory.Host, rec *report.HostRecord) error {
	plan, err := d.plan(ctx, h)
	if err != nil {
		return err
	}
	mask, err := wire.NewMasker(plan.Secrets)
	if err != nil {
		return err
	}
	s := d.dialer.Session(h)
	defer s.Close()
	err = s.Run(ctx, plan, func(raw []byte, e *wire.Event) error {
		if hidden := mask.String(string(raw)); hidden != string(raw) {
			clean, err := wire.Decode([]byte(hidden))
			if err != nil {
				return err
			}
			e = &clean
		}
		rec.Apply(e)
		return nil
	})
	if err != nil && ctx.Err() != nil && rec.Start != nil {
		calm, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = s.Cancel(calm, d.id, false)
	}
	return err
}

// plan is the host's plan, with secrets, as one that only looks. A password that
// would be generated is none yet.
func (d *dryRun) plan(ctx context.Context, h inventory.Host) (*wire.Plan, error) {
	secrets, err := d.secrets(ctx, d.inv, h)
	if err != nil {
		return nil, err
	}
	secrets[passwordSecret] = hiddenSecrets(h)[passwordSecret]
	p, err := d.fullPlan(d.catalog, d.id, h, secrets)
	if err != nil {
		return nil, err
	}
	lookOnly(p)
	return p, nil
}

// lookOnly makes a plan one that finds out what it would do. None of its steps
// fails the others, waits, or counts as a run of the host.
func lookOnly(p *wire.Plan) {
	p.Verb, p.Exclusive, p.HostLogs, p.Interval, p.Fetch, p.Budget = "dry-run", false, false, 0, nil, 0
	p.Keep = wire.Keep{Runs: 1 << 20, Days: 100 * 365} // a look takes nobody's way back
	for i := range p.Phases {
		ph := &p.Phases[i]
		ph.Budget = 0
		for k := range ph.Steps {
			s := ph.Steps[k]
			if s.Skip != "" {
				continue
			}
			ph.Steps[k] = wire.Step{Name: s.Name, When: s.When, As: s.As, Timeout: min(s.Timeout, lookTime), Optional: true, Look: &s}
			if s.Timeout == 0 {
				ph.Steps[k].Timeout = lookTime
			}
		}
	}
}

// lookTime is the longest that one look may take.
const lookTime = 5 * time.Minute
