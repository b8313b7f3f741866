//go:build linux

package main

import (
	"bytes"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// The largest piece of output in one event, and how long a piece may wait for
// more; the last line of several waits twice as long for its end.
const (
	maxChunk   = 32 << 10
	flushAfter = 50 * time.Millisecond
)

// output turns what a step prints into events: masked, in pieces that end at
// line ends where they can.
type output struct {
	j     *journal
	phase string
	step  string

	mu      sync.Mutex
	streams [2]outStream // stdout, stderr
	timer   *time.Timer
	armed   bool
	closed  bool
}

type outStream struct {
	name  string
	mask  wire.Masking
	ready []byte // masked, not yet in an event
}

func newOutput(j *journal, phase, step string) *output {
	o := &output{j: j, phase: phase, step: step}
	for i, name := range []string{"stdout", "stderr"} {
		o.streams[i] = outStream{name: name, mask: wire.Masking{Masker: j.mask}}
	}
	return o
}

// write takes what a process printed. A full journal drops it; the process is
// not told, because its work is worth more than its words.
func (o *output) write(stream string, b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	s := &o.streams[0]
	if stream == "stderr" {
		s = &o.streams[1]
	}
	for len(b) > 0 {
		n := min(len(b), maxChunk)
		s.ready = s.mask.Write(s.ready, b[:n])
		b = b[n:]
		for len(s.ready) >= maxChunk {
			o.emit(s, cut(s.ready[:maxChunk]))
		}
	}
	if len(s.ready) > 0 && !o.armed {
		o.armed = true
		if o.timer == nil {
			o.timer = time.AfterFunc(flushAfter, o.late)
		} else {
			o.timer.Reset(flushAfter)
		}
	}
}

// late sends what has waited long enough.
func (o *output) late() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.armed = false
	if o.closed {
		return
	}
	for i := range o.streams {
		s := &o.streams[i]
		n := cut(s.ready)
		o.emit(s, n)
		o.armed = o.armed || n > 0 && len(s.ready) > 0
	}
	if o.armed { // the rest of a line waits once more, for its end
		o.timer.Reset(flushAfter)
	}
}

// close sends all that is left.
func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	o.closed = true
	if o.timer != nil {
		o.timer.Stop()
	}
	for i := range o.streams {
		s := &o.streams[i]
		s.ready = s.mask.Close(s.ready)
		for len(s.ready) > maxChunk {
			o.emit(s, cut(s.ready[:maxChunk]))
		}
		o.emit(s, len(s.ready))
	}
}

// emit makes an event of the first n ready bytes.
func (o *output) emit(s *outStream, n int) {
	if n == 0 {
		return
	}
	out := &wire.Output{Stream: s.name}
	if b := s.ready[:n]; utf8.Valid(b) {
		out.Text = string(b)
	} else {
		out.Bytes = b
	}
	// An error is kept by the journal, which the runner asks between steps.
	_ = o.j.append(&wire.Event{Kind: wire.KindOutput, Phase: o.phase, Step: o.step, Output: out})
	s.ready = s.ready[:copy(s.ready, s.ready[n:])]
}

// cut says where a full chunk is best ended: after its last line, else before
// a character that is not complete.
func cut(b []byte) int {
	if i := bytes.LastIndexByte(b, '\n'); i >= 0 {
		return i + 1
	}
	return wholeRunes(b)
}

// wholeRunes is the length of b without a character whose end has not come.
func wholeRunes(b []byte) int {
	for i := 1; i <= utf8.UTFMax && i <= len(b); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return len(b) - i
			}
			break
		}
	}
	return len(b)
}
