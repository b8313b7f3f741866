package main

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/phases"
	"github.com/vpsctl/vpsctl/report"
)

//go:embed hostside/rotate.sh
var rotateScript string

func rotateCommand() *cli.Command {
	return &cli.Command{Name: "rotate", Usage: "give the developer user a new password", Flags: flags(hostFlags, provisionFlags, []cli.Flag{
		&cli.StringFlag{Name: "username", EnvVars: env("username"), Usage: "`NAME` of the developer user"}}),
		Description: "The password is made here and goes to the host as a secret of a recorded run; it\nhas to be changed at the next login, unless must_change is false.", Action: with(rotate),
		CustomHelpTemplate: help("vpsctl credentials rotate -l alpha", "vpsctl credentials rotate --username ada -y", "vpsctl credentials rotate && vpsctl credentials show")}
}

// rotate sets new passwords by a run of one step: so they are masked, and there
// is a record of when it was done.
func rotate(k *call) error {
	if k.Bool("detach") {
		return usageError{"credentials rotate has to see which passwords are in force", "leave out --detach"}
	}
	inv, hosts, w, err := k.crew()
	if err != nil {
		return err
	}
	if err := k.confirm(fmt.Sprintf("Set new passwords on %d hosts?", len(hosts))); err != nil {
		return err
	}
	runID := report.NewID(time.Now())
	plans, fresh, err := rotatePlans(runID, hosts)
	if err != nil {
		return err
	}
	if err := k.trusted(inv); err != nil {
		return err
	}
	dir, err := k.begin(runID, hosts, plans)
	if err != nil {
		return err
	}
	defer dir.Close()
	r := &rotation{store: k.credentials(), fresh: fresh, old: map[string]credential{}, begun: map[string]bool{}, state: map[string]wire.Status{}}
	if err := r.keep(); err != nil {
		return err
	}
	run := k.drive(dir, inv, hosts, plans, nil)
	run.extra.heard = r.heard
	run.extra.result = func(*report.Report) error { return r.settle(k) }
	return run.run(w)
}

// rotatePlans are the hosts' plans and the passwords in them.
func rotatePlans(runID string, hosts []inventory.Host) ([]wire.Plan, []credential, error) {
	var plans []wire.Plan
	var fresh []credential
	for _, h := range hosts {
		pw, err := generatePassword()
		if err != nil {
			return nil, nil, err
		}
		vars, err := plainVars(h, "username", "must_change")
		if err != nil {
			return nil, nil, err
		}
		p, err := phases.Script("rotate", []byte(rotateScript), nil, vars)
		if err != nil {
			return nil, nil, err
		}
		step := &p.Phases[0].Steps[0]
		p.Phases[0].Title, step.Name, step.Secrets = "New Password", "password", []string{passwordSecret}
		p.RunID, p.Host, p.Exclusive, p.Secrets = runID, h.Name, true, map[string]string{passwordSecret: pw}
		plans, fresh = append(plans, p), append(fresh, credential{Host: h.Name, User: vars["username"], Password: pw})
	}
	return plans, fresh, nil
}

// plainVars are variables of vpsctl's own as a host has them, as text.
func plainVars(h inventory.Host, names ...string) (map[string]string, error) {
	got := map[string]string{}
	for _, v := range phases.Vars() {
		if !slices.Contains(names, v.Name) {
			continue
		}
		value, set := h.Vars[v.Name]
		switch {
		case !set:
			got[v.Name] = fmt.Sprint(v.Default)
		case value.Secret != nil:
			return nil, usageError{fmt.Sprintf("%s: %s is a secret: it would be seen here", h.Name, v.Name), "write its value into the inventory"}
		default:
			got[v.Name] = fmt.Sprint(value.Value)
		}
	}
	return got, nil
}

// rotation is what becomes of new passwords. They are kept before a host hears
// of them, so that no interruption loses one that is in force.
type rotation struct {
	store credentials
	fresh []credential
	old   map[string]credential // those that were waiting to be shown

	mu    sync.Mutex
	begun map[string]bool        // hosts that have begun the step
	state map[string]wire.Status // of the step, by host; "" = the host has not heard of it
}

func (r *rotation) keep() error {
	for _, c := range r.fresh {
		if was, err := r.store.read(c.Host); err == nil && was.User != "" {
			r.old[c.Host] = was
		}
		if err := r.store.write(c); err != nil {
			return err
		}
	}
	return nil
}

func (r *rotation) heard(host string, e *wire.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case e.StepEnd != nil && e.StepEnd.TimedOut:
		r.begun[host], r.state[host] = true, wire.Cancelled
	case e.StepEnd != nil:
		r.state[host] = e.StepEnd.Status
	case e.Kind == wire.KindStep && r.state[host] == wire.Cancelled:
		r.begun[host] = true
	case e.Start != nil: // it goes on by itself: until more is heard, nobody knows
		r.state[host] = wire.Cancelled
	case e.End != nil && r.state[host] == wire.Cancelled && !r.begun[host]:
		r.state[host] = wire.NotReached
	}
}

// settle forgets the new passwords that no host has taken over.
func (r *rotation) settle(k *call) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, c := range r.fresh {
		switch state := r.state[c.Host]; state {
		case wire.Changed:
			k.ui.say("[OK]", "%s: %s has a new password", c.Host, c.User)
		case wire.Cancelled:
			k.ui.warn(fmt.Sprintf("%s: the password of %s may be the new one, or still the old one", c.Host, c.User), "rotate once more")
		default:
			k.ui.say("[ERR]", "%s: the password of %s is what it was", c.Host, c.User)
			errs = append(errs, r.putBack(c.Host))
		}
	}
	return errors.Join(errs...)
}

func (r *rotation) putBack(host string) error {
	if was, ok := r.old[host]; ok {
		return r.store.write(was)
	}
	return r.store.remove(host)
}
