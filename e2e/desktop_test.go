//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/e2e/lab"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// desktopPhases bring a desktop and who uses it; the rest of a workstation is for other tests.
var desktopPhases = []string{"--only-phase", "desktop-install", "--only-phase", "rdp-config", "--only-phase", "user-creation"}

func (v *tool) desktop(code int, args ...string) result {
	v.t.Helper()
	return v.run(code, append(append([]string{"provision", "--non-interactive", "-o", "json"}, desktopPhases...), args...)...)
}

// TestDesktop is the desktop's story on one host: what is there, who can reach it, that the password is changed on the
// way to it, that a second run changes nothing, and that who guesses is banned.
func TestDesktop(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 2)
	h, stranger := f.Hosts[0], f.Hosts[1]
	v := newTool(t, f)
	only := []string{"-l", h.Name}
	v.desktop(0, only...)
	v.record(h.Name).whole(h)
	desktopIsThere(t, h)
	if !shut(t, h) {
		t.Error("port 3389 is open to the outside")
	}
	before := on(t, h, fingerprint)
	if d := v.desktop(0, only...).doc(t); d.Hosts[0].Changed != 0 {
		t.Errorf("the second run changed %d steps", d.Hosts[0].Changed)
	}
	if after := on(t, h, fingerprint); after != before {
		t.Errorf("the second run left something:\n%s", differences(before, after))
	}
	passwordOnTheWay(t, v, h)
	guessersAreBanned(t, v, h, stranger)
	passwordIsRotated(t, v, h)
}

// passwordIsRotated sets a new password, which waits to be shown once and has to be changed.
func passwordIsRotated(t *testing.T, v *tool, h *lab.Host) {
	t.Helper()
	hash := on(t, h, "getent shadow devuser | cut -d: -f2")
	r := v.run(0, "credentials", "rotate", "-y", "--non-interactive", "-l", h.Name)
	wants(t, "credentials rotate", r.says(), h.Name+": devuser has a new password")
	if password := thePassword(t, v, h); strings.Contains(r.says(), password) {
		t.Error("the password is in what it says")
	}
	if got := on(t, h, "getent shadow devuser | cut -d: -f2"); got == hash {
		t.Error("the host has the old one")
	}
	if got := on(t, h, "getent shadow devuser | cut -d: -f3"); got != "0" {
		t.Errorf("it need not be changed: %q", got)
	}
}

// desktopIsThere looks at what the phases have left.
func desktopIsThere(t *testing.T, h *lab.Host) {
	t.Helper()
	for what, want := range map[string]string{
		"systemctl is-active xrdp xrdp-sesman fail2ban":                                  "active\nactive\nactive",
		"systemctl is-failed polkit || true":                                             "active",
		"fail2ban-client status | sed -n 's/.*list:.//p' | tr -d ' '":                    "sshd,vpsctl-xrdp",
		"stat -c '%U:%G %a' /etc/xrdp/vpsctl-key.pem":                                    "root:xrdp 640",
		"openssl x509 -in /etc/xrdp/vpsctl-cert.pem -noout -text | grep -o '(4096 bit)'": "(4096 bit)",
		"ufw status | grep -c '^22/tcp .*ALLOW'":                                         "2",
		"ufw status verbose | grep -o 'deny (incoming)'":                                 "deny (incoming)",
		"find /etc/pam.d -newer /etc/xrdp/vpsctl-cert.pem -type f":                       "",
		"sed -n 's/^AllowRootLogin=//p' /etc/xrdp/sesman.ini":                            "false",
		"ls /etc/systemd/system | grep vpsctl || true":                                   "",
	} {
		if got := on(t, h, what); got != want {
			t.Errorf("%s: %q, wanted %q", what, got, want)
		}
	}
}

// shut tells that nothing answers on the host's RDP port from here.
func shut(t *testing.T, h *lab.Host) bool {
	t.Helper()
	nc, err := net.DialTimeout("tcp", net.JoinHostPort(h.Addr, "3389"), 2*time.Second)
	if err == nil {
		nc.Close()
	}
	return err != nil
}

var promptRules = []struct{ ask, answer string }{
	{"Current password: ", "old"}, {"New password: ", "new"}, {"Retype new password: ", "new"},
}

