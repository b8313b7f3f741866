package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// TimingsDoc is what `timings -o json` prints.
type TimingsDoc struct {
	Schema int           `json:"schema"`
	RunID  string        `json:"run_id"`
	Hosts  []HostTimings `json:"hosts"`
}

// HostTimings are the phases of one host that began, in the plan's order. The
// totals are null when only one phase was asked for.
type HostTimings struct {
	Host              string        `json:"host"`
	Phases            []PhaseTiming `json:"phases"`
	TotalDurationSec  *float64      `json:"total_duration_sec"`
	TargetDurationSec *float64      `json:"target_duration_sec"`
	PerformanceScore  *float64      `json:"performance_score"`
}

// PhaseTiming is one phase; End and its epoch are empty while it goes on.
type PhaseTiming struct {
	Phase       string   `json:"phase"`
	Title       string   `json:"title"`
	Status      string   `json:"status"`
	Start       string   `json:"start"`
	End         string   `json:"end"`
	StartEpoch  int64    `json:"start_epoch"`
	EndEpoch    *int64   `json:"end_epoch"`
	DurationSec *float64 `json:"duration_sec"`
	TargetSec   float64  `json:"target_sec"`
	VariancePct *float64 `json:"variance_pct"`
	Class       string   `json:"class"`

	duration time.Duration
}

// UnknownPhaseError says that a run has no such phase, or that it never began.
type UnknownPhaseError struct {
	RunID string
	Phase string
	Known []string
}

func (e *UnknownPhaseError) Error() string {
	return fmt.Sprintf("run %s: phase %q did not run on any of its hosts", e.RunID, cleanLine(e.Phase))
}

// Hint names the phases there are.
func (e *UnknownPhaseError) Hint() string {
	if len(e.Known) == 0 {
		return "no phase of this run has begun"
	}
	return "phases that ran: " + strings.Join(e.Known, ", ")
}

// Timings are the phase timings of a run, of one phase when phase is not empty.
// The error is an *UnknownPhaseError.
func Timings(r *Report, phase string) (TimingsDoc, error) {
	doc := TimingsDoc{Schema: Schema, RunID: r.Run.ID, Hosts: []HostTimings{}}
	known, found := []string{}, false
	for _, h := range r.Hosts {
		t := HostTimings{Host: h.Host.Host, Phases: []PhaseTiming{}}
		for i := range h.Record.Phases {
			p := &h.Record.Phases[i]
			if !p.Begun {
				continue
			}
			known = appendNew(known, p.ID)
			if phase == "" || phase == p.ID {
				found = true
				t.Phases = append(t.Phases, h.Record.phaseTiming(p))
			}
		}
		if phase == "" {
			s := h.Record.summary()
			t.TotalDurationSec, t.TargetDurationSec, t.PerformanceScore = &s.TotalDurationSec, &s.TargetDurationSec, s.PerformanceScore
		}
		doc.Hosts = append(doc.Hosts, t)
	}
	if phase != "" && !found {
		return doc, &UnknownPhaseError{RunID: r.Run.ID, Phase: phase, Known: known}
	}
	return doc, nil
}

func appendNew(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}

func (r *HostRecord) phaseTiming(p *PhaseRecord) PhaseTiming {
	full := r.perfPhase(p)
	t := PhaseTiming{Phase: p.ID, Title: p.Title, Status: full.Status, Start: full.Start, End: full.End, StartEpoch: r.Wall(p.Begin).Unix(),
		TargetSec: full.TargetSec, VariancePct: full.VariancePct, Class: full.Class, duration: p.Duration()}
	if p.Ended {
		end := r.Wall(p.End).Unix()
		t.EndEpoch, t.DurationSec = &end, &full.DurationSec
	}
	return t
}

// JSON is the document's text.
func (d TimingsDoc) JSON() ([]byte, error) { return marshal(d) }

// Plain writes start, end and duration in seconds, one line per host, led by
// its name when there are several: what scripts cut apart.
func (d TimingsDoc) Plain(w io.Writer) error {
	for _, h := range d.Hosts {
		for _, p := range h.Phases {
			fields := []string{strconv.FormatInt(p.StartEpoch, 10), "-", "-"}
			if p.EndEpoch != nil {
				fields[1], fields[2] = strconv.FormatInt(*p.EndEpoch, 10), number(*p.DurationSec)
			}
			if len(d.Hosts) > 1 {
				fields = append([]string{h.Host}, fields...)
			}
			if _, err := fmt.Fprintln(w, strings.Join(fields, " ")); err != nil {
				return err
			}
		}
	}
	return nil
}

// Text writes the timings as a table per host.
func (d TimingsDoc) Text(w io.Writer, o TextOptions) error {
	p := o.page(w)
	for i, h := range d.Hosts {
		if i > 0 {
			p.line("")
		}
		p.line("%s", p.paint(bold, h.Host))
		if len(h.Phases) == 0 {
			p.line("no phase has begun")
			continue
		}
		columns := []column{{head: "PHASE", least: 12}, {head: "START"}, {head: "END"}, {head: "DURATION", right: true},
			{head: "TARGET", right: true, drop: 2}, {head: "VARIANCE", right: true, drop: 1}, {head: "CLASS", drop: 3}, {head: "STATUS", drop: 4}}
		var rows [][]cell
		for _, t := range h.Phases {
			rows = append(rows, o.timingCells(t))
		}
		p.table(columns, rows)
		if h.TotalDurationSec != nil {
			p.line("total %s, target %s, score %s", secText(*h.TotalDurationSec), secText(*h.TargetDurationSec), scoreCell(h.PerformanceScore))
		}
	}
	return p.err
}

func (o TextOptions) timingCells(t PhaseTiming) []cell {
	duration, end := "-", "-"
	if t.DurationSec != nil {
		duration, end = secText(t.duration.Seconds()), o.clock(time.Unix(*t.EndEpoch, 0))
	}
	return []cell{{t.Phase, ""}, {o.clock(time.Unix(t.StartEpoch, 0)), ""}, {end, ""}, {duration, ""},
		{secText(t.TargetSec), ""}, {percent(t.VariancePct), ""}, {t.Class, classColor(t.Class)}, {t.Status, statusColor(t.Status)}}
}
