package main

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// judgeNames is about DNS. A name that does not resolve does no harm when its
// mirror answers all the same: then a proxy looks it up.
func judgeNames(_ *needs, h *heard) *verdict {
	reached := map[string]bool{}
	for _, kind := range []string{"own", "plan", "link"} {
		for _, line := range h.answer[kind] {
			if u, err := url.Parse(strings.TrimPrefix(firstWord(word(line, 0)), "mirror+")); err == nil && word(line, 1) == "ok" {
				reached[u.Hostname()] = true
			}
		}
	}
	v := &verdict{id: "dns"}
	var good []string
	for _, line := range h.answer["name"] {
		name := word(line, 0)
		switch {
		case word(line, 1) == "ok":
			good = append(good, name)
		case reached[name]:
			v.warn("", "%s does not resolve, but a proxy reaches it", name)
		default:
			v.err("on the host: getent ahosts "+name+"; cat /etc/resolv.conf", "%s does not resolve", name)
		}
	}
	if len(h.answer["name"]) == 0 {
		return nil
	}
	slices.Sort(good)
	v.fine = "resolves " + strings.Join(slices.Compact(good), ", ")
	return v
}

// judgeMirrors is about the archives that packages come from: the host's own
// and those that the plan adds. Own ones that a mirror of the plan's replaces
// may be away.
func judgeMirrors(n *needs, h *heard) *verdict {
	if !n.apt {
		return nil
	}
	if h.answer["nowhere"] != nil {
		v := &verdict{id: "mirrors"}
		v.err("on the host: df -h /run /dev/shm /tmp", "not asked: there is no folder to fetch into")
		return v
	}
	v := &verdict{id: "mirrors"}
	count := 0
	for _, kind := range []string{"plan", "own"} {
		for _, line := range h.answer[kind] {
			count++
			name, why := word(line, 0), word(line, 2)
			switch {
			case word(line, 1) == "ok":
			case kind == "own" && n.mirror != "" && !strings.Contains(name, "security"):
				v.warn("", "%s: %s (apt_mirror replaces it)", name, why)
			default:
				v.err("on the host: apt-get update; is there a firewall, or a proxy to set? another mirror: -e apt_mirror=URL", "%s: %s", name, why)
			}
		}
	}
	v.fine = fmt.Sprintf("%d of %d answer", count, count)
	if count == 0 {
		v.err("on the host: cat /etc/apt/sources.list /etc/apt/sources.list.d/*", "apt has no source that is reached over the network")
	}
	return v
}

// judgeLinks is about what the plan's steps fetch by themselves.
func judgeLinks(n *needs, h *heard) *verdict {
	if len(n.links) == 0 {
		return nil
	}
	v := &verdict{id: "downloads", fine: fmt.Sprintf("%d of %d answer", len(n.links), len(n.links))}
	for _, line := range h.answer["link"] {
		if word(line, 1) != "ok" {
			v.err("on the host: curl -I "+word(line, 0), "%s: %s", word(line, 0), word(line, 2))
		}
	}
	if len(h.answer["link"]) < len(n.links) {
		v.err("", "%d were not asked", len(n.links)-len(h.answer["link"]))
	}
	return v
}

func firstWord(s string) string {
	w, _, _ := strings.Cut(s, " ")
	return w
}

// number reads a count; what is none counts as 0.
func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
