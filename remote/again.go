package remote

import (
	"context"
	"errors"
	"time"
)

// copying does a copy over as many connections as it takes: f begins anew on
// each, and finds what has arrived. Moved counts what has; while it grows, the
// line is worth the trouble.
func (s *Session) copying(ctx context.Context, stage string, moved func() int64, f func(c *conn) error) error {
	lost, tries, reached := time.Duration(0), s.d.lim.tries, false
	for pause := s.d.lim.backoff; ; pause = min(2*pause, s.d.lim.maxWait) {
		begin, before := time.Now(), moved()
		c, err := s.connect(ctx, tries)
		if err == nil {
			reached = true
			err = s.while(ctx, c, f)
		}
		if moved() != before {
			lost, pause, begin = 0, s.d.lim.backoff, time.Now()
		}
		if err == nil || ctx.Err() != nil || !comesBack(reached, moved() != before, err) {
			return s.problem(ctx, stage, err)
		}
		if lost += min(time.Since(begin), s.d.lim.connect); lost >= s.d.lim.giveUp {
			return s.fail(stage, Unreachable, "try again: what has arrived is kept, and continued", "gave up after %v: %w", s.d.lim.giveUp, err)
		}
		tries = 1
		wait := jitter(pause)
		if retryable(err) == penalised {
			wait = jitter(s.d.lim.penalty)
		}
		s.d.status(s.h.Name, Status{State: Redialing, For: lost, Text: err.Error()})
		s.d.verbose(s.h.Name, err.Error()+"; dialling again")
		if sleep(ctx, wait) != nil {
			return s.ended(ctx, stage)
		}
		lost += wait
	}
}

// while does f as long as ctx lives. What an SFTP server's end leaves is the
// line's end, too.
func (s *Session) while(ctx context.Context, c *conn, f func(c *conn) error) error {
	stop := context.AfterFunc(ctx, func() { c.abort(context.Cause(ctx)) })
	defer stop()
	err := f(c)
	if err == nil || errors.As(err, new(*Error)) || isLost(err) || c.alive() && !closedByPeer(err) {
		return err
	}
	return c.broken(err)
}

// comesBack says whether another connection can help: this one broke, or the
// host, reached before, cannot be reached for the moment. One that was good and
// yet brought neither an answer nor a byte is not asked again.
func comesBack(reached, moved bool, err error) bool {
	if isLost(err) {
		return moved || !errors.As(err, new(*stageLimit))
	}
	var e *Error
	return reached && errors.As(err, &e) && e.Kind == Unreachable
}