// passwordOnTheWay has `vpsctl rdp` change the expired password, as its user would, and uses the tunnel it opens.
func passwordOnTheWay(t *testing.T, v *tool, h *lab.Host) {
	t.Helper()
	r := v.run(2, "rdp", h.Name, "--print", "--non-interactive")
	wants(t, "rdp without a terminal", r.says(), "has to be changed before the first login by RDP", "vpsctl ssh "+h.Name+" --user devuser")
	old := passwordLine(v.run(0, "credentials", "show").out)
	control, terminal := openTerminal(v)
	defer control.Close()
	p := v.prepare([]string{"rdp", h.Name, "--print"})
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = terminal, terminal, terminal
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	try(t, p.cmd.Start())
	terminal.Close()
	p.watch()
	d := dialogue{t: t, f: control}
	for _, q := range promptRules {
		d.until(q.ask)
		d.say(map[string]string{"old": old, "new": "Another-Good-One-42"}[q.answer] + "\n")
	}
	text := d.until("until ^C")
	port := regexp.MustCompile(`desktop at (127\.0\.0\.1:\d+), user devuser`).FindStringSubmatch(text)
	if port == nil || strings.Contains(text, "[WARN]") {
		t.Fatalf("it says %q", text)
	}
	tlsOnly(t, h, port[1])
	d.say("\x03")
	p.finishes()
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d after ^C", code)
	}
	if left, _ := os.ReadDir(v.state + "/rdp"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if got := on(t, h, "getent shadow devuser | cut -d: -f3"); got == "0" {
		t.Error("the password is still expired")
	}
}

// dialogue is a conversation on a terminal.
type dialogue struct {
	t    *testing.T
	f    *os.File
	text string
}

// until reads up to a text, and gives what came before it and it.
func (d *dialogue) until(want string) string {
	d.t.Helper()
	got := make(chan string, 1)
	go func() {
		buf := make([]byte, 4096)
		for !strings.Contains(d.text, want) {
			n, err := d.f.Read(buf)
			d.text += string(buf[:n])
			if err != nil {
				break
			}
		}
		got <- d.text
	}()
	select {
	case text := <-got:
		before, after, ok := strings.Cut(text, want)
		if !ok {
			d.t.Fatalf("no %q in %q", want, text)
		}
		d.text = after
		return before + want
	case <-time.After(patience):
		d.t.Fatalf("waited for %q", want)
	}
	return ""
}

func (d *dialogue) say(text string) {
	d.t.Helper()
	_, err := d.f.WriteString(text)
	try(d.t, err)
}

// tlsOnly wants the server at addr to speak TLS with the certificate of the host's disk, and to refuse less.
func tlsOnly(t *testing.T, h *lab.Host, addr string) {
	t.Helper()
	nc, answer := negotiate(t, addr, 1)
	defer nc.Close()
	if answer[0] != 2 || binary.LittleEndian.Uint32(answer[4:]) != 1 {
		t.Fatalf("TLS was offered, it answers % x", answer)
	}
	c := tls.Client(nc, &tls.Config{InsecureSkipVerify: true}) // compared by its bytes
	try(t, c.HandshakeContext(t.Context()))
	want := on(t, h, "openssl x509 -in /etc/xrdp/vpsctl-cert.pem -outform DER | od -An -v -tx1 | tr -d ' \\n'")
	if got := fmt.Sprintf("%x", c.ConnectionState().PeerCertificates[0].Raw); got != want {
		t.Errorf("another certificate than the host's: %s", got)
	}
	plain, answer := negotiate(t, addr, 0)
	plain.Close()
	if answer[0] != 3 || binary.LittleEndian.Uint32(answer[4:]) != 1 {
		t.Errorf("without TLS it answers % x", answer)
	}
}

// negotiate offers protocols and gives the negotiation part of the answer.
func negotiate(t *testing.T, addr string, protocols byte) (net.Conn, []byte) {
	t.Helper()
	nc, err := net.DialTimeout("tcp", addr, patience)
	try(t, err)
	nc.SetDeadline(time.Now().Add(patience))
	_, err = nc.Write([]byte{3, 0, 0, 19, 14, 0xe0, 0, 0, 0, 0, 0, 1, 0, 8, 0, protocols, 0, 0, 0})
	try(t, err)
	b := make([]byte, 19)
	_, err = io.ReadFull(nc, b)
	try(t, err)
	return nc, b[11:]
}

