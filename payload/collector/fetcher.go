//go:build linux

package main

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/vpsctl/vpsctl/payload/collector/host"
	"github.com/vpsctl/vpsctl/payload/collector/steps"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// A process downloads so many bytes and files at a time: few enough that a step
// whose packages are wanted now soon gets its turn.
const (
	batchBytes = 8 << 20
	batchFiles = 40
)

// fetcher downloads packages, several at a time, those that a step waits for
// first. That it fails is no failure: apt downloads what is not there.
type fetcher struct {
	*runner
	ctx   context.Context
	env   *steps.Env
	usage *usage
	poked chan struct{} // the lists may have changed
	alive *os.File      // ends when the collector does

	mu      sync.Mutex
	busy    int
	urgent  int                        // steps that wait
	changed chan struct{}              // closed and made anew when busy or urgent falls
	claims  map[string]chan struct{}   // by hash: closed when it has been tried
	begun   map[string]bool            // steps whose packages are not fetched ahead any more
	known   map[string][]steps.DebFile // what a step wants, where that was fetched ahead
	full    bool
	once    sync.Once
}

// newFetcher is nil where the plan leaves downloads to apt.
func (r *runner) newFetcher(ctx context.Context) *fetcher {
	if r.plan.Fetch == nil || !r.place.root || r.plan.Verb != "provision" {
		return nil
	}
	f := &fetcher{runner: r, ctx: ctx, poked: make(chan struct{}, 1), changed: make(chan struct{}), claims: map[string]chan struct{}{}, begun: map[string]bool{}, known: map[string][]steps.DebFile{},
		usage: &usage{births: r.births, cgroup: r.groups.phase(".downloads"), leaders: map[int]bool{}}}
	f.env = &steps.Env{Root: true, RunDir: string(r.dir), Out: func(string, []byte) {},
		Note: func(level, text string) { r.note("", "", level, text) }, Run: f.run}
	return f
}

// outlived ends a group of processes when its standard input does. The kernel's
// signal at a parent's death is of no use: apt-helper changes its user for a
// moment, and is not sent it any more.
const outlived = `exec 3<&0; "$@" </dev/null 3<&- & helper=$!
(read -r _ <&3; kill -9 0) & watch=$!
wait $helper; rc=$?; kill $watch; exit $rc`

// run runs a process. A download does not outlive the collector.
func (f *fetcher) run(ctx context.Context, cmd *exec.Cmd, _ bool) error {
	if cmd.Args[0] == "nice" {
		cmd.Args = append([]string{"sh", "-c", outlived, "sh", cmd.Path}, cmd.Args[1:]...)
		cmd.Path, cmd.Stdin = "/bin/sh", f.alive
	}
	return f.usage.run(ctx, cmd, false)
}

// start begins to fetch ahead; stop ends all downloads and removes what came in
// part.
func (r *runner) startFetching() (stop func()) {
	ctx, cancel := context.WithCancel(r.ctx)
	r.fetch = r.newFetcher(ctx)
	f := r.fetch
	if f == nil {
		return cancel
	}
	var held *os.File
	var err error
	if f.alive, held, err = os.Pipe(); err != nil {
		r.fetch = nil
		return cancel
	}
	steps.Sweep("") // of runs that were killed
	done := make(chan struct{})
	go func() {
		defer close(done)
		if r.plan.Fetch.Ahead && !r.plan.Sequential {
			f.ahead()
		}
	}()
	if steps.ListsFresh(f.env) {
		f.poke()
	}
	return func() {
		cancel()
		<-done
		held.Close()
		f.alive.Close()
		steps.Sweep(r.plan.RunID)
		f.usage.cgroup.remove()
	}
}

// poke has those steps looked at again whose packages nobody knew.
func (f *fetcher) poke() {
	select {
	case f.poked <- struct{}{}:
	default:
	}
}

// stepEnded pokes when a step may have brought lists.
func (f *fetcher) stepEnded(s *wire.Step) {
	if f != nil && s.Packages == nil && changesPackages(s) {
		f.poke()
	}
}

// ahead fetches for one step after the other, in the plan's order.
func (f *fetcher) ahead() {
	for {
		select {
		case <-f.poked:
		case <-f.ctx.Done():
			return
		}
		for i := range f.plan.Phases {
			ph := &f.plan.Phases[i]
			for k := range ph.Steps {
				if s := &ph.Steps[k]; s.Packages != nil && s.Skip == "" && f.ctx.Err() == nil {
					f.stepAhead(ph, s)
				}
			}
		}
	}
}

func (f *fetcher) stepAhead(ph *wire.Phase, s *wire.Step) {
	id := ph.ID + "/" + s.Name
	f.mu.Lock()
	skip := f.begun[id] || f.full
	f.mu.Unlock()
	if skip {
		return
	}
	if s.When != "" {
		env := *f.env
		env.Phase, env.PhaseDir = ph, "/nonexistent"
		if yes, _, err := steps.Holds(f.ctx, &env, s.When, s.As); !yes || err != nil {
			return // asked again at the next poke
		}
	}
	list, err := steps.Wanted(f.ctx, f.env, s.Packages)
	if err != nil {
		return
	}
	f.mu.Lock()
	late := f.begun[id] // its step has begun meanwhile, and asks for itself
	if !late {
		f.begun[id], f.known[id] = true, list
	}
	f.mu.Unlock()
	if !late {
		f.get(f.ctx, ph.ID, id, list, false)
	}
}

