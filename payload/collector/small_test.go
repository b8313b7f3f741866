//go:build linux

package main

import (
	"testing"

	"github.com/vpsctl/vpsctl/payload/collector/host"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// TestSmallHost: below 3 GB nothing runs beside a phase, and one package is fetched at a time; a larger host does as many
// things at once as it has cores and as the plan says.
func TestSmallHost(t *testing.T) {
	room := host.AvailableMB("/") >= lowMemoryMB // of this machine, which is asked too
	parallel, alone := wire.Phase{ID: "p", Parallel: true}, wire.Phase{ID: "q"}
	for _, c := range []struct {
		memory, cores, running int
		phase                  wire.Phase
		sequential, beside     bool
		width                  int
	}{
		{2048, 1, 1, parallel, false, false, 1},
		{2048, 4, 1, parallel, false, false, 1},
		{smallHostMB - 1, 2, 1, parallel, false, false, 1},
		{smallHostMB, 1, 1, parallel, false, true, 3},
		{4096, 2, 1, parallel, false, true, 3},
		{4096, 2, 2, parallel, false, false, 3},
		{8192, 4, 3, parallel, false, true, 3},
		{4096, 2, 1, alone, false, false, 3},
		{4096, 2, 1, parallel, true, false, 3},
	} {
		r := &runner{facts: wire.Facts{MemoryMB: c.memory, Cores: c.cores}, plan: wire.Plan{Sequential: c.sequential, Fetch: &wire.Fetch{Parallel: 3}}}
		if got := r.beside(&c.phase, c.running); got != (c.beside && room) {
			t.Errorf("%+v: beside is %v", c, got)
		}
		if got := (&fetcher{runner: r}).width(); got != c.width && (room || got != 1) {
			t.Errorf("%+v: %d at a time", c, got)
		}
	}
}
