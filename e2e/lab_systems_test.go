//go:build e2e

package e2e

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vpsctl/vpsctl/e2e/lab"
)

func TestLabOtherSystems(t *testing.T) {
	for suite, want := range map[string]string{"bookworm": "debian-12", "noble": "ubuntu-24.04"} {
		t.Run(suite, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "lab")
			l, err := lab.Up(t.Context(), lab.Options{Dir: dir, Suite: suite, Ephemeral: true, AptCache: true, Log: t.Output()})
			if l != nil {
				t.Cleanup(func() { try(t, l.Down(context.Background())) })
			}
			if err != nil {
				if none := lab.Served(t.Context(), suite); none != nil {
					t.Skipf("no mirror here serves it (VPSCTL_LAB_MIRROR names one): %v", none)
				}
				t.Fatal(err)
			}
			h := l.Hosts[0]
			out, err := say(t, h, "admin", ". /etc/os-release; echo $ID-$VERSION_ID $(sudo -n id -u) $(ps -p 1 -o comm=)")
			if out != want+" 0 systemd" {
				t.Errorf("got %q, %v", out, err)
			}
			if out, err := h.Exec(t.Context(), "apt-get -q update && apt-get -q -s install jq"); !strings.Contains(out, "Inst jq") {
				t.Errorf("apt: %v\n%s", err, out)
			}
			smallPhase(t, fleetOf(t, l), want)
			try(t, h.Reboot(t.Context()))
			if _, err := lab.Up(t.Context(), lab.Options{Dir: dir, Suite: "trixie"}); err == nil || !strings.Contains(err.Error(), suite) {
				t.Errorf("the same lab with another system: %v", err)
			}
		})
	}
}

func TestLabIPv6(t *testing.T) {
	h := NewLab(t, 1).Hosts[0]
	if h.Addr6 == "" {
		t.Skip("this machine has IPv6 switched off")
	}
	client, err := h.DialAt(t.Context(), "root", net.JoinHostPort(h.Addr6, "22"))
	try(t, err)
	client.Close()
}

func TestLabIPv6Only(t *testing.T) {
	if NewLab(t, 1).Hosts[0].Addr6 == "" {
		t.Skip("this machine has IPv6 switched off")
	}
	l := ownLab(t, lab.Options{IPv6Only: true, AptCache: true})
	h := l.Hosts[0]
	if h.Addr != h.Addr6 || net.ParseIP(h.Addr).To4() != nil {
		t.Errorf("addresses %s and %s", h.Addr, h.Addr6)
	}
	out, err := say(t, h, "root", "ip -4 -o addr show dev host0; ip -4 route; echo $SSH_CONNECTION")
	if want := net.ParseIP(l.Gateway6()).String() + " "; err != nil || !strings.HasPrefix(out, want) || !strings.Contains(out, h.Addr6) {
		t.Errorf("IPv4 and the connection's ends: %q, %v", out, err)
	}
	if out, err := h.Exec(t.Context(), "apt-get -q update && apt-get -q -y -d install jq"); err != nil {
		t.Errorf("apt by way of the cache: %v\n%s", err, out)
	}
	smallPhase(t, fleetOf(t, l), "debian-13")
	try(t, h.Reboot(t.Context()))
}
