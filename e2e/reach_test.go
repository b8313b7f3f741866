//go:build e2e

package e2e

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

const onePhase = `steps:
  - name: mark
    run: echo here > /root/mark; echo marked
`

// TestOneUnreachableHostStopsNobody: of three hosts one is not there; the others get their plan.
func TestOneUnreachableHostStopsNobody(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 3)
	dead := f.Hosts[1]
	v := newTool(t, f)
	v.phase("mark", onePhase)
	try(t, dead.Cut(t.Context()))
	r := v.provision(7, "mark", "--connect-timeout", "2s", "-o", "json")
	doc := r.doc(t)
	if doc.ExitCode != 7 || len(doc.Hosts) != 3 {
		t.Fatalf("got %+v", doc)
	}
	for i, h := range doc.Hosts {
		if i == 1 {
			if h.ExitCode != 7 || h.Status != "failed" || h.Error == nil || h.Error.Hint == "" {
				t.Errorf("the dead host: %+v", h)
			}
			continue
		}
		if h.ExitCode != 0 || h.Status != "changed" || on(t, f.Hosts[i], "cat /root/mark") != "here" {
			t.Errorf("a living host: %+v", h)
		}
		v.record(h.Host).whole(f.Hosts[i])
	}
	if r.took > time.Minute {
		t.Errorf("took %v to give one host up", r.took)
	}
	again := v.run(0, "report", v.lastRun())
	wants(t, "the report made later", again.out, dead.Name)
}

// TestPortNobodyListensOn is refused at once, not after a time-out.
func TestPortNobodyListensOn(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 1)
	v := newTool(t, f)
	v.inventory("hosts:\n" + f.entry(t, f.Hosts[0], "port", "2299"))
	r := v.run(7, "ping")
	wants(t, "ping", r.err, f.Hosts[0].Name, "2299", "refused", " > ")
	if r.took > 30*time.Second {
		t.Errorf("took %v", r.took)
	}
}

// TestRefusedKey: the host does not know the key; the answer names user and key, and does not try again and again.
func TestRefusedKey(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	key := strangersKey(t, v.dir)
	v.inventory("hosts:\n" + f.entry(t, h, "identity_file", key))
	before := on(t, h, "journalctl -u ssh --no-pager | grep -c 'Connection' || true")
	r := v.run(7, "ping")
	wants(t, "ping", r.err, h.Name, "root", " > ")
	after := on(t, h, "journalctl -u ssh --no-pager | grep -c 'Connection' || true")
	var x, y int
	fmt.Sscan(before, &x)
	fmt.Sscan(after, &y)
	if y-x > 1 {
		t.Errorf("%d connections for one refused key: sshd counts them", y-x)
	}
}

// TestWrongUser: the account does not exist.
func TestWrongUser(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 1)
	v := newTool(t, f)
	v.inventory("hosts:\n" + f.entry(t, f.Hosts[0], "user", "nobodyhere"))
	wants(t, "ping", v.run(7, "ping").err, f.Hosts[0].Name, "nobodyhere", " > ")
}

