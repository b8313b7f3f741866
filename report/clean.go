package report

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// Clean makes text of a host safe for a terminal and a log: escape sequences
// go whole, C0 and C1 controls go but for newline and tab, bidi controls go,
// bytes that are not UTF-8 become U+FFFD, and a carriage return (with or
// without its line feed) becomes a newline. Cleaning twice changes nothing.
func Clean(s string) string {
	if isClean(s) {
		return s
	}
	var c cleaner
	return string(c.flush(c.clean(make([]byte, 0, len(s)), []byte(s))))
}

// cleanLine is Clean for text that must stay on one line.
func cleanLine(s string) string {
	s = Clean(s)
	if strings.ContainsAny(s, "\n\t") {
		s = strings.Join(strings.Fields(s), " ")
	}
	return s
}

func isClean(s string) bool {
	for i := 0; i < len(s); i++ {
		if !plain(s[i]) {
			return false
		}
	}
	return true
}

// plain bytes need no look at their neighbours.
func plain(b byte) bool { return b >= ' ' && b < 0x7f || b == '\n' || b == '\t' }

// cleaner is Clean for a stream that comes in pieces: cutting the stream
// elsewhere does not change what comes out.
type cleaner struct {
	state escape
	taken int     // bytes of the escape string so far
	cr    bool    // the last thing written was the newline of a carriage return
	half  [4]byte // a rune that is not complete yet
	nhalf int
}

type escape uint8

const (
	ground    escape = iota
	afterEsc         // ESC
	escInter         // ESC and intermediate bytes
	inCSI            // control sequence
	inString         // OSC, DCS, SOS, PM, APC: up to ST, BEL or the line's end
	stringEsc        // ESC within such a string
)

// longest escape string that is believed; a terminal title is shorter.
const maxEscape = 4096

// clean appends the clean form of src to dst.
func (c *cleaner) clean(dst, src []byte) []byte {
	if c.nhalf > 0 {
		src = append(bytes.Clone(c.half[:c.nhalf]), src...)
		c.nhalf = 0
	}
	for len(src) > 0 {
		if c.state == ground && !c.cr && plain(src[0]) {
			n := 1
			for n < len(src) && plain(src[n]) {
				n++
			}
			dst, src = append(dst, src[:n]...), src[n:]
			continue
		}
		if !utf8.FullRune(src) {
			c.nhalf = copy(c.half[:], src)
			return dst
		}
		r, n := utf8.DecodeRune(src)
		dst, src = c.take(dst, r), src[n:]
	}
	return dst
}

// flush appends what an unfinished rune at the stream's end stands for.
func (c *cleaner) flush(dst []byte) []byte {
	if c.nhalf > 0 {
		c.nhalf = 0
		dst = c.take(dst, utf8.RuneError)
	}
	return dst
}

func (c *cleaner) take(dst []byte, r rune) []byte {
	switch c.state {
	case afterEsc:
		return c.afterEsc(dst, r)
	case escInter:
		if r >= 0x20 && r <= 0x2f {
			return dst
		}
		c.state = ground
		if r >= 0x30 && r <= 0x7e {
			return dst
		}
	case inCSI:
		if r >= 0x20 && r <= 0x3f {
			return dst
		}
		c.state = ground
		if r >= 0x40 && r <= 0x7e {
			return dst
		}
	case inString, stringEsc:
		if c.inString(r) {
			return dst
		}
	}
	return c.ground(dst, r)
}

func (c *cleaner) afterEsc(dst []byte, r rune) []byte {
	c.state = ground
	switch {
	case r == '[':
		c.state = inCSI
	case r == ']' || r == 'P' || r == 'X' || r == '^' || r == '_':
		c.state, c.taken = inString, 0
	case r >= 0x20 && r <= 0x2f:
		c.state = escInter
	case r >= 0x30 && r <= 0x7e: // a whole two-byte sequence
	default:
		return c.ground(dst, r)
	}
	return dst
}

// inString tells whether r belongs to the string. A string that nobody ends
// must not swallow the rest of the output: a line's end ends it too.
func (c *cleaner) inString(r rune) bool {
	c.taken++
	switch {
	case r == '\n' || r == '\r' || c.taken > maxEscape:
		c.state = ground
		return false
	case r == 0x07 || r == 0x9c || c.state == stringEsc && r == '\\':
		c.state = ground
	case r == 0x1b:
		c.state = stringEsc
	default:
		c.state = inString
	}
	return true
}

func (c *cleaner) ground(dst []byte, r rune) []byte {
	switch {
	case r == '\r':
		if !c.cr {
			dst = append(dst, '\n')
		}
		c.cr = true
		return dst
	case r == '\n' && c.cr:
		c.cr = false
		return dst
	case r == 0x1b:
		c.state = afterEsc
		return dst
	case r == 0x9b:
		c.state = inCSI
		return dst
	case r == 0x90 || r == 0x98 || r == 0x9d || r == 0x9e || r == 0x9f:
		c.state, c.taken = inString, 0
		return dst
	case unseen(r):
		return dst
	}
	c.cr = false
	return utf8.AppendRune(dst, r)
}

// unseen runes move the cursor or change the order of text.
func unseen(r rune) bool {
	switch {
	case r == '\n' || r == '\t':
		return false
	case r < 0x20, r >= 0x7f && r < 0xa0, // C0, DEL, C1
		r == 0x061c, r == 0x200e, r == 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, // bidi
		r == 0x2028, r == 0x2029: // line and paragraph separators
		return true
	}
	return false
}
