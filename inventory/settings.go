package inventory

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// entry is one value that somebody set, and where.
type entry struct {
	value  any
	at     pos
	by     string // who set it: `host "beta"`, `group "eu"`, "defaults"
	origin string // for people: "inventory.yaml:12:5 (group eu)"
}

// layer is what one place (defaults, a group, a host) sets. Variables have
// keys that begin with "vars.".
type layer map[string]entry

const varPrefix = "vars."

// A setting is a key that hosts, groups and defaults may have.
type setting struct {
	key  string
	read func(w *walker, n *yaml.Node, who string) (any, bool)
}

// settings is the one list of host settings; vars stands beside it because
// each variable is a value of its own.
var settings = []setting{
	{"address", readAddress},
	{"port", func(w *walker, n *yaml.Node, who string) (any, bool) { return w.whole(n, who, 1, 65535) }},
	{"user", readUser},
	{"identity_file", readIdentities},
	{"become", func(w *walker, n *yaml.Node, who string) (any, bool) { return w.truth(n, who) }},
	{"become_password", readBecomePassword},
	{"jump", readJump},
	{"host_key", readHostKeys},
	{"phases", readPhases},
}

// otherNames are what other tools call our keys.
var otherNames = map[string]string{
	"ansible_host": "address", "host": "address", "hostname": "address", "ip": "address",
	"ansible_port": "port", "ssh_port": "port",
	"ansible_user": "user", "remote_user": "user", "username": "user", "ssh_user": "user", "login": "user",
	"key": "identity_file", "ssh_key": "identity_file", "private_key": "identity_file", "identity": "identity_file",
	"keyfile": "identity_file", "key_file": "identity_file", "ansible_ssh_private_key_file": "identity_file",
	"sudo": "become", "ansible_become": "become", "become_pass": "become_password",
	"bastion": "jump", "proxy": "jump", "proxy_jump": "jump", "proxyjump": "jump", "jump_host": "jump",
	"hostkey": "host_key", "fingerprint": "host_key", "variables": "vars", "children": "groups", "members": "hosts", "member": "hosts",
}

// layer reads the settings among ps. own are further keys this place has.
func (w *walker) layer(ps []pair, who, source string, own map[string]func(*yaml.Node)) layer {
	l := layer{}
	for _, p := range ps {
		switch s := slices.IndexFunc(settings, func(s setting) bool { return s.key == p.key }); {
		case own[p.key] != nil:
			own[p.key](p.value)
		case p.key == "vars":
			w.vars(l, p.value, who, source)
		case s >= 0:
			w.set(l, p.key, p.value, who, source, settings[s].read)
		default:
			w.unknown(p, who, own)
		}
	}
	return l
}

func (w *walker) set(l layer, key string, n *yaml.Node, by, source string, read func(*walker, *yaml.Node, string) (any, bool)) {
	if v, ok := read(w, n, by+": "+key); ok {
		l[key] = entry{v, at(n), by, w.origin(at(n), source)}
	}
}

func (w *walker) origin(p pos, source string) string {
	where := Problem{File: w.file, Line: p.line, Col: p.col}.String()
	return strings.TrimSuffix(where, ": ") + " (" + source + ")"
}

func (w *walker) unknown(p pair, who string, own map[string]func(*yaml.Node)) {
	known := []string{"vars"}
	for _, s := range settings {
		known = append(known, s.key)
	}
	for k := range own {
		known = append(known, k)
	}
	slices.Sort(known)
	hint := w.meant(p.key, known, "variables stand under `vars:`; the keys are "+strings.Join(known, ", "))
	other := otherNames[strings.ToLower(p.key)]
	if own[p.key+"s"] != nil {
		other = p.key + "s"
	}
	if slices.Contains(known, other) {
		hint = `did you mean "` + other + `"?`
	}
	if (p.key == "groups" || p.key == "group") && own == nil {
		hint = "a group names its hosts: `groups: {NAME: {hosts: [HOST]}}`"
	}
	w.add(p.at, hint, "%s: unknown key %s", who, quote(p.key))
}

// readBecomePassword reads where the password is kept. The password itself is
// refused, and not repeated.
func readBecomePassword(w *walker, n *yaml.Node, who string) (any, bool) {
	n, ok := w.visit(n, who)
	if !ok {
		return nil, false
	}
	if n.Kind != yaml.MappingNode {
		w.add(at(n), "{env: NAME}, {file: PATH} or {command: [program, argument, …]}", "%s must say where the password is kept, not the password", who)
		return nil, false
	}
	return w.ref(n, who)
}

func readIdentities(w *walker, n *yaml.Node, who string) (any, bool) {
	files, before := []string{}, w.count()
	for _, p := range w.texts(n, who, true) {
		if strings.HasPrefix(p.key, "~") && p.key != "~" && !strings.HasPrefix(p.key, "~/") {
			w.add(p.at, "write the whole path", "%s: another user's home, %s, is not looked up", who, quote(p.key))
			continue
		}
		if strings.ContainsRune(p.key, 0) {
			w.add(p.at, "", "%s: %s is not a path", who, quote(p.key))
			continue
		}
		files = append(files, p.key)
	}
	return files, w.count() == before
}

func readPhases(w *walker, n *yaml.Node, who string) (any, bool) {
	var f PhaseFilter
	ps := w.pairs(n, who)
	for _, p := range ps {
		switch p.key {
		case "only":
			f.Only, f.OnlyGiven = w.phaseNames(p.value, who+".only"), true
		case "skip":
			f.Skip = w.phaseNames(p.value, who+".skip")
		default:
			w.add(p.at, w.meant(p.key, []string{"only", "skip"}, "the keys are only and skip"), "%s: unknown key %s", who, quote(p.key))
		}
	}
	if len(ps) == 2 && f.OnlyGiven && f.Skip != nil {
		w.add(at(n), "keep one of the two", "%s: only and skip exclude each other", who)
	}
	return f, len(ps) > 0
}

func (w *walker) phaseNames(n *yaml.Node, who string) []string {
	names := []string{}
	for _, p := range w.texts(n, who, false) {
		switch {
		case !nameRule.MatchString(p.key):
			w.add(p.at, "see what there is with `vpsctl phases`", "%s: %s is not the id of a phase", who, quote(p.key))
		case slices.Contains(names, p.key):
			w.add(p.at, "remove one of the two", "%s: %s is there twice", who, quote(p.key))
		default:
			names = append(names, p.key)
		}
	}
	return names
}
