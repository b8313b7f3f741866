//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

func followVerb(p place, args []string, stdin io.Reader, stdout *os.File) error {
	var c wire.Cursor
	once := len(args) == 4 && args[3] == "--once"
	if len(args) == 4 && !once {
		return fail(exitUsage, "%s", usageText)
	}
	for i, n := range []*int64{&c.Status, &c.Output} {
		v, err := strconv.ParseInt(args[i+1], 10, 64)
		if err != nil || v < 0 {
			return fail(exitUsage, "%q is not the number of an event", args[i+1])
		}
		*n = v
	}
	d, err := p.run(args[0])
	if err != nil {
		return err
	}
	if err := follow(d, c, stdout, once, nil); err != nil || once {
		return err
	}
	return takeReport(p, newInbox(stdin, ""))
}

// follower prints a journal: what is of the status class first, output after
// it, in pieces small enough that the next status never waits long.
type follower struct {
	f      *os.File
	out    *os.File
	status scanner // reads ahead for status
	output scanner // comes behind for output
	ended  bool
}

// piece is how much output is written before status is looked for again.
const piece = 64 << 10

// follow prints the events of d after c until the run has ended and all is
// printed, or until nobody reads stdout any more (an error); with once, until
// all is printed that is there. Told is the run's own, when it is carried out in
// this process.
func follow(d runDir, c wire.Cursor, stdout *os.File, once bool, told *told) error {
	f, err := openFirst(d)
	if err != nil {
		return fail(exitNoRun, "run %s: %w", d.id(), err)
	}
	attached, err := attach(d)
	if err != nil {
		f.Close()
		return fail(exitRefused, "%w", err)
	}
	defer attached.Close()
	w := newWaker(d.journal(), stdout, told)
	defer func() { w.close() }()
	fl := &follower{f: f, out: stdout, status: scanner{f: f, after: c.Status}, output: scanner{f: f, after: c.Output, output: true}}
	defer func() { fl.f.Close() }()
	for asked := false; ; {
		more, err := fl.step()
		if err != nil {
			return fmt.Errorf("follow run %s: %w", d.id(), err)
		}
		if more {
			continue
		}
		if fl.ended {
			return nil
		}
		if more, err := fl.turn(d); err != nil {
			return fmt.Errorf("follow run %s: %w", d.id(), err)
		} else if more {
			w.close()
			w = newWaker(d.journal(), stdout, told)
			continue
		}
		if told != nil { // it would die with us
			if more, err := told.wait(); err != nil || !more {
				return err
			}
			continue
		}
		if !asked { // at once the first time: most followers of a dead run come late
			asked = true
			if err := closeDied(d); err != nil {
				return err
			}
			continue
		}
		if once {
			return nil
		}
		quiet, err := w.wait()
		if err != nil {
			return fmt.Errorf("follow run %s: %w", d.id(), err)
		}
		asked = !quiet
	}
}

// attach shows, while the file is open, that somebody follows: a guard needs to
// know.
func attach(d runDir) (*os.File, error) {
	f, err := os.OpenFile(d.attached(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("attach to run %s: %w", d.id(), err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH); err != nil {
		f.Close()
		return nil, fmt.Errorf("attach to run %s: %w", d.id(), err)
	}
	return f, nil
}

// step prints all status there is and one piece of output. It reports whether
// there may be more at once.
func (fl *follower) step() (more bool, err error) {
	for {
		b, err := fl.status.next(piece)
		if err != nil {
			return false, err
		}
		if len(b) == 0 {
			break
		}
		if err := writeAll(fl.out, b); err != nil {
			return false, err
		}
	}
	b, err := fl.output.nextUntil(piece, fl.status.at)
	if err == nil {
		err = writeAll(fl.out, b)
	}
	// Output after an end does not exist; the end is the last line.
	fl.ended = fl.status.end
	return fl.output.at < fl.status.at, err
}

func writeAll(f *os.File, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	_, err := f.Write(b)
	return err
}

// scanner collects the lines of one class from a journal that grows.
type scanner struct {
	f      *os.File
	output bool
	after  int64 // lines up to this number are skipped
	at     int64 // everything before was looked at
	end    bool  // the end event has been seen
	buf    []byte
	keep   []byte
}

// next reads on and returns whole lines of its class, about so many bytes at
// most; none when the file has no more whole lines.
func (s *scanner) next(most int) ([]byte, error) { return s.nextUntil(most, 1<<62) }

func (s *scanner) nextUntil(most int, until int64) ([]byte, error) {
	s.keep = s.keep[:0]
	for len(s.keep) < most && s.at < until {
		if s.buf == nil {
			s.buf = make([]byte, 16<<10)
		}
		n, err := s.f.ReadAt(s.buf[:min(int64(len(s.buf)), until-s.at)], s.at)
		if err != nil && err != io.EOF {
			return nil, err
		}
		used := s.take(s.buf[:n])
		s.at += int64(used)
		if used > 0 {
			continue
		}
		if n < len(s.buf) {
			break // the rest of a line is still to come
		}
		if len(s.buf) > 2*wire.MaxLine {
			return nil, errors.New("the journal has a line that is too long")
		}
		s.buf = make([]byte, 4*len(s.buf))
	}
	return s.keep, nil
}

// take looks at the whole lines in b and reports how many bytes they are.
func (s *scanner) take(b []byte) (used int) {
	for {
		i := bytes.IndexByte(b[used:], '\n')
		if i < 0 {
			return used
		}
		line := b[used : used+i+1]
		used += i + 1
		n, output, end := lineNumber(line)
		s.end = s.end || end
		if output == s.output && n > s.after {
			s.keep = append(s.keep, line...)
			s.after = n
		}
	}
}
