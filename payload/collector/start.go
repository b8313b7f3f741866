//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/collector/host"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// maxPlan bounds a plan in bytes: the collector shall not be a way to fill a
// host's memory.
const maxPlan = 64 << 20

// refusal is a run that is not begun, and why.
type refusal struct {
	wire.Refused
	code int
}

func (r *refusal) Error() string { return r.Stage + ": " + r.Text }

func refuse(stage, format string, args ...any) error {
	return &refusal{wire.Refused{Stage: stage, Text: fmt.Sprintf(format, args...)}, exitRefused}
}

// start begins the run whose plan is on stdin and tells of it: in this process,
// where that outlives the line, else detached. A refused one leaves nothing
// behind; its only event says why.
func start(p place, early string, stdin io.Reader, stdout *os.File) error {
	in := newInbox(stdin, early)
	var after wire.Cursor // of a run that goes on: what the laptop has
	b, err := begin(p, in, &after)
	r := (*refusal)(nil)
	if errors.As(err, &r) {
		line, encErr := wire.Encode(&wire.Event{Kind: wire.KindRefused, Refused: &r.Refused})
		if encErr == nil {
			_, encErr = stdout.Write(line)
		}
		return &exitError{r.code, errors.Join(err, encErr)}
	}
	if err != nil {
		return err
	}
	if outlivesLine() {
		return b.here(p, after, in, stdout)
	}
	defer b.close()
	if err := b.detach(); err != nil {
		if b.plan.Continues == nil {
			os.RemoveAll(string(b.dir))
		}
		return fmt.Errorf("start the runner: %w", err)
	}
	if err := follow(b.dir, after, stdout, false, nil); err != nil {
		return err
	}
	return takeReport(p, in)
}

// begun is a run whose journal is there and locked. Whoever has these files is
// its runner.
type begun struct {
	handoff
	dir      runDir
	plan     *wire.Plan
	mask     *wire.Masker
	raw      []byte   // the plan
	journal  *os.File // with its lock
	lock     *os.File // the host's; nil when the run is not exclusive
	attached *os.File // held until we follow ourselves: the runner may ask at once
}

func (b *begun) close() {
	for _, f := range []*os.File{b.journal, b.lock, b.attached} {
		f.Close() // nil is fine
	}
}

// inbox is what the laptop sends: the plan, and behind it, once it has seen the
// end, the run's report. A plan that came with the command comes a second time.
type inbox struct {
	docs  *json.Decoder
	early []byte
}

// newInbox takes a plan that came with the command if it has that hash.
func newInbox(stdin io.Reader, early string) *inbox {
	in := &inbox{docs: json.NewDecoder(io.LimitReader(stdin, 2*maxPlan)), early: wire.FromEarly(os.Getenv(wire.EarlyPlan), early)}
	os.Unsetenv(wire.EarlyPlan) // nothing that we start shall have it
	return in
}

func (in *inbox) plan() (raw []byte, err error) {
	if in.early != nil {
		return in.early, nil
	}
	err = in.docs.Decode((*json.RawMessage)(&raw))
	return raw, err
}

// report is nil when none comes.
func (in *inbox) report() (doc json.RawMessage) {
	if in.early != nil && in.docs.Decode(&doc) != nil {
		return nil
	}
	doc = nil
	if in.docs.Decode(&doc) != nil {
		return nil
	}
	return doc
}

func begin(p place, in *inbox, after *wire.Cursor) (_ *begun, err error) {
	b := &begun{}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.raw, err = in.plan(); err != nil {
		return nil, refuse("plan", "the plan is not complete JSON: %v", err)
	}
	plan, mask, err := readPlan(b.raw)
	if err != nil {
		return nil, err
	}
	b.plan, b.mask = &plan, mask
	if plan.Continues != nil {
		*after = plan.Continues.After
		return b, b.resume(p)
	}
	if err := makeFolders(p); err != nil {
		return nil, err
	}
	if plan.Exclusive {
		if b.lock, err = takeLock(p.lock); err != nil {
			return nil, err
		}
	}
	b.dir = runDir(filepath.Join(p.runs(), plan.RunID))
	if err := os.Mkdir(string(b.dir), 0o700); errors.Is(err, fs.ErrExist) {
		return nil, refuse("exists", "run %s was begun on this host before", plan.RunID)
	} else if err != nil {
		return nil, refuse("disk", "make the run's folder: %v", err)
	}
	if err := b.launch(); err != nil {
		os.RemoveAll(string(b.dir))
		return nil, err
	}
	return b, nil
}