// strangersKey makes a private key that no host knows.
func strangersKey(t *testing.T, dir string) string {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	try(t, err)
	block, err := ssh.MarshalPrivateKey(private, "")
	try(t, err)
	path := filepath.Join(dir, "stranger")
	try(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	return path
}

// TestUnknownHostKey is refused with the fingerprint and what to type; doing that keeps the key for the next time.
func TestUnknownHostKey(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	v.inventory("hosts:\n" + f.entry(t, h, "host_key", ""))
	r := v.run(7, "ping")
	wants(t, "ping", r.err, h.Name, "SHA256:", "--accept-new-host-keys")
	v.run(0, "ping", "--accept-new-host-keys")
	wants(t, "known_hosts", v.file(".ssh/known_hosts"), h.Addr)
	v.run(0, "ping")
}

// TestChangedHostKey is always refused, whatever flag is given, until the old key is forgotten.
func TestChangedHostKey(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	v.inventory("hosts:\n" + f.entry(t, h, "host_key", ""))
	stranger, err := os.ReadFile(strangersKey(t, v.dir))
	try(t, err)
	signer, err := ssh.ParsePrivateKey(stranger)
	try(t, err)
	try(t, os.Mkdir(filepath.Join(v.dir, ".ssh"), 0o700))
	line := h.Addr + " " + string(ssh.MarshalAuthorizedKey(signer.PublicKey()))
	try(t, os.WriteFile(filepath.Join(v.dir, ".ssh", "known_hosts"), []byte(line), 0o600))
	for _, args := range [][]string{{"ping"}, {"ping", "--accept-new-host-keys"}} {
		r := v.run(7, args...)
		wants(t, "ping", r.err, h.Name, ssh.FingerprintSHA256(signer.PublicKey()), "vpsctl hosts forget "+h.Name)
	}
	if v.file(".ssh/known_hosts") != line {
		t.Errorf("a refused key has changed known_hosts: %s", v.file(".ssh/known_hosts"))
	}
	v.run(0, "hosts", "forget", h.Name)
	v.run(7, "ping")
	v.run(0, "ping", "--accept-new-host-keys")
}

// TestPinnedHostKeyBeatsKnownHosts: another key than the inventory's is refused even when known_hosts has it.
func TestPinnedHostKeyBeatsKnownHosts(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	v.inventory("hosts:\n" + f.entry(t, h, "host_key", `"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"`))
	r := v.run(7, "ping", "--known-hosts", f.KnownHosts)
	wants(t, "ping", r.err, h.Name, "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	r = v.run(7, "ping", "--known-hosts", f.KnownHosts, "--accept-new-host-keys")
	wants(t, "ping", r.err, h.Name)
}

// TestNoSudo: the user may log in but not become root; nothing is left on the host.
func TestNoSudo(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	v.phase("mark", onePhase)
	v.inventory("hosts:\n" + f.entry(t, h, "user", "plain", "become", "true"))
	r := v.provision(6, "mark")
	wants(t, "provision", r.says(), h.Name, "sudo", " > ")
	if left := on(t, h, "ls -A /var/lib/vpsctl /home/plain/.local /run/lock/vpsctl 2>/dev/null; ls -A /home/plain | grep -vE '^\\.(ssh|bash|profile|cache)' || true"); left != "" {
		t.Errorf("left on the host: %s", left)
	}
}

// TestPlainUserWithoutBecome runs phases as that user, below the user's home.
func TestPlainUserWithoutBecome(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	v.phase("mine", `steps:
  - name: who
    run: id -un; touch ~/been-here
    check: test -e ~/been-here
  - {name: conf, file: {path: /home/plain/conf, content: "x\n"}}
`)
	v.inventory("hosts:\n" + f.entry(t, h, "user", "plain"))
	v.provision(0, "mine")
	if got := strings.TrimSpace(v.record(h.Name).output("mine/who", "stdout")); got != "plain" {
		t.Errorf("the step ran as %q", got)
	}
	if got := on(t, h, "stat -c %U /home/plain/been-here /home/plain/conf; ls /var/lib/vpsctl 2>/dev/null || true"); got != "plain\nplain" {
		t.Errorf("owners and root's folder: %q", got)
	}
	r := v.provision(0, "mine", "-o", "json")
	if d := r.doc(t).Hosts[0]; d.Changed != 0 || d.OK != 2 {
		t.Errorf("second run: %+v", d)
	}
}

// TestBecome: the same plan through sudo is root's.
func TestBecome(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	v.phase("mark", onePhase)
	v.inventory("hosts:\n" + f.entry(t, h, "user", "admin", "become", "true"))
	v.provision(0, "mark")
	if got := on(t, h, "stat -c %U:%a /root/mark /var/lib/vpsctl /var/lib/vpsctl/bin /var/lib/vpsctl/bin/*"); strings.Count(got, "root:") != 4 || strings.Contains(got, "root:777") {
		t.Errorf("owners and modes: %s", got)
	}
	if got := on(t, h, "ls -A /home/admin | grep -vE '^\\.(ssh|bash|profile|cache|sudo_as)' || true"); got != "" {
		t.Errorf("the upload has left %q in the user's home", got)
	}
	v.record(h.Name).whole(h)
}

// TestSwappedCollectorIsNotRun: what lies under the right name but is not the right bytes, or not root's, is replaced.
func TestSwappedCollectorIsNotRun(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	v.phase("mark", onePhase)
	v.provision(0, "mark")
	evil := `printf '#!/bin/sh\ntouch /root/evil\n'`
	for what, plant := range map[string]string{
		"other bytes": `f=$(echo /var/lib/vpsctl/bin/*); ` + evil + ` > $f; chmod 755 $f`,
		"other bytes, same size and time": `f=$(echo /var/lib/vpsctl/bin/*); cp -p $f /root/was; ` + evil + ` > $f; ` +
			`truncate -s $(stat -c %s /root/was) $f; touch -r /root/was $f; rm /root/was`,
		"a link":            `f=$(echo /var/lib/vpsctl/bin/*); ` + evil + ` > /tmp/evil; chmod 755 /tmp/evil; ln -sf /tmp/evil $f`,
		"somebody else's":   `f=$(echo /var/lib/vpsctl/bin/*); chown plain $f`,
		"writable by all":   `f=$(echo /var/lib/vpsctl/bin/*); chmod 777 $f`,
		"a writable parent": `chmod 777 /var/lib/vpsctl/bin`,
	} {
		on(t, h, plant)
		r := v.start("provision", "--only-phase", "mark", "-o", "json")
		r.finishes()
		if code := r.cmd.ProcessState.ExitCode(); code != 0 && code != 6 && code != 2 {
			t.Errorf("%s: exit %d\n%s", what, code, r.talk())
		}
		if got := on(t, h, "ls /root/evil 2>/dev/null || true"); got != "" {
			t.Fatalf("%s: root has run it", what)
		}
		good := on(t, h, `f=$(echo /var/lib/vpsctl/bin/*); test ! -L $f && stat -c %U:%a $f /var/lib/vpsctl/bin && test $(sha256sum <$f | cut -c1-64) = $(basename $f) && echo same || echo BAD`)
		if r.cmd.ProcessState.ExitCode() == 0 && good != "root:755\nroot:755\nsame" {
			t.Errorf("%s: the run was ok with: %s", what, good)
		}
		on(t, h, "rm -rf /var/lib/vpsctl/bin")
		v.provision(0, "mark")
	}
}

// TestNoisyShell: rc files and banners that print do not disturb, and are not taken for answers.
func TestNoisyShell(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	on(t, h, `sed -i '1i echo NOISE from bashrc; echo MISSING arch=evil >&2; printf "\\033]0;evil\\007"' /root/.bashrc 2>/dev/null ||
		printf 'echo NOISE from bashrc\necho MISSING arch=evil >&2\n' > /root/.bashrc
		sed -i '1i echo NOISE; printf "{\\"n\\":1,\\"k\\":\\"end\\"}\\\\n"' /home/admin/.bashrc
		cat /root/.bashrc /home/admin/.bashrc >&2
		printf 'Welcome\nto NOISE\n' > /etc/banner; echo 'Banner /etc/banner' > /etc/ssh/sshd_config.d/99-banner.conf; systemctl reload ssh`)
	for _, user := range []string{"root", "admin"} {
		v := newTool(t, f)
		v.phase("mark", onePhase)
		v.inventory("hosts:\n" + f.entry(t, h, "user", user, "become", "true"))
		r := v.run(0, "ping")
		if strings.Contains(r.out+r.err, "NOISE") {
			t.Errorf("%s: noise shown without -v: %s%s", user, r.out, r.err)
		}
		r = v.provision(0, "mark")
		if strings.Contains(r.out+r.err, "NOISE") || strings.ContainsRune(r.out+r.err, 0x1b) {
			t.Errorf("%s: noise shown without -v: %s%s", user, r.out, r.err)
		}
		v.record(h.Name).whole(h)
	}
}

// TestOtherLoginShells: fish and csh pass on whatever a verb sends.
func TestOtherLoginShells(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	on(t, h, "apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends fish tcsh zsh >/dev/null 2>&1")
	for _, shell := range []string{"/usr/bin/fish", "/bin/tcsh", "/usr/bin/zsh", "/bin/dash"} {
		on(t, h, "chsh -s "+shell+" admin; rm -rf /var/lib/vpsctl")
		v := newTool(t, f)
		v.phase("mark", onePhase)
		v.inventory("hosts:\n" + f.entry(t, h, "user", "admin", "become", "true"))
		v.run(0, "ping")
		v.provision(0, "mark")
		v.record(h.Name).whole(h)
		wants(t, shell+": exec", v.run(0, "exec", "--", `echo "it's $(id -un)" \\ '!$x'`).out, `it's root \ !$x`)
		try(t, os.WriteFile(filepath.Join(v.dir, "it's.sh"), []byte("echo \"ran as $(id -un) for $1\"\n"), 0o644))
		wants(t, shell+": run", v.run(0, "run", "it's.sh", "a 'b' !$c").says(), "ran as root for a 'b' !$c")
		v.run(0, "push", "it's.sh", "/srv/it's here/")
		v.run(0, "pull", "/srv/it's here", "got")
		if got := v.file("got/" + h.Name + "/it's here/it's.sh"); !strings.HasPrefix(got, "echo ") {
			t.Errorf("%s: came back as %q", shell, got)
		}
		on(t, h, "rm -r '/srv/it'\\''s here'")
	}
}

// TestLoginAsAnotherUserIsAsked: cloud images answer root with a sentence instead of a shell.
func TestLoginAsAnotherUserIsAsked(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	on(t, h, `sed -i 's/^ssh-ed25519/no-port-forwarding,command="echo Please login as the user \\\"admin\\\" rather than the user \\\"root\\\".;echo;sleep 1;exit 142" ssh-ed25519/' /root/.ssh/authorized_keys; cat /root/.ssh/authorized_keys >&2`)
	v := newTool(t, f)
	v.phase("mark", onePhase)
	for _, args := range [][]string{{"ping"}, {"provision", "--only-phase", "mark"}} {
		r := v.run(6, args...)
		wants(t, args[0], r.says(), h.Name, "user: admin")
	}
}

// TestJumpHost reaches a host through another one, whose key is checked as well.
func TestJumpHost(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 2)
	bastion, inner := f.Hosts[0], f.Hosts[1]
	v := newTool(t, f)
	v.phase("mark", onePhase)
	on(t, inner, "nft add table ip jump; nft 'add chain ip jump in { type filter hook input priority 0; }' 2>/dev/null || true")
	v.inventory("hosts:\n" + f.entry(t, bastion, "user", "plain") + f.entry(t, inner, "jump", bastion.Name))
	v.provision(0, "mark", "-l", inner.Name)
	v.record(inner.Name).whole(inner)
	from := on(t, inner, "journalctl -u ssh --no-pager -n 50 | grep 'Accepted publickey for root' | tail -n 1")
	if !strings.Contains(from, "from "+bastion.Addr) {
		t.Errorf("the connection did not come through the jump host: %s", from)
	}
	v.inventory("hosts:\n" + f.entry(t, bastion, "host_key", "") + f.entry(t, inner, "jump", bastion.Name))
	wants(t, "ping", v.run(7, "ping", "-l", inner.Name).err, "SHA256:", bastion.Addr)
}

// TestFactsAndPing tell the truth as JSON and as a table.
func TestFactsAndPing(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 2)
	v := newTool(t, f)
	var doc struct {
		Schema   int `json:"schema"`
		ExitCode int `json:"exit_code"`
		Hosts    []struct {
			Host  string  `json:"host"`
			RTT   float64 `json:"rtt_ms"`
			Facts struct {
				Hostname, OS, Kernel, Arch, Virt, User string
				UID, Cores                             int
				MemoryMB                               int `json:"memory_mb"`
			} `json:"facts"`
		} `json:"hosts"`
	}
	try(t, json.Unmarshal([]byte(v.run(0, "facts", "-o", "json").out), &doc))
	for i, h := range f.Hosts {
		got := doc.Hosts[i].Facts
		want := strings.Fields(on(t, h, "hostname; uname -r; nproc; grep MemTotal /proc/meminfo | tr -dc 0-9"))
		if got.Hostname != want[0] || got.OS != "debian-13" || got.Kernel != want[1] || fmt.Sprint(got.Cores) != want[2] || got.User != "root" || got.UID != 0 || got.Virt != "systemd-nspawn" {
			t.Errorf("%s: facts %+v, want %q", h.Name, got, want)
		}
	}
	try(t, json.Unmarshal([]byte(v.run(0, "ping", "-o", "json").out), &doc))
	for _, h := range doc.Hosts {
		if h.RTT <= 0 || h.RTT > 5000 {
			t.Errorf("%s: round trip %v ms", h.Host, h.RTT)
		}
	}
	wants(t, "ping", v.run(0, "ping").out, f.Hosts[0].Name, f.Hosts[1].Name)
}
