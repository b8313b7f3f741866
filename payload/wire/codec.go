package wire

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// MaxLine is the longest line a reader accepts, in bytes without the newline.
const MaxLine = 1 << 20

// ErrHostile marks a stream that breaks the wire's promises: a line over its
// bound, text that is not an event, numbers that go backwards, steps nobody
// asked for. The host behind it is not listened to any further.
var ErrHostile = errors.New("the host broke the protocol")

// Cursor is the last event of each class that has been taken from a journal.
type Cursor struct {
	Status int64 `json:"status"`
	Output int64 `json:"output"`
}

// Take moves the cursor over e. It is an error (ErrHostile) when e's number
// does not grow within its class.
func (c *Cursor) Take(e *Event) error {
	last := &c.Status
	if e.IsOutput() {
		last = &c.Output
	}
	if e.N <= *last {
		return fmt.Errorf("%w: event %d came after %d", ErrHostile, e.N, *last)
	}
	*last = e.N
	return nil
}

// Decode reads one line. Fields it does not know are ignored.
func Decode(line []byte) (Event, error) {
	var e Event
	if err := json.Unmarshal(line, &e); err != nil {
		return Event{}, fmt.Errorf("%w: not an event: %s", ErrHostile, excerpt(line))
	}
	if e.Kind == "" || e.N < 0 || e.T < 0 {
		return Event{}, fmt.Errorf("%w: an event without kind or number: %s", ErrHostile, excerpt(line))
	}
	return e, nil
}

// Encode makes the line of e, newline included.
func Encode(e *Event) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("encode event %d: %w", e.N, err)
	}
	if b.Len() > MaxLine {
		return nil, fmt.Errorf("encode event %d: line of %d bytes, at most %d", e.N, b.Len(), MaxLine)
	}
	return b.Bytes(), nil
}

// Reader reads events line by line from a stream that may be hostile. Its
// memory is bounded by MaxLine.
type Reader struct {
	br  *bufio.Reader
	buf []byte
}

// NewReader reads from r.
func NewReader(r io.Reader) *Reader { return &Reader{br: bufio.NewReaderSize(r, 64<<10)} }

// Next returns the next line, without its newline and valid until the next
// call, and the event in it. The error is io.EOF at a clean end,
// io.ErrUnexpectedEOF when the stream ends within a line, ErrHostile for a line
// that is none of the wire's.
func (r *Reader) Next() ([]byte, Event, error) {
	line, err := r.line()
	if err != nil {
		return nil, Event{}, err
	}
	e, err := Decode(line)
	return line, e, err
}

func (r *Reader) line() ([]byte, error) {
	r.buf = r.buf[:0]
	for {
		part, err := r.br.ReadSlice('\n')
		r.buf = append(r.buf, part...)
		if len(r.buf) > MaxLine {
			return nil, fmt.Errorf("%w: a line of over %d bytes", ErrHostile, MaxLine)
		}
		switch {
		case err == nil:
			return r.buf[:len(r.buf)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(r.buf) > 0:
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}

// excerpt shows the beginning of hostile bytes safely.
func excerpt(b []byte) string {
	const most = 60
	if len(b) > most {
		return fmt.Sprintf("%q…", b[:most])
	}
	return fmt.Sprintf("%q", b)
}
