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

// String is "file:line:col: text", without the hint.
func (p Problem) String() string {
	switch {
	case p.File != "" && p.Line > 0:
		return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Col, p.Text)
	case p.File != "":
		return p.File + ": " + p.Text
	}
	return p.Text
}

// Problems are all mistakes found at once, in the order of their places.
type Problems struct {
	List []Problem
	More int // mistakes that were counted but not kept
}

// Error has a line for each problem and, under it, its hint.
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

// maxProblems bounds what is kept of files that are wrong everywhere.
const maxProblems = 1000

func (p *Problems) add(one Problem) {
	if len(p.List) >= maxProblems {
		p.More++
		return
	}
	p.List = append(p.List, one)
}

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
	seen := map[Problem]bool{}
	p.List = slices.DeleteFunc(p.List, func(one Problem) bool {
		again := seen[one]
		seen[one] = true
		return again
	})
	return p
}

// Warning is something a user should know that stops nothing.
type Warning struct {
	Text string
	Hint string
}
