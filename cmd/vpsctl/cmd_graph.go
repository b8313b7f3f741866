package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/vpsctl/vpsctl/inventory"
)

// graphDoc is the graph as JSON: groups with what they name themselves, hosts
// with the way to them.
type graphDoc struct {
	Schema int          `json:"schema"`
	Groups []graphGroup `json:"groups"`
	Hosts  []graphHost  `json:"hosts"`
}

type graphGroup struct {
	Name   string   `json:"name"`
	Hosts  []string `json:"hosts"`
	Groups []string `json:"groups"`
}

type graphHost struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Port    int    `json:"port"`
	Jump    string `json:"jump,omitempty"` // a host, or user@host:port outside the inventory
}

func inventoryGraph(k *call) error {
	inv, hosts, err := k.hosts()
	if err != nil {
		return err
	}
	doc := newGraph(inv, hosts)
	return k.ui.result(k.json(), doc, doc.dot)
}

// newGraph keeps the groups that hosts are in, and the hosts on the way to
// others.
func newGraph(inv *inventory.Inventory, hosts []inventory.Host) graphDoc {
	all := map[string]bool{}
	for _, h := range inv.Hosts() {
		all[h.Name] = true
	}
	doc, shown := graphDoc{Schema: 1, Groups: []graphGroup{}, Hosts: []graphHost{}}, map[string]bool{}
	for _, h := range hosts {
		g := graphHost{Name: h.Name, Address: h.Address, Port: h.Port}
		if h.Jump != nil {
			if g.Jump = h.Jump.Host.Name; !all[g.Jump] {
				g.Jump = jumpName(h)
			}
		}
		shown[h.Name] = true
		doc.Hosts = append(doc.Hosts, g)
	}
	within := func(g inventory.Group) bool {
		return len(g.Hosts) == 0 && len(hosts) == len(all) || slices.ContainsFunc(g.Hosts, func(h string) bool { return shown[h] })
	}
	kept := map[string]bool{}
	for _, g := range inv.Groups() {
		kept[g.Name] = within(g)
	}
	keep := func(names []string, in map[string]bool) []string {
		return slices.DeleteFunc(slices.Clone(nonNil(names)), func(n string) bool { return !in[n] })
	}
	for _, g := range inv.Groups() {
		if kept[g.Name] {
			doc.Groups = append(doc.Groups, graphGroup{g.Name, keep(g.Direct, shown), keep(g.Groups, kept)})
		}
	}
	return doc
}

func jumpName(h inventory.Host) string {
	j := h.Jump.Host
	return fmt.Sprintf("%s@%s:%d", j.User, j.Address, j.Port)
}

// dot writes the graph for Graphviz. Groups and hosts share one space of names.
func (d graphDoc) dot(w io.Writer) error {
	var b strings.Builder
	b.WriteString("digraph inventory {\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n")
	for _, g := range d.Groups {
		fmt.Fprintf(&b, "  %s [shape=box];\n", dotText(g.Name))
	}
	for _, h := range d.Hosts {
		label := h.Name
		if h.Address != h.Name {
			label += "\n" + h.Address
		}
		if h.Port != 22 {
			label += fmt.Sprintf(" port %d", h.Port)
		}
		fmt.Fprintf(&b, "  %s [shape=ellipse, label=%s];\n", dotText(h.Name), dotText(label))
	}
	for _, g := range d.Groups {
		for _, to := range slices.Concat(g.Groups, g.Hosts) {
			fmt.Fprintf(&b, "  %s -> %s;\n", dotText(g.Name), dotText(to))
		}
	}
	for _, h := range d.Hosts {
		if h.Jump != "" {
			fmt.Fprintf(&b, "  %s -> %s [style=dashed, label=\"jump\"];\n", dotText(h.Name), dotText(h.Jump))
		}
	}
	b.WriteString("}\n")
	return write(w, b.String())
}

// dotText quotes s for DOT, where \n is a new line and only quotes and
// backslashes are special.
func dotText(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}