// readPlan decodes and checks what the laptop sent.
func readPlan(raw []byte) (plan wire.Plan, mask *wire.Masker, err error) {
	if len(raw) > maxPlan {
		return plan, nil, refuse("plan", "the plan has over %d bytes", maxPlan)
	}
	if err := json.Unmarshal(raw, &plan); err != nil {
		return plan, nil, refuse("plan", "the plan is not complete JSON: %v", err)
	}
	switch {
	case plan.Wire != wire.Version:
		return plan, nil, refuse("plan", "the plan speaks wire version %d, this collector %d", plan.Wire, wire.Version)
	case !isName(plan.RunID):
		return plan, nil, refuse("plan", "%q is not a run id", plan.RunID)
	case plan.Interval < 0 || plan.Interval > 0 && plan.Interval < 100*time.Millisecond:
		return plan, nil, refuse("plan", "a sample interval of %v; at least 100ms", plan.Interval)
	}
	if err := checkPhases(plan.Phases); err != nil {
		return plan, nil, err
	}
	if mask, err = wire.NewMasker(plan.Secrets); err != nil {
		return plan, nil, refuse("plan", "%v", err)
	}
	return plan, mask, nil
}

// checkPhases holds what the runner relies on: names that are file names and
// unique, needs that are in the plan and have no circle.
func checkPhases(phases []wire.Phase) error {
	done := map[string]bool{}
	for _, ph := range phases {
		if !isName(ph.ID) || done[ph.ID] {
			return refuse("plan", "phase %q: not a name, or there twice", ph.ID)
		}
		done[ph.ID] = true
		names := map[string]bool{}
		for _, s := range ph.Steps {
			if s.Name == "" || names[s.Name] {
				return refuse("plan", "phase %s: step %q: no name, or there twice", ph.ID, s.Name)
			}
			names[s.Name] = true
		}
	}
	clear(done)
	for len(done) < len(phases) {
		before := len(done)
		for _, ph := range phases {
			if !slices.ContainsFunc(ph.Needs, func(n string) bool { return !done[n] }) {
				done[ph.ID] = true
			}
		}
		if len(done) == before {
			return refuse("plan", "the needs of the phases name one that is not in the plan, or go in a circle")
		}
	}
	return nil
}

// makeFolders makes the folders that last, and checks that nobody else could
// change what is in them.
func makeFolders(p place) error {
	if err := os.MkdirAll(p.runs(), 0o755); err != nil {
		return refuse("disk", "make %s: %v", p.runs(), err)
	}
	for _, dir := range []string{p.dir, p.runs()} {
		var st unix.Stat_t
		if err := unix.Lstat(dir, &st); err != nil {
			return refuse("disk", "look at %s: %v", dir, err)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
			return refuse("disk", "%s is not a folder that only uid %d can write", dir, os.Geteuid())
		}
	}
	return nil
}

// launch writes the run's first event.
func (b *begun) launch() error {
	d, plan := b.dir, b.plan
	for _, sub := range []string{d.undo(), d.control()} {
		if err := os.Mkdir(sub, 0o700); err != nil {
			return refuse("disk", "make the run's folder: %v", err)
		}
	}
	head := &wire.Start{Wire: wire.Version, RunID: plan.RunID, Verb: plan.Verb, Collector: ownHash(), Plan: plan.Hash(), BootID: bootID(),
		Wall: time.Now().UTC(), Interval: plan.Interval, Phases: phaseHeads(plan), Facts: host.Facts("/")}
	for name, text := range map[string]string{"collector": head.Collector + "\n", "plan.sha256": head.Plan + "\n"} {
		if err := os.WriteFile(d.file(name), []byte(text), 0o600); err != nil {
			return refuse("disk", "%v", err)
		}
	}
	var err error
	if b.attached, err = attach(d); err != nil {
		return refuse("disk", "%v", err)
	}
	j, err := createJournal(d)
	if err != nil {
		return refuse("disk", "make the journal: %v", err)
	}
	b.journal, j.mask = j.f, b.mask
	if err := j.append(&wire.Event{Kind: wire.KindStart, Start: head}); err != nil {
		return refuse("disk", "begin the journal: %v", err)
	}
	if err := j.publish(d); err != nil {
		return refuse("disk", "begin the journal: %v", err)
	}
	b.handoff = handoff{Base: j.base, N: j.n, Size: j.size, Held: j.held, Wall: head.Wall, Facts: head.Facts}
	return b.hold()
}

// hold says in the host's lock who has it.
func (b *begun) hold() error {
	if b.lock == nil {
		return nil
	}
	if err := writeLock(b.lock, wire.Lock{RunID: b.plan.RunID, Verb: b.plan.Verb, Since: b.Wall}); err != nil {
		return refuse("disk", "%v", err)
	}
	return nil
}

func phaseHeads(plan *wire.Plan) []wire.PhaseHead {
	heads := make([]wire.PhaseHead, len(plan.Phases))
	for i, ph := range plan.Phases {
		heads[i] = wire.PhaseHead{ID: ph.ID, Title: ph.Title, Needs: ph.Needs, Target: ph.Target, Steps: make([]string, len(ph.Steps))}
		for k, s := range ph.Steps {
			heads[i].Steps[k] = s.Name
		}
	}
	return heads
}
