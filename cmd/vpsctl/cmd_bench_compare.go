package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vpsctl/vpsctl/bench"
	"github.com/vpsctl/vpsctl/report"
)

func benchCompareCommand() *cli.Command {
	return &cli.Command{Name: "compare", Usage: "newest results with baselines, runs with runs, hosts with hosts", ArgsUsage: "[CURRENT] [BASELINE]", Flags: flags(talkFlags, stateFlags, []cli.Flag{limitFlag,
		&cli.StringFlag{Name: "format", Value: "text", Usage: "`FORMAT`: text, json, csv, benchfmt or html"},
		&cli.StringFlag{Name: "to", Usage: "write to `FILE` instead of standard output"},
		&cli.BoolFlag{Name: "peers", Usage: "compare hosts with their peers instead of with their past"},
		&cli.BoolFlag{Name: "force", Usage: "compare although the machine, or the way of measuring, is another"}}), Action: with(benchCompare),
		Description: "Reads stored results and touches no host. Without arguments the newest result of\neach host is set against its baseline.json; the first time it becomes that.\nCURRENT and BASELINE are runs of `bench run` or results.json files, or else two\nhosts or groups. A result more than 20 % worse than its baseline: exit code 8.\nPeers are hosts of the same vars.peer_group or, without one, of the same provider, plan,\nregion and apt mirror by what cloud-init left on them; -l only says which are shown.", CustomHelpTemplate: help(
			"vpsctl bench compare", "vpsctl bench compare 20261123-101502-x7k2 20261101-090000-aaaa", "vpsctl bench compare alpha beta",
			"vpsctl bench compare --peers --format html --to peers.html", "vpsctl bench compare --format benchfmt > bench.txt")}
}

// What became of one host in a comparison.
const (
	compared        = "compared"
	baselineCreated = "baseline_created"
	refused         = "refused" // another machine, or another way of measuring
	notCompared     = "not_compared"
)

// compareDoc is what `bench compare -o json` prints.
type compareDoc struct {
	Schema   string            `json:"schema"`
	Kind     string            `json:"kind"` // baseline, runs, hosts, groups, peers
	ExitCode int               `json:"exit_code"`
	Hosts    []compareHost     `json:"hosts"`            // of baseline and runs
	Tables   []compareTable    `json:"tables"`           // of hosts and groups
	Groups   []bench.PeerGroup `json:"groups"`           // of peers
	Outliers []string          `json:"outliers"`         // of groups, in words
	Others   []otherHost       `json:"others,omitempty"` // hosts without a group: nothing says whom they are like

	sides []bench.Side // for benchfmt
}

// compareHost is one result against one.
type compareHost struct {
	Host     string            `json:"host"`
	Result   string            `json:"result"`
	Current  *compareRef       `json:"current"`
	Baseline *compareRef       `json:"baseline"`
	Differs  []string          `json:"differs"` // what makes it another machine
	Lines    []bench.GuideLine `json:"lines"`
	Rows     []bench.Row       `json:"rows"`
	Note     string            `json:"note,omitempty"`

	sides   [2]bench.Side
	history []bench.Session
}

// compareRef names a result.
type compareRef struct {
	Session string    `json:"session"`
	At      time.Time `json:"at"`
	Kernel  string    `json:"kernel"`
}

// compareTable sets two sides against each other.
type compareTable struct {
	Base    string      `json:"base"`
	Current string      `json:"current"`
	Of      string      `json:"of"` // what one value is: "session median", "host median"
	Note    string      `json:"note,omitempty"`
	Rows    []bench.Row `json:"rows"`
}

// otherHost is a host that is compared with nobody.
type otherHost struct {
	Host    string         `json:"host"`
	Metrics []bench.Metric `json:"metrics"`
}

const schemaCompare = "vpsctl/bench-compare/1"

func newCompareDoc(kind string) *compareDoc {
	return &compareDoc{Schema: schemaCompare, Kind: kind, Hosts: []compareHost{}, Tables: []compareTable{}, Groups: []bench.PeerGroup{}, Outliers: []string{}}
}

func benchCompare(k *call) error {
	format := k.String("format")
	if k.json() {
		format = "json"
	}
	if !slices.Contains([]string{"text", "json", "csv", "benchfmt", "html"}, format) {
		return usageError{fmt.Sprintf("--format %s: there is no such format", format), "the formats are text, json, csv, benchfmt and html"}
	}
	if k.NArg() > 2 || k.Bool("peers") && k.NArg() > 0 {
		return usageError{"bench compare: two sides at most, none with --peers", "see `vpsctl bench compare --help`"}
	}
	doc, err := k.compare()
	if err != nil {
		return err
	}
	if err := k.writeComparison(doc, format); err != nil || doc.ExitCode == exitDone {
		return err
	}
	return exitError{code: doc.ExitCode}
}

