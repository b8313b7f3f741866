package report

import (
	"math"
	"slices"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// Bounds of a record, so that no journal, however hostile, makes it large.
const (
	maxPhases = 1000
	maxSteps  = 10000 // of all phases together
	maxList   = 1000  // of notes, waits, guards, alerts, undo entries each
	maxT      = 10 * 365 * 24 * time.Hour
	maxTarget = 30 * 24 * time.Hour
)

// Apply folds one event into the record. It never fails: what makes no sense is
// counted as Strange. Events of the output class may come earlier or later than
// their status events without changing the result.
func (r *HostRecord) Apply(e *wire.Event) { r.apply(e) }

// apply returns the phases (as indices) that this event ended.
func (r *HostRecord) apply(e *wire.Event) (ended []int) {
	r.Events++
	at := clampT(e.T)
	r.LastAt = max(r.LastAt, at)
	if e.IsOutput() {
		if e.Output != nil {
			r.Output += int64(len(e.Output.Text) + len(e.Output.Bytes))
			r.installed(e)
		}
		return nil // nothing more: output and status may overtake each other
	}
	r.Overdue(at)
	switch e.Kind {
	case wire.KindRefused:
		r.refused(e)
	case wire.KindStart:
		r.start(e)
	case wire.KindPhase, wire.KindPhaseEnd:
		ended = r.phase(e, at)
	case wire.KindStep, wire.KindStepEnd:
		r.step(e, at)
	case wire.KindSample:
		r.sample(e, at)
	case wire.KindEnd:
		ended = r.end(e, at)
	default:
		r.remark(e, at)
	}
	return ended
}

// remark folds the events that only add a line to a list.
func (r *HostRecord) remark(e *wire.Event, at time.Duration) {
	switch {
	case e.Kind == wire.KindWait && e.Wait != nil:
		r.wait(e, at)
	case e.Kind == wire.KindUndo && e.Undo != nil:
		r.undo(e)
	case (e.Kind == wire.KindGuard || e.Kind == wire.KindGuardEnd) && e.Guard != nil:
		r.guard(e, at)
	case e.Kind == wire.KindNote && e.Note != nil:
		add(r, &r.Notes, newNote(e, at))
	case e.Kind == wire.KindFetched && e.Fetched != nil:
		r.fetched(e, at)
	case e.Kind == wire.KindCancelled:
		n := newNote(e, at)
		r.Cancel = &n
	default:
		r.Strange++
	}
}

func (r *HostRecord) refused(e *wire.Event) {
	if e.Refused == nil || r.Refused != nil {
		r.Strange++
		return
	}
	c := *e.Refused
	c.Stage, c.Text = cleanLine(c.Stage), cleanLine(c.Text)
	if c.Holder != nil {
		h := *c.Holder
		h.RunID, h.Verb = cleanLine(h.RunID), cleanLine(h.Verb)
		c.Holder = &h
	}
	r.Refused = &c
}

func (r *HostRecord) start(e *wire.Event) {
	if e.Start == nil || r.Start != nil {
		r.Strange++
		return
	}
	s := *e.Start
	s.Facts = cleanFacts(s.Facts)
	s.Verb, s.BootID, s.Collector, s.Plan = cleanLine(s.Verb), cleanLine(s.BootID), cleanLine(s.Collector), cleanLine(s.Plan)
	r.Start = &s
	r.phases, r.steps = map[string]int{}, map[string][2]int{}
	for _, head := range s.Phases {
		if _, twice := r.phases[head.ID]; twice || len(r.Phases) == maxPhases {
			r.Strange++
			continue
		}
		r.phases[head.ID] = len(r.Phases)
		r.Phases = append(r.Phases, r.newPhase(head))
	}
	s.Phases = nil // they are in r.Phases, cleaned
}

func (r *HostRecord) newPhase(head wire.PhaseHead) PhaseRecord {
	t := head.Target
	t.Standard, t.Small, t.Rerun = clampTarget(t.Standard), clampTarget(t.Small), clampTarget(t.Rerun)
	p := PhaseRecord{ID: cleanLine(head.ID), Title: cleanLine(head.Title), Targets: t, Target: t.For(r.Start.Facts)}
	for _, name := range head.Steps {
		id := head.ID + "/" + name
		if _, twice := r.steps[id]; twice || len(r.steps) == maxSteps {
			r.Strange++
			continue
		}
		r.steps[id] = [2]int{len(r.Phases), len(p.Steps)}
		p.Steps = append(p.Steps, StepRecord{ID: cleanLine(id), Name: cleanLine(name)})
	}
	return p
}

func (r *HostRecord) phase(e *wire.Event, at time.Duration) []int {
	i, known := r.phases[e.Phase]
	if !known || r.Phases[i].Ended {
		r.Strange++
		return nil
	}
	p := &r.Phases[i]
	if e.Kind == wire.KindPhase {
		if p.Begun {
			r.Strange++
			return nil
		}
		p.Begun, p.Begin = true, at
		return nil
	}
	if e.PhaseEnd == nil {
		r.Strange++
		return nil
	}
	end := e.PhaseEnd
	cost := cleanFigures(end.Cost)
	p.Cost, p.Reason = &cost, cleanLine(end.Reason)
	p.OK, p.Changed, p.Failed, p.Skipped = max(0, end.OK), max(0, end.Changed), max(0, end.Failed), max(0, end.Skipped)
	p.close(end.Status, at)
	r.overdueBy(p)
	p.settle(wire.Failed, at)
	return []int{i}
}

func (p *PhaseRecord) close(s wire.Status, at time.Duration) {
	if !p.Begun {
		p.Begin = at
		p.Begun = s != wire.Skipped && s != wire.NotReached
	}
	p.Ended, p.Status, p.End = true, knownStatus(s), max(p.Begin, at)
}

func (r *HostRecord) step(e *wire.Event, at time.Duration) {
	s := r.stepOf(e)
	if s == nil || s.Ended || e.Kind == wire.KindStepEnd && e.StepEnd == nil || e.Kind == wire.KindStep && s.Begun {
		r.Strange++
		return
	}
	if e.Kind == wire.KindStep {
		s.Begun, s.Begin = true, at
		return
	}
	end := e.StepEnd
	s.close(end.Status, at)
	s.Reason, s.Hint, s.Stderr = cleanLine(end.Reason), cleanLine(end.Hint), Clean(end.Stderr)
	s.RC, s.Optional, s.Critical, s.TimedOut = end.RC, end.Optional, end.Critical, end.TimedOut
	s.Attempts = max(1, end.Attempts)
	s.Found = cleanFound(end.Found)
	if s.Created = cleanLine(end.Created); s.Created != "" {
		r.Created = append(r.Created, s.Created)
	}
	p := &r.Phases[r.steps[e.Step][0]]
	if p.Ended {
		return // the phase's own figures stand
	}
	switch s.Status {
	case wire.OK:
		p.OK++
	case wire.Changed:
		p.Changed++
	case wire.Failed:
		p.Failed++
	case wire.Skipped:
		p.Skipped++
	}
}

func (s *StepRecord) close(status wire.Status, at time.Duration) {
	if !s.Begun {
		s.Begin = at
		s.Begun = status != wire.Skipped && status != wire.NotReached
	}
	s.Ended, s.Status, s.End = true, knownStatus(status), max(s.Begin, at)
}

// end closes what was still going on: it failed, or was cancelled, with the run.
func (r *HostRecord) end(e *wire.Event, at time.Duration) (ended []int) {
	if e.End == nil || r.End != nil {
		r.Strange++
		return nil
	}
	end := *e.End
	end.Status, end.Stage = knownStatus(end.Status), cleanLine(end.Stage)
	end.Reason, end.Hint = cleanLine(end.Reason), cleanLine(end.Hint)
	r.End, r.EndAt = &end, at
	cut := wire.Failed
	if end.Status == wire.Cancelled {
		cut = wire.Cancelled
	}
	for i := range r.Phases {
		p := &r.Phases[i]
		if !p.Ended {
			p.settle(cut, at)
		}
		switch {
		case p.Ended:
		case p.Begun:
			p.Reason = end.Reason
			p.close(cut, at)
			r.overdueBy(p)
			ended = append(ended, i)
		default:
			p.Status = wire.NotReached
		}
	}
	return ended
}

// settle gives the phase's open steps their last word.
func (p *PhaseRecord) settle(cut wire.Status, at time.Duration) {
	for i := range p.Steps {
		s := &p.Steps[i]
		switch {
		case s.Ended:
		case s.Begun:
			s.close(cut, at)
			if cut == wire.Failed && !p.Ended { // an ended phase has its own figures
				p.Failed++
			}
		case p.Ended && p.Status == wire.Skipped:
			s.Status = wire.Skipped
		default:
			s.Status = wire.NotReached
		}
	}
}

func (r *HostRecord) wait(e *wire.Event, at time.Duration) {
	w := Wait{Step: r.place(e), For: cleanLine(e.Wait.For), Holder: cleanLine(e.Wait.Holder), Begin: at, End: at, Done: e.Wait.Done}
	for i := len(r.Waits) - 1; i >= 0; i-- {
		if open := &r.Waits[i]; !open.Done && open.Step == w.Step && open.For == w.For {
			open.End, open.Done = max(open.Begin, at), w.Done
			if w.Holder != "" {
				open.Holder = w.Holder
			}
			return
		}
	}
	if !w.Done {
		add(r, &r.Waits, w)
	}
}

func (r *HostRecord) undo(e *wire.Event) {
	if s := r.stepOf(e); s != nil {
		s.Undo++
	}
	u := e.Undo
	add(r, &r.Undo, Undo{Step: r.place(e), Kind: cleanLine(u.Kind), What: cleanLine(u.What), Hash: cleanLine(u.Hash)})
}

func (r *HostRecord) guard(e *wire.Event, at time.Duration) {
	g := Guard{Step: r.place(e), Login: cleanLine(e.Guard.Login), Window: clampTarget(e.Guard.Window),
		Outcome: cleanLine(e.Guard.Outcome), Reason: cleanLine(e.Guard.Reason), Begin: at, End: at}
	if e.Kind == wire.KindGuard {
		add(r, &r.Guards, g)
		return
	}
	for i := range slices.Backward(r.Guards) {
		if open := &r.Guards[i]; open.Step == g.Step && open.Outcome == "" {
			open.Outcome, open.Reason, open.End = g.Outcome, g.Reason, max(open.Begin, at)
			return
		}
	}
	add(r, &r.Guards, g)
}

func newNote(e *wire.Event, at time.Duration) Note {
	n := Note{At: at, Step: cleanLine(e.Step), Level: "info"}
	if e.Note != nil {
		n.Text, n.Hint = cleanLine(e.Note.Text), cleanLine(e.Note.Hint)
		if e.Note.Level == "warn" {
			n.Level = "warn"
		}
	}
	return n
}

// stepOf is the step an event is about; nil when the plan has none of that id.
func (r *HostRecord) stepOf(e *wire.Event) *StepRecord {
	at, ok := r.steps[e.Step]
	if !ok {
		return nil
	}
	return &r.Phases[at[0]].Steps[at[1]]
}

// place names what an event is about: its step, else its phase.
func (r *HostRecord) place(e *wire.Event) string {
	if e.Step != "" {
		return cleanLine(e.Step)
	}
	return cleanLine(e.Phase)
}

// add appends within the bound of lists.
func add[T any](r *HostRecord, list *[]T, v T) {
	if len(*list) >= maxList {
		r.Dropped++
		return
	}
	*list = append(*list, v)
}

// knownStatus reads a status a host sent; one that nobody knows is a failure.
func knownStatus(s wire.Status) wire.Status {
	switch s {
	case wire.OK, wire.Changed, wire.Failed, wire.Skipped, wire.Cancelled, wire.NotReached:
		return s
	}
	return wire.Failed
}

func clampT(t int64) time.Duration { return max(0, min(time.Duration(t), maxT)) }

func clampTarget(d time.Duration) time.Duration { return max(0, min(d, maxTarget)) }

// clampNumber keeps sums finite, whatever a host claims.
func clampNumber(f float64) float64 {
	if math.IsNaN(f) {
		return 0
	}
	return max(0, min(f, 1e12))
}

func cleanFigures(c wire.Figures) wire.Figures {
	for _, f := range []*float64{&c.CPUSec, &c.PeakMemoryMB, &c.AvgMemoryMB, &c.DiskReadMB, &c.DiskWriteMB, &c.NetRxMB, &c.NetTxMB, &c.WaitSec} {
		*f = clampNumber(*f)
	}
	c.CPUMethod, c.MemoryMethod, c.DiskMethod = cleanLine(c.CPUMethod), cleanLine(c.MemoryMethod), cleanLine(c.DiskMethod)
	return c
}

func cleanFacts(f wire.Facts) wire.Facts {
	for _, s := range []*string{&f.Hostname, &f.OS, &f.OSName, &f.Kernel, &f.Arch, &f.CPUModel, &f.Virt, &f.Cgroup, &f.User} {
		*s = cleanLine(*s)
	}
	for _, n := range []*int{&f.Cores, &f.MemoryMB, &f.SwapMB, &f.DiskMB, &f.DiskAvailMB} {
		*n = max(0, *n)
	}
	return f
}
