//go:build linux

package main

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/collector/host"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// A run that has the host rebooted rests: its journal ends with a reboot event,
// and its plan, which is never on the disk, is with the laptop alone. The
// laptop brings it again once the host is up. restGrace is how long after the
// boot it may take before the run is given up.
const restGrace = 15 * time.Minute

// progress is where a resting run stands.
type progress struct {
	Step  string                 // phase/name of the step that asked for the reboot
	Ended map[string]wire.Status // phases that have ended
	Phase wire.PhaseEnd          // what the resting phase has counted
}

// wantsReboot: the phase rests behind a step that asked for it and changed
// something. What its handlers are to do is done before.
func (p *phaseRun) wantsReboot(s *wire.Step, end *wire.StepEnd) bool {
	return s.Reboot && end.Status == wire.Changed && p.end.Status != wire.Failed && p.ctx.Err() == nil
}

// rest ends this part of the run and has the host reboot.
func (r *runner) rest() error {
	if !r.place.root {
		return r.finish(&wire.End{Status: wire.Failed, Stage: "reboot", Reason: "step " + r.rests() + " asks for a reboot, which takes root", Hint: "become: true"})
	}
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT) // the shutdown's: the run does not end with it
	r.event(&wire.Event{Kind: wire.KindReboot, Reboot: &wire.Reboot{BootID: bootID(), Step: r.rests()}})
	if err := errors.Join(r.j.broken(), r.j.sync()); err != nil {
		return r.finish(&wire.End{Status: wire.Failed, Stage: "reboot", Reason: err.Error()})
	}
	if err := systemctl("reboot"); err != nil {
		return r.finish(&wire.End{Status: wire.Failed, Stage: "reboot", Reason: "the host did not take the wish to reboot: " + err.Error()})
	}
	if r.lock != nil {
		r.lock.Close()
	}
	return r.j.close()
}

// resume takes up a run that rests, with the plan that the laptop has brought
// again.
func (b *begun) resume(p place) (err error) {
	if b.dir, err = p.run(b.plan.RunID); err != nil {
		return refuse("continue", "%v", err)
	}
	was, err := os.ReadFile(b.dir.file("plan.sha256"))
	if err != nil || strings.TrimSpace(string(was)) != b.plan.Hash() {
		return refuse("continue", "this is not the plan that run %s was begun with (%v)", b.dir.id(), err)
	}
	if bootID() == b.plan.Continues.BootID {
		return refuse("boot", "the host has not rebooted yet")
	}
	if b.plan.Exclusive {
		if b.lock, err = takeLock(p.lock); err != nil {
			return err
		}
	}
	return b.goOn()
}

// goOn makes the journal of before a runner's again. Its time counts on, with
// the reboot in it.
func (b *begun) goOn() error {
	d := b.dir
	f, err := os.OpenFile(d.journal(), os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return refuse("continue", "%v", err)
	}
	b.journal = f
	if free, err := flock(f, unix.LOCK_EX); err != nil || !free {
		return refuse("exists", "run %s goes on already (%v)", d.id(), err)
	}
	j, first, last, err := openJournal(f)
	if err != nil || last.Kind != wire.KindReboot || last.Reboot == nil {
		return refuse("exists", "run %s does not wait for a reboot (%v)", d.id(), err)
	}
	pr, err := readProgress(f, last.Reboot.Step)
	if err != nil {
		return refuse("continue", "read the journal of run %s: %v", d.id(), err)
	}
	if b.attached, err = attach(d); err != nil {
		return refuse("disk", "%v", err)
	}
	j.base = boottime() - max(last.T, int64(time.Since(first.Start.Wall)))
	if err := j.append(&wire.Event{Kind: wire.KindResumed, Reboot: &wire.Reboot{BootID: bootID(), Step: pr.Step}}); err != nil {
		return refuse("disk", "go on with the journal: %v", err)
	}
	b.handoff = handoff{Base: j.base, N: j.n, Size: j.size, Held: j.held, Wall: first.Start.Wall, Facts: host.Facts("/"), Resumes: pr}
	return b.hold()
}

// readProgress reads from a journal what need not be done again.
func readProgress(f *os.File, step string) (*progress, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	pr := &progress{Step: step, Ended: map[string]wire.Status{}, Phase: wire.PhaseEnd{Status: wire.OK}}
	phase, _, _ := strings.Cut(step, "/")
	r := wire.NewReader(f)
	for {
		_, e, err := r.Next()
		switch {
		case err == io.EOF:
			return pr, nil
		case err != nil:
			return nil, err
		case e.PhaseEnd != nil:
			pr.Ended[e.Phase] = e.PhaseEnd.Status
		case e.StepEnd != nil && e.Phase == phase:
			pr.count(e.StepEnd)
		}
	}
}

func (pr *progress) count(e *wire.StepEnd) {
	switch e.Status {
	case wire.OK:
		pr.Phase.OK++
	case wire.Skipped:
		pr.Phase.Skipped++
	case wire.Changed:
		pr.Phase.Changed++
		pr.Phase.Status = wire.Changed
	case wire.Failed: // an optional one, else the phase had ended
		pr.Phase.Failed++
	}
}

// given tells whether a resting run may still be taken up: its host has not
// rebooted yet, or did so a short while ago.
func given(last *wire.Event) bool {
	return last.Kind == wire.KindReboot && (last.Reboot == nil || last.Reboot.BootID == bootID() || boottime() < int64(restGrace))
}
