package report

import (
	"strings"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// maxPackages bounds the list of what was installed; a whole desktop is half.
const maxPackages = 2000

// Package is one that was set up in the run, as dpkg told on the way.
type Package struct {
	Step    string
	Name    string
	Version string
}

// installed reads dpkg's lines out of what a step printed. Output keeps its own
// order, so the list does not depend on how output and status are mixed.
func (r *HostRecord) installed(e *wire.Event) {
	const verb = "Setting up "
	rest := e.Output.Text
	for {
		at := strings.Index(rest, verb)
		if at < 0 {
			return
		}
		line, more, _ := strings.Cut(rest[at+len(verb):], "\n")
		begins := at == 0 || rest[at-1] == '\n'
		rest = more
		name, version, ok := strings.Cut(line, " (")
		version, _, closed := strings.Cut(version, ") ...")
		if !begins || !ok || !closed || name == "" || version == "" || strings.ContainsAny(name+version, " \t") || len(line) > 300 {
			continue
		}
		if len(r.Installed) >= maxPackages {
			r.Dropped++
			continue
		}
		r.Installed = append(r.Installed, Package{Step: r.place(e), Name: cleanLine(name), Version: cleanLine(version)})
	}
}
