//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// runner carries out one plan, from its Start event, which is written already,
// to its End.
type runner struct {
	place  place
	dir    runDir
	plan   wire.Plan
	j      *journal
	facts  wire.Facts
	lock   *os.File // the host's, nil when the run is not exclusive
	births *births
	groups cgroups
	undo   *undoFolder
	memory string // folder for what must not reach a disk; "" until it is needed

	ctx  context.Context // ends when the run is cancelled
	stop context.CancelFunc
	now  chan struct{} // closed: package transactions are not waited for either

	asking       sync.Mutex
	mu           sync.Mutex
	running      []*phaseRun
	status       map[string]wire.Status
	failures     []failedPhase
	unconfirmed  []retry
	confirms     map[string]chan struct{}
	transactions map[string]int
	why          *wire.End // set when something ends the run before its time
	resumes      *progress // where a run that goes on stands; nil when it begins
	resting      string    // the step behind which the host reboots
	turns        *turns
	through      map[string]bool // phases that will not change packages any more
	fetch        *fetcher        // nil when apt downloads alone
}

type failedPhase struct {
	phase        *wire.Phase
	reason, hint string
}

// runnerMain is the detached process. Nobody reads its error but the journal.
func runnerMain(p place, id string) error {
	h, plan, jf, lock, err := inherited()
	if err != nil {
		return fmt.Errorf("take the plan: %w", err)
	}
	mask, err := wire.NewMasker(plan.Secrets)
	if err != nil {
		return err
	}
	b := &begun{handoff: h, dir: runDir(p.runs() + "/" + id), plan: &plan, mask: mask, journal: jf, lock: lock}
	return newRunner(p, b).run(h.Wall)
}

func newRunner(p place, b *begun) *runner {
	r := &runner{place: p, dir: b.dir, plan: *b.plan, lock: b.lock, facts: b.Facts, births: &births{}, undo: &undoFolder{dir: b.dir.undo()},
		now: make(chan struct{}), status: map[string]wire.Status{}, confirms: map[string]chan struct{}{}, transactions: map[string]int{},
		turns: newTurns(), through: map[string]bool{}, resumes: b.Resumes,
		j: &journal{f: b.journal, base: b.Base, n: b.N, size: b.Size, held: b.Held, mask: b.mask}}
	if r.resumes != nil {
		r.status = r.resumes.Ended
	}
	return r
}

func (r *runner) run(wall time.Time) (err error) {
	r.ctx, r.stop = context.WithCancel(context.Background())
	defer r.stop()
	defer r.j.quiet()
	if r.lock != nil {
		if err := writeLock(r.lock, wire.Lock{RunID: r.plan.RunID, Verb: r.plan.Verb, PID: os.Getpid(), Since: wall}); err != nil {
			return err
		}
	}
	if r.plan.Rotate > 0 {
		if r.j.ring, err = newRing(r.dir, r.j.f, r.plan.Rotate); err != nil {
			return err
		}
	}
	if r.plan.HostLogs {
		logs := openHostLogs(r.place.logs, &r.plan, r.facts, wall)
		defer logs.close()
		r.j.watch = logs.event
	}
	syscall.Umask(0o022) // what steps make does not depend on who logged in
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go r.onSignal(signals)
	control := watchFolder(r.dir.control(), r.onControl)
	defer control.close()
	r.births.lower()
	scope := r.ownPlace()
	sampling := r.startSampling() // while systemd is at it
	prune(r.place, &r.plan)
	r.groups = findCgroups(scope())
	if err := adoptOrphans(); err != nil {
		r.note("", "", "warn", "processes that outlive their parents are not counted: "+err.Error())
	}
	if r.plan.Exclusive {
		r.settleGuards()
	}
	end := r.requires()
	if end == nil {
		if b := r.plan.Budget; b > 0 {
			late := time.AfterFunc(b, func() {
				r.endEarly(&wire.End{Status: wire.Failed, Stage: "budget", Reason: "stopped: the run is over its budget of " + wire.FormatDuration(b)})
			})
			defer late.Stop()
		}
		stop := r.startFetching()
		r.phases()
		stop()
		if r.rests() != "" {
			sampling()
			r.forget()
			return r.rest()
		}
		r.again()
		r.linger()
		end = r.verdict()
	}
	sampling()
	r.forget()
	return r.finish(end)
}

// ownPlace moves the runner out of the session it was started in. The function
// it returns waits for that, and gives the new cgroup's path or "".
func (r *runner) ownPlace() func() string {
	if !r.place.root || !r.facts.Systemd {
		return func() string { return "" }
	}
	done := ownScope("vpsctl-"+r.plan.RunID+".scope", "vpsctl "+r.plan.Verb+" "+r.plan.RunID)
	return func() string {
		scope, err := done()
		if err != nil {
			r.note("", "", "warn", "the run stays in the session it was started from: "+err.Error())
		}
		return scope
	}
}

