package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/phases"
	"github.com/vpsctl/vpsctl/remote"
	"github.com/vpsctl/vpsctl/report"
)

// verifyPhase is the built-in phase that only asks.
const verifyPhase = "verification"

func verifyCommand() *cli.Command {
	return &cli.Command{Name: "verify", Usage: "whether the hosts are what their phases make of them", Flags: flags(hostFlags, phaseFolderFlags, eventFlags, paceFlags, []cli.Flag{yesFlag,
		&cli.StringSliceFlag{Name: "check", Usage: "only the check `ID` (repeatable)"},
		&cli.BoolFlag{Name: "deep", EnvVars: env("deep"), Usage: "also log in by RDP and start every IDE, as a throw-away account and the developer"},
		&cli.StringSliceFlag{Name: "only-phase", EnvVars: env("only-phase"), Usage: "only checks of this `PHASE` (repeatable)"},
		&cli.StringSliceFlag{Name: "skip-phase", EnvVars: env("skip-phase"), Usage: "no checks of this `PHASE` (repeatable)"},
		&cli.StringFlag{Name: "username", EnvVars: env("username"), Usage: "`NAME` of the developer user"}}), Action: with(verify),
		Description: "Read-only: the checks of the phases that the inventory gives a host. With --deep a real\ndesktop session is opened and timed; what is made for it is removed. -o junit for pipelines.\nExit code 4: a check does not hold.",
		CustomHelpTemplate: help(
			"vpsctl verify", "vpsctl verify -l alpha --check rdp-port --check firewall-rules", "vpsctl verify --deep -y -o junit > verify.xml")}
}

// verifier is one call of verify.
type verifier struct {
	*drive
	deep map[string]*deepFindings // by host; each written by that host's goroutine alone
}

func verify(k *call) error {
	inv, hosts, w, err := k.crew()
	if err != nil {
		return err
	}
	cat, err := k.catalog()
	if err != nil {
		return err
	}
	runID := report.NewID(time.Now())
	plans, err := k.verifyPlans(cat, runID, hosts)
	if err != nil {
		return err
	}
	if err := k.trusted(inv); err != nil {
		return err
	}
	if k.Bool("deep") {
		if err := k.confirm(fmt.Sprintf("open a desktop session on %d hosts, each as an account that is made and removed?", len(hosts))); err != nil {
			return err
		}
	}
	dir, err := k.begin(runID, hosts, plans)
	if err != nil {
		return err
	}
	defer dir.Close()
	v := &verifier{drive: k.drive(dir, inv, hosts, plans, nil), deep: map[string]*deepFindings{}}
	for _, h := range hosts {
		v.deep[h.Name] = &deepFindings{host: h.Name}
	}
	v.extra = extra{heard: v.hear, result: v.result}
	if k.Bool("deep") {
		v.extra.beside = v.beside
	}
	return v.run(w)
}

// verifyPlans are the hosts' plans: the phase verification, asking about all
// phases that the inventory gives the host, and with --deep one phase more.
func (k *call) verifyPlans(cat *phases.Catalog, runID string, hosts []inventory.Host) ([]wire.Plan, error) {
	plans := make([]wire.Plan, len(hosts))
	found := map[string]bool{}
	for i, h := range hosts {
		q := k.request(runID, h, hiddenSecrets(h))
		q.Verb, q.Interval = "verify", 0
		if len(k.StringSlice("only-phase")) > 0 {
			q.Only = append(slices.Clone(q.Only), verifyPhase)
		}
		p, _, err := cat.Plan(q) // its warnings are provision's to tell
		if err != nil {
			return nil, err
		}
		if len(p.Secrets) > 0 {
			return nil, usageError{fmt.Sprintf("verify: %s: the phase %s wants secrets", h.Name, verifyPhase), "checks ask without them"}
		}
		p.Exclusive, p.HostLogs = false, false
		if len(p.Phases) > 0 {
			keepChecks(&p.Phases[0], k.StringSlice("check"), found)
			p.Phases = slices.DeleteFunc(p.Phases, func(ph wire.Phase) bool { return len(ph.Steps) == 0 })
		}
		if k.Bool("deep") && hasRDP(h.Phases) {
			p.Phases = append(p.Phases, deepPhase(runID, developerOf(h), q))
		}
		plans[i] = p
	}
	for _, id := range k.StringSlice("check") {
		if !found[id] {
			return nil, usageError{fmt.Sprintf("--check %s: there is no such check", id), "the checks are " + strings.Join(checkIDs(cat), ", ")}
		}
	}
	return plans, nil
}

// hasRDP tells whether an inventory gives a host a desktop to log in to.
func hasRDP(f inventory.PhaseFilter) bool {
	const rdp = "rdp-config"
	if f.OnlyGiven {
		return slices.Contains(f.Only, rdp)
	}
	return !slices.Contains(f.Skip, rdp)
}

// keepChecks leaves only the named checks; none named means all.
func keepChecks(ph *wire.Phase, ids []string, found map[string]bool) {
	if len(ids) == 0 {
		return
	}
	ph.Steps = slices.DeleteFunc(ph.Steps, func(s wire.Step) bool {
		named := slices.Contains(ids, s.Name)
		found[s.Name] = found[s.Name] || named
		return !named
	})
}

// checkIDs are the names of the checks, for a hint.
func checkIDs(cat *phases.Catalog) []string {
	p, _, err := cat.Plan(phases.Request{Verb: "verify", Host: "any"})
	if err != nil || len(p.Phases) == 0 {
		return nil
	}
	var ids []string
	for _, s := range p.Phases[0].Steps {
		ids = append(ids, s.Name)
	}
	return ids
}

// hear takes what the deep verification tells in its output.
func (v *verifier) hear(host string, e *wire.Event) {
	if e.Kind == wire.KindOutput && e.Phase == deepPhaseID && e.Output != nil && e.Output.Stream == "stdout" {
		v.deep[host].take(e.Output.Text)
	}
}

// greetTime bounds the look at a host's RDP server.
const greetTime = 30 * time.Second

// beside connects to the host's RDP server as a client would, through the SSH
// line. What comes of it only this machine has seen: it goes into run.json.
func (v *verifier) beside(ctx context.Context, h inventory.Host, s *remote.Session) {
	d := v.deep[h.Name]
	if !slices.ContainsFunc(v.plans[h.Name].Phases, func(p wire.Phase) bool { return p.ID == deepPhaseID }) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, greetTime)
	defer cancel()
	g, err := greetRDP(ctx, tunnelTo(s, "127.0.0.1:3389"))
	d.greeted(g, err)
	if bad := d.failure(); bad != nil {
		if err := v.dir.Update(func(r *report.Run) {
			r.HostNamed(h.Name).Error = &report.HostError{Kind: report.VerificationFailed, Stage: "deep/" + bad.ID, Message: bad.Message, Hint: bad.Hint}
		}); err != nil {
			v.screen.line("[ERR]", "%s: %v", h.Name, err)
		}
	}
}
