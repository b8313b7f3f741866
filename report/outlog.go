package report

import (
	"bytes"
	"io"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// outLog writes output events as a log for people: clean text, each line led
// by its step and by "|" for stdout or "!" for stderr. It looks at nothing but
// the output events and their order, so however status events came in between,
// the log is the same.
type outLog struct {
	w       io.Writer
	streams map[string]*cleaner
	open    string // the stream whose line has no end yet
	text    []byte
	line    []byte
}

const maxStreams = 2 * maxSteps

func newOutLog(w io.Writer) *outLog { return &outLog{w: w, streams: map[string]*cleaner{}} }

func (l *outLog) add(e *wire.Event) error {
	if e.Output == nil {
		return nil
	}
	prefix := outPrefix(e)
	c := l.streams[prefix]
	if c == nil {
		if len(l.streams) >= maxStreams {
			clear(l.streams)
		}
		c = &cleaner{}
		l.streams[prefix] = c
	}
	l.text = c.clean(l.text[:0], []byte(e.Output.Text))
	l.text = c.clean(l.text, e.Output.Bytes)
	if len(l.text) == 0 {
		return nil
	}
	_, err := l.w.Write(l.prefixed(prefix, l.text))
	return err
}

func outPrefix(e *wire.Event) string {
	place := e.Step
	if place == "" {
		place = e.Phase
	}
	if place == "" {
		place = "-"
	}
	mark := " | "
	if e.Output.Stream == "stderr" {
		mark = " ! "
	}
	return cleanLine(place) + mark
}

// prefixed puts the prefix before each line of text. A line that another
// stream left open is ended first.
func (l *outLog) prefixed(prefix string, text []byte) []byte {
	l.line = l.line[:0]
	if l.open != "" && l.open != prefix {
		l.line = append(l.line, '\n')
		l.open = ""
	}
	for len(text) > 0 {
		if l.open == "" {
			l.line = append(l.line, prefix...)
		}
		end := bytes.IndexByte(text, '\n')
		if end < 0 {
			l.open = prefix
			return append(l.line, text...)
		}
		l.line, text, l.open = append(l.line, text[:end+1]...), text[end+1:], ""
	}
	return l.line
}

// finish ends the last line.
func (l *outLog) finish() error {
	if l.open == "" {
		return nil
	}
	l.open = ""
	_, err := l.w.Write([]byte("\n"))
	return err
}
