package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/vpsctl/vpsctl/bench"
	"github.com/vpsctl/vpsctl/report"
)

func checkCommand() *cli.Command {
	return &cli.Command{Name: "check", Usage: "has a host become slower? a gate for pipelines", ArgsUsage: "[RUN]", Flags: flags(talkFlags, stateFlags, []cli.Flag{limitFlag,
		&cli.BoolFlag{Name: "single", Usage: "judge this one run by the guide's classes: over 20 % slower fails"},
		&cli.BoolFlag{Name: "strict", Usage: "what cannot be told fails, too"},
		&cli.StringSliceFlag{Name: "baseline", Usage: "compare with this `RUN` (repeatable) instead of all earlier ones"}}), Action: with(checkRun),
		Description: "Judges every host's benchmark sessions by their history, and the times of the last\nprovisioning run by earlier ones that did the same on the same machine; naming a RUN\njudges that run alone. It reads records and touches no host. Without --single one\nslow run or session is never called a regression. -o junit writes test results.", CustomHelpTemplate: help(
			"vpsctl check", "vpsctl check --single", "vpsctl check --single --baseline 20261123-101502-x7k2", "vpsctl check --strict -o json")}
}

// checkDoc is what `check -o json` prints.
type checkDoc struct {
	Schema   int                 `json:"schema"`
	ExitCode int                 `json:"exit_code"`
	RunID    string              `json:"run_id"`
	Single   bool                `json:"single"`
	Judged   int                 `json:"judged"` // of Compared
	Compared int                 `json:"compared"`
	Hosts    []report.Regression `json:"hosts"`
	Results  []compareHost       `json:"results"`           // of --single: newest benchmark results against baselines
	Bench    *bench.Report       `json:"bench"`             // verdicts on benchmarks; null with --single, a RUN, or without sessions
	Without  []string            `json:"without,omitempty"` // hosts asked for of which nothing is recorded here
}

func checkRun(k *call) error {
	if k.NArg() > 1 {
		return usageError{"check: one run at a time", "see `vpsctl runs list`"}
	}
	doc := checkDoc{Schema: report.Schema, Single: k.Bool("single"), Hosts: []report.Regression{}, Results: []compareHost{}}
	measured, dir, err := k.toCheck()
	if err != nil {
		return err
	}
	known := slices.Clone(measured)
	if dir != nil {
		defer dir.Close()
		for _, h := range dir.Run().Hosts {
			known = append(known, h.Host)
		}
	}
	asked, without, err := k.limited(slices.Compact(slices.Sorted(slices.Values(known))))
	if err != nil {
		return err
	}
	doc.Without = without
	if err := errors.Join(doc.checkBench(k, measured, asked), doc.checkTimes(k, dir, asked)); err != nil {
		return err
	}
	if len(doc.Hosts) == 0 && doc.Bench == nil && len(doc.Results) == 0 {
		return usageError{fmt.Sprintf("check: there is no record of a host %q", k.String("limit")), "records know hosts by name; see `vpsctl runs list` and `vpsctl bench history`"}
	}
	doc.ExitCode = doc.judge(k.Bool("strict"))
	if err := doc.write(k); err != nil || doc.ExitCode == exitDone {
		return err
	}
	return exitError{code: doc.ExitCode}
}

func (d *checkDoc) write(k *call) error {
	if k.String("output") == "junit" {
		return d.junit(k.ui.out, k.Bool("strict"))
	}
	return k.ui.result(k.json(), d, d.text)
}

// toCheck are the hosts whose benchmarks are to be judged, none where a run is
// named, and the run whose times are, nil where there is only the former.
func (k *call) toCheck() (measured []string, dir *report.RunDir, err error) {
	if k.NArg() == 0 && len(k.StringSlice("baseline")) == 0 {
		if measured, err = k.benchStore().Hosts(); err != nil {
			return nil, nil, err
		}
	}
	id, err := k.provisioned(k.Args().First())
	if errors.Is(err, report.ErrNoRun) && len(measured) > 0 {
		return measured, nil, nil
	}
	if err == nil {
		dir, err = k.store().Open(id)
	}
	if err != nil {
		return nil, nil, storeError(err)
	}
	return measured, dir, nil
}

// checkTimes compares the times of a run, if there is one, with earlier ones.
func (d *checkDoc) checkTimes(k *call, dir *report.RunDir, asked []string) error {
	if dir == nil {
		return nil
	}
	d.RunID = dir.ID()
	for _, h := range dir.Run().Hosts {
		if !slices.Contains(asked, h.Host) {
			continue
		}
		r, err := k.regression(dir, h.Host)
		if err != nil {
			return err
		}
		d.Hosts = append(d.Hosts, r)
	}
	d.count()
	return nil
}

