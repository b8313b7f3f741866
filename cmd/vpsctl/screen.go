package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/report"
)

// screen is what a run looks like while it goes on: the hosts' output live and
// prefixed, one line per finished phase, one bar for the whole run. One
// goroutine owns it; everybody else sends it what happened.
type screen struct {
	ui    *ui
	in    chan func()
	done  chan struct{}
	fleet bool
	hosts map[string]*hostView
	order []string
	bar   *progressbar.ProgressBar
	spoke time.Time // when the last line was written
	began time.Time
	most  float64 // the bar never goes back
}

// life is how long a terminal may stay without a change.
const life = 500 * time.Millisecond

// heartbeat is how long plain output may stay silent.
const heartbeat = 20 * time.Second

func newScreen(u *ui, plans []wire.Plan) *screen {
	s := &screen{ui: u, in: make(chan func(), 256), done: make(chan struct{}), fleet: len(plans) > 1,
		hosts: map[string]*hostView{}, began: time.Now(), spoke: time.Now()}
	for i := range plans {
		s.hosts[plans[i].Host] = newHostView(&plans[i])
		s.order = append(s.order, plans[i].Host)
	}
	if u.tty && !u.quiet {
		s.bar = progressbar.NewOptions(1000, progressbar.OptionSetWriter(u.err), progressbar.OptionSetWidth(14),
			progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false), progressbar.OptionUseANSICodes(true),
			progressbar.OptionSetTheme(progressbar.Theme{Saucer: "#", SaucerPadding: "-", BarStart: "[", BarEnd: "]"}))
	}
	go s.loop()
	return s
}

func (s *screen) loop() {
	defer close(s.done)
	tick := time.NewTicker(life)
	defer tick.Stop()
	for {
		select {
		case f, ok := <-s.in:
			if !ok {
				s.clearBar()
				return
			}
			f()
		case <-tick.C:
			s.tick()
		}
	}
}

// close draws the last lines and ends the screen.
func (s *screen) close() {
	close(s.in)
	<-s.done
}

// event shows what a host said. Its text is copied before the call returns.
func (s *screen) event(host string, e wire.Event) { s.in <- func() { s.show(s.hosts[host], &e) } }

// status keeps what the connection to a host is doing.
func (s *screen) status(host, text string) {
	s.in <- func() {
		if h := s.hosts[host]; h != nil {
			h.status = text
		}
	}
}

// line writes talk between the lines of a run.
func (s *screen) line(mark, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.in <- func() { s.print(s.ui.mark(mark) + " " + text) }
}

func (s *screen) print(line string) {
	if s.ui.quiet && !strings.Contains(line, "[ERR]") && !strings.Contains(line, "[WARN]") {
		return
	}
	s.clearBar()
	fmt.Fprintln(s.ui.err, line)
	s.spoke = time.Now()
	s.drawBar()
}

func (s *screen) show(h *hostView, e *wire.Event) {
	if h == nil {
		return
	}
	h.status = ""
	h.take(e, time.Now())
	switch e.Kind {
	case wire.KindPhase:
		s.print(s.stamped(h, e, fmt.Sprintf("Phase %d/%d: %s", h.index(e.Phase), len(h.phases), h.title(e.Phase))))
	case wire.KindOutput:
		for _, line := range h.lines(e) {
			s.print(s.ui.paint(dim, s.gutter(h)) + line)
		}
	case wire.KindStepEnd:
		s.stepEnd(h, e)
	case wire.KindPhaseEnd:
		s.phaseEnd(h, e)
	case wire.KindWait:
		s.wait(h, e)
	case wire.KindNote:
		s.note(h, e)
	case wire.KindGuardEnd:
		s.guardEnd(h, e)
	case wire.KindEnd:
		s.end(h, e)
	}
}

func (s *screen) gutter(h *hostView) string {
	if s.fleet {
		return h.name + " | "
	}
	return "  | "
}

// who is a host's prefix in a line that is not about an event.
func (s *screen) who(host string) string {
	if s.fleet {
		return host + ": "
	}
	return ""
}

func (s *screen) prefix(h *hostView) string {
	return s.who(h.name)
}

func (s *screen) stamped(h *hostView, e *wire.Event, text string) string {
	at := h.wall.Add(time.Duration(e.T)).Local().Format("2006-01-02 15:04:05")
	return fmt.Sprintf("[%s] %s%s", at, s.prefix(h), s.ui.paint(bold, text))
}

func (s *screen) stepEnd(h *hostView, e *wire.Event) {
	for _, line := range h.rest(e.Step) {
		s.print(s.ui.paint(dim, s.gutter(h)) + line)
	}
	end := e.StepEnd
	if end == nil {
		return
	}
	switch {
	case end.Status == wire.Failed && end.Optional:
		s.print(fmt.Sprintf("%s %s%s: %s", s.ui.mark("[WARN]"), s.prefix(h), e.Step, report.Clean(end.Reason)))
		if end.Hint != "" {
			s.print(" > " + report.Clean(end.Hint))
		}
	case end.Status == wire.Failed:
		s.failed(h, e.Step, end)
	case s.ui.verbose:
		s.print(fmt.Sprintf("%s %s%s %s %s", s.ui.mark("[INFO]"), s.prefix(h), e.Step, end.Status, report.Clean(end.Reason)))
	}
}

func (s *screen) failed(h *hostView, step string, end *wire.StepEnd) {
	s.print(fmt.Sprintf("%s %s%s failed: %s", s.ui.mark("[ERR]"), s.prefix(h), step, report.Clean(end.Reason)))
	if end.Hint != "" {
		s.print(" > " + report.Clean(end.Hint))
	}
}

