//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/vpsctl/vpsctl/payload/collector/host"
	"github.com/vpsctl/vpsctl/payload/collector/steps"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// phaseRun is one phase while it runs.
type phaseRun struct {
	resting string // the step behind which the host reboots
	*runner
	ph       *wire.Phase
	dir      string // the phase's siblings
	usage    *usage
	handlers []handler
	end      wire.PhaseEnd
	hint     string

	mu      sync.Mutex
	waiting time.Time // since when a step waits for somebody else
	waitFor string    // for what, and who has it
	waited  time.Duration
	shared  bool // others ran beside it
}

// handler is something a changed step asked for, once per phase.
type handler struct {
	wire.Handler
	step string // the first that asked
}

// phase runs one phase and journals its end.
func (r *runner) phase(ph *wire.Phase) wire.Status {
	p := &phaseRun{runner: r, ph: ph, end: wire.PhaseEnd{Status: wire.OK},
		usage: &usage{births: r.births, cgroup: r.groups.phase(ph.ID), now: r.now, leaders: map[int]bool{}}}
	from := p.resumed()
	if from == 0 {
		r.event(&wire.Event{Kind: wire.KindPhase, Phase: ph.ID})
	}
	in, out := host.Traffic("/")
	r.join(p)
	ctx, cancel := r.ctx, context.CancelFunc(func() {})
	if ph.Budget > 0 {
		ctx, cancel = context.WithTimeout(ctx, ph.Budget)
	}
	defer cancel()
	if err := p.unpack(); err != nil {
		p.fail(fmt.Sprintf("unpack the phase's files: %v", err), "")
	} else {
		p.steps(ctx, from)
		p.handle(ctx)
	}
	if p.resting != "" && p.end.Status != wire.Failed {
		r.restBehind(p.resting)
		r.leave(p)
		p.usage.cgroup.remove()
		p.pack()
		return ""
	}
	if ctx.Err() == context.DeadlineExceeded {
		p.fail(p.overBudget(), "")
	}
	r.leave(p)
	p.cost(in, out)
	p.usage.cgroup.remove()
	p.pack()
	r.event(&wire.Event{Kind: wire.KindPhaseEnd, Phase: ph.ID, PhaseEnd: &p.end})
	return p.end.Status
}

func (p *phaseRun) overBudget() string {
	return "stopped: the phase is over its budget of " + wire.FormatDuration(p.ph.Budget)
}

// waitsForWhom says what a step of the phase waits for, if it does.
func (p *phaseRun) waitsForWhom() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waitFor
}

// fail marks the phase as failed. The first reason counts.
func (p *phaseRun) fail(reason, hint string) {
	if p.end.Status == wire.Failed {
		return
	}
	p.end.Status, p.end.Reason, p.hint = wire.Failed, reason, hint
	p.runner.mu.Lock()
	p.failures = append(p.failures, failedPhase{p.ph, reason, hint})
	p.runner.mu.Unlock()
}

// join and leave keep the list of running phases. Whoever runs while another
// does shares the host's network figures.
func (r *runner) join(p *phaseRun) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running = append(r.running, p)
	if len(r.running) > 1 {
		for _, q := range r.running {
			q.shared = true
		}
	}
}

func (r *runner) leave(p *phaseRun) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running = slices.DeleteFunc(r.running, func(q *phaseRun) bool { return q == p })
}

func (r *runner) active() []*phaseRun {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.running)
}

// steps runs the steps in their order, until one fails that must not. Once a
// critical question was answered with no, the other questions are still asked;
// once something could not be undone, the rest still is.
func (p *phaseRun) steps(ctx context.Context, from int) {
	for i := from; i < len(p.ph.Steps); i++ {
		s := &p.ph.Steps[i]
		if p.end.Status == wire.Failed && s.Assert == nil && s.Revert == nil {
			return
		}
		if ctx.Err() != nil {
			if p.end.Status != wire.Failed && p.ctx.Err() != nil {
				p.end.Status, p.end.Reason = wire.Cancelled, "the run was ended before step "+s.Name
			}
			return
		}
		if err := p.j.broken(); err != nil {
			p.fail(err.Error(), "make room on the host: df -h")
			return
		}
		end := p.step(ctx, s)
		p.count(s, end)
		p.fetch.stepEnded(s)
		if i == lastTurn(p.ph) {
			p.isThrough()
		}
		if p.wantsReboot(s, end) {
			p.resting = p.ph.ID + "/" + s.Name
			return
		}
		if p.end.Status == wire.Cancelled || p.end.Status == wire.Failed && s.Assert == nil && s.Revert == nil {
			return
		}
	}
}