// provisioned is the id of the run to check: the one named, or the last one that
// provisioned and is over.
func (k *call) provisioned(id string) (string, error) {
	if id != "" && id != "latest" {
		return id, nil
	}
	list, err := k.store().List()
	if err != nil {
		return "", err
	}
	for _, e := range list {
		if e.Run.Verb == "provision" && e.State == report.StateComplete {
			return e.ID, nil
		}
	}
	return "", fmt.Errorf("%w: nothing has been provisioned from here yet", report.ErrNoRun)
}

// regression compares a host's run with those of --baseline, or else with all
// earlier ones.
func (k *call) regression(dir *report.RunDir, host string) (report.Regression, error) {
	current, err := dir.Performance(host)
	if err != nil {
		return report.Regression{}, err
	}
	var earlier []report.PerformanceReport
	for _, id := range k.StringSlice("baseline") {
		d, err := k.store().Open(id)
		if err != nil {
			return report.Regression{}, storeError(err)
		}
		p, err := d.Performance(host)
		if err = errors.Join(err, d.Close()); err != nil {
			return report.Regression{}, err
		}
		earlier = append(earlier, p)
	}
	if len(earlier) == 0 {
		if earlier, err = k.store().Earlier(dir.ID(), host); err != nil {
			return report.Regression{}, err
		}
	}
	return report.Regress(current, earlier), nil
}

// count adds up what was compared, and what of it was judged.
func (d *checkDoc) count() {
	for _, h := range d.Hosts {
		for _, r := range h.Rows {
			d.Compared++
			if d.Single && r.ChangePct != nil || !d.Single && r.Verdict == "OK" {
				d.Judged++
			}
		}
	}
}

// judge makes the exit code of what was found.
func (d *checkDoc) judge(strict bool) int {
	worse, open := d.judgeBench()
	open = open || len(d.Without) > 0
	for _, h := range d.Hosts {
		for _, r := range h.Rows {
			if d.Single && r.ChangePct != nil {
				worse = worse || r.Regressed
			} else {
				open = open || d.Single || r.Verdict != "OK"
			}
		}
	}
	if worse || strict && (open || d.Compared == 0) {
		return exitRegression
	}
	return exitDone
}

const notRecorded = "nothing is recorded of it here; measure it with `vpsctl bench run`"

func (d *checkDoc) text(w io.Writer) error {
	for _, h := range d.Hosts {
		fmt.Fprintf(w, "%s: run %s against %d earlier\n", h.Host, h.RunID, len(h.Baseline))
		for _, r := range h.Rows {
			mark, line := "[OK]  ", r.Line()
			switch {
			case d.Single && r.Regressed:
				mark = "[ERR] "
			case d.Single && r.ChangePct == nil, !d.Single && r.Verdict != "OK":
				mark = "[WARN]"
			}
			if !d.Single {
				line = r.Verdict + ": " + line
			}
			if r.Note != "" && r.ChangePct != nil {
				line += "; " + r.Note
			}
			fmt.Fprintf(w, "  %s %s\n", mark, line)
		}
		if h.Unlike > 0 {
			fmt.Fprintf(w, "  [WARN] %d earlier runs were on another machine of this name and are not compared\n", h.Unlike)
		}
		if len(h.Baseline) == 0 {
			fmt.Fprintf(w, "  [INFO] no baseline yet: this run is the first of the next comparison\n")
		}
	}
	d.benchText(w)
	for _, h := range d.Without {
		fmt.Fprintf(w, "[WARN] %s: %s\n", h, notRecorded)
	}
	if text := d.paragraph(); text != "" {
		fmt.Fprintln(w, report.Clean(text))
	}
	_, err := fmt.Fprintf(w, "judged %d of %d\n", d.Judged, d.Compared)
	return err
}

// slower warns after a run of what took over 20 % longer than before.
func (d *drive) slower(rep *report.Report) {
	if rep.Run.Verb != "provision" || d.Bool("detach") {
		return
	}
	found := false
	for _, h := range rep.Hosts {
		now := report.Performance(h.Record)
		if !report.CanRegress(now) {
			continue
		}
		earlier, err := d.store().Earlier(d.dir.ID(), h.Host.Host)
		if err != nil {
			continue // the record of this run is whole; the comparison can be had later
		}
		for _, r := range report.Regress(now, earlier).Rows {
			if r.Regressed {
				found = true
				d.ui.warn(fmt.Sprintf("%s: %s", h.Host.Host, r.Line()), "")
			}
		}
	}
	if found {
		d.ui.hint("vpsctl check --single   (tells the whole comparison)")
	}
}
