package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/report"
)

// hostView is what the screen knows of one host.
type hostView struct {
	name    string
	wall    time.Time // the host's clock at its T = 0
	facts   wire.Facts
	phases  []phaseView
	partial map[string]*partial // unfinished lines by step and stream
	step    string              // the newest step that runs
	since   time.Time
	status  string // what the connection is doing, when not just running
	ended   bool
}

type phaseView struct {
	head     wire.PhaseHead
	from, to time.Duration // host time; to is 0 while it runs
	began    time.Time     // laptop time
	running  bool
	over     bool
}

// partial is a line whose end has not come yet.
type partial struct {
	text string
	at   time.Time
}

// patience is how long an unfinished line waits for its end before it is shown.
const patience = 2 * time.Second

func newHostView(p *wire.Plan) *hostView {
	h := &hostView{name: p.Host, wall: time.Now(), partial: map[string]*partial{}, status: "connecting"}
	for _, ph := range p.Phases {
		h.phases = append(h.phases, phaseView{head: wire.PhaseHead{ID: ph.ID, Title: ph.Title, Target: ph.Target}})
	}
	return h
}

func (h *hostView) phase(id string) *phaseView {
	i := slices.IndexFunc(h.phases, func(p phaseView) bool { return p.head.ID == id })
	if i < 0 {
		return &phaseView{}
	}
	return &h.phases[i]
}

func (h *hostView) index(id string) int {
	return 1 + slices.IndexFunc(h.phases, func(p phaseView) bool { return p.head.ID == id })
}

func (h *hostView) title(id string) string       { return report.Clean(h.phase(id).head.Title) }
func (h *hostView) took(id string) time.Duration { p := h.phase(id); return p.to - p.from }

// take keeps what an event says of where the host is.
func (h *hostView) take(e *wire.Event, now time.Time) {
	switch e.Kind {
	case wire.KindStart:
		if e.Start != nil {
			h.wall, h.facts = e.Start.Wall, e.Start.Facts
			h.adopt(e.Start.Phases)
		}
	case wire.KindPhase:
		p := h.phase(e.Phase)
		p.running, p.from, p.began = true, time.Duration(e.T), now
	case wire.KindPhaseEnd:
		p := h.phase(e.Phase)
		p.running, p.over, p.to = false, true, time.Duration(e.T)
	case wire.KindStep:
		h.step, h.since = e.Step, now
	case wire.KindEnd:
		h.ended = true
	}
}

// adopt takes the phases a run was begun with; a follower has no plan.
func (h *hostView) adopt(heads []wire.PhaseHead) {
	if len(h.phases) > 0 {
		return
	}
	for _, head := range heads {
		h.phases = append(h.phases, phaseView{head: head})
	}
}

// lines are the whole lines that e completes, clean for a terminal.
func (h *hostView) lines(e *wire.Event) []string {
	if e.Output == nil {
		return nil
	}
	text := e.Output.Text
	if len(e.Output.Bytes) > 0 {
		text = string(e.Output.Bytes)
	}
	key := e.Step + " " + e.Output.Stream
	p := h.partial[key]
	if p == nil {
		p = &partial{}
		h.partial[key] = p
	}
	p.at = time.Now()
	all := strings.Split(p.text+text, "\n")
	p.text = all[len(all)-1]
	if len(p.text) > 8<<10 { // a line without end must not grow for ever
		all, p.text = append(all, ""), ""
	}
	return cleanLines(all[:len(all)-1])
}

func cleanLines(lines []string) []string {
	for i, l := range lines {
		if cut := strings.LastIndexByte(strings.TrimRight(l, "\r"), '\r'); cut >= 0 {
			l = l[cut+1:] // a progress line that redraws itself: its last state
		}
		lines[i] = report.Clean(strings.TrimRight(l, "\r"))
	}
	return lines
}

// rest are the unfinished lines of a step that has ended.
func (h *hostView) rest(step string) []string {
	var out []string
	for _, stream := range []string{"stdout", "stderr"} {
		if p := h.partial[step+" "+stream]; p != nil && p.text != "" {
			out = append(out, p.text)
		}
		delete(h.partial, step+" "+stream)
	}
	return cleanLines(out)
}

// stale are the unfinished lines that have waited long enough.
func (h *hostView) stale(now time.Time) []string {
	var out []string
	for _, p := range h.partial {
		if p.text != "" && now.Sub(p.at) > patience {
			out = append(out, p.text)
			p.text = ""
		}
	}
	return cleanLines(out)
}

// now says what the host is doing.
func (h *hostView) now(at time.Time) string {
	switch {
	case h.ended:
		return ""
	case h.status != "":
		return h.status
	case h.step == "":
		return "starting"
	}
	return fmt.Sprintf("%s %s", h.step, wire.FormatDuration(at.Sub(h.since).Round(time.Second)))
}

// progress is the done part of the host's run and the time left: targets are
// the weights, and how long the finished phases really took scales what is left.
func (h *hostView) progress(now time.Time) (float64, time.Duration) {
	if h.ended {
		return 1, 0
	}
	var total, done, target, actual, left float64
	for i := range h.phases {
		p := &h.phases[i]
		w := max(p.head.Target.For(h.facts).Seconds(), 1)
		total += w
		switch {
		case p.over:
			done, target, actual = done+w, target+w, actual+(p.to-p.from).Seconds()
		case p.running:
			part := min(0.95*w, now.Sub(p.began).Seconds())
			done, left = done+part, left+w-part
		default:
			left += w
		}
	}
	speed := 1.0
	if target > 0 {
		speed = min(actual/target, 10)
	}
	if total == 0 {
		return 0, 0
	}
	return done / total * 0.99, time.Duration(left * speed * float64(time.Second))
}
