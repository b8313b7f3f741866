package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/vpsctl/vpsctl/bench"
	"github.com/vpsctl/vpsctl/report"
)

// checkBench judges the benchmark sessions kept here of the hosts asked for: by
// their history, or with --single the newest one by the guide's classes. The
// others of all are peers.
func (d *checkDoc) checkBench(k *call, all, asked []string) error {
	asked = slices.DeleteFunc(slices.Clone(asked), func(h string) bool { return !slices.Contains(all, h) })
	if len(asked) == 0 {
		return nil
	}
	histories, err := k.histories(all)
	if err != nil {
		return err
	}
	if d.Single {
		return d.singleResults(k, asked, histories)
	}
	since, err := k.accepted(all)
	if err != nil {
		return err
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
		d.take(h, now.Excluded)
	}
	return nil
}

// take takes a host's newest result in. One that was excluded is open: a busy
// host is slow, and says nothing of what it is otherwise.
func (d *checkDoc) take(h compareHost, excluded string) {
	if excluded != "" && h.Result == compared {
		h.open("not judged: the session does not count")
	}
	d.Results = append(d.Results, h)
	for _, l := range h.Lines {
		judged, measured := lineCounts(l)
		d.Judged, d.Compared = d.Judged+judged, d.Compared+measured
	}
}

// open takes back what a comparison says of a session that no verdict may stand on.
func (h *compareHost) open(why string) {
	h.Result = notCompared
	for i, l := range h.Lines {
		parts := slices.Clone(l.Parts)
		for j, p := range parts {
			parts[j] = bench.GuidePart{Name: p.Name, Unit: p.Unit, Current: p.Current, Baseline: p.Baseline, Note: cmp.Or(noteIf(p.ChangePct != nil, why), p.Note)}
		}
		h.Lines[i] = bench.NewGuideLine(l.Name, parts...)
	}
}

// lineCounts are how many figures of a line either result has, and how many of
// them were compared.
func lineCounts(l bench.GuideLine) (judged, measured int) {
	for _, p := range l.Parts {
		if p.Current != nil || p.Baseline != nil {
			measured++
		}
		if p.ChangePct != nil {
			judged++
		}
	}
	return judged, measured
}

// lineOpen tells whether a line has a figure that could not be compared.
func lineOpen(l bench.GuideLine) bool {
	judged, measured := lineCounts(l)
	return judged < measured
}

// judgeBench tells what the benchmarks found: something is worse, or cannot be
// told.
func (d *checkDoc) judgeBench() (worse, open bool) {
	for _, h := range d.Results {
		open = open || h.Result != compared
		for _, l := range h.Lines {
			worse, open = worse || l.Regressed, open || lineOpen(l)
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

// A tally is what became of figures: those that need a person by name.
type tally struct {
	fine        int
	worse, open []string
}

func (t *tally) add(name string, worse, open bool) {
	switch {
	case worse:
		t.worse = append(t.worse, name)
	case open:
		t.open = append(t.open, name)
	default:
		t.fine++
	}
}

// text is the tally in words, and first of all how many of how many were judged.
func (t *tally) text(what, how string) string {
	judged := t.fine + len(t.worse)
	text := fmt.Sprintf("%d of %d %s were judged, %s.", judged, judged+len(t.open), what, how)
	for _, named := range []struct {
		names []string
		word  string
	}{{t.worse, "more than 20 % worse"}, {t.open, "cannot be told"}} {
		if n := len(named.names); n > 0 {
			text += fmt.Sprintf(" %d %s: %s", n, named.word, strings.Join(named.names[:min(n, mostNamed)], ", "))
			text += noteIf(n > mostNamed, fmt.Sprintf(" and %d more", n-mostNamed)) + "."
		}
	}
	return text + noteIf(t.fine > 0, fmt.Sprintf(" %d OK.", t.fine))
}

// mostNamed is how many figures of a kind the paragraph names.
const mostNamed = 5

// paragraph says in words how many of how many figures were judged, and what
// became of them.
func (d *checkDoc) paragraph() string {
	var t tally
	for _, h := range d.Hosts {
		for _, r := range h.Rows {
			t.add(h.Host+" "+r.Name, d.Single && r.Regressed, d.Single && r.ChangePct == nil || !d.Single && r.Verdict != "OK")
		}
	}
	if d.Single {
		none := ""
		for _, h := range d.Results {
			none += noteIf(len(h.Lines) == 0, ", "+h.Host)
			for _, l := range h.Lines {
				for _, p := range l.Parts {
					if p.Current != nil || p.Baseline != nil {
						t.add(strings.TrimSpace(h.Host+" "+l.Name+" "+p.Name), p.Regressed, p.ChangePct == nil)
					}
				}
			}
		}
		return t.text("figures", "each of one run or session alone, by the guide's classes") + noteIf(none != "", " Not compared with a baseline: "+strings.TrimPrefix(none, ", ")+".")
	}
	var parts []string
	if d.Bench != nil {
		parts = append(parts, d.Bench.Text)
	}
	if len(d.Hosts) > 0 {
		parts = append(parts, t.text("times of run "+d.RunID, "by earlier runs that did the same"))
	}
	return strings.Join(parts, " ")
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
}

// junit has a suite per host: its run's phases, then its benchmarks; and one whose
// case says in words how much was judged. It fails where check does.
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
			add(h.Host, report.TestCase{Name: l.Name}, l.Regressed, lineOpen(l), l.Text())
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
	for _, host := range d.Without {
		add(host, report.TestCase{Name: "recorded"}, false, true, notRecorded)
	}
	slices.Sort(names)
	add("vpsctl check", report.TestCase{Name: "judged"}, false, d.Compared == 0, d.paragraph())
	for _, n := range names {
		all.Add(*suites[n])
	}
	return all.Write(w)
}