// finish writes the last event. What could not be written is the reason then.
// The host is free just before: who has read the end may begin the next run.
func (r *runner) finish(end *wire.End) error {
	if r.lock != nil {
		r.lock.Close()
	}
	if err := r.j.broken(); err != nil {
		end = &wire.End{Status: wire.Failed, Stage: "journal", Reason: err.Error(), Hint: "make room on the host: df -h"}
	}
	err := r.j.append(&wire.Event{Kind: wire.KindEnd, End: end})
	if errors.Is(err, errFull) {
		err = nil
	}
	return errors.Join(err, r.j.close())
}

func (r *runner) onSignal(signals <-chan os.Signal) {
	for range signals {
		r.endEarly(&wire.End{Status: wire.Failed, Stage: "died", Reason: "the runner was asked to end: the host shuts down, or somebody sent it a signal"})
	}
}

// endEarly stops the run for a reason; the first one counts.
func (r *runner) endEarly(why *wire.End) {
	r.mu.Lock()
	first := r.why == nil
	if first {
		r.why = why
	}
	waits := r.waitsFor()
	r.mu.Unlock()
	if first {
		r.event(&wire.Event{Kind: wire.KindCancelled, Wait: waits})
		r.stop()
	}
}

// waitsFor names the package transactions a cancelled run waits for.
func (r *runner) waitsFor() *wire.Wait {
	var steps []string
	for s := range r.transactions {
		steps = append(steps, s)
	}
	if len(steps) == 0 {
		return nil
	}
	slices.Sort(steps)
	return &wire.Wait{For: "the package transaction of " + strings.Join(steps, ", ")}
}

// event journals what can be journaled; what cannot shows at the next step.
func (r *runner) event(e *wire.Event) { _ = r.j.append(e) }

func (r *runner) note(phase, step, level, text string) {
	r.event(&wire.Event{Kind: wire.KindNote, Phase: phase, Step: step, Note: &wire.Note{Level: level, Text: text}})
}

// requires checks what the phases ask of the host, all of it, before any runs.
func (r *runner) requires() *wire.End {
	if r.resumes != nil { // they were met when the run began
		return nil
	}
	var missing []string
	for _, ph := range r.plan.Phases {
		missing = append(missing, unmet(ph.Requires, ph.ID, r.facts)...)
	}
	if len(missing) == 0 {
		return nil
	}
	for _, ph := range r.plan.Phases {
		r.event(&wire.Event{Kind: wire.KindPhaseEnd, Phase: ph.ID, PhaseEnd: &wire.PhaseEnd{Status: wire.NotReached, Reason: "the host is not what the plan requires"}})
	}
	return &wire.End{Status: wire.Failed, Stage: "requires", Reason: strings.Join(missing, "; "), Hint: "use another host, or leave these phases out: --skip-phase"}
}

func unmet(q *wire.Requires, phase string, f wire.Facts) (missing []string) {
	if q == nil {
		return nil
	}
	add := func(format string, args ...any) {
		missing = append(missing, "phase "+phase+" needs "+fmt.Sprintf(format, args...))
	}
	if len(q.OS) > 0 && !slices.Contains(q.OS, f.OS) {
		add("%s, this host is %s", strings.Join(q.OS, " or "), f.OS)
	}
	if len(q.Arch) > 0 && !slices.Contains(q.Arch, f.Arch) {
		add("%s, this host is %s", strings.Join(q.Arch, " or "), f.Arch)
	}
	if f.MemoryMB < q.MemoryMB {
		add("%d MiB of memory, this host has %d", q.MemoryMB, f.MemoryMB)
	}
	if f.DiskAvailMB < q.DiskMB {
		add("%d MiB of room on /, this host has %d", q.DiskMB, f.DiskAvailMB)
	}
	return missing
}

// verdict is the run's end, from what became of its phases.
func (r *runner) verdict() *wire.End {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.why != nil {
		return r.why
	}
	end := &wire.End{Status: wire.OK}
	for _, s := range r.status {
		if s == wire.Changed {
			end.Status = wire.Changed
		}
	}
	for _, f := range r.failures {
		stage := "phase"
		if onlyAsks(f.phase) {
			stage = "verification"
		}
		if r.plan.Verb == "rollback" {
			stage = "rollback"
		}
		if end.Status != wire.Failed || end.Stage == "verification" && stage == "phase" {
			end = &wire.End{Status: wire.Failed, Stage: stage, Reason: "phase " + f.phase.ID + ": " + f.reason, Hint: f.hint}
		}
	}
	if len(r.unconfirmed) > 0 && (end.Status != wire.Failed || end.Stage == "verification") { // which may have failed of just that
		u := r.unconfirmed[0]
		end = &wire.End{Status: wire.Failed, Stage: "unconfirmed", Reason: "step " + u.phase.ID + "/" + u.step.Name + " was put back: " + u.reason,
			Hint: "when the change is meant, find out why no new connection came through; then run it again and stay connected"}
	}
	return end
}

// onlyAsks tells phases that change nothing.
func onlyAsks(ph *wire.Phase) bool {
	return len(ph.Steps) > 0 && !slices.ContainsFunc(ph.Steps, func(s wire.Step) bool { return s.Assert == nil })
}
