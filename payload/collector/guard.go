//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/collector/steps"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// guardWindow is how long a confirmation may take when the plan does not say.
// The timer on the host waits longer: it is for the case that the runner is not
// there to put things back itself.
const (
	guardWindow = 45 * time.Second
	timerExtra  = 30 * time.Second
)

const nobody = "unconfirmed: nobody was attached who could have proved that the host is still within reach"

var errNobody = errors.New(nobody)

// guard is a change that is undone unless it is confirmed. Its file in the
// control folder is renamed by whoever decides, so that only one does:
// TOKEN.pending to TOKEN.confirmed or TOKEN.reverting.
type guard struct {
	Token    string         `json:"token"`
	Step     string         `json:"step"`
	Undo     []wire.Undo    `json:"undo"` // in the order of the acts
	Handlers []wire.Handler `json:"handlers,omitempty"`

	dir    runDir
	window time.Duration
	timer  bool // a unit is armed
}

// retry is a step whose guard nobody confirmed.
type retry struct {
	phase  *wire.Phase
	step   *wire.Step
	reason string
}

func (d runDir) guard(token, state string) string {
	return filepath.Join(d.control(), token+"."+state)
}

// save puts the guard's file where `confirm` and `revert` look for it.
func (g *guard) save() error {
	b, err := json.Marshal(g)
	if err != nil {
		return err
	}
	tmp := g.dir.guard(g.Token, "new")
	if err := writeSynced(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, b); err != nil {
		return err
	}
	if err := os.Rename(tmp, g.dir.guard(g.Token, "pending")); err != nil {
		return err
	}
	return syncFolder(g.dir.control())
}

