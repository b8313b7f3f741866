//go:build e2e

package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/vpsctl/vpsctl/e2e/lab"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// fingerprint is what a run that changes nothing leaves as it was: every file of /etc with owner, mode and time, the
// packages, the accounts, the units that are on, what sshd does.
const fingerprint = `find /etc /root /home /usr/local /var/spool/cron -xdev -mindepth 1 -not -path '*/.cache*' -printf '%p %y %U %G %m %T@ %l\n' | sort
find /etc /root /home -xdev -type f -exec sha256sum {} + | sort
dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\n'; apt-mark showmanual
getent passwd; getent group; systemctl list-unit-files --state=enabled --no-legend; sshd -T`

// spine leaves the desktop and what stands on it to the tests that are about them: it makes most of a run's minutes.
var spine = []string{"--skip-phase", "desktop-install", "--skip-phase", "rdp-config", "--skip-phase", "ide-vscode", "--skip-phase", "ide-cursor", "--skip-phase", "ide-antigravity"}

func spined(args ...string) []string { return append(args, spine...) }

// TestFirstProvision is the whole story of a fresh VPS: what the built-in phases leave on it, what the record and
// the screen have, that the password stays secret, that a second run changes nothing, and the developer's first login.
func TestFirstProvision(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	p := v.start(spined("provision", "--sample-interval", "1s", "-o", "json", "--non-interactive")...)
	seen := watchProcesses(t, h, p)
	r := p.wait(0)
	d := r.doc(t)
	if d.Status != "changed" && d.Status != "ok" || len(d.Hosts) != 1 || d.Hosts[0].Changed == 0 || d.Hosts[0].Failed != 0 {
		t.Errorf("got %+v", d)
	}
	phases := d.Hosts[0].Phases
	for _, ph := range phases {
		if ph.Status != "ok" && ph.Status != "changed" {
			t.Errorf("phase %+v", ph)
		}
	}
	if len(phases) < 3 || phases[0].ID != "system-prep" || phases[len(phases)-1].ID != "verification" {
		t.Errorf("phases: %+v", phases)
	}
	v.record(h.Name).whole(h)
	leftBySystemPrep(t, h)
	leftByUserCreation(t, h)
	recordFiles(t, v, h, len(phases))
	// The lab's hosts are containers, for which no kernel audits: that is said, and nothing of it is left.
	if s := v.record(h.Name).step("user-creation/audit"); s.Status != wire.Skipped || !strings.HasSuffix(s.Reason, "the kernel does not audit for a container") {
		t.Errorf("user-creation/audit: %+v", s)
	}
	password := thePassword(t, v, h)
	secretPassword(t, v, h, password, r, seen())

	before := on(t, h, fingerprint)
	again := v.run(0, spined("provision", "--sample-interval", "1s", "-o", "json")...)
	if d := again.doc(t).Hosts[0]; d.Changed != 0 || d.Failed != 0 || d.Status != "ok" {
		t.Errorf("the second run: %+v", d)
		for _, e := range v.record(h.Name).events {
			if e.StepEnd != nil && e.StepEnd.Status != "ok" && e.StepEnd.Status != "skipped" {
				t.Errorf("step %s: %+v", e.Step, *e.StepEnd)
			}
		}
	}
	if after := on(t, h, fingerprint); after != before {
		t.Errorf("the second run has changed the host: %s", firstDifference(after, before))
	}
	if again.took > 30*time.Second {
		t.Errorf("the second run took %v", again.took)
	}
	shown := v.run(0, "credentials", "show")
	wants(t, "credentials show", shown.out, password, "devuser", h.Name)
	if strings.Contains(v.run(0, "credentials", "show").out, password) {
		t.Error("the password is shown a second time")
	}
	firstLogin(t, h, password)
	v.run(0, spined("provision", "--sample-interval", "0")...)
	if got := on(t, h, "passwd -S devuser | cut -d' ' -f2"); got != "P" {
		t.Errorf("a later run has touched the developer's own password: %s", got)
	}
	verificationWarns(t, v, h)
}

// verificationWarns: what is not critical and does not hold is a warning while the run goes on, and no success.
func verificationWarns(t *testing.T, v *tool, h *lab.Host) {
	t.Helper()
	on(t, h, "mv /usr/bin/git /usr/bin/git.away; ln -s /bin/false /usr/bin/git")
	r := v.run(4, "provision", "--sample-interval", "0", "--only-phase", "system-prep", "--only-phase", "verification")
	wants(t, "a warning", r.says(), "[WARN]", "git-installed", "apt-get install git")
	if strings.Contains(r.says(), "everything was as it should be") {
		t.Errorf("it says that all is well:\n%s", tail(r.says()))
	}
}

