package remote

import (
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// Sink is given a run's events in order: the line as the host sent it, without
// its newline and valid during the call, and what it says. An error of it ends
// the call that reads, not the run.
type Sink func(raw []byte, e *wire.Event) error

// stream takes a run's events over as many connections as it needs. It
// believes nothing: numbers must grow, phases and steps must be of the plan.
type stream struct {
	run    string
	sink   Sink
	cursor wire.Cursor
	skip   int64           // status events up to this one the caller has; they are read for the plan in Start
	phases map[string]bool // nil until Start has told
	steps  map[string]bool // as phase/name
	plan   bool            // steps are from our own plan
	left   int64           // bytes that may still come
	began  bool            // an event has come
	end    *wire.End
	reboot *wire.Reboot // the host reboots, and has not gone on yet
	guard  func(e *wire.Event)
	last   func() // called once the end has been given to the sink
	taken  int64  // events, over all connections
}

func newStream(run string, sink Sink, total int64) *stream {
	return &stream{run: run, sink: sink, left: total}
}

// expect makes the plan that is sent the measure of what may come back.
func (st *stream) expect(plan *wire.Plan) {
	st.phases, st.steps, st.plan = map[string]bool{}, map[string]bool{}, true
	for _, ph := range plan.Phases {
		st.phases[ph.ID] = true
		for _, step := range ph.Steps {
			st.steps[ph.ID+"/"+step.Name] = true
		}
	}
}

// sinkError is an error of the caller's sink.
type sinkError struct{ err error }

func (e *sinkError) Error() string { return e.err.Error() }
func (e *sinkError) Unwrap() error { return e.err }

// read takes events from r until it ends. The error is io.EOF's absence: nil at
// the end of the stream, be it clean or in the middle of a line.
func (st *stream) read(r io.Reader) error {
	wr := wire.NewReader(r)
	for {
		raw, e, err := wr.Next()
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return nil
		case err != nil:
			return err
		}
		if err := st.take(raw, &e); err != nil {
			return err
		}
		if st.taken++; st.complete() {
			return nil
		}
	}
}

// complete tells that nothing more can come: all events from the first to the end
// have been taken, and output that the end has overtaken.
func (st *stream) complete() bool { return st.end != nil && st.taken == st.cursor.Status }

func (st *stream) take(raw []byte, e *wire.Event) error {
	if st.left -= int64(len(raw)) + 1; st.left < 0 {
		return fmt.Errorf("%w: too much output from one host", wire.ErrHostile)
	}
	if e.Kind == wire.KindRefused {
		return st.refused(e)
	}
	if err := st.judge(e); err != nil {
		return err
	}
	st.began = true
	known := !e.IsOutput() && e.N <= st.skip
	if !known {
		if err := st.sink(raw, e); err != nil {
			return &sinkError{err}
		}
	}
	st.rested(e)
	switch {
	case e.Kind == wire.KindEnd:
		st.end = e.End
		if st.last != nil {
			st.last()
		}
	case !known && st.guard != nil && e.Guard != nil:
		st.guard(e)
	}
	return nil
}

// judge holds the event against what this run can say.
func (st *stream) judge(e *wire.Event) error {
	if err := st.cursor.Take(e); err != nil {
		return err
	}
	switch {
	case st.end != nil && !e.IsOutput():
		return fmt.Errorf("%w: event %d (%s) after the end", wire.ErrHostile, e.N, clip(string(e.Kind), 20))
	case e.Kind == wire.KindStart:
		return st.start(e)
	case !st.began:
		return fmt.Errorf("%w: the first event is not start", wire.ErrHostile)
	case e.Phase != "" && !st.phases[e.Phase],
		e.Step != "" && (!st.steps[e.Step] || !strings.HasPrefix(e.Step, e.Phase+"/")):
		return fmt.Errorf("%w: event %d is about phase %q, step %q, which the plan has not got", wire.ErrHostile, e.N, clip(e.Phase, 60), clip(e.Step, 60))
	case e.Kind == wire.KindEnd && e.End == nil:
		return fmt.Errorf("%w: event %d: an end that says nothing", wire.ErrHostile, e.N)
	}
	return nil
}

// idText is what names of phases look like; names of steps are free text.
var idText = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// start is the first event. What it says of the plan must be of our plan, or is
// the plan, when the run was begun by somebody else.
func (st *stream) start(e *wire.Event) error {
	s := e.Start
	switch {
	case s == nil || e.N != 1 || e.Phase != "" || e.Step != "":
		return fmt.Errorf("%w: a start that says nothing, or is not the first event", wire.ErrHostile)
	case s.RunID != st.run:
		return fmt.Errorf("%w: the events are of run %q", wire.ErrHostile, clip(s.RunID, 70))
	}
	phases, steps := map[string]bool{}, map[string]bool{}
	for _, ph := range s.Phases {
		if !idText.MatchString(ph.ID) {
			return fmt.Errorf("%w: %q is not a phase", wire.ErrHostile, clip(ph.ID, 60))
		}
		phases[ph.ID] = true
		for _, name := range ph.Steps {
			steps[ph.ID+"/"+name] = true
		}
	}
	if !st.plan {
		st.phases, st.steps = phases, steps
		return nil
	}
	for id := range steps {
		if !st.steps[id] {
			return fmt.Errorf("%w: start names step %q, which the plan has not got", wire.ErrHostile, clip(id, 120))
		}
	}
	for id := range phases {
		if !st.phases[id] {
			return fmt.Errorf("%w: start names phase %q, which the plan has not got", wire.ErrHostile, clip(id, 60))
		}
	}
	return nil
}

// refusal is a run that was not begun.
type refusal struct{ *wire.Refused }

func (r *refusal) Error() string { return r.Stage + ": " + r.Text }

func (st *stream) refused(e *wire.Event) error {
	if e.Refused == nil || e.N != 0 || st.began && st.reboot == nil {
		return fmt.Errorf("%w: a refusal that says nothing, or comes too late", wire.ErrHostile)
	}
	return &refusal{e.Refused}
}