func (k *call) writeComparison(doc *compareDoc, format string) error {
	var b bytes.Buffer
	if err := doc.write(&b, format, k.ui); err != nil {
		return err
	}
	to := k.String("to")
	if to == "" {
		_, err := k.ui.out.Write(b.Bytes())
		return err
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b.Bytes())
	return errors.Join(err, f.Close())
}

func (doc *compareDoc) write(w io.Writer, format string, u *ui) error {
	switch format {
	case "csv":
		return doc.csv(w)
	case "benchfmt":
		return doc.benchfmt(w)
	case "html":
		return report.BenchHTML(w, doc.page())
	}
	said := *u
	said.out = w
	return said.result(format == "json", doc, doc.text)
}

// compare finds out what the arguments mean.
func (k *call) compare() (*compareDoc, error) {
	if k.Bool("peers") {
		return k.comparePeers()
	}
	if k.NArg() == 2 {
		doc, err := k.compareSides(k.Args().Get(0), k.Args().Get(1))
		if doc != nil || err != nil {
			return doc, err
		}
	}
	return k.compareResults()
}

// compareResults sets results of hosts against earlier ones.
func (k *call) compareResults() (*compareDoc, error) {
	kind := "baseline"
	if k.NArg() == 2 {
		kind = "runs"
	}
	doc := newCompareDoc(kind)
	current, base := k.Args().Get(0), k.Args().Get(1)
	if isFile(current) {
		h, err := k.compareFile(current, base)
		if err != nil {
			return nil, err
		}
		doc.add(h)
		return doc, nil
	}
	hosts, err := k.measured()
	if err != nil {
		return nil, err
	}
	if slices.Contains(hosts, current) {
		return nil, usageError{current + " is a host, and one host alone is compared with its baseline", "vpsctl bench compare -l " + current + "   (or name two hosts)"}
	}
	if len(hosts) == 0 {
		return nil, exitError{exitPreflight, usageError{"no host has been measured from here yet", "measure with `vpsctl bench run`"}}
	}
	histories, err := k.histories(hosts)
	if err != nil {
		return nil, err
	}
	for _, host := range hosts {
		h, err := k.compareHost(host, histories[host], current, base)
		if errors.Is(err, errNoSession) && (current != "" || base != "") && len(hosts) > 1 {
			continue // a run has not always all hosts
		}
		if err != nil {
			return nil, sessionError(err)
		}
		doc.add(h)
	}
	if len(doc.Hosts) == 0 {
		return nil, sessionError(fmt.Errorf("%w of both: %s", errNoSession, report.Clean(current+" "+base)))
	}
	return doc, nil
}

// sessionError gives the answer to "there is no such session".
func sessionError(err error) error {
	switch {
	case errors.Is(err, errNoSession):
		return exitError{exitPreflight, usageError{err.Error(), "see `vpsctl bench history`; files are named with a slash or .json"}}
	case errors.Is(err, errExcluded):
		return exitError{exitPreflight, usageError{err.Error(), "measure again with `vpsctl bench run`"}}
	}
	return err
}

// add takes a host in. The worst exit code is a regression's: it is what
// pipelines ask for.
func (doc *compareDoc) add(h compareHost) {
	doc.Hosts = append(doc.Hosts, h)
	switch {
	case h.Result == compared && slices.ContainsFunc(h.Lines, func(l bench.GuideLine) bool { return l.Regressed }):
		doc.ExitCode = exitRegression
	case h.Result == refused && doc.ExitCode == exitDone:
		doc.ExitCode = exitPreflight
	}
	for _, s := range h.sides {
		if len(s.Metrics) > 0 {
			doc.sides = append(doc.sides, s)
		}
	}
}

