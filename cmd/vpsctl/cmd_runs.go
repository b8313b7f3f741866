package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/remote"
	"github.com/vpsctl/vpsctl/report"
)

func runsCommand() *cli.Command {
	return &cli.Command{Name: "runs", Usage: "runs and their records", CustomHelpTemplate: help("vpsctl runs list", "vpsctl runs attach", "vpsctl runs prune --runs 20"), Subcommands: []*cli.Command{
		{Name: "list", Usage: "the runs recorded here, newest first", Flags: flags(hostFlags, []cli.Flag{&cli.BoolFlag{Name: "remote", Usage: "ask the hosts instead"}}), Action: with(runsList), CustomHelpTemplate: help(
			"vpsctl runs list", "vpsctl runs list --remote -l alpha", "vpsctl runs list -o json | jq -r '.runs[0].id'")},
		{Name: "show", Usage: "what is recorded of a run", ArgsUsage: "[RUN]", Flags: flags(talkFlags, stateFlags), Action: with(runsShow), CustomHelpTemplate: help(
			"vpsctl runs show", "vpsctl runs show 20261123-101502-x7k2", "vpsctl runs show -o json")},
		{Name: "attach", Usage: "follow a run that goes on, and fetch what is missing", ArgsUsage: "[RUN]", Flags: flags(hostFlags, eventFlags), Action: with(runsAttach), CustomHelpTemplate: help(
			"vpsctl runs attach", "vpsctl runs attach 20261123-101502-x7k2", "vpsctl runs attach -l alpha -o json")},
		{Name: "cancel", Usage: "ask the hosts of a run to stop", ArgsUsage: "[RUN]", Flags: flags(hostFlags, []cli.Flag{
			&cli.BoolFlag{Name: "now", Usage: "do not wait for a package transaction: kill and repair it"}}), Action: with(runsCancel), CustomHelpTemplate: help(
			"vpsctl runs cancel", "vpsctl runs cancel 20261123-101502-x7k2", "vpsctl runs cancel --now -l alpha")},
		{Name: "prune", Usage: "remove old records here", Flags: flags(talkFlags, stateFlags, []cli.Flag{yesFlag,
			&cli.IntFlag{Name: "runs", Value: 50, Usage: "keep the newest `N`"}, &cli.IntFlag{Name: "days", Value: 90, Usage: "keep those of the last `N` days"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "only say what would go"}}), Action: with(runsPrune), CustomHelpTemplate: help(
			"vpsctl runs prune --dry-run", "vpsctl runs prune --runs 20 --days 7", "vpsctl runs prune -y")},
	}}
}

func runsList(k *call) error {
	if k.Bool("remote") {
		return remoteRuns(k)
	}
	list, err := k.store().List()
	if err != nil {
		return err
	}
	return k.ui.result(k.json(), report.Runs(list), func(w io.Writer) error { return report.RunsText(w, list, k.ui.textOptions()) })
}

// remoteRun is a run as a host tells it.
type remoteRun struct {
	Host    string    `json:"host"`
	RunID   string    `json:"run_id"`
	Verb    string    `json:"verb"`
	Status  string    `json:"status"`
	Running bool      `json:"running"`
	Started time.Time `json:"started"`
}

func remoteRuns(k *call) error {
	return ask(k, func(ctx context.Context, s *remote.Session, a *answer) error {
		out, err := s.Remote(ctx, "runs", nil, nil)
		for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
			r := remoteRun{}
			if json.Unmarshal([]byte(line), &r) == nil && r.RunID != "" {
				r.Host = a.Host
				a.Runs = append(a.Runs, r)
			}
		}
		return err
	}, func(w io.Writer, answers []*answer) {
		t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		fmt.Fprintln(t, "HOST\tRUN\tVERB\tSTATUS\tSTARTED")
		for _, a := range answers {
			for _, r := range a.Runs {
				status := report.Clean(r.Status)
				if r.Running {
					status = "running"
				}
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", r.Host, report.Clean(r.RunID), report.Clean(r.Verb), status, r.Started.Local().Format(time.DateTime))
			}
		}
		t.Flush()
	})
}

