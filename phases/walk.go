package phases

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// walker reads a phase.yaml strictly: every node is taken by exactly one of its
// methods, and what does not fit becomes a problem with its place.
type walker struct {
	file     string   // as problems name it
	lines    []string // of the file, to find columns inside blocks
	problems *Problems
}

// parse gives the one document of a YAML file, nil after a problem.
func (w *walker) parse(text []byte) *yaml.Node {
	w.lines = strings.Split(string(text), "\n")
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			w.problems.add(Problem{File: w.file, Text: "the file is empty", Hint: "it starts with schema: 1"})
			return nil
		}
		w.syntax(err)
		return nil
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		if err != nil {
			w.syntax(err)
			return nil
		}
		w.fail(&second, "one file, one phase", "a second YAML document")
	}
	if len(doc.Content) != 1 {
		w.fail(&doc, "", "not a phase")
		return nil
	}
	return doc.Content[0]
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

// syntax turns the parser's error into a problem; it knows lines alone.
func (w *walker) syntax(err error) {
	line, text := 1, err.Error()
	if m := yamlLine.FindStringSubmatch(strings.ReplaceAll(text, "\n", " ")); m != nil {
		text = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
	}
	w.problems.add(Problem{File: w.file, Line: line, Col: 1, Text: "not YAML: " + text})
}

func (w *walker) fail(n *yaml.Node, hint, format string, args ...any) {
	w.problems.add(Problem{File: w.file, Line: max(n.Line, 1), Col: max(n.Column, 1), Text: fmt.Sprintf(format, args...), Hint: hint})
}

// failIn is fail for a place inside the text of a scalar; line and col count
// from 1 in that text.
func (w *walker) failIn(n *yaml.Node, line, col int, hint, format string, args ...any) {
	at := Problem{File: w.file, Line: n.Line + line - 1, Col: col, Text: fmt.Sprintf(format, args...), Hint: hint}
	switch {
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		at.Line++
		at.Col += w.indent(n.Line)
	case line == 1:
		at.Col += n.Column - 1
		if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
			at.Col++
		}
	}
	w.problems.add(at)
}

// indent of a block that begins after line.
func (w *walker) indent(line int) int {
	for _, l := range w.lines[min(line, len(w.lines)):] {
		if t := strings.TrimLeft(l, " "); strings.TrimRight(t, "\r") != "" {
			return len(l) - len(t)
		}
	}
	return 0
}

// entry is a key of a mapping with its value.
type entry struct {
	key   string
	at    *yaml.Node // the key
	value *yaml.Node
}

// entries reads a mapping. Keys that are no strings, come twice or are merged
// in are problems. ok is false when n is no mapping.
func (w *walker) entries(n *yaml.Node, what string) (list []entry, ok bool) {
	if n.Kind != yaml.MappingNode {
		w.wrong(n, what, "a mapping (key: value)")
		return nil, false
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case k.Kind != yaml.ScalarNode || k.ShortTag() != "!!str":
			w.fail(k, "", "%s: a key must be a word", what)
		case seen[k.Value]:
			w.fail(k, "", "%s: %q is there twice", what, k.Value)
		case v.Kind == yaml.AliasNode:
			w.fail(v, "write it out", "%s: aliases are not read", what)
		default:
			seen[k.Value] = true
			list = append(list, entry{k.Value, k, v})
		}
	}
	return list, true
}

// later are the keys of the format that this release does not have yet, with
// the sentence that refuses them.
type later map[string]string

// mapping reads a mapping whose keys are known.
func (w *walker) mapping(n *yaml.Node, what string, known []string, not later) map[string]*yaml.Node {
	list, _ := w.entries(n, what)
	m := map[string]*yaml.Node{}
	for _, e := range list {
		switch {
		case slices.Contains(known, e.key):
			m[e.key] = e.value
		case not[e.key] != "":
			w.fail(e.at, "", "%s: %s", what, not[e.key])
		default:
			hint := didYouMean(e.key, known)
			if hint == "" {
				hint = "known: " + strings.Join(known, ", ")
			}
			w.fail(e.at, hint, "%s: unknown key %q", what, e.key)
		}
	}
	return m
}

