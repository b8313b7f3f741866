//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// reserve is how much room a journal keeps ahead of itself, so that a full disk
// can still be reported.
const reserve = 1 << 20

// errFull says that the disk is full: only what must be told is written now,
// into the reserve.
var errFull = errors.New("the disk of the host is full")

// journal appends events to a file. Whoever has its lock is the run.
type journal struct {
	mu    sync.Mutex
	f     *os.File
	n     int64
	size  int64
	held  int64 // bytes of the disk that are ours
	base  int64 // boottime of T = 0
	mask  *wire.Masker
	err   error                         // sticky: errFull, or what a write said
	watch func(e *wire.Event, at int64) // told of every event that is not output
	ring  *ring                         // of a journal that has a bound
	told  *told                         // who follows in this process; nil: nobody does
}

// create makes the journal of a new run under a name of its own, locks it and
// reserves its room; publish gives it its name.
func createJournal(d runDir) (*journal, error) {
	f, err := os.OpenFile(d.journal()+".new", os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	j := &journal{f: f, base: boottime()}
	if ok, err := flock(f, unix.LOCK_EX); err != nil || !ok {
		return nil, errors.Join(err, f.Close())
	}
	if err := j.hold(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return j, nil
}

func (j *journal) publish(d runDir) error { return os.Rename(j.f.Name(), d.journal()) }

// openJournal continues a journal that another wrote; f has its lock. It cuts off a line that a dying writer left unfinished.
func openJournal(f *os.File) (j *journal, first, last *wire.Event, err error) {
	j = &journal{f: f}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, nil, nil, err
	}
	r := wire.NewReader(f)
	for {
		line, e, err := r.Next()
		if err == io.EOF || err == io.ErrUnexpectedEOF || errors.Is(err, wire.ErrHostile) {
			break
		}
		if err != nil {
			return nil, nil, nil, err
		}
		if first == nil {
			first = &e
		}
		last, j.n, j.size = &e, e.N, j.size+int64(len(line))+1
	}
	if first == nil || first.Start == nil {
		return nil, nil, nil, fmt.Errorf("journal %s does not begin with a start", f.Name())
	}
	// Wall clocks may jump; within one boot the distance of two boottimes does not.
	j.base = boottime() - last.T
	return j, first, last, f.Truncate(j.size)
}

// hold keeps reserve bytes ahead of the journal's end. A file system that
// cannot is no reason to refuse a run.
func (j *journal) hold() error {
	if j.held-j.size >= reserve {
		return nil
	}
	err := unix.Fallocate(int(j.f.Fd()), unix.FALLOC_FL_KEEP_SIZE, j.size, 2*reserve)
	switch {
	case err == nil:
		j.held = j.size + 2*reserve
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return errFull
	default:
		j.held = 1 << 62
	}
	return nil
}

// append numbers, stamps, masks and writes an event. Once the disk is full,
// output is dropped and everything else goes into the reserve; the error says
// so each time, because no step may begin then.
func (j *journal) append(e *wire.Event) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.mask != nil {
		maskEvent(j.mask, e)
	}
	if j.err == nil {
		j.turn()
		j.err = j.hold()
	}
	if j.err != nil && e.IsOutput() {
		return j.err
	}
	now := boottime()
	e.N, e.T = j.n+1, now-j.base
	line, err := wire.Encode(e)
	if err != nil {
		return err
	}
	if err := j.write(line); err != nil {
		j.err = err
		return err
	}
	j.n = e.N
	j.told.grown(e)
	if j.watch != nil && !e.IsOutput() {
		j.watch(e, now)
	}
	return j.err
}

// write appends a whole line or nothing.
func (j *journal) write(line []byte) error {
	n, err := j.f.WriteAt(line, j.size)
	if err == nil {
		j.size += int64(n)
		return nil
	}
	if terr := j.f.Truncate(j.size); terr != nil {
		return errors.Join(err, terr)
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return errFull
	}
	return fmt.Errorf("journal: %w", err)
}

// sync has everything appended so far on the disk.
func (j *journal) sync() error { return j.f.Sync() }

// broken is nil while the journal keeps everything.
func (j *journal) broken() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// quiet says that nothing more comes.
func (j *journal) quiet() { j.told.over() }

// close gives the reserve back and syncs. The lock goes with the descriptor.
func (j *journal) close() error {
	return errors.Join(j.f.Truncate(j.size), j.f.Sync(), j.f.Close())
}

// lineNumber reads number and class from a line that Encode made, without
// decoding it.
func lineNumber(line []byte) (n int64, output bool, end bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"n":`))
	for ok && len(rest) > 0 && rest[0] >= '0' && rest[0] <= '9' {
		n, rest = n*10+int64(rest[0]-'0'), rest[1:]
	}
	return n, bytes.HasPrefix(rest, []byte(`,"k":"out"`)), bytes.HasPrefix(rest, []byte(`,"k":"end"`))
}
