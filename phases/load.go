package phases

import (
	"embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed builtin
var builtin embed.FS

// Load reads the built-in phases and those below dir, which may be "" or
// missing. The error is of type *Problems and names every mistake in every
// phase.
func Load(dir string) (*Catalog, error) {
	problems := &Problems{}
	own := builtinFolders(problems)
	yours := userFolders(dir, problems)
	checkIDs(yours, problems)
	known := IDs()
	for _, f := range yours {
		if !slices.Contains(known, f.id) {
			known = append(known, f.id)
		}
	}
	c := &Catalog{byID: map[string]*phase{}}
	for _, f := range slices.Concat(own, yours) {
		if p := readPhase(&f, known, problems); p != nil {
			c.byID[p.ID] = p // one of the user's replaces the built-in one
		}
	}
	c.arrange()
	c.checkNeeds(problems)
	if err := problems.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// arrange lists the phases: the ten in their order, the user's by name,
// verification last.
func (c *Catalog) arrange() {
	first := slices.DeleteFunc(IDs(), func(id string) bool { return id == verification })
	rest := slices.DeleteFunc(sortedKeys(c.byID), func(id string) bool { return slices.Contains(IDs(), id) })
	for _, id := range slices.Concat(first, rest, []string{verification}) {
		if p := c.byID[id]; p != nil {
			c.phases = append(c.phases, p)
		}
	}
}

// checkNeeds reports every cycle of needs once, in full.
func (c *Catalog) checkNeeds(problems *Problems) {
	state := map[string]int{} // 1: on the path, 2: done
	var path []string
	var visit func(p *phase)
	visit = func(p *phase) {
		state[p.ID] = 1
		path = append(path, p.ID)
		for _, need := range p.Needs {
			q := c.byID[need]
			switch {
			case need == verification:
				c.failNeeds(p, problems, "verification runs after all other phases; none can need it")
			case q == nil || state[need] == 2:
			case state[need] == 1:
				cycle := append(slices.Clone(path[slices.Index(path, need):]), need)
				c.failNeeds(p, problems, "needs go in a circle: "+strings.Join(cycle, " needs "))
			default:
				visit(q)
			}
		}
		path = path[:len(path)-1]
		state[p.ID] = 2
	}
	for _, p := range c.phases {
		if state[p.ID] == 0 {
			visit(p)
		}
	}
}

func (c *Catalog) failNeeds(p *phase, problems *Problems, text string) {
	problems.add(Problem{File: p.folder.label + "/" + phaseFile, Line: p.needsAt.Line, Col: p.needsAt.Column, Text: text})
}

// known are all ids that skip, only, needs and of may name.
func (c *Catalog) known() []string {
	ids := IDs()
	for _, p := range c.phases {
		if !slices.Contains(ids, p.ID) {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// unknown says that there is no such phase.
func (c *Catalog) unknown(id string) Problem {
	known := c.known()
	hint := didYouMean(id, known)
	if hint != "" {
		hint += "; "
	}
	return Problem{Text: fmt.Sprintf("there is no phase %q", id), Hint: hint + "the phases are " + strings.Join(known, ", ")}
}