// wrong reports a node that is not what was wanted.
func (w *walker) wrong(n *yaml.Node, what, wanted string) {
	got := ""
	switch n.Kind {
	case yaml.MappingNode:
		got = "a mapping"
	case yaml.SequenceNode:
		got = "a list"
	case yaml.AliasNode:
		w.fail(n, "write it out", "%s: aliases are not read", what)
		return
	case yaml.ScalarNode:
		switch n.ShortTag() {
		case "!!null":
			got = "nothing"
		case "!!str":
			got = fmt.Sprintf("%q", n.Value)
		default:
			got = n.Value
		}
	}
	hint := ""
	if n.Kind == yaml.ScalarNode && strings.HasPrefix(wanted, "text") && n.ShortTag() != "!!null" {
		hint = fmt.Sprintf("quote it: %q", n.Value)
	}
	w.fail(n, hint, "%s: wanted %s, got %s", what, wanted, got)
}

// str reads a text; ok is false after a problem.
func (w *walker) str(n *yaml.Node, what string) (s string, ok bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		w.wrong(n, what, "text")
		return "", false
	}
	if i := strings.IndexByte(n.Value, 0); i >= 0 {
		w.fail(n, "", "%s: a NUL byte", what)
		return "", false
	}
	return n.Value, true
}

// word is str for what must not be empty nor span lines.
func (w *walker) word(n *yaml.Node, what string) (s string, ok bool) {
	s, ok = w.str(n, what)
	if ok && (strings.TrimSpace(s) == "" || strings.ContainsAny(s, "\r\n")) {
		w.fail(n, "", "%s: wanted one line of text", what)
		return "", false
	}
	return s, ok
}

// list gives the items of a sequence.
func (w *walker) list(n *yaml.Node, what string) []*yaml.Node {
	if n.Kind != yaml.SequenceNode {
		w.wrong(n, what, "a list")
		return nil
	}
	items := n.Content[:0:0]
	for _, item := range n.Content {
		if item.Kind == yaml.AliasNode {
			w.wrong(item, what, "")
			continue
		}
		items = append(items, item)
	}
	return items
}

// words reads a list of words, none of them twice.
func (w *walker) words(n *yaml.Node, what string) []string {
	var list []string
	for _, item := range w.list(n, what) {
		s, ok := w.word(item, what)
		if ok && slices.Contains(list, s) {
			w.fail(item, "", "%s: %q is there twice", what, s)
			continue
		}
		if ok {
			list = append(list, s)
		}
	}
	return list
}

func (w *walker) boolean(n *yaml.Node, what string) bool {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
		w.wrong(n, what, "true or false")
		return false
	}
	return n.Value == "true" || n.Value == "True" || n.Value == "TRUE"
}

// number reads a whole number from low to high.
func (w *walker) number(n *yaml.Node, what string, low, high int) int {
	wanted := fmt.Sprintf("a whole number from %d to %d", low, high)
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" {
		w.wrong(n, what, wanted)
		return low
	}
	i, err := strconv.Atoi(n.Value)
	if err != nil || i < low || i > high {
		w.wrong(n, what, wanted)
		return low
	}
	return i
}

// duration reads a duration of at least a millisecond and at most a week.
func (w *walker) duration(n *yaml.Node, what string) time.Duration {
	const wanted = "a duration such as 90s, 5m or 1h30m"
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		w.wrong(n, what, wanted)
		return 0
	}
	d, err := time.ParseDuration(n.Value)
	if err != nil || d < time.Millisecond || d > 7*24*time.Hour {
		w.wrong(n, what, wanted)
		return 0
	}
	return d
}

var sizeText = regexp.MustCompile(`^(\d{1,9})(MiB|GiB|TiB|MB|GB|TB)$`)

// mebibytes reads a size and rounds it up to MiB.
func (w *walker) mebibytes(n *yaml.Node, what string) int {
	m := sizeText.FindStringSubmatch(n.Value)
	if n.Kind != yaml.ScalarNode || m == nil {
		w.wrong(n, what, "a size such as 1800MiB or 10GiB")
		return 0
	}
	unit := map[string]int64{"MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40, "MB": 1e6, "GB": 1e9, "TB": 1e12}[m[2]]
	count, _ := strconv.ParseInt(m[1], 10, 64) // nine digits fit
	if count > 1<<62/unit {
		w.wrong(n, what, "a size such as 1800MiB or 10GiB")
		return 0
	}
	return int((count*unit + 1<<20 - 1) >> 20)
}
