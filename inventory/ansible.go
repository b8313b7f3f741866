package inventory

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// This file reads JSON as Ansible's dynamic inventory scripts print it for
// --list. What ansible_… variables say about reaching a host becomes settings;
// what would lead to another machine, user or way than they mean is refused;
// the rest is left out with a warning. A group's word counts as in an inventory
// of ours: two groups that disagree are an error, not a matter of the alphabet.

// ansibleSettings are the variables that have a setting here, the older names
// after the newer: the first one that is there counts.
var ansibleSettings = []struct {
	name, key string
	read      func(w *walker, n *yaml.Node, who string) (any, bool)
}{
	{"ansible_host", "address", readAddress},
	{"ansible_ssh_host", "address", readAddress},
	{"ansible_port", "port", readAnsiblePort},
	{"ansible_ssh_port", "port", readAnsiblePort},
	{"ansible_user", "user", readUser},
	{"ansible_ssh_user", "user", readUser},
	{"ansible_ssh_private_key_file", "identity_file", readIdentities},
	{"ansible_private_key_file", "identity_file", readIdentities},
	{"ansible_become", "become", readAnsibleTruth},
}

// ansibleOnly are variables that must say this, or the host is not reached as
// they mean.
var ansibleOnly = map[string][]string{
	"ansible_connection":    {"ssh", "smart", "paramiko", "paramiko_ssh", "ansible.builtin.ssh", "ansible.builtin.paramiko_ssh"},
	"ansible_become_method": {"sudo", "ansible.builtin.sudo"},
	"ansible_become_user":   {"root"},
}

// ansibleReasons are why some variables are left out, where that needs a word.
var ansibleReasons = map[string]string{
	"ansible_password": "logins are by key", "ansible_ssh_pass": "logins are by key", "ansible_ssh_password": "logins are by key",
	"ansible_become_pass": "passwords are not taken from inventories; type it: -K", "ansible_become_password": "passwords are not taken from inventories; type it: -K",
	"ansible_ssh_common_args": "a jump host belongs into ~/.ssh/config", "ansible_ssh_extra_args": "a jump host belongs into ~/.ssh/config",
	"ansible_ssh_args": "a jump host belongs into ~/.ssh/config", "ansible_host_key_checking": "host keys are always checked",
	"ansible_ssh_host_key_checking": "host keys are always checked",
}

// json reads data when it is JSON that Ansible would read. False: it is not.
// What is broken is taken for YAML, unless nothing but JSON looks like that.
func (w *walker) json(data []byte) (*file, bool) {
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	if !bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) {
		return nil, false
	}
	root, err := readJSON(data)
	if e, ok := err.(*jsonError); ok {
		meant := len(data) > maxFile || strings.HasSuffix(w.file, ".json") || bytes.Contains(data, []byte(`"_meta"`))
		if meant {
			w.add(e.at, "", "not JSON: %s", e.why)
		}
		return &file{}, meant
	}
	has := func(key string) bool {
		for i := 0; i < len(root.Content); i += 2 {
			if root.Content[i].Value == key {
				return true
			}
		}
		return false
	}
	if len(root.Content) > 0 && has("hosts") && !has("_meta") && !has("all") && !has("ungrouped") {
		return nil, false // ours, written as JSON
	}
	a := &ansible{walker: w, f: &file{}, hosts: map[string]*host{}, groups: map[string]*group{}, raw: map[string]string{}, left: map[string]*leftOut{}}
	a.read(root)
	return a.f, true
}

type ansible struct {
	*walker
	f      *file
	hosts  map[string]*host
	groups map[string]*group
	raw    map[string]string // what our name of a group was
	left   map[string]*leftOut
	order  []*leftOut
}

// leftOut is a variable that is not taken over.
type leftOut struct {
	name, why string
	at        pos
	places    int
}

func (a *ansible) read(root *yaml.Node) {
	vars := map[string]pair{}
	ps := a.pairs(root, "the inventory")
	for _, p := range ps {
		if p.key != "_meta" {
			a.group(p)
			continue
		}
		for _, m := range a.pairs(p.value, "_meta") {
			if m.key == "hostvars" {
				for _, h := range a.pairs(m.value, "hostvars") {
					vars[h.key] = h
				}
			}
		}
	}
	for _, h := range a.f.hosts {
		if p, ok := vars[h.name]; ok {
			who := `host "` + h.name + `"`
			h.own = a.vars(a.pairs(p.value, who), who, "host "+h.name)
			delete(vars, h.name)
		}
	}
	a.strangers(vars)
	if len(a.f.hosts) == 0 && len(a.list) == 0 {
		a.add(at(root), `a group names its hosts: {"web": {"hosts": ["web1"]}}`, "there are no hosts")
	}
	a.collisions(a.f)
	a.tell()
}

