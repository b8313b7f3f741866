package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/vpsctl/vpsctl/report"
)

// recorded loads the report of the run named by the first argument, or of the
// last one, with only the hosts of --limit.
func (k *call) recorded() (*report.Report, error) {
	if k.NArg() > 1 {
		return nil, usageError{fmt.Sprintf("%s: one run at a time", k.Command.Name), "see `vpsctl runs list`"}
	}
	dir, err := k.store().Open(k.Args().First())
	if err != nil {
		return nil, storeError(err)
	}
	defer dir.Close()
	rep := dir.Load()
	limit := k.String("limit")
	if limit == "" {
		return rep, nil
	}
	for i := range rep.Hosts {
		if rep.Hosts[i].Host.Host == limit {
			rep.Hosts = rep.Hosts[i : i+1]
			return rep, nil
		}
	}
	return nil, usageError{fmt.Sprintf("run %s has no host %q", dir.ID(), limit), "a record knows hosts by name; see `vpsctl runs show`"}
}

func timings(k *call) error {
	rep, err := k.recorded()
	if err != nil {
		return err
	}
	doc, err := report.Timings(rep, k.String("phase"))
	var unknown *report.UnknownPhaseError
	if errors.As(err, &unknown) {
		return exitError{exitPreflight, err}
	}
	if err != nil {
		return err
	}
	return k.ui.result(k.json(), doc, func(w io.Writer) error {
		if k.Bool("plain") {
			return doc.Plain(w)
		}
		return doc.Text(w, k.ui.textOptions())
	})
}

func reportRun(k *call) error {
	if k.Bool("serve") {
		return k.serve()
	}
	rep, err := k.recorded()
	if err != nil {
		return err
	}
	format := k.String("format")
	if k.json() {
		format = "json"
	}
	write := reportFormat(rep, format, k.ui.textOptions())
	if write == nil {
		return usageError{fmt.Sprintf("--format %s: there is no such format", format), "the formats are text, json, html, csv, junit and openmetrics"}
	}
	to := k.String("to")
	if to == "" {
		return write(k.ui.out)
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// reportFormat is the writer of a format; nil when there is none of that name.
func reportFormat(rep *report.Report, format string, o report.TextOptions) func(io.Writer) error {
	switch format {
	case "text":
		return func(w io.Writer) error { return report.Text(w, rep, o) }
	case "json":
		return func(w io.Writer) error { return writeReports(w, rep) }
	case "html":
		return func(w io.Writer) error { return report.HTML(w, rep) }
	case "csv":
		return func(w io.Writer) error { return report.CSV(w, rep) }
	case "junit":
		return func(w io.Writer) error { return report.JUnit(w, rep) }
	case "openmetrics":
		return func(w io.Writer) error { return report.OpenMetrics(w, rep) }
	}
	return nil
}

// serve shows the run in a browser until it is interrupted, which is how it is
// meant to end.
func (k *call) serve() error {
	if k.NArg() > 1 {
		return usageError{"report: one run at a time", "see `vpsctl runs list`"}
	}
	ctx, stop := k.interruptible()
	defer stop()
	err := k.store().Serve(ctx, k.Args().First(), func(url string) {
		fmt.Fprintln(k.ui.out, url)
		k.ui.say("[INFO]", "the run is shown there, as it grows, to browsers on this machine; ^C ends it")
	})
	return storeError(err)
}

// writeReports writes the performance reports of all hosts as one document.
func writeReports(w io.Writer, rep *report.Report) error {
	hosts := []report.PerformanceReport{}
	for i := range rep.Hosts {
		hosts = append(hosts, rep.Hosts[i].Performance())
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(map[string]any{"schema": report.Schema, "run_id": rep.Run.ID, "hosts": hosts})
}

// runsAttach follows what goes on, or fetches what a run said that was not
// heard. It needs no plan: the record and the host's journal say it all. A run
// that another laptop began gets a record here.
func runsAttach(k *call) error {
	dir, err := k.store().Attach(k.Args().First())
	foreign := errors.Is(err, report.ErrNoRun) && report.ValidID(k.Args().First())
	if foreign {
		dir, err = k.adopt(k.Args().First())
	}
	if err != nil {
		return storeError(err)
	}
	defer dir.Close()
	inv, hosts, err := k.runHosts(dir.Run())
	if err != nil {
		return err
	}
	w, err := k.width(len(hosts))
	if err != nil {
		return err
	}
	d := k.drive(dir, inv, hosts, emptyPlans(hosts), nil)
	d.attach = true
	if err := dir.Update(func(r *report.Run) { r.Interrupted, r.Finished = "", time.Time{} }); err != nil {
		return err
	}
	return d.run(w)
}

// adopt begins the record of a run that is only known by its id, for all
// selected hosts; those that know no such run fall out of it later.
func (k *call) adopt(id string) (*report.RunDir, error) {
	_, hosts, err := k.hosts()
	if err != nil {
		return nil, err
	}
	path, err := filepath.Abs(k.String("inventory"))
	if err != nil {
		return nil, err
	}
	return k.store().Create(k.newRun(id, path, hosts))
}
