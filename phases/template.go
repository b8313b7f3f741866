package phases

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"

	"gopkg.in/yaml.v3"
)

// values are what templates see while a plan is made.
type values struct {
	data    map[string]any
	plan    map[string]bool // ids of the phases in the plan
	secrets map[string]string
	needed  map[string]bool // names of the secrets that the plan uses
}

// secretText is a secret inside template data. It notices that it was printed,
// however the template got hold of it.
type secretText struct {
	name, value string
	printed     map[string]bool
}

func (s secretText) String() string {
	s.printed[s.name] = true
	return s.value
}

// place is where a template or a script stands: in a scalar of phase.yaml, or in
// a file of its own.
type place struct {
	w    *walker
	node *yaml.Node
	file string // "" = in the node
}

func (p place) fail(line, col int, hint, format string, args ...any) {
	if p.file == "" {
		p.w.failIn(p.node, line, col, hint, format, args...)
		return
	}
	at := walker{file: p.file, problems: p.w.problems}
	at.fail(&yaml.Node{Line: line, Column: col}, hint, format, args...)
}

// render gives the text of a template, and whether a secret is in it. While
// loading, ok is false and only the template's form and names are checked.
func (r *reader) render(at place, text string) (out string, secret, ok bool) {
	t, err := template.New("t").Option("missingkey=error").Parse(text)
	if err != nil {
		line, col, msg := templateError(err)
		at.fail(line, col, "", "template: %s", msg)
		return "", false, false
	}
	if !r.names(at, t, text) || r.values == nil {
		return "", false, false
	}
	printed := r.values.printed()
	clear(printed)
	var b strings.Builder
	if err := t.Execute(&b, r.values.data); err != nil {
		line, col, msg := templateError(err)
		at.fail(line, col, "", "template: %s", msg)
		return "", false, false
	}
	out = b.String()
	if strings.Contains(out, "<no value>") && !strings.Contains(text, "<no value>") {
		at.fail(1, 1, "", "template: a variable without value")
		return "", false, false
	}
	for name := range printed {
		r.values.needed[name], secret = true, true
	}
	return out, secret, true
}

// printed is where the secrets of this plan note that they were printed.
func (v *values) printed() map[string]bool {
	for _, x := range v.data {
		if s, ok := x.(secretText); ok {
			return s.printed
		}
	}
	return nil
}

// names checks that the template uses declared variables only. What stands
// inside range and with is left to the execution.
func (r *reader) names(at place, t *template.Template, text string) bool {
	fine := true
	known := slices.Clone(reserved())
	for _, v := range r.vars {
		known = append(known, v.Name)
	}
	for _, use := range uses(t) {
		if slices.Contains(known, use.name) {
			continue
		}
		fine = false
		hint := didYouMean(use.name, known)
		if hint == "" {
			hint = "declare it under vars: of the phase"
		}
		line, col := lineCol(text, use.pos)
		at.fail(line, col, hint, "the variable %q is not known here", use.name)
	}
	return fine
}

// use is a variable named in a template; pos counts bytes.
type use struct {
	name string
	pos  int
}

func uses(t *template.Template) []use {
	var found []use
	visit := func(ident []string, pos parse.Pos) {
		if len(ident) > 0 {
			found = append(found, use{ident[0], int(pos)})
		}
	}
	if t.Tree != nil && t.Root != nil {
		walkTemplate(t.Root, true, visit)
	}
	return found
}

// walkTemplate visits fields of the top-level data. top says whether dot still
// is that data.
func walkTemplate(n parse.Node, top bool, visit func([]string, parse.Pos)) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return
		}
		for _, c := range n.Nodes {
			walkTemplate(c, top, visit)
		}
	case *parse.ActionNode:
		walkTemplate(n.Pipe, top, visit)
	case *parse.PipeNode:
		if n == nil {
			return
		}
		for _, c := range n.Cmds {
			for _, a := range c.Args {
				walkTemplate(a, top, visit)
			}
		}
	case *parse.FieldNode:
		if top {
			visit(n.Ident, n.Pos)
		}
	case *parse.VariableNode:
		if n.Ident[0] == "$" {
			visit(n.Ident[1:], n.Pos)
		}
	case *parse.ChainNode:
		walkTemplate(n.Node, top, visit)
	case *parse.IfNode:
		walkBranch(&n.BranchNode, top, top, visit)
	case *parse.RangeNode:
		walkBranch(&n.BranchNode, top, false, visit)
	case *parse.WithNode:
		walkBranch(&n.BranchNode, top, false, visit)
	case *parse.TemplateNode:
		walkTemplate(n.Pipe, top, visit)
	}
}

func walkBranch(n *parse.BranchNode, top, inside bool, visit func([]string, parse.Pos)) {
	walkTemplate(n.Pipe, top, visit)
	walkTemplate(n.List, inside, visit)
	walkTemplate(n.ElseList, top, visit)
}

var templatePlace = regexp.MustCompile(`^template: t:(\d+)(?::(\d+))?: (?:executing "t" at )?`)

// templateError takes the place out of an error of text/template.
func templateError(err error) (line, col int, msg string) {
	line, col, msg = 1, 1, err.Error()
	m := templatePlace.FindStringSubmatch(msg)
	if m == nil {
		return line, col, msg
	}
	line, _ = strconv.Atoi(m[1])
	if n, err := strconv.Atoi(m[2]); err == nil {
		col = n + 1 // the package counts columns from 0
	}
	return line, col, msg[len(m[0]):]
}

// lineCol turns an offset into a line and a column, both from 1.
func lineCol(text string, offset int) (line, col int) {
	before := text[:min(offset, len(text))]
	return 1 + strings.Count(before, "\n"), offset - strings.LastIndexByte(before, '\n')
}