// watchProcesses samples every command line and environment of the host while p runs.
func watchProcesses(t *testing.T, h *lab.Host, p *proc) (all func() string) {
	t.Helper()
	var buf bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !p.over() {
			out, _ := h.Exec(t.Context(), "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | sort -u; sleep 0.1")
			buf.WriteString(out)
		}
	}()
	return func() string {
		<-done
		return buf.String()
	}
}

func leftBySystemPrep(t *testing.T, h *lab.Host) {
	t.Helper()
	apt := on(t, h, "apt-config dump")
	wants(t, "apt-config", apt, `APT::Get::Assume-Yes "true"`, `Acquire::Retries "3"`, `Acquire::Queue-Mode "host"`, "--force-confdef", "--force-confold",
		`Unattended-Upgrade::Automatic-Reboot "false"`)
	on(t, h, "test -f /etc/apt/apt.conf.d/99vps-provision && test -f /etc/apt/apt.conf.d/50unattended-upgrades")
	for pkg := range strings.FieldsSeq("build-essential curl wget git ca-certificates gnupg lsb-release unattended-upgrades apt-listchanges openssh-server") {
		if got, _ := h.Exec(t.Context(), "dpkg-query -W -f '${db:Status-Status}' "+pkg); got != "installed" {
			t.Errorf("package %s is %q", pkg, got)
		}
	}
	on(t, h, "for c in git curl wget gcc make; do command -v $c >/dev/null || exit 1; done; test -z \"$(dpkg --audit)\"; systemctl is-active -q ssh")
	ssh := on(t, h, "sshd -T -C user=devuser,host=x,addr=10.0.0.1")
	for _, want := range []string{"passwordauthentication no", "kbdinteractiveauthentication no", "permitemptypasswords no", "usepam yes", "maxauthtries 6",
		"maxsessions 10", "logingracetime 60", "clientaliveinterval 900", "clientalivecountmax 4", "x11forwarding yes", "loglevel INFO", "pubkeyauthentication yes", "port 22"} {
		if !regexp.MustCompile(`(?m)^` + want + `$`).MatchString(ssh) {
			t.Errorf("sshd -T has no %q", want)
		}
	}
	if !regexp.MustCompile(`(?m)^permitrootlogin (prohibit-password|without-password)$`).MatchString(ssh) {
		t.Error("root can log in with a password, or not at all, though the inventory's user is root")
	}
	for _, weak := range []string{"aes128-cbc", "3des", "hmac-md5", "hmac-sha1,", "diffie-hellman-group1-", "diffie-hellman-group14-sha1", "ssh-dss"} {
		if strings.Contains(ssh, weak) {
			t.Errorf("sshd offers %s", weak)
		}
	}
}

func leftByUserCreation(t *testing.T, h *lab.Host) {
	t.Helper()
	id := on(t, h, "id devuser")
	wants(t, "id devuser", id, "sudo", "audio", "video", "dialout", "plugdev", "devusers")
	if got := on(t, h, `test "$(id -u devuser)" -ge 1000 && getent passwd devuser | cut -d: -f6,7`); got != "/home/devuser:/bin/bash" {
		t.Errorf("home and shell: %s", got)
	}
	wants(t, "chage", on(t, h, "LC_ALL=C chage -l devuser"), "password must be changed")
	if got := on(t, h, "stat -c '%a %U' /etc/sudoers.d/80-devuser"); got != "440 root" {
		t.Errorf("sudoers file: %s", got)
	}
	on(t, h, "visudo -cq")
	wants(t, "sudo -l", on(t, h, "sudo -l -U devuser"), "NOPASSWD: ALL")
	keys := on(t, h, "cat /home/devuser/.ssh/authorized_keys; stat -c '%a %U' /home/devuser/.ssh /home/devuser/.ssh/authorized_keys")
	wants(t, "the developer's keys", keys, on(t, h, "cut -d' ' -f2 /root/.ssh/authorized_keys"), "700 devuser", "600 devuser")
	if got := on(t, h, "stat -c '%a %U' /home/devuser/.xsession"); got != "755 devuser" && got != "700 devuser" {
		t.Errorf(".xsession: %s", got)
	}
}