func (s *screen) phaseEnd(h *hostView, e *wire.Event) {
	end := e.PhaseEnd
	if end == nil {
		return
	}
	n, dur := h.index(e.Phase), wire.FormatDuration(h.took(e.Phase))
	switch end.Status {
	case wire.OK, wire.Changed:
		s.print(s.stamped(h, e, fmt.Sprintf("Phase %d completed in %s", n, dur)) + counts(end))
	case wire.Skipped:
		s.print(s.stamped(h, e, fmt.Sprintf("Phase %d skipped", n)) + ": " + report.Clean(end.Reason))
	case wire.NotReached:
		s.print(s.stamped(h, e, fmt.Sprintf("Phase %d (%s) not reached", n, h.title(e.Phase))))
	default:
		s.print(fmt.Sprintf("%s %sPhase %d (%s) %s after %s: %s", s.ui.mark("[ERR]"), s.prefix(h), n, h.title(e.Phase), end.Status, dur, report.Clean(end.Reason)))
	}
}

func counts(end *wire.PhaseEnd) string {
	var parts []string
	for _, c := range []struct {
		n    int
		word string
	}{{end.Changed, "changed"}, {end.OK, "ok"}, {end.Skipped, "skipped"}, {end.Failed, "failed"}} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.word))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

func (s *screen) wait(h *hostView, e *wire.Event) {
	if w := e.Wait; w != nil && !w.Done {
		by := ""
		if w.Holder != "" {
			by = ", held by " + report.Clean(w.Holder)
		}
		s.print(fmt.Sprintf("%s %s%s waits for %s%s", s.ui.mark("[INFO]"), s.prefix(h), e.Step, report.Clean(w.For), by))
	}
}

func (s *screen) note(h *hostView, e *wire.Event) {
	if e.Note == nil {
		return
	}
	mark := "[INFO]"
	if e.Note.Level == "warn" {
		mark = "[WARN]"
	}
	s.print(fmt.Sprintf("%s %s%s", s.ui.mark(mark), s.prefix(h), report.Clean(e.Note.Text)))
	if e.Note.Hint != "" {
		s.print(" > " + report.Clean(e.Note.Hint))
	}
}

func (s *screen) guardEnd(h *hostView, e *wire.Event) {
	g := e.Guard
	switch {
	case g == nil:
	case g.Outcome != "confirmed":
		s.print(fmt.Sprintf("%s %s%s was %s: %s", s.ui.mark("[WARN]"), s.prefix(h), e.Step, g.Outcome, report.Clean(g.Reason)))
	case s.ui.verbose:
		s.print(fmt.Sprintf("%s %s%s confirmed through a new connection", s.ui.mark("[INFO]"), s.prefix(h), e.Step))
	}
}

func (s *screen) end(h *hostView, e *wire.Event) {
	if e.End == nil || e.End.Stage == "" || e.End.Stage == "phase" || e.End.Stage == "verification" {
		return // its steps and phases have said it
	}
	s.print(fmt.Sprintf("%s %s%s (%s): %s", s.ui.mark("[ERR]"), s.prefix(h), e.End.Status, e.End.Stage, report.Clean(e.End.Reason)))
	if e.End.Hint != "" {
		s.print(" > " + report.Clean(e.End.Hint))
	}
}

// tick shows that the run is alive.
func (s *screen) tick() {
	for _, name := range s.order {
		for _, line := range s.hosts[name].stale(time.Now()) {
			s.print(s.ui.paint(dim, s.gutter(s.hosts[name])) + line)
		}
	}
	if s.bar != nil {
		s.drawBar()
		return
	}
	if time.Since(s.spoke) < heartbeat || s.ui.quiet {
		return
	}
	for _, name := range s.order {
		if now := s.hosts[name].now(time.Now()); now != "" {
			s.print(fmt.Sprintf("%s %s: %s", s.ui.mark("[INFO]"), name, now))
		}
	}
}

func (s *screen) clearBar() {
	if s.bar != nil {
		_ = s.bar.Clear()
	}
}

func (s *screen) drawBar() {
	if s.bar == nil {
		return
	}
	done, left := s.progress(time.Now())
	s.most = max(s.most, done)
	s.bar.Describe(s.describe(left))
	_ = s.bar.Set(int(s.most * 1000))
}

// progress is the done part of the run, 0 to 1, and the time it will still
// take: the slowest host decides.
func (s *screen) progress(now time.Time) (float64, time.Duration) {
	var sum float64
	var left time.Duration
	for _, h := range s.hosts {
		done, l := h.progress(now)
		sum += done
		left = max(left, l)
	}
	return sum / float64(max(len(s.hosts), 1)), left
}

// describe is the text beside the bar, short enough for the terminal.
func (s *screen) describe(left time.Duration) string {
	over, now := 0, ""
	for _, name := range s.order {
		h := s.hosts[name]
		if h.ended {
			over++
		} else if now == "" {
			now = name + " " + h.now(time.Now())
		}
	}
	if !s.fleet {
		now = strings.TrimPrefix(now, s.order[0]+" ")
	}
	text := fmt.Sprintf("%s, ~%s left: %s", wire.FormatDuration(time.Since(s.began).Round(time.Second)), wire.FormatDuration(left.Round(time.Second)), now)
	if s.fleet {
		text = fmt.Sprintf("%d/%d hosts, %s", over, len(s.order), text)
	}
	if room := s.ui.width - 26; len(text) > room && room > 0 {
		text = text[:room]
	}
	return text
}
