package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vpsctl/vpsctl/bench"
)

// compareSides compares two hosts, or two groups of hosts; nil when the words
// mean neither.
func (k *call) compareSides(current, base string) (*compareDoc, error) {
	all, err := k.benchStore().Hosts()
	if err != nil {
		return nil, err
	}
	if slices.Contains(all, current) && slices.Contains(all, base) {
		histories, err := k.histories([]string{current, base})
		if err != nil {
			return nil, err
		}
		return hostWithHost(current, base, histories)
	}
	if isFile(current) || isFile(base) || isRunWord(current) || isRunWord(base) {
		return nil, nil
	}
	return k.groupWithGroup(all, current, base)
}

// isRunWord tells runs from groups: an inventory's groups have no such names.
func isRunWord(s string) bool {
	return s == "latest" || len(s) > 8 && strings.Trim(s[:8], "0123456789") == ""
}

func hostWithHost(current, base string, histories map[string][]bench.Session) (*compareDoc, error) {
	a, b := bench.HostSide(current, histories[current]), bench.HostSide(base, histories[base])
	for _, s := range []bench.Side{a, b} {
		if len(s.Metrics) == 0 {
			return nil, usageError{s.Name + " has no session that counts", "measure it with `vpsctl bench run -l " + s.Name + "`"}
		}
	}
	doc := newCompareDoc("hosts")
	t := compareTable{Base: base, Current: current, Of: "session median", Note: unlikeNote([]bench.Side{b, a}), Rows: bench.Table(b, a)}
	doc.Tables, doc.sides = append(doc.Tables, t), []bench.Side{b, a}
	return doc, nil
}

// unlikeNote says under a table that its hosts are no equals.
func unlikeNote(hosts []bench.Side) string {
	if what := bench.Unlike(hosts); len(what) > 0 {
		return "not the same machine, or not measured in the same way: " + strings.Join(what, "; ")
	}
	return ""
}

// groupWithGroup compares groups of the inventory, one value per host.
func (k *call) groupWithGroup(all []string, current, base string) (*compareDoc, error) {
	var sides, everyone []bench.Side
	for _, name := range []string{base, current} {
		hosts, ok := byName(all, name)
		if !ok {
			inv, err := k.inventory()
			if err != nil {
				return nil, err
			}
			selected, err := inv.Select(name)
			if err != nil {
				return nil, usageError{fmt.Sprintf("%s is no run, file, host or group", name), hintOr(err, "see `vpsctl bench history` and `vpsctl inventory list`")}
			}
			for _, h := range selected {
				if slices.Contains(all, h.Name) {
					hosts = append(hosts, h.Name)
				}
			}
		}
		histories, err := k.histories(hosts)
		if err != nil {
			return nil, err
		}
		var members []bench.Side
		for _, h := range hosts {
			if s := bench.HostSide(h, histories[h]); len(s.Metrics) > 0 {
				members = append(members, s)
			}
		}
		side := bench.GroupSide(name, members)
		if len(side.Metrics) == 0 {
			return nil, usageError{fmt.Sprintf("no host of %s has a session that counts", name), "measure them with `vpsctl bench run`"}
		}
		sides, everyone = append(sides, side), append(everyone, members...)
	}
	doc := newCompareDoc("groups")
	doc.sides = sides
	doc.Tables = append(doc.Tables, compareTable{Base: base, Current: current, Of: "host median", Note: unlikeNote(everyone), Rows: bench.Table(sides[0], sides[1])})
	return doc, nil
}

// comparePeers sets every host against those that should be like it. --limit only
// says which are shown: their peers are all the same.
func (k *call) comparePeers() (*compareDoc, error) {
	hosts, err := k.measured()
	if err != nil {
		return nil, err
	}
	all, err := k.benchStore().Hosts()
	if err != nil {
		return nil, err
	}
	histories, err := k.histories(all)
	if err != nil {
		return nil, err
	}
	doc := newCompareDoc("peers")
	groups, others := bench.PeerGroups(histories)
	for _, g := range groups {
		if g = g.Only(hosts); len(g.Hosts)+len(g.Apart) > 0 {
			doc.Groups = append(doc.Groups, g)
		}
	}
	for _, o := range bench.Outliers(doc.Groups) {
		doc.Outliers = append(doc.Outliers, o.Text)
	}
	for _, s := range others {
		if slices.Contains(hosts, s.Name) {
			doc.Others = append(doc.Others, otherHost{s.Name, s.Metrics})
		}
	}
	for _, h := range hosts {
		if s := bench.HostSide(h, histories[h]); len(s.Metrics) > 0 {
			doc.sides = append(doc.sides, s)
		}
	}
	if len(doc.sides) == 0 {
		return nil, exitError{exitPreflight, usageError{"no host has a session that counts", "measure with `vpsctl bench run`"}}
	}
	return doc, nil
}