// resumed is the number of steps that were done before the reboot that the
// phase rested for; what they had counted is taken over.
func (p *phaseRun) resumed() int {
	if p.resumes == nil {
		return 0
	}
	for i, s := range p.ph.Steps {
		if p.ph.ID+"/"+s.Name == p.resumes.Step {
			p.end = p.resumes.Phase
			return i + 1
		}
	}
	return 0
}

// count takes a step's end into the phase's.
func (p *phaseRun) count(s *wire.Step, e *wire.StepEnd) {
	switch e.Status {
	case wire.OK:
		p.end.OK++
	case wire.Skipped:
		p.end.Skipped++
	case wire.Changed:
		p.end.Changed++
		if p.end.Status == wire.OK {
			p.end.Status = wire.Changed
		}
	case wire.Cancelled:
		if p.end.Status != wire.Failed {
			p.end.Status, p.end.Reason = wire.Cancelled, "step "+s.Name+" was stopped"
		}
	case wire.Failed:
		p.end.Failed++
		if !s.Optional && (s.Assert == nil || s.Assert.Critical) {
			p.fail("step "+s.Name+": "+e.Reason, e.Hint)
		}
	}
}

// later notes the handlers of a changed step for the phase's end, each once.
func (p *phaseRun) later(s *wire.Step) {
	for _, h := range s.OnChange {
		if !slices.ContainsFunc(p.handlers, func(have handler) bool { return have.Handler == h }) {
			p.handlers = append(p.handlers, handler{h, s.Name})
		}
	}
}

// handle does what the changed steps asked for. It is done also when a later
// step failed, so that what runs is what is configured; not once the run was
// cancelled.
func (p *phaseRun) handle(ctx context.Context) {
	for _, h := range p.handlers {
		if ctx.Err() != nil {
			return
		}
		if err := p.handleOne(ctx, h.step, h.Handler); err != nil {
			p.fail(fmt.Sprintf("on_change of step %s: %v", h.step, err), hintOf(err))
		}
	}
}

func (p *phaseRun) handleOne(ctx context.Context, step string, h wire.Handler) error {
	ctx, cancel := context.WithTimeout(ctx, handlerTime)
	defer cancel()
	out := newOutput(p.j, p.ph.ID, p.ph.ID+"/"+step)
	defer out.close()
	return steps.Handle(ctx, p.env(step, out), h)
}

// env is what a step may use of the runner.
func (p *phaseRun) env(step string, out *output) *steps.Env {
	id := p.ph.ID + "/" + step
	env := &steps.Env{
		Phase: p.ph, ConnectionKey: p.plan.ConnectionKey, Root: p.place.root, RunDir: string(p.runner.dir), UndoDir: p.undo.dir, PhaseDir: p.dir,
		Secret: func(name string) (string, bool) { v, ok := p.plan.Secrets[name]; return v, ok },
		Out:    out.write,
		Wait:   func(w wire.Wait) { p.wait(id, w) },
		Note:   func(level, text string) { p.note(p.ph.ID, id, level, text) },
		Undo:   func(u wire.Undo, content []byte) error { return p.keepUndo(id, &u, content) },
		Run: func(ctx context.Context, cmd *exec.Cmd, keep bool) error {
			if keep {
				p.transaction(id, 1)
				defer p.transaction(id, -1)
			}
			return p.usage.run(ctx, cmd, keep)
		},
		SecretsDir: p.secretsDir,
		Turn:       func(ctx context.Context) (func(), error) { return p.turn(ctx, id) },
		AptConfig:  p.aptConfig(),
	}
	if f := p.fetch; f != nil {
		env.FetchTime = f.plan.Fetch.Timeout
		env.Fetch = func(ctx context.Context, want *wire.Packages) { f.now(ctx, p, id, want) }
	}
	return env
}

