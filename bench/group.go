package bench

import (
	"cmp"
	"strings"
)

// Group is whose figures a host's should be like, and what says so.
type Group struct{ Name, From string }

// What says which hosts are alike.
const (
	FromVars  = "vars.peer_group"
	FromCloud = "cloud metadata"
)

// Group is what the inventory says, or else hosts of the same provider, plan,
// region and mirror. Without provider and plan nothing says that hosts should be
// equal, and the name is empty.
func (n Notes) Group() Group {
	if n.PeerGroup != "" {
		return Group{n.PeerGroup, FromVars}
	}
	provider, plan := tidy(n.Provider), tidy(n.Plan)
	if provider == "" || plan == "" {
		return Group{}
	}
	unknown := func(word string) string { return cmp.Or(tidy(word), "?") }
	return Group{strings.Join([]string{provider, plan, unknown(n.Region), unknown(n.Mirror)}, "/"), FromCloud}
}

// tidy makes a part of a name of a host's word, whatever is in it.
func tidy(word string) string {
	word = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '-'
	}, strings.ToLower(word))
	return strings.Trim(word[:min(len(word), 60)], "-._")
}
