package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// num is a number on the page: what is read, and what the JSON report has under
// the key.
type num struct{ Key, Value, Text string }

func jsonNum(key string, v any, text string) num {
	b, _ := json.Marshal(v) // numbers and nil
	return num{key, string(b), text}
}

// htmlFact is a number with its name.
type htmlFact struct {
	Name  string
	Num   num
	Note  string
	Class string // a band
}

// htmlFleet is all hosts at a glance.
type htmlFleet struct {
	Ticks  []tick
	Rows   []htmlRow
	Phases []string
	Heat   [][]htmlHeat // per row, in the order of Phases
}

type htmlRow struct {
	Name, Anchor, Status, Mark, Why string
	Time, Score, Changed, Failed    string
	Alerts                          int
	Bars                            []htmlBar
}

type htmlHeat struct{ Text, Class, Tip string }

func newHTMLPage(r *Report, hosts []*htmlHost) *htmlPage {
	status := word(r.Verdict.Status)
	p := &htmlPage{ID: r.Run.ID, Verb: cleanLine(r.Run.Verb), Status: status, Mark: markWord(status), Verdict: strings.ReplaceAll(r.Verdict.Text, "_", " ")}
	p.Meta = []string{"started " + TextOptions{}.date(r.Run.Started)}
	if r.Run.Finished.IsZero() {
		p.Meta = append(p.Meta, "not finished")
	} else {
		p.Meta = append(p.Meta, "took "+took(r.Duration()))
	}
	p.Meta = append(p.Meta, "vpsctl "+cmp.Or(cleanLine(r.Run.Version), "of unknown version"))
	if len(r.Hosts) > 1 {
		p.Figures = fleetFacts(r)
		p.Fleet = newFleet(r, hosts)
	}
	return p
}

func fleetFacts(r *Report) []htmlFact {
	var ok, changed, failed, alerts int
	low := -1.0
	for i := range r.Hosts {
		rec := r.Hosts[i].Record
		o, c, f, _ := rec.Counts()
		ok, changed, failed, alerts = ok+o, changed+c, failed+f, alerts+len(rec.Alerts)
		if s := rec.summary().PerformanceScore; s != nil && (low < 0 || *s < low) {
			low = *s
		}
	}
	fact := func(name string, n int) htmlFact {
		return htmlFact{Name: name, Num: num{Value: itoa(n), Text: itoa(n)}}
	}
	list := []htmlFact{fact("Hosts", len(r.Hosts)), fact("Steps changed", changed), fact("Steps as they should be", ok),
		fact("Steps failed", failed), fact("Alerts", alerts)}
	if low >= 0 {
		text := strconv.FormatFloat(low, 'f', 1, 64) + "%"
		list = append(list, htmlFact{Name: "Lowest score", Num: num{Value: text, Text: text}})
	}
	return list
}

// newFleet lays all hosts over one axis of wall time, each host's clock set
// right by what it was off when it said hello.
func newFleet(r *Report, hosts []*htmlHost) *htmlFleet {
	var first, last time.Time
	begin := func(h *HostReport) time.Time {
		w := h.Record.Wall(0)
		if off := h.Host.ClockOffsetSec; off != nil && !w.IsZero() {
			w = w.Add(-time.Duration(max(-1e8, min(1e8, *off)) * float64(time.Second)))
		}
		return w
	}
	for i := range r.Hosts {
		if w := begin(&r.Hosts[i]); !w.IsZero() {
			end := w.Add(r.Hosts[i].Record.Duration())
			if first.IsZero() || w.Before(first) {
				first = w
			}
			if end.After(last) {
				last = end
			}
		}
	}
	all := axis{0, last.Sub(first)}
	f := &htmlFleet{Ticks: all.ticks()}
	for i := range r.Hosts {
		for _, p := range r.Hosts[i].Record.Phases {
			f.Phases = appendNew(f.Phases, p.ID)
		}
	}
	for i := range r.Hosts {
		h := &r.Hosts[i]
		row := fleetRow(h, hosts[i])
		if w := begin(h); !w.IsZero() {
			row.Bars = phaseBars(h.Record, all, w.Sub(first))
		}
		f.Rows = append(f.Rows, row)
		f.Heat = append(f.Heat, heat(h.Record, f.Phases))
	}
	if len(r.Hosts) < 2 || len(f.Phases) == 0 {
		f.Heat = nil
	}
	return f
}

func fleetRow(h *HostReport, v *htmlHost) htmlRow {
	row := htmlRow{Name: h.Host.Host, Anchor: v.Anchor, Status: v.Status, Mark: v.Mark, Time: "–", Score: "–", Changed: "–", Failed: "–", Alerts: len(h.Record.Alerts)}
	if h.Verdict.Outcome != Done {
		row.Why = h.Verdict.Text
	}
	if h.Record.Start == nil {
		return row
	}
	_, changed, failed, _ := h.Record.Counts()
	row.Time, row.Score, row.Changed, row.Failed = took(h.Record.Duration()), strings.Replace(scoreCell(h.Record.summary().PerformanceScore), "-", "–", 1), itoa(changed), itoa(failed)
	return row
}

func heat(rec *HostRecord, phases []string) []htmlHeat {
	row := make([]htmlHeat, len(phases))
	for i := range row {
		row[i] = htmlHeat{Text: "–", Class: "none", Tip: "not in the plan"}
	}
	for i := range rec.Phases {
		p := &rec.Phases[i]
		at := slices.Index(phases, p.ID)
		cell := htmlHeat{Text: strings.ReplaceAll(p.word(), "_", " "), Class: p.word(), Tip: p.word()}
		if p.Begun && p.Ended {
			cell.Text = took(p.Duration())
			if class := p.class(); class != "" {
				cell.Class, cell.Tip = class, class
			}
		}
		row[at] = cell
	}
	return row
}

// phaseBars are the phases that began, on an axis on which the host's own time
// begins at shift.
func phaseBars(rec *HostRecord, a axis, shift time.Duration) []htmlBar {
	var bars []htmlBar
	for i := range rec.Phases {
		p := &rec.Phases[i]
		if !p.Begun {
			continue
		}
		end := p.End
		if !p.Ended {
			end = max(p.Begin, rec.Duration())
		}
		bars = append(bars, htmlBar{X: a.x(p.Begin + shift), W: a.width(p.Begin+shift, end+shift), Status: p.word(), Alternate: len(bars)%2 == 1,
			Tip: fmt.Sprintf("%s: %s, %s", p.ID, strings.ReplaceAll(p.word(), "_", " "), took(end-p.Begin))})
	}
	return bars
}

// markWord is the mark that stands beside a status, so that colour is never alone.
func markWord(status string) string {
	switch wire.Status(status) {
	case wire.OK:
		return "OK"
	case wire.Changed:
		return "Changed"
	case wire.Failed:
		return "Failed"
	case wire.Cancelled:
		return "Cancelled"
	case wire.Skipped:
		return "Skipped"
	case wire.NotReached:
		return "Not reached"
	}
	return "Running"
}