// compareHost compares one host's results.
func (k *call) compareHost(host string, history []bench.Session, current, base string) (compareHost, error) {
	store := k.benchStore()
	now, err := sessionOf(history, current)
	if err != nil {
		return compareHost{}, fmt.Errorf("%s: %w", host, err)
	}
	result := bench.ResultsOf(now)
	if current == "" { // as the guide has it: results.json against baseline.json
		if r, err := store.Results(host, bench.ResultsFile); err == nil {
			result = r
		} else if !errors.Is(err, fs.ErrNotExist) {
			return compareHost{}, err
		}
	}
	before, err := k.baseResult(host, history, base)
	if errors.Is(err, fs.ErrNotExist) && base == "" {
		return k.firstBaseline(host, history, result)
	}
	if err != nil {
		return compareHost{}, fmt.Errorf("%s: %w", host, err)
	}
	h := compareTwo(host, result, before, k.Bool("force"))
	h.history = history
	if h.Result == compared && k.NArg() == 0 {
		h.Lines = append(h.Lines, k.totalTime(host))
	}
	return h, nil
}

// baseResult is what base names: baseline.json, a file, or a session.
func (k *call) baseResult(host string, history []bench.Session, base string) (bench.Results, error) {
	switch {
	case base == "":
		return k.benchStore().Results(host, bench.BaselineFile)
	case isFile(base):
		return bench.ReadResults(base)
	}
	s, err := sessionOf(history, base)
	return bench.ResultsOf(s), err
}

// firstBaseline makes the newest session that counts the baseline.
func (k *call) firstBaseline(host string, history []bench.Session, result bench.Results) (compareHost, error) {
	h := compareHost{Host: host, Result: baselineCreated, Current: refOf(result), Differs: []string{}, Lines: []bench.GuideLine{}, Rows: []bench.Row{}}
	s, err := forBaseline(history, "")
	if errors.Is(err, errExcluded) {
		h.Result, h.Note = notCompared, "no baseline yet: "+err.Error()
		return h, nil
	}
	if err != nil {
		return h, err
	}
	if s.ID != result.Session {
		h.Note = fmt.Sprintf("the newest session, %s, does not count for a baseline (%s)", result.Session, report.Clean(result.Excluded))
		result = bench.ResultsOf(s)
	}
	h.Baseline = refOf(result)
	return h, k.benchStore().SetBaseline(host, result)
}

// compareFile compares a results.json from elsewhere, with another one or with
// the baseline of its host.
func (k *call) compareFile(current, base string) (compareHost, error) {
	now, err := bench.ReadResults(current)
	if err != nil {
		return compareHost{}, fileError(err)
	}
	host := now.Host
	if host == "" {
		host = report.Clean(now.System.Hostname)
	}
	var history []bench.Session
	if base != "" && !isFile(base) {
		if history, _, err = k.benchStore().History(host); err != nil {
			return compareHost{}, err
		}
	}
	before, err := k.baseResult(host, history, base)
	if errors.Is(err, fs.ErrNotExist) && base == "" {
		return compareHost{}, usageError{fmt.Sprintf("%s: its host, %s, has no baseline here", current, host), "name the BASELINE file as well"}
	}
	if err != nil {
		return compareHost{}, sessionError(fileError(err))
	}
	return compareTwo(host, now, before, k.Bool("force")), nil
}

func fileError(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return usageError{err.Error(), ""}
	}
	return err
}

// isFile tells a file's name from a run's or a host's.
func isFile(name string) bool {
	if name == "" {
		return false
	}
	st, err := os.Stat(name)
	return err == nil && !st.IsDir() || slices.ContainsFunc([]byte(name), func(c byte) bool { return c == '/' || c == os.PathSeparator })
}

// compareTwo sets one result against one.
func compareTwo(host string, now, before bench.Results, force bool) compareHost {
	h := compareHost{Host: host, Result: compared, Current: refOf(now), Baseline: refOf(before), Differs: now.Differs(before), Lines: []bench.GuideLine{}, Rows: []bench.Row{}}
	if h.Differs == nil {
		h.Differs = []string{}
	}
	if now.Excluded != "" {
		h.Note = fmt.Sprintf("the current session does not count: %s; measure again with `vpsctl bench run`", report.Clean(now.Excluded))
	}
	if len(h.Differs) > 0 && !force {
		h.Result = refused
		return h
	}
	h.Lines = bench.GuideLines(now, before, report.Degradation)
	h.sides = [2]bench.Side{bench.SessionSide(before), bench.SessionSide(now)}
	h.sides[0].Host, h.sides[0].Name, h.sides[1].Host, h.sides[1].Name = host, "baseline", host, "current"
	h.Rows = bench.Table(h.sides[0], h.sides[1])
	return h
}

func refOf(r bench.Results) *compareRef {
	return &compareRef{Session: r.Session, At: r.Timestamp, Kernel: r.System.Kernel}
}
