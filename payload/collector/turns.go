//go:build linux

package main

import (
	"context"
	"slices"
	"sync"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// turns has the phases of a run change packages one after the other: of those
// that wait, the one that stands first in the plan is next.
type turns struct {
	mu      sync.Mutex
	holder  string // a phase; "" = nobody
	waiting []*turn
	changed chan struct{} // somebody waits, or is through: what may begin may have changed
}

type turn struct {
	phase string
	rank  int
	mine  chan struct{} // closed when it has come
}

func newTurns() *turns { return &turns{changed: make(chan struct{}, 1)} }

// take waits for the turn; ahead is the phase that has it, told once when there
// is one. Whoever gets release calls it once.
func (t *turns) take(ctx context.Context, phase string, rank int, ahead func(holder string)) (release func(), err error) {
	t.mu.Lock()
	if t.holder == "" {
		t.holder = phase
		t.mu.Unlock()
		return t.give, nil
	}
	w, holder := &turn{phase, rank, make(chan struct{})}, t.holder
	t.waiting = append(t.waiting, w)
	t.mu.Unlock()
	t.tell()
	ahead(holder)
	select {
	case <-w.mine:
		return t.give, nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	n := len(t.waiting)
	t.waiting = slices.DeleteFunc(t.waiting, func(x *turn) bool { return x == w })
	came := len(t.waiting) == n
	t.mu.Unlock()
	if came { // meanwhile
		t.give()
	}
	return nil, ctx.Err()
}

func (t *turns) give() {
	t.mu.Lock()
	defer t.tell()
	defer t.mu.Unlock()
	t.holder = ""
	if len(t.waiting) == 0 {
		return
	}
	next := slices.MinFunc(t.waiting, func(a, b *turn) int { return a.rank - b.rank })
	t.waiting = slices.DeleteFunc(t.waiting, func(x *turn) bool { return x == next })
	t.holder = next.phase
	close(next.mine)
}

func (t *turns) tell() {
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// queued is how many phases do nothing but wait.
func (t *turns) queued() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.waiting)
}

// changesPackages tells which steps take a turn.
func changesPackages(s *wire.Step) bool {
	return s.Skip == "" && (s.Packages != nil || s.Repository != nil || s.Run != nil && s.Run.Apt)
}

// lastTurn is the index of the phase's last step that takes a turn; -1 without.
func lastTurn(ph *wire.Phase) int {
	for i := range slices.Backward(ph.Steps) {
		if changesPackages(&ph.Steps[i]) {
			return i
		}
	}
	return -1
}

// yields tells whether a phase is not to begin beside others yet: it would only
// stand in the queue, or get before phases that the plan has first.
// A phase that others need begins at once: not all it does is packages.
func (r *runner) yields(ph *wire.Phase) bool {
	if lastTurn(ph) < 0 {
		return false
	}
	for i := range r.plan.Phases {
		if q := &r.plan.Phases[i]; slices.Contains(q.Needs, ph.ID) && !onlyAsks(q) {
			return false
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.plan.Phases {
		q := &r.plan.Phases[i]
		if q.ID == ph.ID {
			return false
		}
		if lastTurn(q) >= 0 && r.status[q.ID] == "" && !r.through[q.ID] {
			return true
		}
	}
	return false
}

// isThrough notes that a phase will not change packages any more.
func (p *phaseRun) isThrough() {
	p.runner.mu.Lock()
	p.through[p.ph.ID] = true
	p.runner.mu.Unlock()
	p.turns.tell()
}

// turn is a step's wait for the packages.
func (p *phaseRun) turn(ctx context.Context, step string) (func(), error) {
	rank := slices.IndexFunc(p.plan.Phases, func(q wire.Phase) bool { return q.ID == p.ph.ID })
	const what = "its turn to change packages"
	waited := false
	release, err := p.turns.take(ctx, p.ph.ID, rank, func(holder string) {
		waited = true
		p.wait(step, wire.Wait{For: what, Holder: "phase " + holder})
	})
	if waited {
		p.wait(step, wire.Wait{For: what, Done: true})
	}
	return release, err
}
