// Package inventory says which hosts there are and how each is reached. Load
// turns a file into hosts whose every value is final and knows where it came
// from; every mistake of the file comes out at once. The file is YAML, or JSON
// as Ansible's dynamic inventory scripts print it, or a program that prints one
// of the two. No secret is read while loading.
//
// A host's settings, weakest first: ~/.ssh/config, defaults, parent group,
// child group, host, -e.
package inventory

import (
	"context"
	"path/filepath"
	"slices"
)

// Options of Load; the zero value reads ~/.ssh/config and sets no variables.
type Options struct {
	// Vars are the -e KEY=VALUE of the command line; values are YAML scalars.
	Vars map[string]string
	// SSHConfig is the path of the ssh_config file; "" is ~/.ssh/config, "none"
	// reads none.
	SSHConfig string
	// Approve is asked before a program is run that prints the inventory: code is
	// what Inventory.Code would say of it, dir the program's folder. An error ends
	// Load. Nil approves of none.
	Approve func(dir string, code []string) error
}

// Inventory is a file without mistakes.
type Inventory struct {
	dir      string
	program  *program // that printed it; nil: a file
	hosts    []Host
	groups   []Group
	index    map[string]int // of hosts
	warnings []string
}

// Host is a host with every setting resolved. Hosts share what they point to:
// do not change it.
type Host struct {
	Name           string
	Address        string // a name or an IP address, IPv6 without brackets
	Port           int
	User           string
	IdentityFiles  []string // absolute; empty: the ssh client's own defaults
	IdentitiesOnly bool
	Become         bool
	BecomePassword *Ref     // what sudo asks for; nil: it asks for nothing
	HostKeys       []string // pins: "SHA256:…" or "type base64"
	Jump           *Jump    // nil: dialled directly
	Vars           map[string]Var
	Groups         []string // all it is in, also through child groups, in the file's order
	Phases         PhaseFilter
	// Origin says where a setting came from, by its key in the file.
	Origin map[string]string
}

// Jump is the one host on the way to another. Host is one of the inventory, or
// made from user@host:port or ssh_config; it never has a Jump itself.
type Jump struct{ Host *Host }

// PhaseFilter is which phases a host takes part in. Only counts when OnlyGiven:
// an empty list then means none.
type PhaseFilter struct {
	Only, Skip []string
	OnlyGiven  bool
}

// Var is the value of a variable: a string, int, float64 or bool, or the
// reference to a secret.
type Var struct {
	Value  any
	Secret *Ref
	Origin string
}

// Group is a named set of hosts.
type Group struct {
	Name   string
	Hosts  []string // every member, also through child groups, in the file's order
	Direct []string // members by the group's own `hosts:`
	Groups []string // child groups
}

// Load reads the inventory at path, or what the program there prints; ctx ends
// the program. The error is a *Problems, or what Approve returned.
func Load(ctx context.Context, path string, opt Options) (*Inventory, error) {
	c := &problems{file: path}
	data, prog := readFile(path, c)
	if err := c.err(); err != nil {
		return nil, err
	}
	if prog == nil {
		return parse(path, data, opt)
	}
	if opt.Approve == nil {
		c.add(pos{}, "", "is a program, and nobody has approved of running it")
		return nil, c.err()
	}
	if err := opt.Approve(filepath.Dir(prog.path), []string{prog.code()}); err != nil {
		return nil, err
	}
	data, err := prog.run(ctx)
	if err != nil {
		c.add(pos{}, "see what it prints: "+path+" --list", "%s", err)
		return nil, c.err()
	}
	inv, err := parse(path+" (its output)", data, opt)
	if inv != nil {
		inv.program = prog
	}
	return inv, err
}

func parse(path string, data []byte, opt Options) (*Inventory, error) {
	w := &walker{problems: &problems{file: path}}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		dir = filepath.Dir(path)
	}
	f := w.read(data)
	f.extra = w.extra(opt.Vars)
	r := &resolver{problems: w.problems, file: f, dir: dir, ssh: readSSHConfig(opt.SSHConfig)}
	if w.nodes <= maxNodes {
		r.link()
		r.resolve()
	}
	if err := w.err(); err != nil {
		return nil, err
	}
	for _, n := range f.notes {
		r.warn(n.at, n.text)
	}
	return r.inventory(), nil
}

// Dir is the inventory's folder, absolute: what relative paths in it start from.
func (inv *Inventory) Dir() string { return inv.dir }

// Hosts are all hosts, in the file's order.
func (inv *Inventory) Hosts() []Host { return slices.Clone(inv.hosts) }

// Groups are all groups, in the file's order.
func (inv *Inventory) Groups() []Group { return slices.Clone(inv.groups) }

// Warnings are what was read but not fully understood, or looks wrong without
// being it. Each is one line.
func (inv *Inventory) Warnings() []string { return slices.Clone(inv.warnings) }
