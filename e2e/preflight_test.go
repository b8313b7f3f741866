//go:build e2e

package e2e

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/e2e/lab"
)

// holdLock is a program that holds apt's lock as apt does, by fcntl.
const holdLock = `use Fcntl; open(F, "+>>", "/var/lib/dpkg/lock-frontend") or die; my $l = pack("s! s! x4 q q i", F_WRLCK, 0, 0, 0, 0); fcntl(F, F_SETLK, $l) or die; open(M, ">", "/run/held"); close(M); sleep 600;`

// check is what preflight says about one thing on the host.
func check(t *testing.T, v *tool, code int, id string, args ...string) (status, text, hint string) {
	t.Helper()
	words := append([]string{"preflight", "-o", "json"}, args...)
	if !slices.Contains(args, "--only-phase") {
		words = spined(words...)
	}
	r := v.run(code, words...)
	var doc struct {
		Hosts []struct {
			Checks []struct{ ID, Status, Text, Hint string }
		}
	}
	try(t, json.Unmarshal([]byte(r.out), &doc))
	for _, c := range doc.Hosts[0].Checks {
		if c.ID == id {
			return c.Status, c.Text, c.Hint
		}
	}
	t.Fatalf("no check %s in %s", id, r.out)
	return "", "", ""
}

// TestPreflight: a good host is ready and stays as it was; a held lock is named with its holder, a mirror behind a
// wall, a full folder, a forward clock and a cloud-init that still runs are said.
func TestPreflight(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	on(t, h, "apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -qq nftables >/dev/null")
	before := on(t, h, fingerprint+"; find /var/lib /run /tmp /dev/shm -xdev -name '*vpsctl*' | sort")
	r := v.run(0, spined("preflight")...)
	wants(t, "preflight", r.out, h.Name+": ready", "[OK]   rights", "[OK]   mirrors", "[OK]   dns")
	if after := on(t, h, fingerprint+"; find /var/lib /run /tmp /dev/shm -xdev -name '*vpsctl*' | sort"); after != before {
		t.Errorf("preflight has changed the host: %s", firstDifference(after, before))
	}
	preflightLock(t, v, h)
	preflightFull(t, v, h)
	preflightMirror(t, v, h)
	cloudInitIsWaitedFor(t, v, h)
}

func preflightLock(t *testing.T, v *tool, h *lab.Host) {
	t.Helper()
	on(t, h, "systemd-run -q --expand-environment=no --unit=unattended-upgrades-like perl -e '"+holdLock+"'")
	exists(t, h, "/run/held")
	status, text, hint := check(t, v, 0, "locks")
	if status != "warn" || !strings.Contains(text, "/var/lib/dpkg/lock-frontend is held by pid ") || !strings.Contains(text, "perl (unattended-upgrades-like.service)") || hint == "" {
		t.Errorf("a held lock: %s %q > %q", status, text, hint)
	}
	on(t, h, "systemctl stop unattended-upgrades-like")
	if status, text, _ := check(t, v, 0, "locks"); status != "ok" {
		t.Errorf("a free lock: %s %q", status, text)
	}
}

func preflightFull(t *testing.T, v *tool, h *lab.Host) {
	t.Helper()
	on(t, h, "mkdir -p /var/lib/vpsctl && mount -t tmpfs -o size=1M,mode=0755 tmpfs /var/lib/vpsctl && { head -c 2M /dev/zero >/var/lib/vpsctl/full 2>/dev/null || true; }")
	status, text, hint := check(t, v, 1, "disk")
	if status != "err" || !strings.Contains(text, "0 MiB available on /var/lib/vpsctl") || !strings.Contains(hint, "df -h") {
		t.Errorf("a full folder: %s %q > %q", status, text, hint)
	}
	on(t, h, "umount /var/lib/vpsctl && rmdir /var/lib/vpsctl")
}

// preflightMirror drops what goes to mirrors and the proxy before them, and no answer of sshd's.
func preflightMirror(t *testing.T, v *tool, h *lab.Host) {
	t.Helper()
	on(t, h, "nft 'table inet wall { chain out { type filter hook output priority 0; tcp sport != 22 drop; }; }'")
	status, text, hint := check(t, v, 1, "mirrors")
	if status != "err" || !regexp.MustCompile(`https?://\S+ trixie: `).MatchString(text) || !strings.Contains(hint, "firewall") {
		t.Errorf("a mirror behind a wall: %s %q > %q", status, text, hint)
	}
	on(t, h, "nft delete table inet wall")
	check(t, v, 0, "mirrors")
}

// cloudInitIsWaitedFor plays a first boot: the host's own unit is busy until it leaves its result.
func cloudInitIsWaitedFor(t *testing.T, v *tool, h *lab.Host) {
	t.Helper()
	on(t, h, `mkdir -p /run/cloud-init && echo '{"v1": {"stage": "modules-config"}}' >/run/cloud-init/status.json && touch /run/cloud-init/enabled
printf '[Service]\nType=oneshot\nExecStart=/bin/sleep 300\n' >/run/systemd/system/cloud-final.service && systemctl daemon-reload && systemctl start --no-block cloud-final`)
	until(t, "cloud-final begins", func() bool { return on(t, h, "systemctl show -P ActiveState cloud-final") == "activating" })
	if status, text, hint := check(t, v, 0, "cloud-init"); status != "warn" || !strings.Contains(text, "modules-config") || !strings.Contains(hint, "ping --wait") {
		t.Errorf("cloud-init: %s %q > %q", status, text, hint)
	}
	wants(t, "ping --wait 2s", v.run(2, "ping", "--wait", "2s").says(), "waiting for cloud-init", "still sets the host up")
	p := v.start("ping", "--wait", "2m", "-o", "json")
	p.sees("waiting for cloud-init: stage modules-config")
	on(t, h, `echo '{"v1": {"errors": []}}' >/run/cloud-init/result.json`)
	wants(t, "ping --wait", p.wait(0).out, `"cloud_init": "done"`)
	on(t, h, "systemctl stop cloud-final; rm -rf /run/cloud-init /run/systemd/system/cloud-final.service; systemctl daemon-reload")
}

// TestPingWaits: for SSH, then for the login, and says which.
func TestPingWaits(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	on(t, h, "mv /root/.ssh/authorized_keys /root/.ssh/later; systemctl stop ssh.socket ssh.service 2>/dev/null; true")
	p := v.start("ping", "--wait", "3m", "--connect-timeout", "2s")
	p.sees("waiting for SSH")
	on(t, h, "systemctl start ssh.service")
	p.sees("waiting for the login")
	on(t, h, "mv /root/.ssh/later /root/.ssh/authorized_keys")
	r := p.wait(0)
	wants(t, "ping --wait", r.out, "[OK]", h.Name)
	if r.took > 2*time.Minute {
		t.Errorf("took %v", r.took)
	}
}
