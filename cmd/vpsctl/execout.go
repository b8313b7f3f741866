package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/vpsctl/vpsctl/report"
)

// longestLine is how much of a line is waited for before it is broken.
const longestLine = 64 << 10

// shared lets many write to one stream, a whole piece at a time.
type shared struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *shared) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(b)
}

// lineWriter passes on whole lines, each with a prefix and clean for a
// terminal: half a line waits for its other half.
type lineWriter struct {
	w      io.Writer
	prefix string
	half   []byte
}

func (l *lineWriter) Write(b []byte) (int, error) {
	n := len(b)
	var whole bytes.Buffer
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 && len(l.half)+len(b) < longestLine {
			l.half = append(l.half, b...)
			break
		}
		part := b[:max(i, 0)]
		if i < 0 {
			part, i = b, len(b)-1
		}
		l.line(&whole, append(l.half, part...))
		l.half, b = l.half[:0], b[i+1:]
	}
	if whole.Len() == 0 {
		return n, nil
	}
	_, err := l.w.Write(whole.Bytes())
	return n, err
}

func (l *lineWriter) line(to *bytes.Buffer, text []byte) {
	to.WriteString(l.prefix)
	to.WriteString(report.Clean(string(bytes.TrimSuffix(text, []byte("\r")))))
	to.WriteByte('\n')
}

// close passes on a last line that has no end.
func (l *lineWriter) close() error {
	if len(l.half) == 0 {
		return nil
	}
	_, err := l.Write([]byte("\n"))
	return err
}

// capture keeps what is written to it: all of it, or of too much the beginning
// and the end. The zero value keeps nothing but its hash.
type capture struct {
	most int // bytes kept
	head []byte
	tail []byte // a ring once it is full
	at   int    // where the ring's oldest byte is
	size int64
	hash hash.Hash
}

func (c *capture) Write(b []byte) (int, error) {
	if c.hash == nil {
		c.hash = sha256.New()
	}
	c.hash.Write(b)
	n := len(b)
	c.size += int64(n)
	take := min(c.most/2-len(c.head), len(b))
	c.head, b = append(c.head, b[:take]...), b[take:]
	for room := c.most / 2; len(b) > 0 && room > 0; {
		if len(c.tail) < room {
			take := min(room-len(c.tail), len(b))
			c.tail, b = append(c.tail, b[:take]...), b[take:]
			continue
		}
		b = b[max(0, len(b)-room):]
		k := copy(c.tail[c.at:], b)
		c.at, b = (c.at+k)%room, b[k:]
	}
	return n, nil
}

func (c *capture) cut() int64 { return c.size - int64(len(c.head)+len(c.tail)) }

// text is what was kept, with a line that says how much is missing.
func (c *capture) text() string {
	tail := slices.Concat(c.tail[c.at:], c.tail[:c.at])
	if c.cut() == 0 {
		return strings.ToValidUTF8(string(c.head)+string(tail), "\uFFFD")
	}
	return strings.ToValidUTF8(fmt.Sprintf("%s\n[%d bytes are not kept]\n%s", c.head, c.cut(), tail), "\uFFFD")
}

func (c *capture) sum() string {
	if c.hash == nil {
		return ""
	}
	return string(c.hash.Sum(nil))
}

// kept is how much of each stream of n hosts is held in memory.
func kept(n int) int { return min(8<<20, max(64<<10, (256<<20)/(2*max(n, 1)))) }

// fold writes equal outcomes once, under the names of their hosts, in the order
// in which the first of them stands.
func fold(out, errs io.Writer, hosts []*execHost) error {
	var groups [][]*execHost
	seen := map[string]int{}
	for _, h := range hosts {
		if h.RC == nil {
			continue
		}
		key := fmt.Sprint(*h.RC) + h.out.sum() + "/" + h.err.sum()
		i, ok := seen[key]
		if !ok {
			i = len(groups)
			seen[key], groups = i, append(groups, nil)
		}
		groups[i] = append(groups[i], h)
	}
	for _, g := range groups {
		if err := foldGroup(out, errs, g); err != nil {
			return err
		}
	}
	return nil
}

func foldGroup(out, errs io.Writer, g []*execHost) error {
	names := make([]string, len(g))
	for i, h := range g {
		names[i] = h.Host
	}
	title := strings.Join(names, ", ")
	if len(g) > 1 {
		title += fmt.Sprintf(" (%d)", len(g))
	}
	if rc := *g[0].RC; rc != 0 {
		title += fmt.Sprintf(": exit %d", rc)
	}
	if _, err := fmt.Fprintf(out, "--- %s\n", title); err != nil {
		return err
	}
	for _, part := range []struct {
		w    io.Writer
		text string
	}{{out, g[0].out.text()}, {errs, g[0].err.text()}} {
		l := &lineWriter{w: part.w}
		if _, err := io.WriteString(l, part.text); err != nil {
			return err
		}
		if err := l.close(); err != nil {
			return err
		}
	}
	return nil
}