// decide turns a pending guard into state. False: it was decided already.
func (d runDir) decide(token, state string) (bool, error) {
	err := os.Rename(d.guard(token, "pending"), d.guard(token, state))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// putBack undoes the acts, newest first, and has the handlers run again.
func (g *guard) putBack(ctx context.Context, env *steps.Env) error {
	var errs []error
	for _, u := range slices.Backward(g.Undo) {
		errs = append(errs, steps.Revert(ctx, env, u))
	}
	for _, h := range g.Handlers {
		errs = append(errs, steps.Handle(ctx, env, h))
	}
	return errors.Join(errs...)
}

// attachedNow tells whether somebody follows the run.
func (r *runner) attachedNow() bool {
	r.asking.Lock() // two that ask at once would take each other for a follower
	defer r.asking.Unlock()
	f, err := os.OpenFile(r.dir.attached(), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	alone, err := flock(f, unix.LOCK_EX)
	return err == nil && !alone
}

// guarded does a step that could lock everybody out. The way back is armed
// before the act; the act stays only when it is confirmed. Steps that undo
// nothing (users) are only proved before they are finished.
func (p *phaseRun) guarded(ctx context.Context, s *wire.Step, env *steps.Env) (end *wire.StepEnd, again bool) {
	g := &guard{Token: randomName(), Step: p.ph.ID + "/" + s.Name, Handlers: s.OnChange, dir: p.runner.dir, window: s.Guard.Window}
	if g.window <= 0 {
		g.window = guardWindow
	}
	defer p.disarm(g)
	armed := *env
	if s.User == nil {
		armed.Undo = func(u wire.Undo, content []byte) error { return p.arm(g, u, content) }
	}
	res := steps.Do(ctx, &armed, s)
	switch {
	case res.Status == wire.Failed && strings.Contains(res.Reason, nobody),
		res.Finish != nil && !p.attachedNow():
		return p.leaveUnconfirmed(s, nobody), false
	case res.Status == wire.Failed || res.Status == wire.Cancelled:
		if len(g.Undo) > 0 {
			p.revert(env, g, "", &res)
		}
		return stepEnd(res), res.Status == wire.Failed && res.Retryable
	case res.Finish == nil && len(g.Undo) == 0:
		return stepEnd(res), false
	}
	for _, h := range s.OnChange {
		if res.Status != wire.Changed {
			break
		}
		if err := p.handleOne(ctx, s.Name, h); err != nil {
			res.Status, res.Reason, res.Hint = wire.Failed, "on_change: "+err.Error(), hintOf(err)
			p.revert(env, g, "", &res)
			return stepEnd(res), false
		}
	}
	return p.proved(ctx, s, env, g, res), false
}

// proved waits for the confirmation and acts on it.
func (p *phaseRun) proved(ctx context.Context, s *wire.Step, env *steps.Env, g *guard, res steps.Result) *wire.StepEnd {
	switch outcome := p.prove(ctx, s, g); outcome {
	case "confirmed":
		p.guardEnd(g, outcome, "")
		if res.Finish != nil {
			p.finishStep(ctx, &res)
		}
		return stepEnd(res)
	case "reverted": // by the timer, or because the run was ended
		res.Status, res.Reason = wire.Skipped, "unconfirmed: it was put back"
		if p.ctx.Err() != nil {
			res.Status, res.Reason = wire.Cancelled, "the run was ended before the change was confirmed"
		}
		p.revert(env, g, outcome, &res)
		return stepEnd(res)
	default:
		reason := "unconfirmed: no new connection confirmed it within " + wire.FormatDuration(g.window)
		if !p.attachedNow() {
			reason = nobody
		}
		res.Status, res.Reason = wire.Skipped, reason
		p.revert(env, g, outcome, &res)
		if res.Status != wire.Skipped {
			return stepEnd(res)
		}
		return p.leaveUnconfirmed(s, reason)
	}
}

// arm keeps the way back twice before an act: for a rollback, and for the timer
// that goes off when nobody confirms.
func (p *phaseRun) arm(g *guard, u wire.Undo, content []byte) error {
	if !p.attachedNow() {
		return errNobody
	}
	if err := p.keepUndo(g.Step, &u, content); err != nil {
		return err
	}
	g.Undo = append(g.Undo, u)
	if err := g.save(); err != nil {
		return full(err)
	}
	if g.timer || !p.place.root || !p.facts.Systemd {
		return nil
	}
	g.timer = true
	return armTimer(p.plan.RunID, g.Token, g.window+timerExtra)
}

// prove asks for a confirmation and waits for it.
func (p *phaseRun) prove(ctx context.Context, s *wire.Step, g *guard) (outcome string) {
	if err := g.save(); err != nil {
		return "unconfirmed"
	}
	answer := make(chan struct{})
	p.runner.mu.Lock()
	p.confirms[g.Token] = answer
	p.runner.mu.Unlock()
	p.event(&wire.Event{Kind: wire.KindGuard, Phase: p.ph.ID, Step: g.Step,
		Guard: &wire.Guarding{Token: g.Token, Login: s.Guard.Login, Window: g.window, Attached: p.attachedNow()}})
	window := time.NewTimer(g.window)
	defer window.Stop()
	outcome = "unconfirmed"
	select {
	case <-answer:
	case <-window.C:
	case <-ctx.Done():
		outcome = "reverted"
	}
	if first, err := g.dir.decide(g.Token, "reverting"); err == nil && !first {
		outcome = "reverted"
		if fileExists(g.dir.guard(g.Token, "confirmed")) {
			outcome = "confirmed"
		}
	}
	return outcome
}

// revert puts the host back as it was before a guarded step. When that fails,
// so has the step.
func (p *phaseRun) revert(env *steps.Env, g *guard, outcome string, res *steps.Result) {
	_, err := g.dir.decide(g.Token, "reverting")
	ctx, cancel := context.WithTimeout(context.Background(), handlerTime)
	defer cancel()
	if err = errors.Join(err, g.putBack(ctx, env)); err != nil {
		res.Status = wire.Failed
		res.Reason += "; putting it back failed: " + err.Error()
	}
	if outcome != "" {
		p.guardEnd(g, outcome, res.Reason)
	}
}

func (p *phaseRun) guardEnd(g *guard, outcome, reason string) {
	p.event(&wire.Event{Kind: wire.KindGuardEnd, Phase: p.ph.ID, Step: g.Step,
		Guard: &wire.Guarding{Token: g.Token, Outcome: outcome, Reason: strings.TrimPrefix(reason, "unconfirmed: "), Attached: p.attachedNow()}})
}

// disarm takes the timer away once the guard is decided.
func (p *phaseRun) disarm(g *guard) {
	p.runner.mu.Lock()
	delete(p.confirms, g.Token)
	p.runner.mu.Unlock()
	if !g.timer {
		return
	}
	if err := disarmTimer(g.Token); err != nil {
		p.note(p.ph.ID, g.Step, "warn", "remove the guard's timer: "+err.Error())
	}
}

func (p *phaseRun) leaveUnconfirmed(s *wire.Step, reason string) *wire.StepEnd {
	p.runner.mu.Lock()
	p.unconfirmed = append(p.unconfirmed, retry{p.ph, s, reason})
	p.runner.mu.Unlock()
	return &wire.StepEnd{Status: wire.Skipped, Reason: reason, Hint: "stay attached, or attach again before the run ends"}
}

// again tries once more what nobody confirmed, when somebody is there by now.
func (r *runner) again() {
	r.mu.Lock()
	list := r.unconfirmed
	r.unconfirmed = nil
	r.mu.Unlock()
	for i, t := range list {
		if r.ctx.Err() != nil || r.j.broken() != nil || !r.attachedNow() {
			r.mu.Lock()
			r.unconfirmed = append(r.unconfirmed, list[i:]...)
			r.mu.Unlock()
			return
		}
		p := &phaseRun{runner: r, ph: t.phase, end: wire.PhaseEnd{Status: wire.OK}, usage: &usage{births: r.births, now: r.now, leaders: map[int]bool{}}}
		if err := p.unpack(); err != nil { // the phase's files went when it ended
			p.note(t.phase.ID, "", "warn", "unpack the phase's files once more: "+err.Error())
			continue
		}
		p.count(t.step, p.step(r.ctx, t.step))
		p.pack()
		if p.end.Status == wire.Changed || p.end.Status == wire.Failed {
			r.setStatus(t.phase.ID, p.end.Status)
		}
	}
}

func loadGuard(d runDir, token string) (*guard, error) {
	b, err := os.ReadFile(d.guard(token, "reverting"))
	if err != nil {
		return nil, err
	}
	g := &guard{dir: d}
	return g, json.Unmarshal(b, g)
}
