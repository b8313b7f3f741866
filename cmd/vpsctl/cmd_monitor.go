package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/remote"
	"github.com/vpsctl/vpsctl/report"
)

func intervalFlag(standard time.Duration) cli.Flag {
	return &cli.DurationFlag{Name: "interval", Value: standard, Usage: "`DUR` between samples, 100ms or more"}
}

func monitorCommand() *cli.Command {
	return &cli.Command{Name: "monitor", Usage: "live samples and alerts; monitoring that goes on without us", CustomHelpTemplate: help(
		"vpsctl monitor watch", "vpsctl monitor start --interval 10s", "vpsctl monitor fetch"), Subcommands: []*cli.Command{
		{Name: "watch", Usage: "the hosts live, what hurts first; leaves nothing on them", Flags: flags(hostFlags, eventFlags, notifyFlags, []cli.Flag{
			intervalFlag(2 * time.Second), &cli.IntFlag{Name: "count", Usage: "end after `N` samples of every host (0: go on)"}}), Action: with(monitorWatch), CustomHelpTemplate: help(
			"vpsctl monitor watch", "vpsctl monitor watch -l eu --interval 500ms", "vpsctl monitor watch --plain --count 3")},
		{Name: "start", Usage: "have the hosts sample by themselves, until stopped", Flags: flags(hostFlags, []cli.Flag{intervalFlag(10 * time.Second),
			&cli.DurationFlag{Name: "for", Value: 365 * 24 * time.Hour, Usage: "end by itself after `DUR`"},
			&cli.IntFlag{Name: "keep-mb", Value: 32, Usage: "keep at most `N` MiB of samples on a host; the oldest go first"}}), Action: with(monitorStart), CustomHelpTemplate: help(
			"vpsctl monitor start", "vpsctl monitor start -l eu --interval 1s --for 24h", "vpsctl monitor start --keep-mb 100")},
		{Name: "status", Usage: "which hosts are monitored, and since when", Flags: hostFlags, Action: with(monitorStatus), CustomHelpTemplate: help(
			"vpsctl monitor status", "vpsctl monitor status -l alpha", "vpsctl monitor status -o json")},
		{Name: "fetch", Usage: "bring the samples since the last time into the runs folder", Flags: hostFlags, Action: with(monitorFetch), CustomHelpTemplate: help(
			"vpsctl monitor fetch", "vpsctl monitor fetch -l alpha", "vpsctl monitor fetch -o json | jq -r '.hosts[].file'")},
		{Name: "stop", Usage: "end the monitoring and bring the rest", Flags: hostFlags, Action: with(monitorStop), CustomHelpTemplate: help(
			"vpsctl monitor stop", "vpsctl monitor stop -l alpha", "vpsctl monitor stop -o json")},
		{Name: "collect", Usage: "one sample of every host, as a row of resources.csv", Flags: flags(hostFlags, []cli.Flag{intervalFlag(time.Second)}), Action: with(monitorCollect), CustomHelpTemplate: help(
			"vpsctl monitor collect", "vpsctl monitor collect -l alpha --interval 10s", "vpsctl monitor collect -o json")},
	}}
}

// interval is --interval within its bounds.
func (k *call) interval() (time.Duration, error) {
	d := k.Duration("interval")
	if d < 100*time.Millisecond || d > 24*time.Hour {
		return 0, usageError{fmt.Sprintf("--interval %s: between 100ms and 24h", d), ""}
	}
	return d, nil
}

// monitored is what one host said about its monitoring.
type monitored struct {
	Host     string             `json:"host"`
	ExitCode int                `json:"exit_code"`
	State    string             `json:"state,omitempty"` // started, running, stopped, ended, none
	RunID    string             `json:"run_id,omitempty"`
	Started  *time.Time         `json:"started,omitempty"`
	Samples  int                `json:"samples,omitempty"` // in the record here
	Lost     int64              `json:"lost,omitempty"`    // events that had gone before they were fetched
	File     string             `json:"file,omitempty"`    // resources.csv
	Sample   *wire.Sample       `json:"sample,omitempty"`  // the latest
	Alerts   []report.PerfAlert `json:"alerts,omitempty"`
	Reason   string             `json:"reason,omitempty"` // why it ended
	Error    *hostError         `json:"error,omitempty"`
	row      []string           // of resources.csv
}

