package phases

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in a phase, or in what was asked of the phases.
type Problem struct {
	File string // "" when no file is to blame
	Line int    // from 1; 0 when the whole file is meant
	Col  int
	Text string
	Hint string
}

// String is "file:line:col: text (hint)".
func (p Problem) String() string {
	s := p.Text
	switch {
	case p.File != "" && p.Line > 0:
		s = fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Col, p.Text)
	case p.File != "":
		s = p.File + ": " + p.Text
	}
	if p.Hint != "" {
		s += " (" + p.Hint + ")"
	}
	return s
}

// Problems are all mistakes found at once, in the order of their places.
type Problems struct{ List []Problem }

// Error has one line per problem.
func (p *Problems) Error() string {
	lines := make([]string, len(p.List))
	for i, one := range p.List {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}

func (p *Problems) add(one Problem) { p.List = append(p.List, one) }

func (p *Problems) addf(hint, format string, args ...any) {
	p.add(Problem{Text: fmt.Sprintf(format, args...), Hint: hint})
}

// err is nil when there are none; else p, sorted, each problem once.
func (p *Problems) err() error {
	if len(p.List) == 0 {
		return nil
	}
	slices.SortStableFunc(p.List, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	p.List = slices.Compact(p.List)
	return p
}

// Warning is something a user should know that stops nothing.
type Warning struct {
	Text string
	Hint string
}
