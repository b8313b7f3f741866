// Package phases knows what can be done to a host: the phases built in and the
// user's own, one format and one loader for both, and how they become the plan
// of a host. Nothing here touches the network, and making a plan is pure.
package phases

import (
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// Catalog holds every phase known. It is not changed after Load and may be used
// by many goroutines.
type Catalog struct {
	phases []*phase // built-in order first, then the user's by name, verification last
	byID   map[string]*phase
}

// Phase is what a reader of `vpsctl phases` sees of a phase.
type Phase struct {
	ID       string         `json:"id"`
	Title    string         `json:"title"`
	Origin   string         `json:"origin"` // "built in", or the folder
	Needs    []string       `json:"needs"`
	Requires *wire.Requires `json:"requires,omitempty"`
	Target   wire.Target    `json:"target,omitzero"`
	Budget   time.Duration  `json:"budget,omitempty"`
	Parallel bool           `json:"parallel,omitempty"`
	Vars     []Var          `json:"vars"`
	Steps    []StepHead     `json:"steps"`
}

// StepHead names a step of a phase.
type StepHead struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
}

// IDs are the ten phases of a workstation, in their order. All are valid in
// only and skip, also those that this release does not have yet.
func IDs() []string {
	return []string{"system-prep", "desktop-install", "rdp-config", "user-creation", "ide-vscode",
		"ide-cursor", "ide-antigravity", "terminal-setup", "dev-tools", verification}
}

// verification runs after all other phases of a plan.
const verification = "verification"

// Phases lists the catalog: the built-in order, then the user's own by name,
// verification last.
func (c *Catalog) Phases() []Phase {
	list := make([]Phase, len(c.phases))
	for i, p := range c.phases {
		list[i] = p.Phase
	}
	return list
}
