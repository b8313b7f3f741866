package remote

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// Watch has the host print a sample every interval, count of them or, with 0,
// until ctx ends, and gives them to sink behind a Start that says what the host
// is. Nothing of it stays on the host. A line that is lost is dialled again:
// the next events then begin with another Start.
func (s *Session) Watch(ctx context.Context, every time.Duration, count int, sink Sink) error {
	tries, pause, lost, reached := s.d.lim.tries, s.d.lim.backoff, time.Duration(0), false
	for {
		begin, seen, left := time.Now(), 0, count
		err := s.watch(ctx, tries, every, left, func(raw []byte, e *wire.Event) error {
			if seen++; e.Sample != nil && count > 0 {
				count--
			}
			return sink(raw, e)
		})
		if left > 0 && count == 0 { // the line may have gone with the last one
			return nil
		}
		if seen > 0 {
			pause, lost, begin, reached = s.d.lim.backoff, 0, time.Now(), true
		}
		var e *Error
		again := isLost(err) || errors.As(err, &e) && e.Kind == Unreachable
		if err == nil || ctx.Err() != nil || !reached || !again {
			return s.problem(ctx, "sample", err)
		}
		if lost += time.Since(begin); lost >= s.d.lim.giveUp {
			return s.problem(ctx, "sample", err)
		}
		tries = 1
		s.d.status(s.h.Name, Status{State: Redialing, For: lost, Text: err.Error()})
		wait := jitter(pause)
		if sleep(ctx, wait) != nil {
			return s.ended(ctx, "sample")
		}
		lost, pause = lost+wait, min(2*pause, s.d.lim.maxWait)
	}
}

func (s *Session) watch(ctx context.Context, tries int, every time.Duration, count int, sink Sink) error {
	st := newStream("", sink, s.d.lim.total)
	p, c, done, err := s.listen(ctx, tries, "", "sample", strconv.FormatInt(int64(every), 10), strconv.Itoa(count))
	if err != nil {
		return err
	}
	defer done()
	return s.hear(p, c, st, "sample")
}

// Fetch gives the events of a run after the cursor that are there now to sink,
// and does not wait for more. The run has no phases. The error is ErrNoRun when
// the host knows no such run.
func (s *Session) Fetch(ctx context.Context, run string, after wire.Cursor, sink Sink) error {
	if !runID.MatchString(run) {
		return s.fail("fetch", Local, "see `vpsctl runs list`", "%q is not a run id", clip(run, 80))
	}
	st := newStream(run, sink, s.d.lim.total)
	st.cursor, st.began = after, after.Status > 0 // its start was seen before
	p, c, done, err := s.listen(ctx, s.d.lim.tries, run, "follow", run, strconv.FormatInt(after.Status, 10), strconv.FormatInt(after.Output, 10), "--once")
	if err == nil {
		defer done()
		err = s.hear(p, c, st, "fetch run "+run)
	}
	return s.problem(ctx, "fetch run "+run, err)
}

// listen begins a verb whose output is events.
func (s *Session) listen(ctx context.Context, tries int, run, verb string, args ...string) (*process, *conn, func(), error) {
	c, err := s.connect(ctx, tries)
	if err != nil {
		return nil, nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { c.abort(context.Cause(ctx)) })
	p, err := s.collector(ctx, c, ask{run: run, verb: verb, args: args})
	if err != nil {
		stop()
		return nil, nil, nil, err
	}
	s.d.status(s.h.Name, Status{State: Running})
	return p, c, func() { stop(); p.close() }, nil
}

// hear reads events until the process ends.
func (s *Session) hear(p *process, c *conn, st *stream, stage string) error {
	if err := st.read(p.out); err != nil {
		var local *sinkError
		switch {
		case errors.As(err, &local):
			return local.err
		case errors.As(err, new(*refusal)):
			return fmt.Errorf("%w: a refusal of what was not asked for", wire.ErrHostile)
		case errors.Is(err, wire.ErrHostile):
			return err
		}
		return c.broken(err)
	}
	rc, err := p.wait()
	if err != nil {
		return err
	}
	return s.outcome(stage, rc, p.errs.String(), nil)
}
