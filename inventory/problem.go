package inventory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake.
type Problem struct {
	File      string
	Line, Col int // from 1; 0 when the mistake has no place in the file
	Text      string
	Hint      string // what to type instead; may be empty
}

// String is `file:line:col: text`, without the hint.
func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Col, p.Text)
}

// Problems are all the mistakes of an inventory, in the order of the file.
type Problems struct {
	List []Problem
	More int // mistakes that were counted but not kept
}

// Error has a line for each mistake and, under it, its hint.
func (p *Problems) Error() string {
	var b strings.Builder
	for i, one := range p.List {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(one.String())
		if one.Hint != "" {
			b.WriteString("\n  hint: " + one.Hint)
		}
	}
	if p.More > 0 {
		fmt.Fprintf(&b, "\nand %d more", p.More)
	}
	return b.String()
}

// maxProblems bounds what is kept of a file that is wrong everywhere.
const maxProblems = 1000

// maxSuggestions bounds the searches for a name that was meant: each looks at
// every name of the file.
const maxSuggestions = 50

// pos is a place in the inventory; the zero value is none.
type pos struct{ line, col int }

// problems collects mistakes. What is said twice about one place is kept once.
type problems struct {
	file      string
	list      []Problem
	seen      map[Problem]bool
	more      int
	suggested int
}

func (c *problems) add(at pos, hint, format string, args ...any) {
	c.addFor(c.file, at, hint, fmt.Sprintf(format, args...))
}

// addFor is add for what was said elsewhere than in the file: "-e".
func (c *problems) addFor(file string, at pos, hint, text string) {
	p := Problem{File: file, Line: at.line, Col: at.col, Text: text, Hint: hint}
	switch {
	case c.seen[p]:
		return
	case len(c.list) >= maxProblems:
		c.more++
		return
	case c.seen == nil:
		c.seen = map[Problem]bool{}
	}
	c.seen[p] = true
	c.list = append(c.list, p)
}

// count grows with every mistake.
func (c *problems) count() int { return len(c.list) + c.more }

// meant is the hint for a name that nobody knows; other is used when nothing
// is near enough.
func (c *problems) meant(name string, known []string, other string) string {
	if c.suggested++; c.suggested > maxSuggestions {
		return other
	}
	return didYouMean(name, known, other)
}

func (c *problems) err() error {
	if len(c.list) == 0 {
		return nil
	}
	slices.SortStableFunc(c.list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col), cmp.Compare(a.File, b.File), cmp.Compare(a.Text, b.Text))
	})
	return &Problems{List: c.list, More: c.more}
}
