//go:build linux

package lab

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func bridgeOf(id string) string { return "vl" + id }
func tableOf(id string) string  { return "vpsctl_lab_" + id }

func (h *Host) link() string  { return fmt.Sprintf("vl%sh%d", h.lab.ID, h.number) }
func (h *Host) netns() string { return fmt.Sprintf("vl%s-%s", h.lab.ID, h.Name) }
func (h *Host) mac() string   { return macOf(h.lab.ID, h.number) }

func macOf(id string, n int) string {
	return fmt.Sprintf("02:%s:%s:%s:00:%02x", id[:2], id[2:4], id[4:6], n)
}

// makeNetwork makes the bridge with this machine's address and the NAT rule, unless they are there. Every host's
// hardware address is entered for good: a host that is cut off is then silent, as on a real network, instead of
// "no route to host" three seconds later.
func (l *Lab) makeNetwork(ctx context.Context) error {
	bridge := bridgeOf(l.ID)
	var batch strings.Builder
	if _, err := net.InterfaceByName(bridge); err != nil {
		// With an address of its own: one borrowed from the first link would come later and flush the neighbours.
		fmt.Fprintf(&batch, "link add %s address %s type bridge\naddr add %s/24 dev %s\n", bridge, macOf(l.ID, 0), l.Gateway(), bridge)
	}
	fmt.Fprintf(&batch, "link set %s up\n", bridge)
	for _, h := range l.Hosts {
		fmt.Fprintf(&batch, "neigh replace %s lladdr %s dev %s nud permanent\n", h.Addr, h.mac(), bridge)
	}
	if _, err := run(ctx, batch.String(), "ip", "-batch", "-"); err != nil {
		return err
	}
	rules := fmt.Sprintf(`table ip %[1]s {}
delete table ip %[1]s
table ip %[1]s {
	chain postrouting {
		type nat hook postrouting priority srcnat;
		ip saddr %[2]s.0/24 oifname != "%[3]s" masquerade
	}
}
`, tableOf(l.ID), l.state.Subnet, bridge)
	if _, err := run(ctx, rules, "nft", "-f", "-"); err != nil {
		return err
	}
	return l.openForward(ctx)
}

// openForward lets the hosts' packets through where docker or ufw drop everything that is forwarded; no nft table of
// our own could overrule that.
func (l *Lab) openForward(ctx context.Context) error {
	bridge := bridgeOf(l.ID)
	rules, err := run(ctx, "", "iptables", "-S", "FORWARD")
	if err != nil || !strings.HasPrefix(rules, "-P FORWARD DROP") || strings.Contains(rules, bridge) {
		return nil // no iptables here, nothing is dropped, or it has been done
	}
	fmt.Fprintln(l.log, "lab: this machine's firewall drops forwarded packets: accepting those of", bridge, "until the lab is down")
	for _, direction := range []string{"-i", "-o"} {
		if _, err := run(ctx, "", "iptables", "-I", "FORWARD", direction, bridge, "-j", "ACCEPT"); err != nil {
			return err
		}
	}
	return nil
}

// closeForward removes the rules of openForward.
func closeForward(ctx context.Context, bridge string) error {
	rules, _ := run(ctx, "", "iptables", "-S", "FORWARD")
	for rule := range strings.Lines(rules) {
		f := strings.Fields(rule)
		if len(f) < 2 || f[0] != "-A" || !slices.Contains(f, bridge) {
			continue
		}
		if _, err := run(ctx, "", "iptables", append([]string{"-D"}, f[1:]...)...); err != nil {
			return err
		}
	}
	return nil
}

// unplug removes a link, if there is one of that name.
func unplug(ctx context.Context, link string) error {
	if _, err := net.InterfaceByName(link); err != nil {
		return nil
	}
	_, err := run(ctx, "", "ip", "link", "del", link)
	if _, there := net.InterfaceByName(link); there != nil {
		return nil // gone meanwhile, by the host's own end
	}
	return err
}

// removeNetwork removes bridge, links, namespaces and rules of a lab, whichever there are.
func removeNetwork(ctx context.Context, id string) error {
	var first error
	note := func(_ string, err error) {
		if first == nil {
			first = err
		}
	}
	note("", closeForward(ctx, bridgeOf(id)))
	links, err := net.Interfaces()
	note("", err)
	for _, link := range links {
		if link.Name == bridgeOf(id) || strings.HasPrefix(link.Name, bridgeOf(id)+"h") {
			note("", unplug(ctx, link.Name))
		}
	}
	spaces, _ := filepath.Glob("/run/netns/vl" + id + "-*")
	for _, ns := range spaces {
		note(run(ctx, "", "ip", "netns", "del", filepath.Base(ns)))
	}
	// Naming the table first makes its removal succeed whether or not it was there.
	note(run(ctx, fmt.Sprintf("table ip %[1]s {}\ndelete table ip %[1]s\n", tableOf(id)), "nft", "-f", "-"))
	return first
}

// resolvConf is this machine's resolv.conf in a form that hosts can use: a resolver on this machine's loopback is out
// of their reach, so what stands behind systemd-resolved is taken instead.
func resolvConf() ([]byte, error) {
	for _, path := range []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"} {
		b, err := os.ReadFile(path)
		if err == nil && !strings.Contains(string(b), "nameserver 127.") {
			return b, nil
		}
	}
	return nil, fmt.Errorf("lab: /etc/resolv.conf: names only a resolver on loopback, which hosts cannot reach")
}