// recordFiles wants the files of a record on both ends.
func recordFiles(t *testing.T, v *tool, h *lab.Host, phases int) {
	t.Helper()
	rec := v.record(h.Name)
	for _, name := range []string{"events.jsonl", "output.log", "timing.csv", "resources.csv", "performance-report.json"} {
		st, err := os.Stat(filepath.Join(rec.dir, name))
		try(t, err)
		if st.Mode().Perm() != 0o600 || st.Size() == 0 {
			t.Errorf("%s: mode %v, %d bytes", name, st.Mode(), st.Size())
		}
	}
	var perf struct {
		Summary struct {
			Total float64 `json:"total_duration_sec"`
			Score float64 `json:"performance_score"`
		} `json:"summary"`
	}
	try(t, json.Unmarshal([]byte(rec.file("performance-report.json")), &perf))
	if perf.Summary.Total <= 0 || perf.Summary.Score <= 0 {
		t.Errorf("performance-report.json: %+v", perf)
	}
	for _, name := range []string{"timing.csv", "resources.csv"} {
		here, there := rec.file(name), on(t, h, "cat /var/log/vps-provision/"+name)
		if strings.TrimSpace(here) != there {
			t.Errorf("%s differs from the host's: %s", name, firstDifference(strings.TrimSpace(here), there))
		}
	}
	if got := strings.Count(rec.file("timing.csv"), "success"); got != phases {
		t.Errorf("timing.csv has %d phases that succeeded:\n%s", got, rec.file("timing.csv"))
	}
	on(t, h, "test -s /var/log/vps-provision/provision.log && test -s /var/log/vps-provision/performance-report.json")
	wants(t, "timings", v.run(0, "timings").out, "system-prep", "user-creation", "verification")
	wants(t, "timings --phase", v.run(0, "timings", "--phase", "system-prep").out, "system-prep")
	v.run(1, "timings", "--phase", "rdp-config")
	wants(t, "report", v.run(0, "report").out, h.Name, "system-prep")
}

// thePassword is the generated one, as it waits for its owner.
func thePassword(t *testing.T, v *tool, h *lab.Host) string {
	t.Helper()
	path := filepath.Join(v.state, "credentials", h.Name)
	st, err := os.Stat(path)
	try(t, err)
	var cred struct{ Host, User, Password string }
	try(t, json.Unmarshal([]byte(v.file(strings.TrimPrefix(path, v.dir))), &cred))
	if st.Mode().Perm() != 0o600 || cred.User != "devuser" || len(cred.Password) < 16 {
		t.Fatalf("credentials: %v %+v", st.Mode(), cred)
	}
	// Is it really the one that was set? The password comes on stdin, or it would be in an argv.
	try(t, os.WriteFile(filepath.Join(h.Root(), "root", ".pw"), []byte(cred.Password), 0o600))
	if got := on(t, h, `perl -e 'open F,"/root/.pw"; $p=<F>; open S,"/etc/shadow"; while (<S>) { $h=$1 if /^devuser:([^:]+):/ } print crypt($p,$h) eq $h ? "same" : "other"'; rm /root/.pw`); got != "same" {
		t.Errorf("the password that waits is not the one on the host: %s", got)
	}
	return cred.Password
}

// secretPassword looks for the password everywhere but where it belongs.
func secretPassword(t *testing.T, v *tool, h *lab.Host, password string, r result, processes string) {
	t.Helper()
	forms := []string{password, base64.StdEncoding.EncodeToString([]byte(password)), fmt.Sprintf("%x", password)}
	leaks := func(where, s string) {
		t.Helper()
		for _, form := range forms {
			if strings.Contains(s, form) {
				t.Errorf("%s has the password", where)
			}
		}
	}
	leaks("the screen", r.out+r.err)
	leaks("a command line or environment on the host", processes)
	if len(processes) < 1000 {
		t.Error("no processes were seen: this proves nothing")
	}
	try(t, filepath.WalkDir(v.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.Contains(path, "credentials") {
			b, readErr := os.ReadFile(path)
			try(t, readErr)
			leaks(path, string(b))
		}
		return err
	}))
	leaks("a file of the host", on(t, h, "find /var/lib/vpsctl/runs /var/log /var/backups /run /tmp /var/tmp /root /home /etc -xdev -type f -size -20M -exec cat {} + 2>/dev/null || true"))
	leaks("the journal", on(t, h, "journalctl --no-pager -o export 2>/dev/null | strings || true"))
}

// firstLogin is what the developer does first: log in with the key, be asked for a new password, choose one.
func firstLogin(t *testing.T, h *lab.Host, password string) {
	t.Helper()
	client, err := h.Dial(t.Context(), "devuser")
	try(t, err)
	defer client.Close()
	defer time.AfterFunc(longest, func() { client.Close() }).Stop()
	session, err := client.NewSession()
	try(t, err)
	try(t, session.RequestPty("xterm", 24, 80, ssh.TerminalModes{ssh.ECHO: 0}))
	in, err := session.StdinPipe()
	try(t, err)
	var out stream
	session.Stdout, session.Stderr = &out, &out
	try(t, session.Shell())
	const own = "Correct-horse7-battery"
	for i, answer := range []string{password, own, own} {
		question := []string{"Current password:", "New password:", "Retype new password:"}[i]
		until(t, fmt.Sprintf("%q at the first login; so far %q", question, out.String()), func() bool { return strings.Contains(out.String(), question) })
		_, err := fmt.Fprintf(in, "%s\n", answer)
		try(t, err)
	}
	until(t, "the new password to be set", func() bool {
		return !strings.Contains(on(t, h, "LC_ALL=C chage -l devuser"), "must be changed")
	})
	in.Close()
	_ = session.Wait()
	if got, err := say(t, h, "devuser", "sudo -n id -u"); got != "0" {
		t.Errorf("the developer's sudo: %q, %v", got, err)
	}
	wants(t, "sudo's log", on(t, h, "cat /var/log/sudo/sudo.log"), "devuser")
}

