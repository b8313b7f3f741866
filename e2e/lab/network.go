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

// prefix6Of is the lab's part of the unique local addresses, up to the host's number.
func prefix6Of(id string) string { return fmt.Sprintf("fd4c:%s:%s00::", id[:4], id[4:6]) }

// hasIPv6 tells whether interfaces of this machine can have IPv6 addresses.
func hasIPv6() bool {
	for _, conf := range []string{"all", "default"} {
		b, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + conf + "/disable_ipv6")
		if err != nil || strings.TrimSpace(string(b)) != "0" {
			return false
		}
	}
	return true
}

func macOf(id string, n int) string {
	return fmt.Sprintf("02:%s:%s:%s:00:%02x", id[:2], id[2:4], id[4:6], n)
}

// makeNetwork makes the bridge with this machine's addresses and the NAT rule, unless they are there. IPv6 ends at this
// machine: a kernel that forwards it no longer heeds routers itself, and this one may live by that. Every host's
// hardware address is entered for good: a host that is cut off is then silent, as on a real network, instead of
// "no route to host" three seconds later.
func (l *Lab) makeNetwork(ctx context.Context) error {
	bridge := bridgeOf(l.ID)
	var batch strings.Builder
	if _, err := net.InterfaceByName(bridge); err != nil {
		// With an address of its own: one borrowed from the first link would come later and flush the neighbours.
		fmt.Fprintf(&batch, "link add %s address %s type bridge\naddr add %s/24 dev %s\n", bridge, macOf(l.ID, 0), l.Gateway(), bridge)
	}
	if hasIPv6() {
		fmt.Fprintf(&batch, "addr replace %s/64 dev %s nodad\n", l.Gateway6(), bridge)
	}
	fmt.Fprintf(&batch, "link set %s up\n", bridge)
	for _, h := range l.Hosts {
		for _, addr := range []string{h.Addr, h.Addr6} {
			if addr != "" {
				fmt.Fprintf(&batch, "neigh replace %s lladdr %s dev %s nud permanent\n", addr, h.mac(), bridge)
			}
		}
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
	return l.openFirewall(ctx)
}

// openFirewall lets the hosts' packets through where docker or ufw drop everything that is forwarded, and their apt in
// where all that comes in is dropped; no nft table of ours could do that.
func (l *Lab) openFirewall(ctx context.Context) error {
	bridge := bridgeOf(l.ID)
	apt := []string{"-i", bridge, "-p", "tcp", "--dport", aptPort}
	for _, o := range []struct {
		tool, chain string
		rule        []string
	}{
		{"iptables", "FORWARD", []string{"-i", bridge}}, {"iptables", "FORWARD", []string{"-o", bridge}},
		{"iptables", "INPUT", apt}, {"ip6tables", "INPUT", apt},
	} {
		policy, err := run(ctx, "", o.tool, "-S", o.chain)
		if err != nil || !strings.HasPrefix(policy, "-P "+o.chain+" DROP") {
			continue // no such tool here, or nothing is dropped
		}
		rule := append(append([]string{o.chain}, o.rule...), "-j", "ACCEPT")
		if _, err := run(ctx, "", o.tool, append([]string{"-C"}, rule...)...); err == nil {
			continue // it has been done
		}
		fmt.Fprintf(l.log, "lab: this machine's firewall drops packets (%s %s): accepting those of %s until the lab is down\n", o.tool, o.chain, bridge)
		if _, err := run(ctx, "", o.tool, append([]string{"-I"}, rule...)...); err != nil {
			return err
		}
	}
	return nil
}

// closeFirewall removes the rules of openFirewall.
func closeFirewall(ctx context.Context, bridge string) error {
	for _, tool := range []string{"iptables", "ip6tables"} {
		rules, _ := run(ctx, "", tool, "-S")
		for rule := range strings.Lines(rules) {
			f := strings.Fields(rule)
			if len(f) < 2 || f[0] != "-A" || !slices.Contains(f, bridge) {
				continue
			}
			if _, err := run(ctx, "", tool, append([]string{"-D"}, f[1:]...)...); err != nil {
				return err
			}
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
	note("", closeFirewall(ctx, bridgeOf(id)))
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