// monitor does f on every host and tells what came of it.
func (k *call) monitor(f func(context.Context, *remote.Session, inventory.Host, *monitored) error, text func(io.Writer, []*monitored)) error {
	ctx, stop := k.interruptible()
	defer stop()
	hosts, outs, err := each(k, ctx, nil, func(ctx context.Context, s *remote.Session, h inventory.Host, m *monitored) error {
		return f(ctx, s, h, m)
	})
	if err != nil {
		return err
	}
	all, codes := make([]*monitored, len(hosts)), make([]int, len(hosts))
	for i, h := range hosts {
		m := &outs[i].got
		m.Host, m.ExitCode, m.Error = h.Name, exitCode(outs[i].err), newHostError(outs[i].err)
		all[i], codes[i] = m, m.ExitCode
		k.ui.explain(outs[i].err)
	}
	code := codeOr(ctx, fleetCode(codes))
	if err := k.ui.result(k.json(), map[string]any{"schema": 1, "exit_code": code, "hosts": all}, func(w io.Writer) error {
		text(w, all)
		return nil
	}); err != nil {
		return err
	}
	return ended(ctx, code)
}

// monitorRun is the newest monitoring run of a host; false when it has none.
func monitorRun(ctx context.Context, s *remote.Session) (newest remoteRun, ok bool, err error) {
	out, err := s.Remote(ctx, "runs", nil, nil)
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		r := remoteRun{}
		if json.Unmarshal([]byte(line), &r) != nil || r.Verb != "monitor" || !report.ValidID(r.RunID) {
			continue
		}
		if !ok || r.Running && !newest.Running || r.Running == newest.Running && r.Started.After(newest.Started) {
			newest, ok = r, true
		}
	}
	return newest, ok, err
}

func (m *monitored) is(r remoteRun) {
	m.RunID, m.Started, m.State = r.RunID, &r.Started, "ended"
	if r.Running {
		m.State = "running"
	}
}

func monitorStatus(k *call) error {
	return k.monitor(func(ctx context.Context, s *remote.Session, _ inventory.Host, m *monitored) error {
		r, ok, err := monitorRun(ctx, s)
		if m.State = "none"; ok {
			m.is(r)
		}
		return err
	}, monitorTable)
}

func monitorTable(w io.Writer, all []*monitored) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "HOST\tSTATE\tSINCE\tRUN")
	for _, m := range all {
		if m.Error == nil {
			since := "-"
			if m.Started != nil {
				since = m.Started.Local().Format(time.DateTime)
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", m.Host, m.State, since, m.RunID)
		}
	}
	t.Flush()
}

