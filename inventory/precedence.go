package inventory

import (
	"fmt"
	"reflect"
	"slices"
)

// conflict is two groups, neither below the other, that disagree on a value.
type conflict struct {
	key  string
	a, b *group
}

type disagreement struct {
	host string // the first one
	more int    // further hosts
}

// fromGroups is what h's groups say, a child group's word before its parents'.
func (r *resolver) fromGroups(h *host) layer {
	said := map[string][]*group{}
	for _, g := range h.groups {
		for k := range g.own {
			said[k] = append(said[k], g)
		}
	}
	l := make(layer, len(said))
	for k, by := range said {
		by = strongest(by)
		for _, g := range by[1:] {
			if !reflect.DeepEqual(by[0].own[k].value, g.own[k].value) {
				r.disagree(conflict{k, by[0], g}, h)
				break
			}
		}
		l[k] = by[0].own[k]
	}
	return l
}

// strongest are those that have none of the others below them.
func strongest(by []*group) []*group {
	if len(by) == 1 {
		return by
	}
	var top []*group
	for _, g := range by {
		if !slices.ContainsFunc(by, func(o *group) bool { return g.below.Bit(o.index) == 1 }) {
			top = append(top, g)
		}
	}
	return top
}

// disagree notes a conflict, unless something stronger makes it harmless.
func (r *resolver) disagree(c conflict, h *host) {
	_, own := h.own[c.key]
	_, extra := r.file.extra[c.key]
	switch known := r.conflicts[c]; {
	case own || extra:
		return
	case known != nil:
		known.more++
		return
	case r.conflicts == nil:
		r.conflicts = map[conflict]*disagreement{}
	}
	r.conflicts[c] = &disagreement{host: h.name}
}

func (r *resolver) reportConflicts() {
	for c, d := range r.conflicts {
		others := ""
		if d.more > 0 {
			others = fmt.Sprintf(" (%d hosts in all)", d.more+1)
		}
		a, b := c.a.own[c.key], c.b.own[c.key]
		r.add(b.at, fmt.Sprintf("say it for the host itself, or make one group a child of the other: groups: [%s]", c.b.name),
			"host %q: the groups %q and %q disagree on %s: %s in line %d, %s in line %d%s",
			d.host, c.a.name, c.b.name, c.key, show(a.value), a.at.line, show(b.value), b.at.line, others)
	}
}

// show is a value as people would write it.
func show(v any) string {
	switch v := v.(type) {
	case Var:
		if v.Secret != nil {
			return v.Secret.String()
		}
		return show(v.Value)
	case *Ref:
		return v.String()
	case string:
		return quote(v)
	case PhaseFilter:
		if v.OnlyGiven {
			return clip(fmt.Sprintf("only %v", v.Only))
		}
		return clip(fmt.Sprintf("skip %v", v.Skip))
	}
	return clip(fmt.Sprint(v))
}