// guessersAreBanned opens RDP to everybody, which is warned of, and has a stranger guess: five times by SSH, then five
// times by RDP. Nobody else is shut out.
func guessersAreBanned(t *testing.T, v *tool, h, stranger *lab.Host) {
	t.Helper()
	r := v.run(0, append(append([]string{"provision", "--non-interactive", "-l", h.Name, "-e", "rdp_from=any"}, desktopPhases...), "--plain")...)
	wants(t, "rdp_from=any", r.says(), "anybody may try passwords on port 3389")
	tlsOnly(t, h, net.JoinHostPort(h.Addr, "3389"))
	banned(t, h, stranger, "sshd", func(ctx context.Context) *exec.Cmd {
		return stranger.Beside(ctx, "ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
			"-o", "ConnectTimeout=5", "nobody-here@"+h.Addr, "true")
	})
	on(t, h, "fail2ban-client unban --all")
	client := rdpClient(t)
	banned(t, h, stranger, "vpsctl-xrdp", func(ctx context.Context) *exec.Cmd {
		return stranger.Beside(ctx, "timeout", "8", "xvfb-run", "-a", client, "/v:"+h.Addr, "/u:devuser", "/p:wrong-wrong", "/sec:tls", "/cert:ignore")
	})
	v.run(0, "ping", "-l", h.Name)
}

var failures = regexp.MustCompile(`Total failed:\s+(\d+)`)

// banned has the stranger try until it is shut out, and wants the host to have counted five failures by then, no fewer.
func banned(t *testing.T, h, stranger *lab.Host, jail string, attempt func(context.Context) *exec.Cmd) {
	t.Helper()
	status := func() (shut bool, failed int, text string) {
		text = on(t, h, "fail2ban-client status "+jail)
		if found := failures.FindStringSubmatch(text); found != nil {
			failed, _ = strconv.Atoi(found[1])
		}
		return strings.Contains(text, stranger.Addr), failed, text
	}
	shut, before, text := status()
	if shut {
		t.Fatalf("%s has banned %s already:\n%s", jail, stranger.Addr, text)
	}
	failed := before
	for n := 0; n < 30 && !shut; n++ {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		attempt(ctx).Run() // refused, each time
		cancel()
		shut, failed, text = status()
	}
	if !shut {
		t.Fatalf("%s has not banned %s:\n%s\n%s", jail, stranger.Addr, text, on(t, h, "journalctl -u ssh -u xrdp-sesman -n 30 --no-pager"))
	}
	if failed-before < 5 {
		t.Errorf("%s has banned %s after %d failures, not five:\n%s", jail, stranger.Addr, failed-before, text)
	}
	t.Logf("%s: banned after %d failures", jail, failed-before)
	if out, err := stranger.Beside(t.Context(), "timeout", "4", "bash", "-c", "exec 3<>/dev/tcp/"+h.Addr+"/22").CombinedOutput(); err == nil {
		t.Errorf("%s: banned, and still let in: %s", jail, out)
	}
}

// differences are the lines that two texts do not share.
func differences(a, b string) string {
	var out strings.Builder
	for _, pair := range [][2]string{{a, b}, {b, a}} {
		other := map[string]bool{}
		for line := range strings.Lines(pair[1]) {
			other[line] = true
		}
		for line := range strings.Lines(pair[0]) {
			if !other[line] {
				out.WriteString(line)
			}
		}
		out.WriteString("---\n")
	}
	return out.String()
}

// closing is a phase that shuts everybody out, us too.
const closing = `steps:
  - name: wall
    run: ufw --force reset >/dev/null; rm -f /etc/ufw/*.rules.2*; ufw default deny incoming; ufw --force enable
    check: ufw status | grep -qw active && ! ufw status | grep -q '^22/tcp'
    undo: ufw --force disable
    guard: {window: 8s}
`

// TestFirewallOfSomebody: a host whose firewall and xrdp somebody has set up by hand keeps what is not ours and ends
// as wanted; a change that locks us out is taken back, whether somebody is there or not.
func TestFirewallOfSomebody(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	on(t, h, `apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends ufw xrdp xorgxrdp >/dev/null 2>&1
ufw allow from 10.0.0.0/8 to any port 22 proto tcp comment 'the office' && ufw allow 8080/tcp && ufw --force enable
sed -i 's/^security_layer=.*/security_layer=rdp/; s/^port=3389/port=tcp:\/\/:3389/' /etc/xrdp/xrdp.ini
printf '\n[Mine]\nname=mine\nlib=libvnc.so\n' >>/etc/xrdp/xrdp.ini; systemctl restart xrdp`)
	v.run(0, "provision", "--non-interactive", "--only-phase", "rdp-config")
	for what, want := range map[string]string{
		"ufw show added | grep -c 'the office'":             "1",
		"ufw show added | grep -c '8080/tcp'":               "1",
		"ufw show added | grep -c 'allow 22/tcp' || true":   "0",
		"sed -n 's/^security_layer=//p' /etc/xrdp/xrdp.ini": "tls",
		"ss -Hltn 'sport = :3389' | awk '{ print $4 }'":     "127.0.0.1:3389",
		"grep -c '^name=mine' /etc/xrdp/xrdp.ini":           "1",
	} {
		if got := on(t, h, what); got != want {
			t.Errorf("%s: %q, wanted %q", what, got, want)
		}
	}
	rules := on(t, h, "cat /etc/ufw/user.rules")
	d := v.run(0, "provision", "--non-interactive", "--only-phase", "rdp-config", "-o", "json").doc(t)
	if d.Hosts[0].Changed != 0 || on(t, h, "cat /etc/ufw/user.rules") != rules {
		t.Errorf("the second run changed %d steps", d.Hosts[0].Changed)
	}
	rulesThatAreNotAboutSSH(t, h, v)
	v.phase("wall", closing)
	r := v.provision(2, "wall")
	wants(t, "provision", r.says(), "wall/wall", "unconfirmed")
	if s := v.record(h.Name).step("wall/wall"); s.Status != wire.Skipped {
		t.Errorf("step %+v", s)
	}
	openAgain(t, h)
	v.start("provision", "--only-phase", "wall", "--detach").wait(0)
	until(t, "the end of the run nobody watches", func() bool {
		return strings.Contains(on(t, h, "cat $(ls -td /var/lib/vpsctl/runs/* | head -1)/journal.jsonl"), `"k":"end"`)
	})
	openAgain(t, h)
}

