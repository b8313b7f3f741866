package remote

import (
	"context"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// guards answer what a host asks before a change that could lock us out is
// kept: that a new connection still gets through. Each pending one is a
// goroutine; stop ends and awaits them.
type guards struct {
	s      *Session
	ctx    context.Context
	cancel context.CancelFunc
	run    string
	wg     sync.WaitGroup
	replay bool // events may be of the past

	pending map[string]context.CancelFunc // by token
}

func (s *Session) newGuards(ctx context.Context, run string) *guards {
	ctx, cancel := context.WithCancel(ctx)
	return &guards{s: s, ctx: ctx, cancel: cancel, run: run, pending: map[string]context.CancelFunc{}}
}

func (g *guards) stop() {
	g.cancel()
	g.wg.Wait()
}

// old says that the events to come may have happened long ago.
func (g *guards) old() { g.replay = true }

// What a host may put into our command and our login.
var (
	tokenText = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
	loginText = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
)

// take looks at an event with a guard in it. It does not block.
func (g *guards) take(e *wire.Event) {
	token := e.Guard.Token
	switch {
	case e.Kind == wire.KindGuardEnd && token == "":
		for _, cancel := range g.pending {
			cancel()
		}
	case e.Kind == wire.KindGuardEnd:
		if cancel := g.pending[token]; cancel != nil {
			cancel()
		}
	case e.Kind == wire.KindGuard && tokenText.MatchString(token) && g.pending[token] == nil && len(g.pending) < 1000:
		window := e.Guard.Window
		if window <= 0 || window > 10*time.Minute {
			window = 45 * time.Second
		}
		ctx, cancel := context.WithTimeout(g.ctx, window)
		g.pending[token] = cancel
		replay := g.replay
		g.wg.Go(func() {
			defer cancel()
			g.confirm(ctx, token, e.Guard.Login, replay)
		})
	}
}

// confirm proves that new connections get through, and says so to the host. It
// tries until the host's timer must have run out; then the host reverts, and
// its event says so.
func (g *guards) confirm(ctx context.Context, token, login string, replay bool) {
	s := g.s
	if replay && sleep(ctx, s.d.lim.grace) != nil {
		return // it was over long ago
	}
	for {
		err := g.prove(ctx, token, login)
		if err == nil || ctx.Err() != nil {
			return
		}
		s.d.verbose(s.h.Name, fmt.Sprintf("confirm the change: %v", err))
		if retryable(err) == never && !isLost(err) {
			return
		}
		if sleep(ctx, jitter(s.d.lim.backoff)) != nil {
			return
		}
	}
}

func (g *guards) prove(ctx context.Context, token, login string) error {
	d := g.s.d.muted()
	if login != "" {
		if !loginText.MatchString(login) {
			return fmt.Errorf("%q is not a user", clip(login, 40))
		}
		h := g.s.h
		h.User = login
		c, err := d.dial(ctx, h, 1)
		if err != nil {
			return err
		}
		c.close(errClosed)
	}
	fresh := d.Session(g.s.h)
	defer fresh.Close()
	_, err := fresh.ask(ctx, g.run, "confirm", []string{g.run, token}, nil)
	return err
}
