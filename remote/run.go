package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// Run has the host carry out plan and gives its events to sink until the last
// one, over as many connections as it takes. It fills in plan.ConnectionKey. A
// nil error says that all of the run has been seen, not that the run went well:
// its End says that. When the error is about the line, the sink, or ctx, the
// run goes on without us.
func (s *Session) Run(ctx context.Context, plan *wire.Plan, sink Sink) error {
	if !runID.MatchString(plan.RunID) {
		return s.fail("start", Local, "", "%q is not a run id", clip(plan.RunID, 80))
	}
	st := newStream(plan.RunID, sink, s.d.lim.total)
	st.expect(plan)
	return s.trip(ctx, st, plan)
}

// Follow gives the events of a run after the cursor to sink, until the last one.
// The error is ErrNoRun when the host knows no such run.
func (s *Session) Follow(ctx context.Context, run string, after wire.Cursor, sink Sink) error {
	if !runID.MatchString(run) {
		return s.fail("follow", Local, "see `vpsctl runs list`", "%q is not a run id", clip(run, 80))
	}
	st := newStream(run, sink, s.d.lim.total)
	st.cursor.Output, st.skip = after.Output, after.Status
	return s.trip(ctx, st, nil)
}

// trip is the one loop: connect, start or follow, read to the end or to where
// the line broke, and again. Plan is nil when the run was begun before.
func (s *Session) trip(ctx context.Context, st *stream, plan *wire.Plan) error {
	guards := s.newGuards(ctx, st.run)
	defer guards.stop()
	st.guard = guards.take
	t := &turn{stream: st, plan: plan}
	lost := time.Duration(0) // how long we have tried to get the line back
	tries := s.d.lim.tries
	for pause := s.d.lim.backoff; ; pause = min(2*pause, s.d.lim.maxWait) {
		begin := time.Now()
		seen := st.cursor
		err := s.once(ctx, t, tries, guards)
		if st.cursor != seen {
			lost, pause, begin = 0, s.d.lim.backoff, time.Now()
		}
		if err == nil || ctx.Err() != nil || !s.worthwhile(t, err) {
			return s.problem(ctx, t.stage(), err)
		}
		if lost += min(time.Since(begin), s.d.lim.connect); lost >= s.d.lim.giveUp {
			return s.abandoned(st.run, err)
		}
		tries = 1
		s.d.status(s.h.Name, Status{State: Redialing, For: lost, Text: err.Error()})
		s.d.verbose(s.h.Name, err.Error()+"; dialling again")
		wait := jitter(pause)
		if retryable(err) == penalised {
			wait = jitter(s.d.lim.penalty)
		}
		if sleep(ctx, wait) != nil {
			return s.ended(ctx, t.stage())
		}
		lost += wait
	}
}

// turn is where a trip stands.
type turn struct {
	*stream
	plan    *wire.Plan
	reached bool // we were connected before
	sent    bool // the plan may have reached the host
	absent  bool // after it was sent, the host said that there is no such run
	dry     int  // times in a row that following ended early though the line was good
}

// stage names what is going on, for errors.
func (t *turn) stage() string {
	switch {
	case t.following():
		return "follow run " + t.run
	default:
		return "start run " + t.run
	}
}

// following says whether the host has to be asked for the run: it has begun, or
// may have. A plan is never sent twice on the chance.
func (t *turn) following() bool {
	return t.plan == nil || t.began || t.sent && !t.absent
}

// worthwhile says whether another turn can help: the line broke, or a host that
// was reached before cannot be reached for the moment. A host that was good for
// a connection but then never answered is not asked again.
func (s *Session) worthwhile(t *turn, err error) bool {
	if t.rests() {
		return patient(err)
	}
	if isLost(err) {
		return t.began || !errors.As(err, new(*stageLimit))
	}
	var e *Error
	return t.reached && errors.As(err, &e) && e.Kind == Unreachable
}

func (s *Session) abandoned(run string, err error) *Error {
	return s.fail("get the line back", Unreachable, "the run goes on there; `vpsctl runs attach "+run+"` fetches the rest", "gave up after %v: %w", s.d.lim.giveUp, err)
}

// once is one connection's part of a trip.
func (s *Session) once(ctx context.Context, t *turn, tries int, guards *guards) error {
	c, err := s.connect(ctx, tries)
	if err != nil {
		return err
	}
	t.reached = true
	stop := context.AfterFunc(ctx, func() { c.abort(context.Cause(ctx)) })
	defer stop()
	s.d.status(s.h.Name, Status{State: Running})
	if t.rests() {
		return s.goOn(ctx, c, t)
	}
	if !t.following() {
		return s.start(ctx, c, t)
	}
	guards.old()
	err = s.follow(ctx, c, t)
	if errors.Is(err, ErrNoRun) && t.plan != nil && !t.began {
		t.absent = true
		return s.start(ctx, c, t)
	}
	return err
}