// strangers warns of variables for hosts that no group names: Ansible does not
// take them for hosts.
func (a *ansible) strangers(vars map[string]pair) {
	var names []string
	first := pos{}
	for name, p := range vars {
		names = append(names, name)
		if first == (pos{}) || p.at.line < first.line || p.at.line == first.line && p.at.col < first.col {
			first = p.at
		}
	}
	if slices.Sort(names); len(names) > 0 {
		a.note(first, "hostvars of hosts that are in no group, not even in all or ungrouped, are not used: "+clip(strings.Join(names, ", ")))
	}
}

func (a *ansible) note(at pos, text string) { a.f.notes = append(a.f.notes, note{at, text}) }

// group reads one group. A list alone is its hosts.
func (a *ansible) group(p pair) {
	who := "group " + quote(p.key)
	own, g := &a.f.defaults, (*group)(nil)
	if p.key != "all" {
		if g = a.declare(p.key, p.at); g == nil {
			return
		}
		own = &g.own
	}
	if n, ok := a.visit(p.value, who); ok && n.Kind == yaml.SequenceNode {
		a.members(g, n, who)
		return
	}
	for _, m := range a.pairs(p.value, who) {
		switch m.key {
		case "hosts":
			a.members(g, m.value, who+": hosts")
		case "children":
			for _, c := range a.texts(m.value, who+": children", false) {
				if child := a.declare(c.key, c.at); child != nil && g != nil {
					g.children = append(g.children, named{child.name, c.at})
				}
			}
		case "vars":
			*own = a.vars(a.pairs(m.value, who+": vars"), who, "group "+p.key)
		default:
			a.add(m.at, a.meant(m.key, []string{"hosts", "children", "vars"}, "the keys of a group are hosts, children and vars"),
				"%s: unknown key %s", who, quote(m.key))
		}
	}
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9._-]`)

// declare is the group of that name, which Ansible makes when it is first
// named; nil: it cannot be one. Characters that no name here has become '_', as
// Ansible itself does.
func (a *ansible) declare(raw string, p pos) *group {
	name := notInNames.ReplaceAllString(raw, "_")
	if strings.IndexAny(name, "._-") == 0 {
		name = "g" + name
	}
	if len(name) > 63 {
		name = strings.TrimRight(name[:63], ".")
	}
	if why, hint := badName(name); why != "" {
		a.add(p, hint, "groups: %s", why)
		return nil
	}
	if g := a.groups[name]; g != nil {
		if a.raw[name] != raw {
			a.add(p, "rename one of the two", "the groups %s and %s would both be called %s here", quote(a.raw[name]), quote(raw), name)
		}
		return g
	}
	if name != raw {
		a.leave("group "+quote(raw), "it is called "+name+" here", p)
	}
	g := &group{name: name, at: p, own: layer{}}
	a.groups[name], a.raw[name] = g, raw
	a.f.groups = append(a.f.groups, g)
	return g
}

// members adds the hosts of a group; g is nil for all.
func (a *ansible) members(g *group, n *yaml.Node, who string) {
	for _, p := range a.texts(n, who, false) {
		if why, hint := badName(p.key); why != "" {
			if addr, bad, _ := cleanAddress(p.key); bad == "" && strings.Contains(p.key, ":") {
				hint = "give the host a name, and this as its ansible_host: " + addr
			}
			a.add(p.at, hint, "%s: %s", who, why)
			continue
		}
		if a.hosts[p.key] == nil {
			h := &host{name: p.key, at: p.at, own: layer{}}
			a.hosts[p.key] = h
			a.f.hosts = append(a.f.hosts, h)
		}
		if g != nil {
			g.hosts = append(g.hosts, named{p.key, p.at})
		}
	}
}

// vars makes a layer of variables.
func (a *ansible) vars(ps []pair, who, source string) layer {
	l := layer{}
	if len(ps) > maxVars {
		a.add(ps[maxVars].at, "", "%s: more than %d variables", who, maxVars)
		ps = ps[:maxVars]
	}
	set := func(key string, p pair, v any) { l[key] = entry{v, at(p.value), who, a.origin(at(p.value), source)} }
	for _, p := range ps {
		p.value = unwrap(p.value)
		if strings.HasPrefix(p.key, "ansible_") {
			a.ansible(ps, p, who, set)
			continue
		}
		if why, _ := badVarName(p.key); why != "" {
			a.leave(p.key, "it is not a name for a variable here", p.at)
			continue
		}
		v, why := ansibleValue(p.value)
		if why != "" {
			a.leave(p.key, why, p.at)
			continue
		}
		set(varPrefix+p.key, p, Var{Value: v})
	}
	return l
}

// ansible takes over a variable that is Ansible's own.
func (a *ansible) ansible(ps []pair, p pair, who string, set func(string, pair, any)) {
	if isNull(p.value) || isText(p.value) && p.value.Value == "" {
		return
	}
	who += ": " + p.key
	if isText(p.value) && strings.Contains(p.value.Value, "{{") {
		a.add(at(p.value), "let the program print the value itself", "%s: templates are not evaluated here", who)
		return
	}
	if may, ok := ansibleOnly[p.key]; ok {
		if !slices.Contains(may, p.value.Value) {
			a.add(at(p.value), "leave such hosts out; vpsctl logs in by SSH and becomes root by sudo", "%s must be %s, not %s", who, may[0], describe(p.value))
		}
		return
	}
	for i, s := range ansibleSettings {
		switch {
		case s.name != p.key:
		case i > 0 && ansibleSettings[i-1].key == s.key && slices.ContainsFunc(ps, func(o pair) bool { return o.key == ansibleSettings[i-1].name }):
			return
		default:
			if v, ok := s.read(a.walker, p.value, who); ok {
				set(s.key, p, v)
			}
			return
		}
	}
	a.leave(p.key, ansibleReasons[p.key], p.at)
}

func readAnsiblePort(w *walker, n *yaml.Node, who string) (any, bool) {
	if _, err := strconv.Atoi(n.Value); err == nil && isText(n) {
		other := *n
		other.Tag = "!!int"
		n = &other
	}
	return w.whole(n, who, 1, 65535)
}

func readAnsibleTruth(w *walker, n *yaml.Node, who string) (any, bool) {
	if n.Kind == yaml.ScalarNode {
		switch strings.ToLower(n.Value) {
		case "yes", "true", "on", "1":
			return true, true
		case "no", "false", "off", "0":
			return false, true
		}
	}
	return w.truth(n, who)
}

// unwrap is the text that Ansible marks as never to be taken for a template.
func unwrap(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.MappingNode && len(n.Content) == 2 && n.Content[0].Value == "__ansible_unsafe" && isText(n.Content[1]) {
		return n.Content[1]
	}
	return n
}

// ansibleValue is the value of a variable. A number that would not come out as
// it was printed stays text.
func ansibleValue(n *yaml.Node) (value any, why string) {
	switch {
	case n.Kind == yaml.MappingNode && len(n.Content) == 2 && n.Content[0].Value == "__ansible_vault":
		return nil, "it is encrypted with ansible-vault"
	case n.Kind != yaml.ScalarNode:
		return nil, "it is not a single value"
	case isNull(n):
		return nil, "it has no value"
	case isText(n) && strings.Contains(n.Value, "{{"):
		return nil, "templates are not evaluated here"
	}
	if n.Tag == "!!int" || n.Tag == "!!float" {
		if v, why, _ := scalar(n); why == "" {
			return v, ""
		}
	} else if n.Tag == "!!bool" {
		return n.Value == "true", ""
	}
	value, why, _ = stringValue(n.Value)
	return value, why
}

// leave notes what is not taken over, once for each name.
func (a *ansible) leave(name, why string, p pos) {
	l := a.left[name+"\x00"+why]
	if l == nil {
		l = &leftOut{name: name, why: why, at: p}
		a.left[name+"\x00"+why] = l
		a.order = append(a.order, l)
	}
	l.places++
}

// maxLeftOut is how many things left out are told by name.
const maxLeftOut = 20

func (a *ansible) tell() {
	for i, l := range a.order {
		if i == maxLeftOut {
			a.note(l.at, fmt.Sprintf("%d further variables and names are not used as they are", len(a.order)-i))
			return
		}
		text := "the variable " + quote(l.name) + " is not used"
		if strings.HasPrefix(l.name, "group ") {
			text = l.name
		}
		if l.why != "" {
			text += ": " + l.why
		}
		if l.places > 1 {
			text += fmt.Sprintf(" (%d places)", l.places)
		}
		a.note(l.at, text)
	}
}
