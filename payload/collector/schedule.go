//go:build linux

package main

import (
	"strings"

	"github.com/vpsctl/vpsctl/payload/collector/host"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// Below so much memory, or with so little of it free, nothing runs beside
// another phase: the kernel would kill one of them. MiB.
const (
	smallHostMB = 3000
	lowMemoryMB = 700
)

// phases runs all phases: in the plan's order where their needs allow, those
// that say so side by side, the others alone.
func (r *runner) phases() {
	var waiting []*wire.Phase
	for i := range r.plan.Phases {
		if ph := &r.plan.Phases[i]; r.status[ph.ID] == "" { // else it ended before a reboot
			waiting = append(waiting, ph)
		}
	}
	type result struct {
		id     string
		status wire.Status
	}
	done := make(chan result)
	running, alone := 0, false
	for len(waiting) > 0 || running > 0 {
		rest := waiting[:0]
		for _, ph := range waiting {
			switch why, ready := r.ready(ph); {
			case why != "":
				r.notReached(ph, why)
			case !ready, alone, running > 0 && (!r.beside(ph, running-r.turns.queued()) || r.yields(ph)):
				rest = append(rest, ph)
			default:
				running++
				alone = !ph.Parallel || r.plan.Sequential
				go func() { done <- result{ph.ID, r.phase(ph)} }()
			}
		}
		waiting = rest
		if running == 0 {
			continue // a phase was given up; others may have waited for it
		}
		select {
		case res := <-done:
			running--
			alone = false
			if r.rests() != "" {
				return // a phase that rests runs alone
			}
			r.setStatus(res.id, res.status)
		case <-r.turns.changed:
		}
	}
}

// restBehind notes that the run goes on behind a step, in the host's next boot.
func (r *runner) restBehind(step string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resting = step
}

// rests is the step behind which the run rests, or "".
func (r *runner) rests() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.resting
}

func (r *runner) setStatus(id string, s wire.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status[id] = s
}

// ready tells whether all needs of a phase have ended, and why it cannot be
// reached any more. Phases that only ask are run whatever became of the others:
// that is when their answers are wanted.
func (r *runner) ready(ph *wire.Phase) (why string, ready bool) {
	if err := r.j.broken(); err != nil {
		return err.Error(), false
	}
	if r.ctx.Err() != nil {
		return "the run was ended before", false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	ready = true
	var bad []string
	for _, need := range ph.Needs {
		switch s, ended := r.status[need]; {
		case !ended:
			ready = false
		case s == wire.Failed || s == wire.NotReached || s == wire.Cancelled:
			bad = append(bad, need)
		}
	}
	if len(bad) > 0 && !onlyAsks(ph) {
		return "it needs " + strings.Join(bad, ", ") + ", which did not succeed", false
	}
	return "", ready
}

// beside tells whether a phase may begin while others run.
func (r *runner) beside(ph *wire.Phase, running int) bool {
	if !ph.Parallel || r.plan.Sequential || r.facts.MemoryMB < smallHostMB || running >= max(2, r.facts.Cores) {
		return false
	}
	return host.AvailableMB("/") >= lowMemoryMB
}

func (r *runner) notReached(ph *wire.Phase, why string) {
	r.event(&wire.Event{Kind: wire.KindPhaseEnd, Phase: ph.ID, PhaseEnd: &wire.PhaseEnd{Status: wire.NotReached, Reason: why}})
	r.setStatus(ph.ID, wire.NotReached)
}
