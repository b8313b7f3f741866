package bench

import (
	"fmt"
	"strings"
	"time"
)

// Change is what was different about a host from a session on: drawn on its
// history, because it may be why a figure moved.
type Change struct {
	Session string    `json:"session"`
	At      time.Time `json:"at"`
	Machine bool      `json:"machine"` // another machine or method: what was before is not compared
	Text    string    `json:"text"`
}

// Changes are those between neighbours of a history, oldest first.
func Changes(history []Session) []Change {
	out := []Change{}
	for i := 1; i < len(history); i++ {
		was, is := &history[i-1], &history[i]
		machine := is.Epoch.Differs(was.Epoch)
		words := machine
		note := func(what, a, b string) {
			if a != b && a != "" && b != "" {
				words = append(words, fmt.Sprintf("%s was %q, is %q", what, a, b))
			}
		}
		note("kernel", was.Notes.Kernel, is.Notes.Kernel)
		note("microcode", was.Notes.Microcode, is.Notes.Microcode)
		note("prober", short(was.Notes.Prober), short(is.Notes.Prober))
		note("mirror", was.Notes.Mirror, is.Notes.Mirror)
		note("provider", was.Notes.Provider, is.Notes.Provider)
		note("plan", was.Notes.Plan, is.Notes.Plan)
		note("region", was.Notes.Region, is.Notes.Region)
		note("peer group", was.Notes.PeerGroup, is.Notes.PeerGroup)
		if len(words) > 0 {
			out = append(out, Change{Session: is.ID, At: is.Start, Machine: len(machine) > 0, Text: strings.Join(words, ", ")})
		}
	}
	return out
}

// short is enough of a hash to tell two apart.
func short(hash string) string { return hash[:min(len(hash), 12)] }
