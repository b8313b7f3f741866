package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"github.com/vpsctl/vpsctl/bench"
	"github.com/vpsctl/vpsctl/report"
)

// benchHosts are the measured hosts that --limit names.
func (k *call) benchHosts() (all, asked []string, err error) {
	if all, err = k.benchStore().Hosts(); err != nil || len(all) == 0 {
		return nil, nil, err
	}
	if limit := k.String("limit"); limit != "" {
		asked, _ = byName(all, limit)
		return all, asked, nil
	}
	return all, all, nil
}

// checkBench judges the benchmark sessions kept here: by their history, or with
// --single the newest one by the guide's classes. Hosts not asked for are peers.
func (d *checkDoc) checkBench(k *call) error {
	all, asked, err := k.benchHosts()
	if err != nil || len(asked) == 0 {
		return err
	}
	histories, err := k.histories(all)
	if err != nil {
		return err
	}
	if d.Single {
		return d.singleResults(k, asked, histories)
	}
	since := map[string]time.Time{}
	for _, h := range all {
		f, err := k.benchStore().FrozenSince(h)
		if err != nil {
			return err
		}
		if f != nil {
			since[h] = f.Since
		}
	}
	r := bench.Judge(histories, bench.Question{Hosts: asked, Since: since})
	d.Bench = &r
	d.Judged, d.Compared = d.Judged+r.Judged, d.Compared+r.Screened
	return nil
}

// singleResults sets each host's newest result against its baseline.json, and
// makes none.
func (d *checkDoc) singleResults(k *call, hosts []string, histories map[string][]bench.Session) error {
	for _, host := range hosts {
		if len(histories[host]) == 0 {
			continue
		}
		now := bench.ResultsOf(histories[host][len(histories[host])-1])
		before, err := k.benchStore().Results(host, bench.BaselineFile)
		h := compareHost{Host: host, Result: notCompared, Current: refOf(now), Differs: []string{}, Lines: []bench.GuideLine{}, Rows: []bench.Row{}, Note: "no baseline yet: vpsctl bench compare makes one"}
		switch {
		case err == nil:
			h = compareTwo(host, now, before, false)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		d.Results = append(d.Results, h)
		for _, l := range h.Lines {
			for _, p := range l.Parts {
				if p.Current == nil && p.Baseline == nil {
					continue
				}
				d.Compared++
				if p.ChangePct != nil {
					d.Judged++
				}
			}
		}
	}
	return nil
}

// judgeBench tells what the benchmarks found: something is worse, or cannot be
// told.
func (d *checkDoc) judgeBench() (worse, open bool) {
	for _, h := range d.Results {
		open = open || h.Result != compared
		for _, l := range h.Lines {
			worse = worse || l.Regressed
		}
	}
	if d.Bench == nil {
		return worse, open
	}
	for _, f := range d.Bench.Findings {
		worse = worse || f.Verdict == bench.Regressed
		open = open || f.Verdict != bench.OK
	}
	return worse, open || len(d.Bench.Without) > 0
}

// mostOpen is how many findings that need more sessions are told in full.
const mostOpen = 10

func (d *checkDoc) benchText(w io.Writer) {
	for i := range d.Results {
		h := &d.Results[i]
		fmt.Fprintf(w, "%s: the newest benchmark result\n", h.Host)
		if h.Note != "" {
			fmt.Fprintf(w, "  [INFO] %s\n", report.Clean(h.Note))
		}
		for _, what := range h.Differs {
			fmt.Fprintf(w, "  [WARN] not compared: %s\n", report.Clean(what))
		}
		for _, l := range h.Lines {
			fmt.Fprintf(w, "  %s %s\n", lineMark(l), report.Clean(l.Text()))
		}
	}
	if d.Bench == nil {
		return
	}
	fmt.Fprintln(w, "Benchmarks")
	marks := map[bench.Word]string{bench.Regressed: "[ERR] ", bench.SlowNow: "[WARN]", bench.Inconclusive: "[WARN]", bench.NotComparable: "[WARN]"}
	told, left := 0, 0
	for _, f := range d.Bench.Findings {
		if f.Verdict == bench.OK {
			continue
		}
		if urgent := f.Verdict == bench.Regressed || f.Verdict == bench.SlowNow; !urgent {
			if told++; told > mostOpen {
				left++
				continue
			}
		}
		fmt.Fprintf(w, "  %s %s %s: %s: %s\n", marks[f.Verdict], f.Host, f.Metric, f.Verdict, report.Clean(f.Text))
	}
	if left > 0 {
		fmt.Fprintf(w, "  [INFO] and %d more that cannot be told yet; -o json has all\n", left)
	}
	fmt.Fprintln(w, report.Clean(d.Bench.Text))
}

// junit has a suite per host: its run's phases, then its benchmarks.
func (d *checkDoc) junit(w io.Writer, strict bool) error {
	all := report.TestSuites{Name: "vpsctl check", Time: report.JUnitTime(0)}
	var names []string
	suites := map[string]*report.TestSuite{}
	add := func(host string, c report.TestCase, bad, open bool, text string) {
		s := suites[host]
		if s == nil {
			s = &report.TestSuite{Name: host, Hostname: host, Time: report.JUnitTime(0)}
			suites[host], names = s, append(names, host)
		}
		c.Class, c.Time = host, report.JUnitTime(0)
		reason := &report.TestReason{Message: report.Clean(text)}
		switch {
		case bad || open && strict:
			c.Failure = reason
			s.Failures++
		case open:
			c.Skipped = reason
			s.Skipped++
		default:
			c.Out = report.Clean(text)
		}
		s.Tests++
		s.Cases = append(s.Cases, c)
	}
	for _, h := range d.Hosts {
		for _, r := range h.Rows {
			open := d.Single && r.ChangePct == nil || !d.Single && r.Verdict != "OK"
			add(h.Host, report.TestCase{Name: "time " + r.Name}, d.Single && r.Regressed, open, r.Line())
		}
	}
	for _, h := range d.Results {
		if h.Result != compared {
			add(h.Host, report.TestCase{Name: "benchmark"}, false, true, h.Note+fmt.Sprint(h.Differs))
		}
		for _, l := range h.Lines {
			add(h.Host, report.TestCase{Name: l.Name}, l.Regressed, l.Class == "" && measuredAtAll(l), l.Text())
		}
	}
	if d.Bench != nil {
		for _, f := range d.Bench.Findings {
			add(f.Host, report.TestCase{Name: f.Metric}, f.Verdict == bench.Regressed, f.Verdict != bench.OK, string(f.Verdict)+": "+f.Text)
		}
		for _, host := range d.Bench.Without {
			add(host, report.TestCase{Name: "benchmark"}, false, true, "no session that counts")
		}
	}
	slices.Sort(names)
	for _, n := range names {
		all.Add(*suites[n])
	}
	return all.Write(w)
}

// measuredAtAll is false for a line that neither result has a value for.
func measuredAtAll(l bench.GuideLine) bool {
	return slices.ContainsFunc(l.Parts, func(p bench.GuidePart) bool { return p.Current != nil || p.Baseline != nil })
}
