//go:build linux

package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/collector/host"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// linger goes on sampling when the phases are over, for as long as the plan
// says. To be stopped is the good end of it.
func (r *runner) linger() {
	if r.plan.Linger <= 0 || r.ctx.Err() != nil {
		return
	}
	t := time.NewTimer(r.plan.Linger)
	defer t.Stop()
	select {
	case <-r.ctx.Done():
	case <-t.C:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.why != nil && r.why.Stage == "cancel" {
		r.why = nil
	}
}

func (d runDir) older() string { return d.journal() + ".1" }

// ring bounds a journal: once it holds most bytes it goes on in a new file, and
// of the files before only the last one is kept. Each begins with the run's
// start, so that each can be read alone.
type ring struct {
	d    runDir
	most int64
	head []byte // the start's line
}

func newRing(d runDir, f *os.File, most int64) (*ring, error) {
	b := make([]byte, 64<<10)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	i := bytes.IndexByte(b[:n], '\n')
	if i < 0 {
		return nil, errors.New("the run's start is not in its journal")
	}
	return &ring{d, most, b[:i+1]}, nil
}

// turn changes files when it is time to. The new one has its lock before it has
// its name: whoever looks finds the run alive. What fails is tried again with
// the next event.
func (j *journal) turn() {
	g := j.ring
	if g == nil || j.size < g.most {
		return
	}
	name := g.d.journal() + ".new"
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return
	}
	if _, err = flock(f, unix.LOCK_EX); err == nil {
		_, err = f.Write(g.head)
	}
	if err == nil {
		_ = os.Remove(g.d.older())
		if err = os.Link(g.d.journal(), g.d.older()); err == nil {
			err = os.Rename(name, g.d.journal())
		}
	}
	if err != nil {
		f.Close()
		_ = os.Remove(name)
		return
	}
	_ = j.f.Truncate(j.size) // the reserve goes back
	j.f.Close()
	j.f, j.size, j.held = f, int64(len(g.head)), 0
}

// turn has the follower go on in the file that came after its own. It reports
// whether there may be more to read.
func (fl *follower) turn(d runDir) (bool, error) {
	if sameFile(fl.f, d.journal()) {
		return false, nil
	}
	if more, err := fl.step(); more || err != nil { // what came before the file was left
		return more, err
	}
	f, err := os.Open(d.older())
	if err == nil && sameFile(fl.f, d.older()) {
		f.Close()
		f, err = os.Open(d.journal())
	}
	if err != nil {
		return false, err
	}
	fl.f.Close()
	fl.f = f
	fl.status = scanner{f: f, after: fl.status.after}
	fl.output = scanner{f: f, after: fl.output.after, output: true}
	return true, nil
}

// openFirst opens the oldest file there is of a run's journal.
func openFirst(d runDir) (*os.File, error) {
	f, err := os.Open(d.older())
	if errors.Is(err, os.ErrNotExist) {
		return os.Open(d.journal())
	}
	return f, err
}

// sampleVerb prints a start, and then samples until so many are told or nobody
// reads them. It leaves nothing on the host.
func sampleVerb(args []string, stdout *os.File) error {
	every, err := strconv.ParseInt(args[0], 10, 64)
	count, cerr := strconv.Atoi(args[1])
	if err != nil || cerr != nil || every < int64(100*time.Millisecond) {
		return fail(exitUsage, "sample: want nanoseconds, at least those of 100ms, and a number")
	}
	base := boottime()
	s := host.NewSampler("/", base)
	defer s.Close()
	e := wire.Event{Kind: wire.KindStart, Start: &wire.Start{Wire: wire.Version, Verb: "sample", Collector: ownHash(), BootID: bootID(),
		Wall: time.Now().UTC(), Interval: time.Duration(every), Phases: []wire.PhaseHead{}, Facts: host.Facts("/")}}
	fds := []unix.PollFd{{Fd: int32(stdout.Fd())}}
	for due := base; ; {
		e.N++
		line, err := wire.Encode(&e)
		if err != nil {
			return err
		}
		if err := writeAll(stdout, line); err != nil {
			return fail(exitRefused, "sample: %w", err)
		}
		if count > 0 && e.N > int64(count) {
			return nil
		}
		for due = max(due+every, boottime()); ; {
			left := (due - boottime() + int64(time.Millisecond) - 1) / int64(time.Millisecond)
			if left <= 0 {
				break
			}
			if n, err := unix.Poll(fds, int(min(left, 60_000))); n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
				return fail(exitRefused, "sample: nobody reads the samples any more")
			}
		}
		var sample wire.Sample
		now := boottime()
		s.Sample(now, &sample)
		e = wire.Event{N: e.N, Kind: wire.KindSample, T: now - base, Sample: &sample}
	}
}
