package inventory

import (
	"fmt"
	"math/big"
	"path"
	"strings"
)

// LimitError says why a pattern selects nothing useful.
type LimitError struct{ Limit, Why, hint string }

func (e *LimitError) Error() string { return fmt.Sprintf("--limit %s: %s", e.Limit, e.Why) }

// Hint is what to type instead; may be empty.
func (e *LimitError) Hint() string { return e.hint }

// Select are the hosts that limit means, in the file's order; "" means all.
// A limit is a list of names, globs and groups, joined by commas. Its plain
// parts add up, then each &part keeps only its own hosts, then each !part takes
// its hosts away, in whatever order they were written. The error is a
// *LimitError: a name nobody knows, or nothing selected.
func (inv *Inventory) Select(limit string) ([]Host, error) {
	if limit == "" {
		return inv.Hosts(), nil
	}
	refuse := func(why, hint string) ([]Host, error) { return nil, &LimitError{limit, why, hint} }
	plain, keep, drop := new(big.Int), inv.everyone(), new(big.Int)
	some := false
	for part := range strings.SplitSeq(limit, ",") {
		part = strings.TrimSpace(part)
		name := strings.TrimSpace(strings.TrimLeft(part, "!&"))
		set, why, hint := inv.named(name)
		switch {
		case why != "":
			return refuse(why, hint)
		case part == name:
			plain.Or(plain, set)
			some = true
		case part[0] == '&' && strings.Count(part, "&")+strings.Count(part, "!") == 1:
			keep.And(keep, set)
		case part[0] == '!' && strings.Count(part, "&")+strings.Count(part, "!") == 1:
			drop.Or(drop, set)
		default:
			return refuse(quote(part)+" is not a pattern", "one ! or & stands before a name")
		}
	}
	if !some {
		plain = inv.everyone()
	}
	plain.And(plain, keep).AndNot(plain, drop)
	var list []Host
	for i := range inv.hosts {
		if plain.Bit(i) == 1 {
			list = append(list, inv.hosts[i])
		}
	}
	if len(list) == 0 {
		return refuse("it selects no host", "see what there is with `vpsctl inventory list`")
	}
	return list, nil
}

func (inv *Inventory) everyone() *big.Int {
	all := big.NewInt(1)
	return all.Sub(all.Lsh(all, uint(len(inv.hosts))), big.NewInt(1))
}

// named is the set of hosts that one name, group or glob means.
func (inv *Inventory) named(name string) (set *big.Int, why, hint string) {
	set = new(big.Int)
	switch {
	case name == "":
		return nil, "a name is missing", "names stand between the commas"
	case name == "all":
		return inv.everyone(), "", ""
	case strings.HasPrefix(name, "@"):
		return nil, quote(name) + " is not in this release", "name the hosts"
	case isGlob(name) && badGlob(name):
		return nil, quote(name) + " is not a pattern", "* is any text, ? one character, [ab] one of these"
	}
	glob, found := isGlob(name), false
	means := func(other string) bool {
		ok := name == other
		if glob {
			ok, _ = path.Match(name, other)
		}
		found = found || ok
		return ok
	}
	if i, ok := inv.index[name]; ok {
		return set.SetBit(set, i, 1), "", ""
	}
	for _, g := range inv.groups {
		if means(g.Name) {
			for _, h := range g.Hosts {
				set.SetBit(set, inv.index[h], 1)
			}
		}
	}
	for i := 0; glob && i < len(inv.hosts); i++ {
		if means(inv.hosts[i].Name) {
			set.SetBit(set, i, 1)
		}
	}
	switch {
	case found:
		return set, "", ""
	case glob:
		return nil, quote(name) + " matches no host and no group", "see what there is with `vpsctl inventory list`"
	}
	return nil, "there is no host and no group " + quote(name), didYouMean(name, inv.names(), "see what there is with `vpsctl inventory list`")
}

func (inv *Inventory) names() []string {
	names := make([]string, 0, len(inv.hosts)+len(inv.groups))
	for _, h := range inv.hosts {
		names = append(names, h.Name)
	}
	for _, g := range inv.groups {
		names = append(names, g.Name)
	}
	return names
}