func (p *phaseRun) wait(step string, w wire.Wait) {
	p.mu.Lock()
	if w.Done && !p.waiting.IsZero() {
		p.waited += time.Since(p.waiting)
		p.waiting, p.waitFor = time.Time{}, ""
	} else if !w.Done && p.waiting.IsZero() {
		p.waiting = time.Now()
	}
	if !w.Done {
		p.waitFor = "; it waited for " + w.For
		if w.Holder != "" {
			p.waitFor += ", held by " + w.Holder
		}
	}
	p.mu.Unlock()
	p.event(&wire.Event{Kind: wire.KindWait, Phase: p.ph.ID, Step: step, Wait: &w})
}

func (r *runner) transaction(step string, by int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.transactions[step] += by; r.transactions[step] == 0 {
		delete(r.transactions, step)
	}
}

// keepUndo has the way back on the disk, in full in the undo folder and masked
// in the journal.
func (p *phaseRun) keepUndo(step string, u *wire.Undo, content []byte) error {
	if err := p.j.broken(); err != nil {
		return err
	}
	if err := p.undo.keep(p.ph.ID, step, u, content, p.handlersOf(step)); err != nil {
		return err
	}
	if err := p.j.append(&wire.Event{Kind: wire.KindUndo, Phase: p.ph.ID, Step: step, Undo: u}); err != nil {
		return err
	}
	return p.j.sync()
}

// handlersOf is what a step of the phase has run when it changes something.
func (p *phaseRun) handlersOf(id string) []wire.Handler {
	for _, s := range p.ph.Steps {
		if p.ph.ID+"/"+s.Name == id {
			return s.OnChange
		}
	}
	return nil
}

// cost sums up what the phase used.
func (p *phaseRun) cost(in, out int64) {
	const mib = 1 << 20
	if err := p.ctx.Err(); err == nil { // their time is short otherwise
		reapOrphans(p.births, p.allUsage(p.usage))
	}
	f := p.usage.figures()
	in2, out2 := host.Traffic("/")
	f.NetRxMB, f.NetTxMB = float64(max(0, in2-in))/mib, float64(max(0, out2-out))/mib
	p.mu.Lock()
	f.WaitSec = p.waited.Seconds()
	p.mu.Unlock()
	p.runner.mu.Lock()
	f.NetShared = p.shared
	p.runner.mu.Unlock()
	for _, v := range []*float64{&f.CPUSec, &f.PeakMemoryMB, &f.AvgMemoryMB, &f.DiskReadMB, &f.DiskWriteMB, &f.NetRxMB, &f.NetTxMB, &f.WaitSec} {
		*v = float64(int64(*v*1000+0.5)) / 1000
	}
	p.end.Cost = f
}

// allUsage lists the usage of all running phases, and of one that just ended.
func (r *runner) allUsage(also ...*usage) []*usage {
	if r.fetch != nil {
		also = append(also, r.fetch.usage)
	}
	for _, q := range r.active() {
		if !slices.Contains(also, q.usage) {
			also = append(also, q.usage)
		}
	}
	return also
}

// pack takes the phase's files away again.
func (p *phaseRun) pack() {
	if p.dir != "" {
		_ = os.RemoveAll(p.dir)
	}
}

// unpack lays the phase's siblings into memory, readable by the users its steps
// may name.
func (p *phaseRun) unpack() error {
	if len(p.ph.Files) == 0 {
		return nil
	}
	base, err := p.inMemory()
	if err != nil {
		return err
	}
	p.dir = filepath.Join(base, "phase-"+p.ph.ID)
	if err := os.Mkdir(p.dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(p.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for name, content := range p.ph.Files {
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := root.WriteFile(name, content, 0o755); err != nil {
			return err
		}
	}
	return nil
}