func monitorStart(k *call) error {
	every, err := k.interval()
	if err != nil {
		return err
	}
	keep := k.Int("keep-mb")
	if keep < 1 || keep > 10_000 || k.Duration("for") <= 0 {
		return usageError{"monitor start: --keep-mb between 1 and 10000, --for above 0", ""}
	}
	runs := k.records()
	defer runs.close()
	plan := wire.Plan{Wire: wire.Version, RunID: report.NewID(time.Now()), Verb: "monitor", Interval: every, Linger: k.Duration("for"),
		Rotate: int64(keep) << 20 / 2, HostLogs: true, Phases: []wire.Phase{}}
	return k.monitor(func(ctx context.Context, s *remote.Session, h inventory.Host, m *monitored) error {
		r, ok, err := monitorRun(ctx, s)
		if err != nil {
			return err
		}
		if ok && r.Running {
			m.is(r)
			return nil
		}
		w, _, done, err := runs.host(plan.RunID, h)
		if err != nil {
			return err
		}
		defer done()
		own := plan
		own.Host = h.Name
		err = s.Run(ctx, &own, func(raw []byte, e *wire.Event) error {
			if err := w.Append(raw, e); err != nil {
				return err
			}
			return errLeft
		})
		if !errors.Is(err, errLeft) {
			return err
		}
		began := w.Record().Wall(0)
		m.State, m.RunID, m.Started = "started", plan.RunID, &began
		return nil
	}, func(w io.Writer, all []*monitored) {
		for _, m := range all {
			switch m.State {
			case "started":
				fmt.Fprintf(w, "[OK] %s is monitored every %s, run %s\n", m.Host, every, m.RunID)
			case "running":
				fmt.Fprintf(w, "[OK] %s was monitored already, since %s, run %s\n", m.Host, m.Started.Local().Format(time.DateTime), m.RunID)
			}
		}
	})
}

func monitorFetch(k *call) error {
	runs := k.records()
	defer runs.close()
	return k.monitor(func(ctx context.Context, s *remote.Session, h inventory.Host, m *monitored) error {
		r, ok, err := monitorRun(ctx, s)
		if m.State = "none"; err != nil || !ok {
			return err
		}
		m.is(r)
		return runs.fetch(ctx, s, h, m, false)
	}, fetched)
}

func monitorStop(k *call) error {
	runs := k.records()
	defer runs.close()
	return k.monitor(func(ctx context.Context, s *remote.Session, h inventory.Host, m *monitored) error {
		r, ok, err := monitorRun(ctx, s)
		if m.State = "none"; err != nil || !ok {
			return err
		}
		if m.is(r); r.Running {
			if err := s.Cancel(ctx, r.RunID, false); err != nil {
				return err
			}
			m.State = "stopped"
		}
		return runs.fetch(ctx, s, h, m, true)
	}, fetched)
}

func fetched(w io.Writer, all []*monitored) {
	for _, m := range all {
		switch {
		case m.Error != nil:
			continue
		case m.State == "none":
			fmt.Fprintf(w, "[WARN] %s is not monitored\n > vpsctl monitor start -l %s\n", m.Host, m.Host)
			continue
		}
		fmt.Fprintf(w, "[OK] %s: %s, %d samples, %d alerts: %s\n", m.Host, m.State, m.Samples, len(m.Alerts), m.File)
		if m.Reason != "" {
			fmt.Fprintf(w, "[WARN] %s: the monitoring ended: %s\n", m.Host, m.Reason)
		}
		if m.Lost > 0 {
			fmt.Fprintf(w, "[WARN] %s: %d samples or notes had gone before they were fetched\n > fetch more often, or start with a larger --keep-mb\n", m.Host, m.Lost)
		}
	}
}

func monitorCollect(k *call) error {
	every, err := k.interval()
	if err != nil {
		return err
	}
	return k.monitor(func(ctx context.Context, s *remote.Session, h inventory.Host, m *monitored) error {
		rec := report.NewHostRecord("", h.Name, limits(h))
		err := s.Watch(ctx, every, 1, func(_ []byte, e *wire.Event) error {
			rec.Apply(e)
			if e.Sample != nil {
				m.Sample, m.row = e.Sample, wire.ResourceRow(rec.Wall(time.Duration(e.T)), e.Sample)
			}
			return nil
		})
		m.Alerts = report.Performance(rec).Alerts.Items
		return err
	}, func(w io.Writer, all []*monitored) {
		header, several := strings.Join(wire.ResourcesHeader, ","), len(all) > 1
		if several {
			header = "Host," + header
		}
		fmt.Fprintln(w, header)
		for _, m := range all {
			if m.row != nil && several {
				fmt.Fprint(w, m.Host+",")
			}
			if m.row != nil {
				fmt.Fprintln(w, report.Clean(strings.Join(m.row, ",")))
			}
		}
	})
}
