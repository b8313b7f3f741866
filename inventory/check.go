package inventory

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// Code are the lines of the inventory that run something or read files outside
// its folder when connecting, sorted, each once, after the program that printed
// it: what a user confirms before a shared inventory is trusted. The same words
// in another folder may mean something else: Dir belongs to them.
func (inv *Inventory) Code() []string {
	found := map[string]bool{}
	add := func(name string, r *Ref) {
		if r == nil {
			return
		}
		if line := r.code(inv.dir); line != "" {
			found[name+": "+line] = true
		}
	}
	for _, h := range inv.hosts {
		add("become_password", h.BecomePassword)
		for name, v := range h.Vars {
			add(name, v.Secret)
		}
	}
	var lines []string
	for line := range found {
		lines = append(lines, line)
	}
	slices.Sort(lines)
	if inv.program != nil {
		lines = append([]string{inv.program.code()}, lines...)
	}
	return lines
}

// code is what the reference runs or reads elsewhere, whole and on one line.
func (r Ref) code(dir string) string {
	if len(r.Command) > 0 {
		return "command: " + argv(r.Command)
	}
	full, inside, err := r.inside(dir)
	if r.File == "" || inside && err == nil {
		return ""
	}
	return fmt.Sprintf("file: %q", full)
}

// CheckFiles says which identity files named in the inventory are not there.
// Load does not ask: the inventory may be checked on another machine.
func (inv *Inventory) CheckFiles() []string {
	var list []string
	seen := map[string]bool{}
	for _, h := range inv.hosts {
		for _, f := range h.IdentityFiles {
			if seen[f] {
				continue
			}
			seen[f] = true
			switch st, err := os.Stat(f); {
			case err != nil:
				list = append(list, fmt.Sprintf("%s: identity_file %s: %s", h.Origin["identity_file"], f, reason(err)))
			case st.IsDir():
				list = append(list, fmt.Sprintf("%s: identity_file %s: it is a folder", h.Origin["identity_file"], f))
			case strings.HasSuffix(f, ".pub"):
				list = append(list, fmt.Sprintf("%s: identity_file %s: this is the public half; name the file without .pub", h.Origin["identity_file"], f))
			}
		}
	}
	return list
}