// TestProvisionAsAdmin comes in as another user with sudo: root's own login is then closed, and the way in stays open.
func TestProvisionAsAdmin(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	v.inventory("hosts:\n" + f.entry(t, h, "user", "admin", "become", "true", "vars", "{username: alice}"))
	// What cloud images bring, in the way twice: an early drop-in of their own, and root's key with a command.
	on(t, h, `printf 'PasswordAuthentication yes\n' > /etc/ssh/sshd_config.d/50-cloud-init.conf
		printf 'command="echo Please login as admin;exit 142" %s\n' "$(cat /root/.ssh/authorized_keys)" > /root/.ssh/authorized_keys`)
	screen := v.pty(spined("provision", "--sample-interval", "1s")...)
	if screen.code != 0 {
		t.Fatalf("exit %d\n%s", screen.code, tail(screen.text))
	}
	ssh := on(t, h, "sshd -T -C user=root,host=x,addr=10.0.0.1")
	wants(t, "sshd -T", ssh, "permitrootlogin no", "passwordauthentication no")
	if c, err := h.Dial(t.Context(), "root"); err == nil {
		c.Close()
		t.Error("root can still log in")
	}
	if got := on(t, h, "grep -c command= /home/alice/.ssh/authorized_keys || true"); got != "0" {
		t.Errorf("the developer's keys have %s lines with a command", got)
	}
	password := regexp.MustCompile(`[^\s]{20}`).FindString(passwordLine(screen.text))
	if password == "" {
		t.Fatalf("no password on the terminal:\n%s", tail(screen.text))
	}
	if _, err := os.Stat(filepath.Join(v.state, "credentials", h.Name)); err == nil {
		t.Error("a password that was shown is kept")
	}
	try(t, filepath.WalkDir(v.state, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			b, readErr := os.ReadFile(path)
			try(t, readErr)
			if bytes.Contains(b, []byte(password)) {
				t.Errorf("%s has the password", path)
			}
		}
		return err
	}))
	before := on(t, h, fingerprint)
	r := v.run(0, spined("provision", "-o", "json")...)
	if d := r.doc(t).Hosts[0]; d.Changed != 0 {
		t.Errorf("the second run: %+v", d)
	}
	if after := on(t, h, fingerprint); after != before {
		t.Errorf("the second run has changed the host: %s", firstDifference(after, before))
	}
	v.run(0, "ping")
}

// passwordLine is what follows the word on the screen.
func passwordLine(text string) string {
	i := strings.LastIndex(text, "password ")
	if i < 0 {
		return ""
	}
	line, _, _ := strings.Cut(text[i+len("password "):], "\n")
	return line
}

// TestVerificationAlone asks only for what phases of the plan have promised: here for nothing, and changes nothing.
func TestVerificationAlone(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 1)
	v := newTool(t, f)
	before := on(t, f.Hosts[0], fingerprint)
	r := v.provision(0, "verification", "-o", "json")
	if d := r.doc(t).Hosts[0]; d.Changed != 0 || d.Failed != 0 || len(d.Phases) != 1 {
		t.Errorf("got %+v", d)
	}
	if after := on(t, f.Hosts[0], fingerprint); after != before {
		t.Errorf("it has changed the host: %s", firstDifference(after, before))
	}
}

// TestVerificationFails: what was promised does not hold; exit 4, with what to type. A team's own verification replaces
// the built-in one.
func TestVerificationFails(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 1)
	v := newTool(t, f)
	v.phase("verification", `override: true
steps:
  - {name: holds, assert: {check: "true", critical: true}}
  - {name: does not, assert: {check: "echo found nothing; exit 1", critical: true, hint: "look for it"}}
  - {name: asked all the same, assert: {check: "true", critical: true}}
`)
	r := v.provision(4, "verification", "-o", "json")
	if d := r.doc(t).Hosts[0]; d.ExitCode != 4 || d.OK != 2 || d.Error == nil || d.Error.Hint != "look for it" {
		t.Errorf("got %+v %+v", d, d.Error)
	}
	wants(t, "the report", v.run(0, "report").out, "does not", "found nothing", "look for it")
}
