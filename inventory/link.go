package inventory

import (
	"fmt"
	"math/big"
	"path"
	"strings"
)

// nodes are a group's place among the others, filled by link. The sets are of
// indices into the file's hosts and groups.
type nodes struct {
	index   int
	below   big.Int // groups, at any depth
	direct  big.Int // hosts
	members big.Int // hosts, also through child groups
	state   int     // of descend
}

const (
	entered = 1
	left    = 2
)

// maxGroups bounds the sets above, which grow with its square.
const maxGroups = 5000

// link resolves the names in groups and tells each host its groups.
func (r *resolver) link() {
	r.hostIndex, r.groupIndex = map[string]int{}, map[string]int{}
	for i, h := range r.file.hosts {
		r.hostIndex[h.name] = i
	}
	if len(r.file.groups) > maxGroups {
		r.add(r.file.groups[maxGroups].at, "", "more than %d groups", maxGroups)
		r.file.groups = r.file.groups[:maxGroups]
	}
	for i, g := range r.file.groups {
		g.index, r.groupIndex[g.name] = i, i
	}
	for _, g := range r.file.groups {
		r.enrol(g)
	}
	for _, g := range r.file.groups {
		r.descend(g, nil)
	}
	for _, g := range r.file.groups {
		for i, h := range r.file.hosts {
			if g.members.Bit(i) == 1 {
				h.groups = append(h.groups, g)
			}
		}
	}
}

// enrol fills g.direct from the names and globs of its hosts.
func (r *resolver) enrol(g *group) {
	for _, n := range g.hosts {
		if isGlob(n.name) {
			if !r.enrolGlob(g, n.name) {
				r.warn(n.at, fmt.Sprintf("group %q: %s matches no host", g.name, quote(n.name)))
			}
			continue
		}
		i, ok := r.hostIndex[n.name]
		if !ok {
			hint := r.meant(n.name, r.hostNames(), "add it under `hosts:`")
			if _, ok := r.groupIndex[n.name]; ok {
				hint = "it is a group: write it under `groups:` of this group"
			}
			r.add(n.at, hint, "group %q: unknown host %s", g.name, quote(n.name))
			continue
		}
		g.direct.SetBit(&g.direct, i, 1)
	}
}

func (r *resolver) enrolGlob(g *group, glob string) (found bool) {
	for i, h := range r.file.hosts {
		if ok, _ := path.Match(glob, h.name); ok {
			g.direct.SetBit(&g.direct, i, 1)
			found = true
		}
	}
	return found
}

// descend fills below and members of g and of all under it. trail is the way
// here; meeting it again is a cycle, reported once.
func (r *resolver) descend(g *group, trail []*group) {
	if g.state == left {
		return
	}
	g.state = entered
	trail = append(trail, g)
	g.members.Set(&g.direct)
	for _, n := range g.children {
		i, ok := r.groupIndex[n.name]
		if !ok {
			hint := r.meant(n.name, r.groupNames(), "add it under `groups:`")
			if _, ok := r.hostIndex[n.name]; ok {
				hint = "it is a host: write it under `hosts:` of this group"
			}
			r.add(n.at, hint, "group %q: unknown group %s", g.name, quote(n.name))
			continue
		}
		child := r.file.groups[i]
		if child.state == entered {
			r.cyclic = true
			r.add(n.at, "remove one of these", "group %q: child groups go round in a circle: %s", g.name, circle(trail, child))
			continue
		}
		r.descend(child, trail)
		g.below.SetBit(&g.below, i, 1)
		g.below.Or(&g.below, &child.below)
		g.members.Or(&g.members, &child.members)
	}
	g.state = left
}

// circle spells a cycle: "a → b → a".
func circle(trail []*group, back *group) string {
	var names []string
	for i := len(trail) - 1; i >= 0; i-- {
		names = append([]string{trail[i].name}, names...)
		if trail[i] == back {
			break
		}
	}
	return clip(strings.Join(append(names, back.name), " → "))
}

func (r *resolver) hostNames() []string {
	names := make([]string, len(r.file.hosts))
	for i, h := range r.file.hosts {
		names[i] = h.name
	}
	return names
}

func (r *resolver) groupNames() []string {
	names := make([]string, len(r.file.groups))
	for i, g := range r.file.groups {
		names[i] = g.name
	}
	return names
}
