package inventory

import (
	"path"
	"strings"

	"gopkg.in/yaml.v3"
)

// file is an inventory as it was written: nothing inherited yet.
type file struct {
	defaults layer
	extra    layer // -e
	groups   []*group
	hosts    []*host
	notes    []note
}

// note is a warning about a place.
type note struct {
	at   pos
	text string
}

type host struct {
	name   string
	at     pos
	own    layer
	groups []*group // filled by link, in the file's order
}

type group struct {
	name            string
	at              pos
	own             layer
	hosts, children []named
	nodes
}

// named is a name somebody wrote down, perhaps of nothing.
type named struct {
	name string
	at   pos
}

func (w *walker) read(data []byte) *file {
	if f, ok := w.json(data); ok {
		return f
	}
	f := &file{}
	if len(data) > maxFile {
		w.add(pos{}, "several smaller inventories are read faster, too", "larger than %d MiB", maxFile>>20)
		return f
	}
	root := w.document(data)
	if root == nil || w.foreign(root) {
		return f
	}
	const keys = "the keys are defaults, groups and hosts"
	for _, p := range w.pairs(root, "an inventory") {
		switch p.key {
		case "defaults":
			f.defaults = w.layer(w.pairs(p.value, "defaults"), "defaults", "defaults", nil)
		case "groups":
			f.groups = w.groups(p.value)
		case "hosts":
			f.hosts = w.hosts(p.value)
		default:
			w.add(p.at, w.meant(p.key, []string{"defaults", "groups", "hosts"}, keys), "unknown key %s", quote(p.key))
		}
	}
	if len(f.hosts) == 0 && len(w.list) == 0 {
		w.add(at(root), "name at least one under `hosts:`", "there are no hosts")
	}
	w.collisions(f)
	return f
}

// foreign reports Ansible's YAML once, instead of every key of it.
func (w *walker) foreign(root *yaml.Node) bool {
	for i := 0; root.Kind == yaml.MappingNode && i+1 < len(root.Content); i += 2 {
		if k := root.Content[i]; k.Value == "_meta" || k.Value == "all" || k.Value == "ungrouped" {
			w.add(at(k), "let Ansible print it as JSON, which is read: ansible-inventory -i FILE --list --export > hosts.json", "this is Ansible's YAML, not an inventory of vpsctl")
			return true
		}
	}
	return false
}

func (w *walker) hosts(n *yaml.Node) []*host {
	var list []*host
	for _, p := range w.pairs(n, "hosts") {
		if why, hint := badName(p.key); why != "" {
			if _, bad, _ := cleanAddress(p.key); bad == "" && strings.Contains(p.key, ":") {
				hint = "give the host a name, and write this as its `address:`"
			}
			w.add(p.at, hint, "hosts: %s", why)
			continue
		}
		who := `host "` + p.key + `"`
		if addr, bad, _ := cleanAddress(p.value.Value); isText(p.value) && bad == "" {
			w.add(at(p.value), "write it as {address: "+addr+"}", "%s must be a mapping, not %s", who, describe(p.value))
			p.value = &yaml.Node{Kind: yaml.MappingNode}
		}
		own := w.layer(w.pairs(p.value, who), who, "host "+p.key, nil)
		list = append(list, &host{name: p.key, at: p.at, own: own})
	}
	return list
}

func (w *walker) groups(n *yaml.Node) []*group {
	var list []*group
	for _, p := range w.pairs(n, "groups") {
		if why, hint := badName(p.key); why != "" {
			w.add(p.at, hint, "groups: %s", why)
			continue
		}
		g, who := &group{name: p.key, at: p.at}, `group "`+p.key+`"`
		g.own = w.layer(w.pairs(p.value, who), who, "group "+p.key, map[string]func(*yaml.Node){
			"hosts":  func(n *yaml.Node) { g.hosts = w.members(n, who+": hosts") },
			"groups": func(n *yaml.Node) { g.children = w.members(n, who+": groups") },
		})
		list = append(list, g)
	}
	return list
}

func (w *walker) members(n *yaml.Node, who string) []named {
	var list []named
	first := map[string]int{}
	for _, p := range w.texts(n, who, false) {
		switch line, twice := first[p.key]; {
		case twice:
			w.add(p.at, "remove one of the two", "%s: %s is there twice, first in line %d", who, quote(p.key), line)
		case isGlob(p.key) && badGlob(p.key):
			w.add(p.at, "* is any text, ? one character, [ab] one of these", "%s: %s is not a pattern", who, quote(p.key))
		default:
			first[p.key] = p.at.line
			list = append(list, named{p.key, p.at})
		}
	}
	return list
}

func isGlob(s string) bool { return strings.ContainsAny(s, `*?[\`) }

func badGlob(s string) bool {
	_, err := path.Match(s, "")
	return err != nil
}

// collisions reports names that differ in case only, and a group and a host of
// one name: --limit and file systems would take one for the other.
func (w *walker) collisions(f *file) {
	type owner struct {
		kind, name string
		line       int
	}
	first := map[string]owner{}
	check := func(kind, name string, p pos) {
		o, there := first[strings.ToLower(name)]
		switch {
		case !there:
			first[strings.ToLower(name)] = owner{kind, name, p.line}
		case o.kind != kind:
			w.add(p, "rename one of the two", "%s %q: the %s in line %d is called %q", kind, name, o.kind, o.line, o.name)
		default:
			w.add(p, "rename one of the two", "%s %q: differs from %q in line %d only in case", kind, name, o.name, o.line)
		}
	}
	for _, g := range f.groups {
		check("group", g.name, g.at)
	}
	for _, h := range f.hosts {
		check("host", h.name, h.at)
	}
}