// now fetches what a step is about to install, and returns when all that has
// been tried.
func (f *fetcher) now(ctx context.Context, p *phaseRun, id string, want *wire.Packages) {
	f.mu.Lock()
	list, known := f.known[id]
	delete(f.known, id) // who asks again has newer lists
	f.begun[id] = true
	f.urgent++
	f.mu.Unlock()
	f.once.Do(f.poke) // the step has seen to the lists
	done := make(chan struct{})
	go func() {
		defer close(done)
		var err error
		if !known {
			list, err = steps.Wanted(ctx, f.env, want)
		}
		if err == nil {
			f.get(ctx, p.ph.ID, id, list, true)
		}
		f.mu.Lock()
		f.urgent--
		f.wake()
		f.mu.Unlock()
	}()
	select {
	case <-done:
		return
	case <-time.After(100 * time.Millisecond): // not worth an event
	}
	if ctx.Err() == nil {
		p.wait(id, wire.Wait{For: wire.WaitDownloads})
		defer p.wait(id, wire.Wait{For: wire.WaitDownloads, Done: true})
	}
	<-done
}

// get downloads what of a list is not there yet, and waits for what others are
// downloading.
func (f *fetcher) get(ctx context.Context, phase, step string, list []steps.DebFile, urgent bool) {
	var mu sync.Mutex
	var got wire.Fetched
	var first, last int64
	var workers sync.WaitGroup
	for range f.plan.Fetch.Parallel {
		workers.Go(func() {
			for f.slot(ctx, urgent) {
				batch := f.claim(list)
				began := boottime()
				came := f.load(ctx, batch)
				f.free()
				mu.Lock()
				if len(came) > 0 {
					if got.Files == 0 || began < first {
						first = began
					}
					last = max(last, boottime())
				}
				for _, d := range came {
					got.Files, got.Bytes = got.Files+1, got.Bytes+d.Size
				}
				mu.Unlock()
				if len(batch) == 0 {
					return
				}
			}
		})
	}
	workers.Wait()
	for _, d := range list {
		f.mu.Lock()
		tried := f.claims[d.SHA256]
		f.mu.Unlock()
		if tried == nil {
			return // the run ends
		}
		select {
		case <-tried:
		case <-ctx.Done():
			return
		}
	}
	if got.Files > 0 {
		got.Elapsed, got.Ahead = time.Duration(last-first), !urgent
		f.event(&wire.Event{Kind: wire.KindFetched, Phase: phase, Step: step, Fetched: &got})
	}
}

// slot waits for leave to run one more process; false when ctx has ended.
func (f *fetcher) slot(ctx context.Context, urgent bool) bool {
	for {
		f.mu.Lock()
		free, changed := f.busy < f.width() && (urgent || f.urgent == 0), f.changed
		if free && ctx.Err() == nil {
			f.busy++
		}
		f.mu.Unlock()
		if ctx.Err() != nil || free {
			return free && ctx.Err() == nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// width is how many processes may run, by the host's memory.
func (f *fetcher) width() int {
	if f.facts.MemoryMB < smallHostMB || host.AvailableMB("/") < lowMemoryMB {
		return 1
	}
	return f.plan.Fetch.Parallel
}

func (f *fetcher) free() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy--
	f.wake()
}

// wake has those that wait for a slot look again; mu is held.
func (f *fetcher) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// claim takes the next files of a list that nobody has taken.
func (f *fetcher) claim(list []steps.DebFile) (batch []steps.DebFile) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var bytes int64
	for _, d := range list {
		if f.claims[d.SHA256] != nil || len(batch) > 0 && bytes+d.Size > batchBytes {
			continue
		}
		f.claims[d.SHA256] = make(chan struct{})
		batch = append(batch, d)
		if bytes += d.Size; len(batch) == batchFiles {
			break
		}
	}
	return batch
}

// load has a batch downloaded, but for what is there, and lets go of it.
func (f *fetcher) load(ctx context.Context, batch []steps.DebFile) []steps.DebFile {
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, d := range batch {
			close(f.claims[d.SHA256])
		}
	}()
	missing := slices.DeleteFunc(slices.Clone(batch), func(d steps.DebFile) bool { return d.There(f.env) })
	if len(missing) == 0 {
		return nil
	}
	var bytes int64
	for _, d := range missing {
		bytes += d.Size
	}
	if !steps.RoomFor(f.env, bytes) {
		f.noRoom()
		return nil
	}
	came, err := steps.Load(ctx, f.env, missing, f.plan.Fetch.Timeout)
	if err != nil && ctx.Err() == nil {
		f.note("", "", "info", "some packages were not downloaded ahead, apt will do it: "+err.Error())
	}
	return came
}

func (f *fetcher) noRoom() {
	f.mu.Lock()
	first := !f.full
	f.full = true
	f.mu.Unlock()
	if first {
		f.note("", "", "info", "packages are not downloaded ahead any more: less than 3 GiB or a tenth of the disk would be left free")
	}
}
