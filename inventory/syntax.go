package inventory

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

var (
	yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)
	// yamlEarly are the complaints whose line the library counts from 0.
	yamlEarly  = regexp.MustCompile(`^did not find expected (<|node content|key|'-'|',')`)
	yamlAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

// syntax reports what the library says about text that is not YAML, with the
// line it means.
func (w *walker) syntax(data []byte, err error) {
	m := yamlLine.FindStringSubmatch(err.Error())
	if m == nil {
		w.add(pos{1, 1}, "", "not YAML: %s", err)
		return
	}
	text, what := string(data), m[2]
	line, _ := strconv.Atoi(m[1])
	if line == 0 || yamlEarly.MatchString(what) {
		line++
	}
	p, hint := pos{line, 1}, ""
	if lines := strings.Split(text, "\n"); line <= len(lines) {
		indent := len(lines[line-1]) - len(strings.TrimLeft(lines[line-1], " "))
		p.col = indent + 1
		if strings.HasPrefix(lines[line-1][indent:], "\t") {
			hint = "YAML is indented with spaces; this line has a tab"
		}
	}
	if a := yamlAnchor.FindStringSubmatch(what); a != nil {
		p = position(text, strings.Index(text, "*"+a[1]))
		hint = "write the value itself"
	}
	if i := oddRune(text); m[1] == "" && i >= 0 {
		p, hint = position(text, i), "an inventory is text in UTF-8"
	}
	w.add(p, hint, "not YAML: %s", what)
}

// oddRune is where text stops being UTF-8 that YAML accepts, or -1.
func oddRune(text string) int {
	for i, r := range text {
		bad := r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD")
		if bad || unicode.IsControl(r) && !strings.ContainsRune("\t\n\r\u0085", r) {
			return i
		}
	}
	return -1
}

// position is the line and column of byte i; before the text is its beginning.
func position(text string, i int) pos {
	before := text[:max(i, 0)]
	start := strings.LastIndexByte(before, '\n') + 1
	return pos{strings.Count(before, "\n") + 1, utf8.RuneCountInString(before[start:]) + 1}
}
