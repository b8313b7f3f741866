package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vpsctl/vpsctl/bench"
	"github.com/vpsctl/vpsctl/report"
)

func benchBaselineCommand() *cli.Command {
	shared := flags(talkFlags, stateFlags, []cli.Flag{limitFlag})
	return &cli.Command{Name: "baseline", Usage: "what compare and check compare with", CustomHelpTemplate: help(
		"vpsctl bench baseline show", "vpsctl bench baseline set -l alpha", "vpsctl bench baseline pin 20261101-090000-aaaa -l alpha"), Subcommands: []*cli.Command{
		{Name: "show", Usage: "the baselines kept here", Flags: shared, Action: with(baselineShow), CustomHelpTemplate: help(
			"vpsctl bench baseline show", "vpsctl bench baseline show -l alpha", "vpsctl bench baseline show -o json")},
		{Name: "set", Usage: "make a session the baseline.json that compare uses", ArgsUsage: "[RUN]", Flags: shared, Action: with(func(k *call) error { return baselineSet(k, false) }), CustomHelpTemplate: help(
			"vpsctl bench baseline set", "vpsctl bench baseline set -l alpha", "vpsctl bench baseline set 20261101-090000-aaaa -l alpha")},
		{Name: "pin", Usage: "accept a level: older sessions count no more, for check neither", ArgsUsage: "[RUN]", Flags: shared, Action: with(func(k *call) error { return baselineSet(k, true) }),
			Description: "As set, and check forgets what was before: for a host whose owner knows that it\nhas become slower, and accepts it. `vpsctl bench baseline clear` takes it back.", CustomHelpTemplate: help(
				"vpsctl bench baseline pin", "vpsctl bench baseline pin -l alpha", "vpsctl bench baseline pin 20261101-090000-aaaa -l alpha")},
		{Name: "clear", Usage: "forget the baselines", Flags: flags(shared, []cli.Flag{yesFlag}), Action: with(baselineClear), CustomHelpTemplate: help(
			"vpsctl bench baseline clear -l alpha", "vpsctl bench baseline clear -y", "vpsctl bench baseline clear -l 'web*' -y")},
	}}
}

// baselineDoc is what `bench baseline … -o json` prints.
type baselineDoc struct {
	Schema string         `json:"schema"`
	Hosts  []baselineHost `json:"hosts"`
}

// baselineHost is a host's baseline, null where it has none.
type baselineHost struct {
	Host     string         `json:"host"`
	Baseline *bench.Results `json:"baseline"`
	Since    *time.Time     `json:"counted_since"` // null: check counts all sessions
}

func (k *call) baselines(hosts []string) (*baselineDoc, error) {
	doc := &baselineDoc{Schema: "vpsctl/bench-baseline/1", Hosts: []baselineHost{}}
	store := k.benchStore()
	for _, host := range hosts {
		h := baselineHost{Host: host}
		r, err := store.Results(host, bench.BaselineFile)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err == nil {
			h.Baseline = &r
		}
		f, err := store.FrozenSince(host)
		if err != nil {
			return nil, err
		}
		if f != nil {
			h.Since = &f.Since
		}
		doc.Hosts = append(doc.Hosts, h)
	}
	return doc, nil
}

func (doc *baselineDoc) text(w io.Writer) error {
	for _, h := range doc.Hosts {
		if h.Baseline == nil {
			fmt.Fprintf(w, "%s: no baseline\n", h.Host)
			continue
		}
		fmt.Fprintf(w, "%s: %s, %s\n", h.Host, sessionName(refOf(*h.Baseline)), benchTime(h.Baseline.Timestamp))
		for _, f := range []struct {
			name, unit string
			v          *float64
		}{{"CPU", "SHA-256 blocks/s", h.Baseline.CPU.Ops}, {"disk read", "MB/s", h.Baseline.Disk.Read}, {"disk write", "MB/s", h.Baseline.Disk.Write}, {"network", "Mbit/s", h.Baseline.Network.Download}} {
			if f.v != nil {
				fmt.Fprintf(w, "  %s %s %s\n", f.name, bench.Figure(*f.v), f.unit)
			}
		}
		if h.Since != nil {
			fmt.Fprintf(w, "  [INFO] check counts no sessions before %s\n", benchTime(*h.Since))
		}
	}
	if len(doc.Hosts) == 0 {
		_, err := fmt.Fprintln(w, "No host has been measured from here yet.")
		return err
	}
	return nil
}

func baselineShow(k *call) error {
	if k.NArg() > 0 {
		return usageError{"bench baseline show takes no arguments", "name hosts with -l"}
	}
	hosts, err := k.measured()
	if err != nil {
		return err
	}
	doc, err := k.baselines(hosts)
	if err != nil {
		return err
	}
	return k.ui.result(k.json(), doc, doc.text)
}

// baselineSet makes a session the baseline of its host; pin also forgets older
// ones. All hosts are looked at before anything is changed.
func baselineSet(k *call, pin bool) error {
	if k.NArg() > 1 {
		return usageError{"bench baseline: one run at a time", "see `vpsctl bench history`"}
	}
	hosts, err := k.measured()
	if err != nil {
		return err
	}
	if len(hosts) == 0 {
		return exitError{exitPreflight, usageError{"no host has been measured from here yet", "measure with `vpsctl bench run`"}}
	}
	histories, err := k.histories(hosts)
	if err != nil {
		return err
	}
	var chosen []bench.Session
	var with []string
	for _, host := range hosts {
		s, err := forBaseline(histories[host], k.Args().First())
		if errors.Is(err, errNoSession) && len(hosts) > 1 && k.NArg() == 1 {
			continue // a run has not always all hosts
		}
		if err != nil {
			return sessionError(fmt.Errorf("%s: %w", host, err))
		}
		chosen, with = append(chosen, s), append(with, host)
	}
	if len(chosen) == 0 {
		return sessionError(fmt.Errorf("%w: %s", errNoSession, report.Clean(k.Args().First())))
	}
	for _, s := range chosen {
		if err := k.benchStore().SetBaseline(s.Host, bench.ResultsOf(s)); err != nil {
			return err
		}
		if pin {
			if err := k.benchStore().Freeze(s); err != nil {
				return err
			}
		}
	}
	doc, err := k.baselines(with)
	if err != nil {
		return err
	}
	return k.ui.result(k.json(), doc, doc.text)
}

func baselineClear(k *call) error {
	if k.NArg() > 0 {
		return usageError{"bench baseline clear takes no arguments", "name hosts with -l"}
	}
	hosts, err := k.measured()
	if err != nil {
		return err
	}
	if len(hosts) == 0 {
		k.ui.say("[OK]", "there is no baseline")
		return nil
	}
	if err := k.confirm(fmt.Sprintf("Forget the baselines of %s?", strings.Join(hosts, ", "))); err != nil {
		return err
	}
	for _, h := range hosts {
		if err := k.benchStore().ClearBaseline(h); err != nil {
			return err
		}
	}
	doc, err := k.baselines(hosts)
	if err != nil {
		return err
	}
	return k.ui.result(k.json(), doc, doc.text)
}
