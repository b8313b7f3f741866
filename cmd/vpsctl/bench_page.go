package main

import (
	"fmt"
	"slices"

	"github.com/vpsctl/vpsctl/bench"
	"github.com/vpsctl/vpsctl/report"
)

// page is a comparison as its HTML shows it.
func (doc *compareDoc) page() report.BenchPage {
	p := report.BenchPage{Title: "Benchmarks compared", Status: "ok", Mark: "OK"}
	for i := range doc.Hosts {
		p.Sections = append(p.Sections, doc.Hosts[i].section())
	}
	for _, t := range doc.Tables {
		s := report.BenchSection{Name: t.Current + " against " + t.Base, Verdict: "One value per " + t.Of + "."}
		if t.Note != "" {
			s.Notes = append(s.Notes, report.Clean(t.Note))
		}
		for i := range t.Rows {
			s.Plots = append(s.Plots, rowPlot(&t.Rows[i], t.Base, t.Current))
		}
		p.Sections = append(p.Sections, s)
	}
	for _, g := range doc.Groups {
		p.Sections = append(p.Sections, groupSection(g))
	}
	if len(doc.Others) > 0 {
		p.Sections = append(p.Sections, othersSection(doc.Others))
	}
	headline(&p, doc)
	return p
}

// headline says of the whole page what needs a person first.
func headline(p *report.BenchPage, doc *compareDoc) {
	refusals, created := 0, 0
	for _, h := range doc.Hosts {
		switch h.Result {
		case refused, notCompared:
			refusals++
		case baselineCreated:
			created++
		}
	}
	switch {
	case doc.ExitCode == exitRegression:
		p.Status, p.Mark, p.Title = "failed", "REGRESSION DETECTED", "Something is more than 20 % worse"
	case refusals > 0:
		p.Status, p.Mark, p.Title = "running", "NOT COMPARED", fmt.Sprintf("%d of %d hosts were not compared", refusals, len(doc.Hosts))
	case created > 0:
		p.Status, p.Mark, p.Title = "running", "BASELINE", fmt.Sprintf("%d of %d hosts have a baseline from now on", created, len(doc.Hosts))
	case len(doc.Outliers) > 0:
		p.Status, p.Mark, p.Title = "running", "OUTLIERS", fmt.Sprintf("%d values are far from those of their peers", len(doc.Outliers))
	case doc.Kind == "peers" && noOutlier(doc.Groups) == "":
		p.Status, p.Mark, p.Title = "running", "NOT COMPARED", "No host has peers enough"
	case doc.Kind == "peers":
		p.Mark, p.Title = "NO OUTLIER", "No value is far from those of its peers"
	case doc.Kind == "baseline" || doc.Kind == "runs":
		p.Title = "Nothing is more than 20 % worse"
	}
	if doc.Kind == "baseline" || doc.Kind == "runs" {
		p.Meta = append(p.Meta, "one session against one")
	}
}

func (h *compareHost) section() report.BenchSection {
	s := report.BenchSection{Name: h.Host, Status: "ok", Mark: "OK"}
	if h.Note != "" {
		s.Notes = append(s.Notes, report.Clean(h.Note))
	}
	switch h.Result {
	case baselineCreated:
		s.Status, s.Mark, s.Verdict = "running", "BASELINE", "No baseline yet: this result is the baseline from now on."
		return s
	case refused:
		s.Status, s.Mark, s.Verdict = "running", "NOT COMPARED", "Another machine, or measured in another way."
		for _, d := range h.Differs {
			s.Notes = append(s.Notes, report.Clean(d))
		}
		return s
	case notCompared:
		s.Status, s.Mark = "running", "NOT COMPARED"
		return s
	}
	s.Verdict = fmt.Sprintf("%s (%s) against %s (%s).", sessionName(h.Current), benchTime(h.Current.At), sessionName(h.Baseline), benchTime(h.Baseline.At))
	for _, l := range h.Lines {
		if l.Regressed {
			s.Status, s.Mark = "failed", "REGRESSION DETECTED"
		}
		s.Lines = append(s.Lines, report.BenchLine{Text: report.Clean(l.Text()), Class: l.Class})
	}
	past := bench.HostSide(h.Host, h.before())
	for i := range h.Rows {
		p := rowPlot(&h.Rows[i], "baseline", "now")
		for j := range p.Strips {
			p.Strips[j].Label += ", repeats"
		}
		if k := slices.IndexFunc(past.Metrics, func(m bench.Metric) bool { return m.Name == h.Rows[i].Metric && m.Unit == h.Rows[i].Unit }); k >= 0 && len(past.Metrics[k].Values) > 1 {
			m := past.Metrics[k]
			p.Strips = slices.Insert(p.Strips, 0, report.BenchStrip{Label: "sessions before", Values: m.Values, Middle: m.Median})
			p.Low, p.High = bench.Band(m.Values)
		}
		s.Plots = append(s.Plots, p)
	}
	return s
}