func runsShow(k *call) error {
	dir, err := k.store().Open(k.Args().First())
	if err != nil {
		return storeError(err)
	}
	defer dir.Close()
	entry, err := k.store().Entry(dir.ID())
	if err != nil {
		return err
	}
	rep := dir.Load()
	doc := report.Show(rep, entry.State, func(o report.Outcome) int { return outcomes[o] })
	return k.ui.result(k.json(), doc, func(w io.Writer) error {
		fmt.Fprintf(w, "Run %s (%s), %s: %s\n", dir.ID(), rep.Run.Verb, entry.State, rep.Verdict.Text)
		for _, h := range rep.Hosts {
			fmt.Fprintf(w, "  %s: %s\n", h.Host.Host, h.Verdict.Text)
		}
		if entry.State == report.StateKilled || entry.State == report.StateDetached || rep.Verdict.Outcome == report.Running {
			fmt.Fprintf(w, " > vpsctl runs attach %s\n", dir.ID())
		}
		_, err := fmt.Fprintf(w, "%s\n", rep.Dir)
		return err
	})
}

// storeError gives the answer to "there is no such run".
func storeError(err error) error {
	if errors.Is(err, report.ErrNoRun) {
		return exitError{exitPreflight, usageError{err.Error(), "see `vpsctl runs list`"}}
	}
	return err
}

func runsPrune(k *call) error {
	keep := report.Keep{Runs: k.Int("runs"), Days: k.Int("days"), DryRun: true}
	would, err := k.store().Prune(time.Now(), keep)
	if err != nil {
		return err
	}
	if len(would) > 0 && !k.Bool("dry-run") {
		if err := k.confirm(fmt.Sprintf("Remove the records of %d runs?", len(would))); err != nil {
			return err
		}
		keep.DryRun = false
		if would, err = k.store().Prune(time.Now(), keep); err != nil {
			return err
		}
	}
	return k.ui.result(k.json(), map[string]any{"schema": 1, "dry_run": keep.DryRun, "removed": nonNil(would)}, func(w io.Writer) error {
		word := "removed"
		if k.Bool("dry-run") {
			word = "would remove"
		}
		for _, id := range would {
			fmt.Fprintf(w, "%s %s\n", word, id)
		}
		if len(would) == 0 {
			fmt.Fprintln(w, "[OK] nothing to remove")
		}
		return nil
	})
}

// runHosts are the hosts of a recorded run, as the inventory reaches them now.
func (k *call) runHosts(run report.Run) (*inventory.Inventory, []inventory.Host, error) {
	if !k.IsSet("inventory") && run.Inventory != "" {
		if _, err := os.Stat(run.Inventory); err == nil {
			if err := k.Set("inventory", run.Inventory); err != nil {
				return nil, nil, err
			}
		}
	}
	inv, hosts, err := k.hosts()
	if err != nil {
		return nil, nil, err
	}
	hosts = slices.DeleteFunc(hosts, func(h inventory.Host) bool {
		return !slices.ContainsFunc(run.Hosts, func(r report.HostRun) bool { return r.Host == h.Name })
	})
	if len(hosts) == 0 {
		return nil, nil, usageError{fmt.Sprintf("run %s has none of the hosts of this inventory", run.ID), "name its inventory with -i"}
	}
	return inv, hosts, k.trusted(inv)
}

func runsCancel(k *call) error {
	dir, err := k.store().Open(k.Args().First())
	if err != nil {
		return storeError(err)
	}
	defer dir.Close()
	inv, hosts, err := k.runHosts(dir.Run())
	if err != nil {
		return err
	}
	return askHosts(k, inv, hosts, func(ctx context.Context, s *remote.Session, a *answer) error {
		return s.Cancel(ctx, dir.ID(), k.Bool("now"))
	}, func(w io.Writer, answers []*answer) {
		for _, a := range answers {
			if a.err == nil {
				fmt.Fprintf(w, "[OK] %s was asked to stop\n", a.Host)
			}
		}
	})
}
