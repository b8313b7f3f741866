package report

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// TextOptions say how text is written. The zero value is 80 columns, no colour,
// UTC.
type TextOptions struct {
	Width int
	Color bool
	Zone  *time.Location
}

func (o TextOptions) page(w io.Writer) *page {
	width := cmp.Or(o.Width, 80)
	return &page{w: w, width: max(50, width), color: o.Color}
}

func (o TextOptions) local(t time.Time) time.Time {
	if o.Zone == nil {
		return t.UTC()
	}
	return t.In(o.Zone)
}

func (o TextOptions) clock(t time.Time) string { return o.local(t).Format("15:04:05") }

func (o TextOptions) date(t time.Time) string { return o.local(t).Format("2006-01-02 15:04:05 MST") }

// Text writes the report of a run for people: of a fleet a table first, then
// each host.
func Text(w io.Writer, r *Report, o TextOptions) error {
	p := o.page(w)
	p.line("%s", p.paint(bold, fmt.Sprintf("Run %s (%s)", r.Run.ID, cleanLine(r.Run.Verb))))
	started := "started " + o.date(r.Run.Started)
	if r.Run.Finished.IsZero() {
		started += ", not finished"
	} else {
		started += ", took " + took(r.Duration())
	}
	p.wrapped("", started+", vpsctl "+cmp.Or(cleanLine(r.Run.Version), "of unknown version"))
	mark, color := markOf(word(r.Verdict.Status))
	p.wrapped(p.paint(color, mark)+" ", r.Verdict.Text)
	if len(r.Hosts) > 1 {
		p.line("")
		p.fleet(r)
	}
	for i := range r.Hosts {
		p.host(&r.Hosts[i], o)
	}
	return p.err
}

func (p *page) fleet(r *Report) {
	columns := []column{{head: ""}, {head: "HOST", least: 12}, {head: "RESULT"}, {head: "TIME", right: true}, {head: "CHANGED", right: true, drop: 3},
		{head: "OK", right: true, drop: 4}, {head: "FAILED", right: true, drop: 2}, {head: "SCORE", right: true, drop: 5}, {head: "WHY", least: 16, drop: 1}}
	var rows [][]cell
	for i := range r.Hosts {
		h := &r.Hosts[i]
		status := word(h.Verdict.Status)
		mark, color := markOf(status)
		row := []cell{{mark, color}, {h.Host.Host, ""}, {status, ""}}
		if h.Record.Start == nil {
			row = append(row, cell{"-", ""}, cell{"-", ""}, cell{"-", ""}, cell{"-", ""}, cell{"-", ""})
		} else {
			ok, changed, failed, _ := h.Record.Counts()
			row = append(row, cell{took(h.Record.Duration()), ""}, cell{itoa(changed), ""}, cell{itoa(ok), ""},
				cell{itoa(failed), ""}, cell{scoreCell(h.Record.summary().PerformanceScore), ""})
		}
		why := ""
		if h.Verdict.Outcome != Done {
			why = h.Verdict.Text
		}
		rows = append(rows, append(row, cell{why, ""}))
	}
	p.table(columns, rows)
}

// markOf is the mark of a status word, and its colour.
func markOf(status string) (mark, color string) {
	switch wire.Status(status) {
	case wire.OK, wire.Changed:
		return "[OK]", green
	case wire.Failed:
		return "[ERR]", red
	case wire.Cancelled:
		return "[WARN]", yellow
	case running:
		return "[..]", ""
	}
	return "[--]", ""
}

func statusColor(status string) string { _, c := markOf(status); return c }

func classColor(class string) string {
	switch class {
	case "critical", "issues":
		return red
	case "warning", "high", "below_target":
		return yellow
	case "excellent", "met", "low", "good", "normal":
		return green
	}
	return ""
}

func scoreCell(score *float64) string {
	if score == nil {
		return "-"
	}
	return strconv.FormatFloat(*score, 'f', 1, 64)
}

func percent(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%+.1f%%", *v)
}

func secText(s float64) string {
	if s <= 0 {
		return "-"
	}
	return took(time.Duration(s * float64(time.Second)))
}

// took prints a duration; a tenth of a second is not long enough for seconds.
func took(d time.Duration) string {
	if d < 100*time.Millisecond {
		return fmt.Sprintf("%dms", d.Round(time.Millisecond).Milliseconds())
	}
	return wire.FormatDuration(d)
}

// RunsText writes a list of runs, newest first.
func RunsText(w io.Writer, list []Entry, o TextOptions) error {
	p := o.page(w)
	columns := []column{{head: ""}, {head: "RUN"}, {head: "VERB", drop: 2}, {head: "RESULT"}, {head: "STARTED", drop: 3},
		{head: "TOOK", right: true, drop: 1}, {head: "HOSTS", least: 8}}
	var rows [][]cell
	for _, e := range list {
		result, color := resultOf(&e)
		mark, _ := markOf(result)
		if e.State == StateKilled || e.State == StateDamaged {
			mark, color = "[WARN]", yellow
		}
		started, lasted := "-", "-"
		if !e.Run.Started.IsZero() {
			started = o.local(e.Run.Started).Format("2006-01-02 15:04")
		}
		if e.State == StateComplete {
			lasted = took(e.Run.took())
		}
		rows = append(rows, []cell{{mark, color}, {e.ID, ""}, {cmp.Or(cleanLine(e.Run.Verb), "-"), ""}, {result, ""}, {started, ""}, {lasted, ""}, {hostNames(&e), ""}})
	}
	if len(rows) == 0 {
		p.line("no runs yet")
		return p.err
	}
	p.table(columns, rows)
	for _, e := range list {
		if e.Problem != "" {
			p.wrapped(p.paint(yellow, "[WARN]")+" ", e.ID+": "+e.Problem)
		}
	}
	return p.err
}

func resultOf(e *Entry) (text, color string) {
	if e.State != StateComplete {
		return string(e.State), ""
	}
	return word(e.Run.Status), statusColor(word(e.Run.Status))
}

func hostNames(e *Entry) string {
	names := make([]string, 0, len(e.Run.Hosts))
	for _, h := range e.Run.Hosts {
		names = append(names, cleanLine(h.Host))
	}
	if len(names) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
	}
	return strings.Join(names, ", ")
}
