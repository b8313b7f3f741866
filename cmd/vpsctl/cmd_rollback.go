package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/report"
)

func rollbackCommand() *cli.Command {
	return &cli.Command{Name: "rollback", Usage: "undo a run on its hosts, in reverse order, and prove it", ArgsUsage: "[RUN]",
		Flags: flags(hostFlags, eventFlags, []cli.Flag{yesFlag}), Action: with(rollback),
		Description: "Without RUN: the last run that provisioned or ran a script. What packages were upgraded\nto is not taken back. Exit code 3: something could not be undone.",
		CustomHelpTemplate: help(
			"vpsctl rollback", "vpsctl rollback 20261123-101502-x7k2 -l alpha", "vpsctl rollback -y -o json")}
}

// rollback is one more run: its plan is made of what another run's hosts said
// they had changed, last things first. How to undo it lies on the hosts.
func rollback(k *call) error {
	old, err := k.undoable(k.Args().First())
	if err != nil {
		return err
	}
	defer old.Close()
	inv, hosts, err := k.runHosts(old.Run())
	if err != nil {
		return err
	}
	runID := report.NewID(time.Now())
	plans, steps, err := rollbackPlans(runID, old, hosts)
	if err != nil {
		return err
	}
	if steps == 0 {
		k.ui.say("[OK]", "run %s changed nothing on these hosts that could be undone", old.ID())
		return nil
	}
	if err := k.confirm(fmt.Sprintf("undo %d steps of run %s on %d hosts?", steps, old.ID(), len(hosts))); err != nil {
		return err
	}
	w, err := k.width(len(hosts))
	if err != nil {
		return err
	}
	return k.record(runID, inv, hosts, plans, nil, w)
}

// undoable opens the run that is named, or the last one that can have changed
// something by steps.
func (k *call) undoable(id string) (*report.RunDir, error) {
	if id == "" {
		list, err := k.store().List()
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			if e.Run.Verb == "provision" || e.Run.Verb == "run" {
				id = e.ID
				break
			}
		}
		if id == "" {
			return nil, exitError{exitPreflight, usageError{"rollback: no run is recorded here", "see `vpsctl runs list --remote`"}}
		}
	}
	dir, err := k.store().Open(id)
	if err != nil {
		return nil, storeError(err)
	}
	return dir, nil
}

// rollbackPlans makes a plan for each host, empty where nothing is to undo.
func rollbackPlans(runID string, old *report.RunDir, hosts []inventory.Host) (plans []wire.Plan, steps int, err error) {
	for _, h := range hosts {
		rec, err := old.Record(h.Name)
		if err != nil {
			return nil, 0, err
		}
		if slices.Contains(rec.Created, "user "+h.User) {
			return nil, 0, usageError{fmt.Sprintf("rollback: %s: the run made the user %q, as whom vpsctl logs in", h.Name, h.User), "log in as another user: user: root in the inventory"}
		}
		p := wire.Plan{Wire: wire.Version, RunID: runID, Host: h.Name, Verb: "rollback", Exclusive: true, HostLogs: true, Interval: 10 * time.Second, Phases: undoPhases(old.ID(), rec)}
		for _, ph := range p.Phases {
			steps += len(ph.Steps)
		}
		plans = append(plans, p)
	}
	return plans, steps, nil
}

// undoPhases are the phases of a run that changed something, last ones first.
// Each is run, whatever became of the one before.
func undoPhases(run string, rec *report.HostRecord) []wire.Phase {
	phases := []wire.Phase{}
	for _, ph := range slices.Backward(rec.Phases) {
		out := wire.Phase{ID: ph.ID, Title: "Undo: " + ph.Title}
		for _, s := range slices.Backward(ph.Steps) {
			if s.Undo > 0 {
				out.Steps = append(out.Steps, wire.Step{Name: s.Name, Revert: &wire.Revert{Run: run, Step: s.ID}})
			}
		}
		if len(out.Steps) > 0 {
			phases = append(phases, out)
		}
	}
	return phases
}