// before are the sessions that were there when the current one was taken.
func (h *compareHost) before() []bench.Session {
	i := slices.IndexFunc(h.history, func(s bench.Session) bool { return s.ID == h.Current.Session })
	return h.history[:max(i, 0)]
}

// rowPlot is a row of a table as dots.
func rowPlot(r *bench.Row, base, current string) report.BenchPlot {
	p := report.BenchPlot{Name: r.Metric, Unit: r.Unit, Better: string(r.Better), Delta: r.DeltaText()}
	if worse, ok := r.WorsePct(); ok && r.Differs && worse != 0 {
		p.Class = map[bool]string{true: "slower", false: "faster"}[worse > 0]
	}
	if r.Base != nil {
		p.Strips = append(p.Strips, report.BenchStrip{Label: base, Values: r.Base.Values, Middle: r.Base.Median})
		p.Low, p.High = bench.Band(r.Base.Values)
	}
	if r.Current != nil {
		p.Strips = append(p.Strips, report.BenchStrip{Label: current, Values: r.Current.Values, Middle: r.Current.Median, Now: true})
	}
	return p
}

func groupSection(g bench.PeerGroup) report.BenchSection {
	s := report.BenchSection{Name: g.Name, Verdict: "Hosts that should be alike by " + g.From + "; a dot is the median of a host's sessions."}
	for _, a := range g.Apart {
		s.Notes = append(s.Notes, "Not compared: "+report.Clean(a))
	}
	for _, o := range bench.Outliers([]bench.PeerGroup{g}) {
		s.Status, s.Mark = "running", "OUTLIERS"
		s.Lines = append(s.Lines, report.BenchLine{Text: report.Clean(o.Text), Class: "warning"})
	}
	if few := fewPeers(g); few != "" {
		s.Status, s.Mark, s.Notes = "running", "NOT COMPARED", append(s.Notes, few)
	} else if n, _ := g.Compared(); n > 0 && len(s.Lines) == 0 {
		s.Status, s.Mark = "ok", "NO OUTLIER"
	}
	for _, m := range g.Metrics {
		p := report.BenchPlot{Name: m.Metric, Unit: m.Unit, Better: string(m.Better)}
		var all []float64
		for _, v := range m.Values {
			all = append(all, v.Median)
		}
		for _, v := range m.Values {
			st := report.BenchStrip{Label: v.Host, Values: []float64{v.Median}, Now: v.Outlier != ""}
			if v.Peers != nil {
				st.Middle = *v.Peers
			}
			p.Strips = append(p.Strips, st)
		}
		p.Low, p.High = bench.Band(all)
		s.Plots = append(s.Plots, p)
	}
	return s
}

func othersSection(others []otherHost) report.BenchSection {
	s := report.BenchSection{Name: "Hosts without a peer group", Verdict: "Neither vars.peer_group nor their cloud's metadata says that they should be equal; a dot is one session's median."}
	at := map[string]int{}
	for _, o := range others {
		for _, m := range o.Metrics {
			key := m.Name + " " + m.Unit
			if _, ok := at[key]; !ok {
				at[key] = len(s.Plots)
				s.Plots = append(s.Plots, report.BenchPlot{Name: m.Name, Unit: m.Unit, Better: string(m.Better)})
			}
			p := &s.Plots[at[key]]
			p.Strips = append(p.Strips, report.BenchStrip{Label: o.Host, Values: m.Values, Middle: m.Median})
		}
	}
	return s
}
