package main

import (
	"cmp"
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/phases"
	"github.com/vpsctl/vpsctl/report"
)

func provision(k *call) error {
	if err := k.checkDryFlags(); err != nil {
		return err
	}
	inv, hosts, w, err := k.crew()
	if err != nil {
		return err
	}
	runID := report.NewID(time.Now())
	cat, err := k.catalog()
	if err != nil {
		return err
	}
	plans, err := k.plans(cat, runID, hosts) // everything that can be wrong with them, before anything is touched
	if err != nil {
		return err
	}
	if err := k.trusted(inv); err != nil {
		return err
	}
	if k.Bool("dry-run") {
		return k.dryRun(inv, hosts, plans, cat, w)
	}
	return k.record(runID, inv, hosts, plans, cat, w)
}

// record drives a new run, from its record's first line to its exit code.
func (k *call) record(runID string, inv *inventory.Inventory, hosts []inventory.Host, plans []wire.Plan, cat *phases.Catalog, w width) error {
	dir, err := k.begin(runID, hosts, plans)
	if err != nil {
		return err
	}
	defer dir.Close()
	d := k.drive(dir, inv, hosts, plans, cat)
	if k.Bool("rollback-on-failure") {
		d.extra.result = (&takingBack{d, w}).result
	}
	return d.run(w)
}

// begin makes the record of a run.
func (k *call) begin(runID string, hosts []inventory.Host, plans []wire.Plan) (*report.RunDir, error) {
	path, err := filepath.Abs(k.String("inventory"))
	if err != nil {
		return nil, err
	}
	run := k.newRun(runID, path, hosts)
	run.Phases, run.Verb = phaseIDs(plans), cmp.Or(plans[0].Verb, run.Verb)
	return k.store().Create(run)
}

// newRun is what is known of a run before any host was asked.
func (k *call) newRun(runID, inventory string, hosts []inventory.Host) report.Run {
	run := report.Run{ID: runID, Verb: "provision", Argv: k.argv(), Version: version, Inventory: inventory,
		Started: time.Now(), Detached: k.Bool("detach")}
	for _, h := range hosts {
		run.Hosts = append(run.Hosts, report.HostRun{Host: h.Name, Address: h.Address, User: h.User, Limits: limits(h)})
	}
	return run
}

// argv is the command line as the record keeps it: the values of -e and --notify
// may be secrets, so only their names stay.
func (k *call) argv() []string {
	var out []string
	for i, a := range os.Args {
		name, value, _ := strings.Cut(a, "=")
		before, flag := "", flagName(name) // of any flag, one dash does as well as two
		if i > 0 {
			before = flagName(os.Args[i-1])
		}
		switch {
		case before == "e" || before == "extra-var":
			a = name
		case before == "notify": // the way to a receiver is often all that keeps others out
			a = "***"
		case flag == "notify" && value != "":
			a = name + "=***"
		case (flag == "e" || flag == "extra-var") && value != "":
			key, _, _ := strings.Cut(value, "=")
			a = name + "=" + key
		}
		out = append(out, a)
	}
	return out
}

// flagName is the flag that a word of the command line names; "" for others.
func flagName(word string) string {
	if !strings.HasPrefix(word, "-") {
		return ""
	}
	return strings.TrimLeft(word, "-")
}

func phaseIDs(plans []wire.Plan) []string {
	var ids []string
	seen := map[string]bool{}
	for _, p := range plans {
		for _, ph := range p.Phases {
			if !seen[ph.ID] {
				seen[ph.ID] = true
				ids = append(ids, ph.ID)
			}
		}
	}
	return ids
}

// limits are the alert limits a host's variables set.
func limits(h inventory.Host) report.Limits {
	number := func(name string) float64 {
		switch v := h.Vars[name].Value.(type) {
		case int:
			return float64(v)
		case float64:
			return v
		}
		return 0
	}
	return report.Limits{MemoryMB: int(number("alert_memory_mb")), DiskMB: int(number("alert_disk_mb")), CPUPct: number("alert_cpu_pct")}
}

// finalPlan is a host's plan as it is sent: with its secrets' values.
func (d *drive) finalPlan(ctx context.Context, h inventory.Host) (*wire.Plan, error) {
	if d.catalog == nil { // of one script: it is whole already
		return d.plans[h.Name], nil
	}
	secrets, err := d.secrets(ctx, d.inv, h)
	if err != nil {
		return nil, err
	}
	if needsPassword(d.plans[h.Name]) {
		cred, err := d.credentials().prepare(h.Name)
		if err != nil {
			return nil, err
		}
		secrets[passwordSecret] = cred.Password
	}
	return d.fullPlan(d.catalog, d.dir.ID(), h, secrets)
}

// fullPlan is a host's plan with these secrets.
func (k *call) fullPlan(cat *phases.Catalog, runID string, h inventory.Host, secrets map[string]string) (*wire.Plan, error) {
	p, _, err := cat.Plan(k.request(runID, h, secrets))
	if err != nil {
		return nil, err
	}
	p.Exclusive, p.HostLogs, p.Budget = true, true, k.Duration("budget")
	if k.Bool("skip-validation") {
		withoutRequires(&p)
	}
	return &p, nil
}

// secrets are the values of a host's secret variables.
func (k *call) secrets(ctx context.Context, inv *inventory.Inventory, h inventory.Host) (map[string]string, error) {
	secrets := map[string]string{}
	for name, v := range h.Vars {
		if v.Secret == nil {
			continue
		}
		s, err := v.Secret.Resolve(ctx, inv.Dir())
		if err != nil {
			return nil, hostSecretError{h.Name, name, err}
		}
		secrets[name] = s.Reveal()
	}
	return secrets, nil
}

// masker hides a host's secrets a second time, in what comes from it: a host
// that was taken over need not hide them. To follow a run they are not needed
// but for this; without them the host's own masking has to do.
func (d *drive) masker(ctx context.Context, h inventory.Host, plan *wire.Plan) *wire.Masker {
	var secrets map[string]string
	if plan != nil {
		secrets = maps.Clone(plan.Secrets)
	} else {
		secrets, _ = d.secrets(ctx, d.inv, h)
	}
	if secrets == nil { // a plan without secrets has no map of them
		secrets = map[string]string{}
	}
	if cred, err := d.credentials().read(h.Name); err == nil {
		secrets[passwordSecret] = cred.Password
	}
	if word, err := d.sudo.of(ctx, h); err == nil && word.Reveal() != "" {
		secrets["become_password"] = word.Reveal()
	}
	m, err := wire.NewMasker(secrets)
	if err != nil {
		return nil
	}
	return m
}

// hostSecretError says whose secret could not be had.
type hostSecretError struct {
	host, name string
	err        error
}

func (e hostSecretError) Error() string { return e.host + ": secret " + e.name + ": " + e.err.Error() }
func (e hostSecretError) Unwrap() error { return e.err }
