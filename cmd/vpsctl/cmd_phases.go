package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/phases"
)

func phasesList(k *call) error {
	cat, err := k.catalog()
	if err != nil {
		return err
	}
	list := cat.Phases()
	return k.ui.result(k.json(), map[string]any{"schema": 1, "phases": list}, func(w io.Writer) error {
		t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		fmt.Fprintln(t, "PHASE\tTITLE\tNEEDS\tTARGET\tORIGIN")
		for _, p := range list {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", p.ID, p.Title, cmp.Or(strings.Join(p.Needs, ","), "-"), target(p.Target), p.Origin)
		}
		return t.Flush()
	})
}

func target(t wire.Target) string {
	if t.Standard == 0 {
		return "-"
	}
	return wire.FormatDuration(t.Standard)
}

// mostWarnings of plans are said: an inventory that a program makes may set
// hundreds of variables that no phase knows.
const mostWarnings = 20

// plans makes the plan of every host, without secrets: everything that can be
// wrong with them comes out here, before anything is touched. Hosts whose
// inventory leaves them no phase have an empty plan.
func (k *call) plans(cat *phases.Catalog, runID string, hosts []inventory.Host) ([]wire.Plan, error) {
	if len(k.StringSlice("only-phase")) > 0 && len(k.StringSlice("skip-phase")) > 0 {
		return nil, usageError{"--only-phase and --skip-phase exclude each other", "name what to run, or what not to run"}
	}
	said := map[string]bool{}
	plans := make([]wire.Plan, len(hosts))
	for i, h := range hosts {
		p, warnings, err := cat.Plan(k.request(runID, h, hiddenSecrets(h)))
		if err != nil {
			return nil, err
		}
		for _, w := range warnings {
			if !said[w.Text] && len(said) < mostWarnings {
				k.ui.warn(w.Text, w.Hint)
			}
			said[w.Text] = true
		}
		plans[i] = p
	}
	if more := len(said) - mostWarnings; more > 0 {
		k.ui.warn(fmt.Sprintf("and %d more warnings of this kind", more), "")
	}
	return plans, nil
}

// request is what the phases are told of a host.
func (k *call) request(runID string, h inventory.Host, secrets map[string]string) phases.Request {
	r := phases.Request{RunID: runID, Host: h.Name, Address: h.Address, Groups: h.Groups, ConnectUser: h.User,
		Vars: map[string]any{}, Secrets: secrets, Only: k.StringSlice("only-phase"), Skip: k.StringSlice("skip-phase"),
		Sequential: k.Bool("sequential"), Interval: k.Duration("sample-interval")}
	for name, v := range h.Vars {
		if v.Secret == nil {
			r.Vars[name] = v.Value
		}
	}
	if len(r.Only) == 0 {
		r.Only, r.Skip = h.Phases.Only, append(r.Skip, h.Phases.Skip...)
	}
	return r
}

// hiddenSecrets stand for the secrets of a host where their values are not
// wanted: in plans that are shown or only checked.
func hiddenSecrets(h inventory.Host) map[string]string {
	s := map[string]string{passwordSecret: "(generated when sent)"}
	for name, v := range h.Vars {
		if v.Secret != nil {
			s[name] = "(secret)"
		}
	}
	return s
}

func plan(k *call) error {
	_, hosts, err := k.hosts()
	if err != nil {
		return err
	}
	cat, err := k.catalog()
	if err != nil {
		return err
	}
	plans, err := k.plans(cat, "plan", hosts)
	if err != nil {
		return err
	}
	for i := range plans {
		plans[i].Secrets = nil
	}
	return k.ui.result(k.json(), map[string]any{"schema": 1, "plans": plans}, func(w io.Writer) error {
		for _, p := range plans {
			writePlan(w, &p)
		}
		return nil
	})
}

func writePlan(w io.Writer, p *wire.Plan) {
	fmt.Fprintf(w, "%s: %d phases\n", p.Host, len(p.Phases))
	for _, ph := range p.Phases {
		fmt.Fprintf(w, "  %s: %s", ph.ID, ph.Title)
		if len(ph.Needs) > 0 {
			fmt.Fprintf(w, " (after %s)", strings.Join(ph.Needs, ", "))
		}
		fmt.Fprintln(w)
		for _, s := range ph.Steps {
			fmt.Fprintf(w, "    %-10s %s%s\n", s.Kind(), s.Name, stepTail(&s))
		}
	}
}

// stepTail says what a step is about in a few words.
func stepTail(s *wire.Step) string {
	switch {
	case s.Skip != "":
		return " (skipped: " + s.Skip + ")"
	case s.Packages != nil:
		return ": " + strings.Join(s.Packages.Names, " ")
	case s.File != nil:
		return ": " + s.File.Path
	case s.Service != nil:
		return ": " + s.Service.Name
	case s.User != nil:
		return ": " + s.User.Name
	}
	return ""
}