// rulesThatAreNotAboutSSH: what somebody forbids, routes, lets out, or lets in from some addresses to everything does not
// open SSH to us; a firewall that was off until now gets a rule for it. What verification says of RDP goes by whole ports.
func rulesThatAreNotAboutSSH(t *testing.T, h *lab.Host, v *tool) {
	t.Helper()
	on(t, h, `ufw --force reset && ufw deny from 198.51.100.9 && ufw route allow in on lo && ufw allow out 22/tcp && ufw allow from 192.0.2.0/24
ufw deny 2222/tcp && ufw allow 13389/tcp && ufw allow in on wg0 && ufw allow from any port 53`)
	args := []string{"provision", "--non-interactive", "--only-phase", "rdp-config"}
	v.run(0, args...)
	if got := on(t, h, "ufw show added | grep -c 'allow 22/tcp'"); got != "1" {
		t.Errorf("%s rules for SSH:\n%s", got, on(t, h, "ufw show added"))
	}
	if d := v.run(0, append(args, "-o", "json")...).doc(t); d.Hosts[0].Changed != 0 {
		t.Errorf("the second run changed %d steps", d.Hosts[0].Changed)
	}
	check := func(code int, more ...string) string {
		return v.run(code, append([]string{"verify", "--check", "firewall-rules"}, more...)...).says()
	}
	check(0)
	wants(t, "without a rule for a network", check(4, "-e", "rdp_from=203.0.113.0/24"), "no rule lets RDP in from 203.0.113.0/24")
	v.run(0, append(args, "-e", "rdp_from=203.0.113.0/24")...)
	check(0, "-e", "rdp_from=203.0.113.0/24")
	on(t, h, "ufw allow 3389")
	wants(t, "a rule of somebody", check(4, "-e", "rdp_from=203.0.113.0/24"), "RDP is open to any", "ufw status numbered")
	on(t, h, "ufw delete allow 3389 && ufw allow from 203.0.113.7 to any port 3389")
	check(0, "-e", "rdp_from=203.0.113.0/24")
	wants(t, "an address of another network", check(4, "-e", "rdp_from=203.0.112.0/24"), "no rule lets RDP in from 203.0.112.0/24")
	outside := on(t, h, "ip -4 route show default | sed 's/.* dev \\([^ ]*\\).*/\\1/'")
	on(t, h, "ufw delete allow from 203.0.113.7 to any port 3389")
	v.run(0, args...)
	on(t, h, "ufw allow in on "+outside)
	wants(t, "a rule for what leads outside", check(4), "RDP is open to any")
	on(t, h, "ufw delete allow in on "+outside)
	on(t, h, `ufw --force reset && ufw allow from "$(ip -4 route show default | cut -d" " -f3)" && ufw --force enable`)
	v.run(0, args...)
	if got := on(t, h, "ufw show added | grep -c 'allow 22/tcp' || true"); got != "0" {
		t.Errorf("SSH was opened to all, though somebody lets in whom he wants:\n%s", on(t, h, "ufw show added"))
	}
	check(0)
	on(t, h, "ufw --force reset")
	v.run(0, args...)
}

// openAgain wants the host within reach and no timer left.
func openAgain(t *testing.T, h *lab.Host) {
	t.Helper()
	until(t, h.Name+" to let root in", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		c, err := h.Dial(ctx, "root")
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	noTimers(t, h)
}