// start sends the plan and reads.
func (s *Session) start(ctx context.Context, c *conn, t *turn) error {
	if err := s.secretsStayOut(ctx, c, t.plan.Secrets); err != nil {
		return err
	}
	t.plan.ConnectionKey = c.key
	data, err := json.Marshal(t.plan)
	if err != nil {
		return s.fail("start", Local, "", "write the plan: %w", err)
	}
	data = append(data, '\n') // more may follow on the same stdin
	again := t.sent
	t.sent, t.absent = true, false
	early, sum := t.plan.Early(data)
	p, err := s.collector(ctx, c, ask{verb: "start", input: data, early: early, sum: sum})
	if err != nil {
		t.absent = t.absent || !isLost(err)
		return err
	}
	err = s.read(c, p, t)
	var r *refusal
	if !errors.As(err, &r) {
		return err
	}
	mine := r.Stage == "exists" || r.Holder != nil && r.Holder.RunID == t.run
	if r.Stage == "boot" && t.rests() {
		return notYet(r.Text)
	}
	if again && mine { // what we had sent before the line broke has arrived after all
		return s.follow(ctx, c, t)
	}
	return s.refused(r)
}

func (s *Session) refused(r *refusal) *Error {
	e := s.fail("start", Refused, "", "the host refused the run: %s: %s", clip(r.Stage, 20), clip(r.Text, 500))
	e.RC = rcRefused
	if r.Stage == "lock" || r.Holder != nil {
		e.Kind, e.RC, e.Lock = Locked, rcLocked, r.Holder
	}
	if r.Stage == "disk" {
		e.hint = "make room on the host: df -h; journalctl --vacuum-size=100M; apt-get clean"
	}
	if e.Lock != nil {
		e.hint = fmt.Sprintf("wait for it, or see it with `vpsctl runs attach %s`", clip(e.Lock.RunID, 63))
	}
	return e
}

// follow asks for what comes after the cursor and reads.
func (s *Session) follow(ctx context.Context, c *conn, t *turn) error {
	after := t.cursor
	args := []string{t.run, strconv.FormatInt(after.Status, 10), strconv.FormatInt(after.Output, 10)}
	p, err := s.collector(ctx, c, ask{run: t.run, verb: "follow", args: args})
	if err != nil {
		return err
	}
	return s.read(c, p, t)
}

// report is what Session.Report gives, nothing without it.
func (s *Session) report() []byte {
	if s.Report == nil {
		return nil
	}
	return s.Report()
}

// atOnce is how much of a report surely reaches the collector although the
// connection ends behind it, in bytes: sshd hands on what it has read, as far
// as the pipe takes it.
const atOnce = 32 << 10

// read takes events until all are there or the process ends, and judges that
// end. A collector that stops telling although the line is good is asked again,
// a few times. That it has put the report into its place is not waited for: a
// round trip for a copy.
func (s *Session) read(c *conn, p *process, t *turn) error {
	defer p.close()
	before := t.cursor
	var sent <-chan struct{}
	t.last = func() {
		report := s.report()
		if done := p.send(bytes.NewReader(report)); len(report) <= atOnce {
			sent = done
		}
	}
	if t.end != nil { // it came through the line before, and does not come again
		t.last()
	}
	if err := t.read(p.out); err != nil {
		var local *sinkError
		if errors.As(err, &local) {
			return s.fail("keep the events", Local, "", "%w", local.err)
		}
		if !errors.As(err, new(*refusal)) && !errors.Is(err, wire.ErrHostile) {
			return c.broken(err)
		}
		return err
	}
	if t.complete() && p.gave(sent) {
		return nil
	}
	rc, err := p.wait()
	switch {
	case isLost(err):
		return err
	case rc == 0 && t.end != nil:
		return nil
	case rc == rcNoRun:
		return s.outcome("follow", rc, p.errs.String(), nil)
	}
	if t.cursor != before {
		t.dry = 0
	}
	if t.rests() {
		return notYet("the host goes down")
	}
	if t.dry++; t.began && t.dry < 3 {
		return fmt.Errorf("%w: the collector stopped telling (status %d: %s)", errLost, rc, clip(p.errs.String(), 200))
	}
	if rc == 0 {
		return s.fail(t.stage(), Hostile, "", "%w: the events stopped without an end", wire.ErrHostile)
	}
	return s.outcome(t.stage(), rc, p.errs.String(), nil)
}
