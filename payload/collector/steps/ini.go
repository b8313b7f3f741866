//go:build linux

package steps

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// iniLine is one line of an ini-like file, its end included. All but what a key
// asks for is written back as it was read.
type iniLine struct {
	text    string
	section string
	key     string // "" when the line is none "key = value"
	off     string // the key that this line has as a comment, "#key=value"
	head    bool   // "[section]"
	more    bool   // belongs to the value in the line before
	odd     bool   // none of all these
}

// parseINI reads lines of the kinds [section], key = value, comments (# or ;),
// and lines that go on with a value: after a backslash, or deeper than their
// key and without a = of their own.
func parseINI(text string) []iniLine {
	var lines []iniLine
	section, depth, open := "", -1, false
	for raw := range strings.Lines(strings.TrimPrefix(text, bom)) {
		l := iniLine{text: raw}
		body := strings.TrimSpace(raw)
		indent := len(raw) - len(strings.TrimLeft(raw, " \t"))
		name, isKey := iniKey(body)
		switch {
		case open:
			l.more = true
		case body == "":
			depth = -1
		case body[0] == '#' || body[0] == ';':
			l.off, _ = iniKey(strings.TrimLeft(body, "#; \t"))
		case body[0] == '[' && strings.Contains(body, "]"):
			section, _, _ = strings.Cut(body[1:], "]")
			section, depth, l.head = strings.TrimSpace(section), -1, true
		case isKey:
			l.key, depth = name, indent
		case depth >= 0 && indent > depth && !strings.Contains(body, "="):
			l.more = true
		default:
			l.odd = true
		}
		open = (l.key != "" || l.more) && strings.HasSuffix(body, `\`)
		l.section = section
		lines = append(lines, l)
	}
	return lines
}

const bom = "\ufeff"

func iniKey(body string) (string, bool) {
	key, _, ok := strings.Cut(body, "=")
	key = strings.TrimSpace(key)
	return key, ok && key != ""
}

// value of a key's line, without the lines that go on with it.
func (l iniLine) value() string {
	_, v, _ := strings.Cut(l.text, "=")
	return strings.TrimSpace(v)
}

// with is the line with another value; what stands before that stays.
func (l iniLine) with(value string) string {
	at := strings.IndexByte(l.text, '=') + 1
	rest := l.text[at:]
	body := strings.TrimRight(rest, "\r\n")
	gap := body[:len(body)-len(strings.TrimLeft(body, " \t"))]
	if gap == body && gap != "" { // an empty value: the blanks are none of the style's
		gap = gap[:1]
	}
	return l.text[:at] + gap + value + rest[len(body):]
}

// editKeys sets or removes keys of an ini-like file. Of lines that name one key
// twice in a section, which programs read differently, the first is kept.
// changed names what differed, without values.
func editKeys(content []byte, keys []wire.Key) (out []byte, changed []string, err error) {
	text := string(content)
	if strings.ContainsRune(text, 0) {
		return nil, nil, failf("", "is not a text file: no keys can be set in it")
	}
	f, changed, err := editINI(text, keys)
	if err != nil {
		return nil, nil, err
	}
	// Lines that belong to nothing can come to mean something else beside an
	// edited one. What does not read back as it was written is not written.
	if again, more, err := editINI(f.String(), keys); err != nil || len(more) > 0 || again.String() != f.String() {
		return nil, nil, failf("", "is no ini file that can be edited safely: it would read otherwise than it was meant")
	}
	return []byte(f.String()), changed, nil
}

func editINI(text string, keys []wire.Key) (*iniFile, []string, error) {
	if strings.HasSuffix(strings.TrimRight(text, "\r\n"), "\\") {
		return nil, nil, failf("", "ends in the middle of a continued line: no keys can be set in it")
	}
	f := &iniFile{lines: parseINI(text), eol: "\n", mark: strings.HasPrefix(text, bom)}
	if len(f.lines) > 0 && strings.HasSuffix(f.lines[0].text, "\r\n") {
		f.eol = "\r\n"
	}
	var changed []string
	for _, k := range keys {
		if did := f.set(k); did != "" {
			changed = append(changed, did)
		}
	}
	return f, changed, nil
}

type iniFile struct {
	lines []iniLine
	eol   string
	mark  bool // begins with a byte order mark
}

func (f *iniFile) String() string {
	var s strings.Builder
	if f.mark {
		s.WriteString(bom)
	}
	for _, l := range f.lines {
		s.WriteString(l.text)
	}
	return s.String()
}

func iniName(k wire.Key) string {
	if k.Section == "" {
		return k.Name
	}
	return "[" + k.Section + "] " + k.Name
}

// set makes one key as wanted, and says what it changed.
func (f *iniFile) set(k wire.Key) string {
	at := f.find(k)
	switch {
	case k.Absent && len(at) == 0:
		return ""
	case k.Absent:
		f.drop(at)
		return iniName(k) + " is removed"
	case len(at) == 0:
		f.insert(k)
		return iniName(k) + " was not there"
	}
	first := &f.lines[at[0]]
	same := first.value() == strings.TrimSpace(k.Value) && !f.goesOn(at[0])
	if same && len(at) == 1 {
		return ""
	}
	if !same {
		f.dropMore(at[0])
		first.text = first.with(k.Value)
	}
	f.drop(f.find(k)[1:])
	switch {
	case same:
		return fmt.Sprintf("%s was there %d times", iniName(k), len(at))
	case len(at) > 1:
		return fmt.Sprintf("%s had another value and was there %d times", iniName(k), len(at))
	}
	return iniName(k) + " had another value"
}

func (f *iniFile) find(k wire.Key) (at []int) {
	for i, l := range f.lines {
		if l.key == k.Name && l.section == k.Section {
			at = append(at, i)
		}
	}
	return at
}

func (f *iniFile) goesOn(i int) bool { return i+1 < len(f.lines) && f.lines[i+1].more }

// dropMore removes the lines that go on with the value of line i. A last line
// without an end keeps having none.
func (f *iniFile) dropMore(i int) {
	for f.goesOn(i) {
		f.remove(i + 1)
	}
}

func (f *iniFile) drop(at []int) {
	for _, i := range slices.Backward(at) {
		f.dropMore(i)
		f.remove(i)
	}
}

func (f *iniFile) remove(i int) { f.lines = slices.Delete(f.lines, i, i+1) }

// insert puts a new key behind the comment that shows it, else behind the last
// key of its section, else behind the section's head, which is made if need be.
func (f *iniFile) insert(k wire.Key) {
	behind, style, found := -1, "=", k.Section == ""
	comment := -1
	for i, l := range f.lines {
		if l.key != "" && style == "=" && strings.Contains(l.text, " = ") {
			style = " = "
		}
		if l.section != k.Section {
			continue
		}
		found = true
		switch {
		case l.off == k.Name && (i+1 == len(f.lines) || !f.lines[i+1].odd):
			comment = i
		case l.head || l.key != "" || l.more || l.odd: // an odd line could be taken for the new key's rest
			behind = i
		}
	}
	if comment >= 0 {
		behind = comment
	}
	line := iniLine{text: k.Name + style + k.Value + f.eol, section: k.Section, key: k.Name}
	if !found {
		f.newSection(k.Section)
		behind = len(f.lines) - 1
	}
	if behind < 0 && k.Section == "" {
		behind = f.preamble()
	}
	f.end(behind)
	f.lines = slices.Insert(f.lines, behind+1, line)
}

// preamble is the last line of the comment a file begins with.
func (f *iniFile) preamble() int {
	last := -1
	for i, l := range f.lines {
		if l.head || l.key != "" || l.section != "" {
			break
		}
		last = i
	}
	if last+1 < len(f.lines) { // a section's own comment stays with it
		for last >= 0 && strings.TrimSpace(f.lines[last].text) != "" {
			last--
		}
	}
	return last
}

func (f *iniFile) newSection(name string) {
	if n := len(f.lines); n > 0 {
		f.end(n - 1)
		if strings.TrimSpace(f.lines[n-1].text) != "" {
			f.lines = append(f.lines, iniLine{text: f.eol})
		}
	}
	f.lines = append(f.lines, iniLine{text: "[" + name + "]" + f.eol, section: name, head: true})
}

// end gives the file's last line an end, for another to follow.
func (f *iniFile) end(i int) {
	if i >= 0 && i < len(f.lines) && !strings.HasSuffix(f.lines[i].text, "\n") {
		f.lines[i].text += f.eol
	}
}
