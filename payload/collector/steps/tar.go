//go:build linux

package steps

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// tarReader reads tar archives as GNU tar, bsdtar and Go write them: ustar with
// pax or GNU headers for long names. Package archive/tar, which also writes and
// knows sparse files, would be 30 KB more of the collector.
type tarReader struct {
	r    io.Reader
	left int64 // of the file that is read, with the padding behind it
	size int64 // of it, without
}

// member kinds of tar, and those that say something of the next member.
const (
	tarFile, tarHard, tarSymlink, tarFolder = '0', '1', '2', '5'
	tarPax, tarPaxGlobal                    = 'x', 'g'
	tarLongName, tarLongLink                = 'L', 'K'
)

// tarMember is a file of an archive, nothing of it judged.
type tarMember struct {
	name, link string
	kind       byte
	mode, size int64
}

const (
	tarBlock   = 512
	mostHeader = 1 << 20 // bytes of a pax or GNU header
)

var errTar = errors.New("it is no tar archive, or damaged")

// next goes to the next member. The error is io.EOF behind the last one.
func (t *tarReader) next() (*tarMember, error) {
	m := tarMember{size: -1}
	for {
		if _, err := io.CopyN(io.Discard, t.r, t.left); err != nil {
			return nil, cutOff(err)
		}
		t.left, t.size = 0, 0
		h, err := t.header()
		if err != nil {
			return nil, err
		}
		switch h.kind {
		case tarPax, tarPaxGlobal, tarLongName, tarLongLink:
			text, err := t.text()
			if err == nil {
				err = m.more(h.kind, text)
			}
			if err != nil {
				return nil, err
			}
		default:
			return t.whole(h, &m)
		}
	}
}

// whole joins a member's header with what came before it.
func (t *tarReader) whole(h, more *tarMember) (*tarMember, error) {
	if more.name != "" {
		h.name = more.name
	}
	if more.link != "" {
		h.link = more.link
	}
	if more.size >= 0 {
		h.size = more.size
		t.holds(h.size)
	}
	if h.kind == 0 || h.kind == '7' {
		h.kind = tarFile
	}
	if h.kind == tarFile && strings.HasSuffix(h.name, "/") { // before ustar folders had no kind
		h.kind = tarFolder
	}
	if h.kind != tarFile { // whatever is said: no other kind has content
		t.size = 0
	}
	return h, nil
}

// holds sets how much content comes next.
func (t *tarReader) holds(size int64) {
	t.size, t.left = size, (size+tarBlock-1)/tarBlock*tarBlock
}

// header reads a block that is not the end.
func (t *tarReader) header() (*tarMember, error) {
	b := make([]byte, tarBlock)
	if _, err := io.ReadFull(t.r, b); err != nil {
		return nil, err // io.EOF: some archives have no end
	}
	if bytes.Count(b, []byte{0}) == tarBlock {
		return nil, io.EOF
	}
	sum, err := tarNumber(b[148:156])
	if err != nil || sum != tarSum(b) {
		return nil, errTar
	}
	m := &tarMember{name: tarText(b[:100]), link: tarText(b[157:257]), kind: b[156]}
	if string(b[257:263]) == "ustar\x00" && b[345] != 0 {
		m.name = tarText(b[345:500]) + "/" + m.name
	}
	var err1, err2 error
	m.mode, err1 = tarNumber(b[100:108])
	m.size, err2 = tarNumber(b[124:136])
	if err1 != nil || err2 != nil || m.size < 0 || m.size > math.MaxInt64-tarBlock {
		return nil, errTar
	}
	if m.kind == tarHard || m.kind == tarSymlink || m.kind == tarFolder {
		m.size = 0 // old programs write one and no content
	}
	t.holds(m.size)
	return m, nil
}

func tarSum(b []byte) (sum int64) {
	for i, c := range b {
		if i >= 148 && i < 156 {
			c = ' '
		}
		sum += int64(c)
	}
	return sum
}

func tarText(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}

// tarNumber reads octal digits or, for large ones, bytes.
func tarNumber(b []byte) (int64, error) {
	if b[0]&0x80 == 0 {
		s := strings.Trim(tarText(b), " ")
		if s == "" {
			return 0, nil
		}
		return strconv.ParseInt(s, 8, 64)
	}
	n := int64(b[0] & 0x7f)
	for _, c := range b[1:] {
		if n > math.MaxInt64>>8 {
			return 0, errTar
		}
		n = n<<8 | int64(c)
	}
	return n, nil
}

// text reads the content of a header.
func (t *tarReader) text() (string, error) {
	if t.size > mostHeader {
		return "", errTar
	}
	b, err := io.ReadAll(t)
	return string(b), err
}

// more takes what a header says of the member behind it. Global ones speak of
// nothing that matters here.
func (m *tarMember) more(kind byte, text string) error {
	switch kind {
	case tarLongName:
		m.name = tarText([]byte(text))
	case tarLongLink:
		m.link = tarText([]byte(text))
	case tarPax:
		return m.pax(text)
	}
	return nil
}

// pax reads records such as "18 path=some/name\n", whose number is their length.
func (m *tarMember) pax(text string) error {
	for text != "" {
		digits, _, ok := strings.Cut(text, " ")
		n, err := strconv.Atoi(digits)
		if !ok || err != nil || n <= len(digits)+1 || n > len(text) || text[n-1] != '\n' {
			return errTar
		}
		key, value, ok := strings.Cut(text[len(digits)+1:n-1], "=")
		text = text[n:]
		switch {
		case !ok:
			return errTar
		case key == "path":
			m.name = value
		case key == "linkpath":
			m.link = value
		case key == "size":
			if m.size, err = strconv.ParseInt(value, 10, 64); err != nil || m.size < 0 || m.size > math.MaxInt64-tarBlock {
				return errTar
			}
		case strings.HasPrefix(key, "GNU.sparse."):
			return failf("pack it without --sparse", "it has sparse files, which are not unpacked")
		}
	}
	return nil
}

// Read reads the member's content.
func (t *tarReader) Read(b []byte) (int, error) {
	if t.size == 0 {
		return 0, io.EOF
	}
	n, err := t.r.Read(b[:min(int64(len(b)), t.size)])
	t.size, t.left = t.size-int64(n), t.left-int64(n)
	if err == io.EOF && t.size > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err == io.EOF && n > 0 {
		err = nil
	}
	return n, err
}

func cutOff(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: %w", errTar, err)
}
