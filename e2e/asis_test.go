//go:build e2e

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vpsctl/vpsctl/e2e/lab"
)

// Hosts as they are: what administrators, images and first boots do to them.

// fleetOf is what a test has of a lab of its own.
func fleetOf(t *testing.T, l *lab.Lab) *Fleet {
	t.Helper()
	dir := t.TempDir()
	try(t, l.Describe(dir, l.Hosts))
	return &Fleet{Lab: l, Hosts: l.Hosts, Identity: l.Identity(),
		Inventory: filepath.Join(dir, "inventory.yaml"), KnownHosts: filepath.Join(dir, "known_hosts")}
}

// everyday does one of everything with a host that is not about its system.
func everyday(v *tool, name string) {
	t := v.t
	t.Helper()
	v.run(0, "ping")
	wants(t, "facts", v.run(0, "facts").out, name)
	wants(t, "exec", v.run(0, "exec", "--", "echo it is $(id -u)").out, "it is ")
	try(t, os.WriteFile(filepath.Join(v.dir, "note"), []byte("pushed\n"), 0o644))
	v.run(0, "push", "note", "e2e-note")
	v.run(0, "pull", "e2e-note", "got")
	if got := v.file("got/" + name + "/e2e-note"); got != "pushed\n" {
		t.Errorf("came back: %q", got)
	}
	try(t, os.WriteFile(filepath.Join(v.dir, "tidy.sh"), []byte("rm -f ~/e2e-note && echo tidied $host\n"), 0o644))
	wants(t, "run", v.run(0, "run", "tidy.sh").says(), "tidied "+name)
}

// TestSudoAsksForAPassword: each time, and it keeps logs of what goes in. All verbs work; the password is in no log,
// no process, no file and nothing shown; a wrong one is exit 6; one can be typed.
func TestSudoAsksForAPassword(t *testing.T) {
	t.Parallel()
	const word = "kirsch'baum 4711"
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	on(t, h, `echo "admin:kirsch'baum 4711" | chpasswd; printf '%s\n' 'Defaults timestamp_timeout=0, log_input, log_output' 'admin ALL=(ALL:ALL) ALL' >/etc/sudoers.d/admin; echo 'cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr "\0" "\n"' >/usr/local/bin/allwords; chmod 755 /usr/local/bin/allwords`)
	v.inventory("hosts:\n" + f.entry(t, h, "user", "admin", "become", "true", "become_password", "{env: SUDO}"))
	v.env = append(v.env, "SUDO="+word)
	everyday(v, h.Name)
	v.phase("mark", onePhase)
	v.provision(0, "mark")
	v.record(h.Name).whole(h)
	r := v.run(0, "exec", "--", "id -un; allwords | grep -c \"kirsch.baum\\s4711\"; cat /etc/shadow >/dev/null && echo \"kirsch'baum 4711\" >&2")
	wants(t, "exec", r.out, "root", "| 0")
	if strings.Contains(r.says(), word) || !strings.Contains(r.err, "***") {
		t.Errorf("the password is shown: %s", r.says())
	}
	if got := on(t, h, "find /var/log/sudo-io -type f | wc -l"); got == "0" {
		t.Fatal("sudo keeps no logs: this test proves nothing")
	}
	on(t, h, "journalctl --sync")
	if got := on(t, h, `{ find /var/log/sudo-io -name 'std*' -o -name 'tty*' | grep -v stdout | grep -v stderr | xargs -r zcat -f; cat /var/lib/vpsctl/runs/*/journal.jsonl; find /home/admin /tmp -type f -exec cat {} +; journalctl --no-pager; } | grep -a -c "kirsch.baum 4711" || true`); got != "0" {
		t.Errorf("it is on the host in %s lines", got)
	}
	filepath.WalkDir(v.state, func(name string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if b, _ := os.ReadFile(name); strings.Contains(string(b), word) {
				t.Errorf("%s has it", name)
			}
		}
		return nil
	})

	v.env = append(v.env, "SUDO=something else")
	wants(t, "a wrong password", v.run(6, "ping").says(), "does not take this password of admin", "{env: SUDO}", "sudo -k true")
	v.inventory("hosts:\n" + f.entry(t, h, "user", "admin", "become", "true"))
	wants(t, "no password", v.run(6, "ping").says(), "a password is required", "become_password")
	s := v.typing("Password for sudo", word+"\n", "exec", "-K", "--", "id -un")
	if s.code != 0 || !strings.Contains(s.text, "root") || strings.Contains(s.text, word) || !s.echoes {
		t.Errorf("typed: exit %d, the terminal shows what is typed: %v\n%s", s.code, s.echoes, s.text)
	}
	for range 5 { // the moment counts: it is said as soon as the question is there
		if s := v.typing("Password for sudo", "half\x03", "exec", "-K", "--", "id -un"); s.code != 130 || strings.Contains(s.text, "root") || !s.echoes {
			t.Fatalf("^C at the question: exit %d, the terminal shows what is typed: %v\n%s", s.code, s.echoes, s.text)
		}
	}
}

// TestMountedNoexecWithoutSFTP: /tmp and the homes run nothing, sshd has no SFTP, and rc files talk.
func TestMountedNoexecWithoutSFTP(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	on(t, h, `for d in /tmp /home /root; do mount --bind $d $d && mount -o remount,bind,noexec $d; done
		sed -i '/^Subsystem/d' /etc/ssh/sshd_config; systemctl restart ssh
		for u in plain admin; do sed -i '1i echo NOISE; echo NOISE >&2' /home/$u/.bashrc; done
		cp /bin/true /home/plain/true; chmod 755 /home/plain/true; ! su plain -c /home/plain/true 2>/dev/null; rm /home/plain/true`)
	for user, become := range map[string]string{"plain": "false", "admin": "true"} {
		v := newTool(t, f)
		v.inventory("hosts:\n" + f.entry(t, h, "user", user, "become", become))
		everyday(v, h.Name)
		home := map[string]string{"plain": "/home/plain", "admin": "/root"}[user]
		v.phase("mine", "steps:\n  - name: who\n    run: id -un; touch ~/been-here\n    check: test -e ~/been-here\n  - {name: conf, file: {path: "+home+"/conf, content: \"x\\n\"}}\n")
		v.run(0, "preflight", "--only-phase", "mine")
		v.provision(0, "mine")
		if d := v.provision(0, "mine", "-o", "json").doc(t).Hosts[0]; d.Changed != 0 || d.OK != 2 {
			t.Errorf("%s: second run: %+v", user, d)
		}
		if become == "true" {
			v.record(h.Name).whole(h)
		}
		v.run(0, "clean", "-y")
		if got := on(t, h, "find / -xdev -name '*vpsctl*' -not -path '/proc/*' -not -path '/var/log/*' 2>/dev/null; ls -d /run/vpsctl-* /run/user/*/vpsctl-* /dev/shm/vpsctl-* 2>/dev/null || true"); got != "" {
			t.Errorf("%s: left: %s", user, got)
		}
	}
}

const small = `steps:
  - {name: conf, file: {path: /etc/e2e-small.conf, content: "of {{ .host }}\n"}}
  - {name: tools, packages: [jq]}
  - {name: account, user: {name: smalldev, shell: /bin/bash}}
  - name: unit
    run: printf '[Service]\nExecStart=/bin/sleep 600\n[Install]\nWantedBy=multi-user.target\n' >/etc/systemd/system/e2e-small.service; systemctl daemon-reload
    check: test -e /etc/systemd/system/e2e-small.service
    undo: rm /etc/systemd/system/e2e-small.service; systemctl daemon-reload
  - {name: service, service: {name: e2e-small, enabled: true, state: running}}
`

// residue is what a rollback has to bring back, beyond what asItWas sees.
const residue = asItWas + `; getent passwd; getent group; ls -A /home; dpkg-query -W -f '${Package} ${db:Status-Status}\n'; apt-mark showmanual; systemctl list-unit-files --no-legend | grep e2e; pgrep -x sleep`

// smallPhase brings a host to a small plan, finds nothing to do again, and takes it back without residue; the phases
// that are made for another system say so.
func smallPhase(t *testing.T, f *Fleet, system string) {
	t.Helper()
	h := f.Hosts[0]
	v := newTool(t, f)
	everyday(v, h.Name)
	v.phase("small", small)
	before := on(t, h, residue+"; true")
	v.run(0, "preflight", "--only-phase", "small")
	v.provision(0, "small")
	v.record(h.Name).whole(h)
	if got := on(t, h, "cat /etc/e2e-small.conf; jq --version | cut -c1-3; id -un smalldev; systemctl is-active e2e-small"); got != "of "+h.Name+"\njq-\nsmalldev\nactive" {
		t.Errorf("on the host: %q", got)
	}
	if d := v.provision(0, "small", "-o", "json").doc(t).Hosts[0]; d.Changed != 0 {
		t.Errorf("second run: %+v", d)
	}
	v.run(0, "rollback", "-y", v.firstRun("small"))
	if after := on(t, h, residue+"; true"); after != before {
		t.Errorf("after the rollback:\n%s", differ(before, after))
	}
	if system == "debian-13" {
		return
	}
	r := v.run(1, "preflight", "--only-phase", "terminal-setup")
	wants(t, "preflight", r.says(), "this is "+system, "terminal-setup is for debian-13", "--skip-phase")
	r = v.run(1, "provision", "--only-phase", "terminal-setup")
	wants(t, "provision", r.says(), system, "debian-13")
}

// firstRun is the run that changed what the phase is about.
func (v *tool) firstRun(phase string) string {
	v.t.Helper()
	runs, err := filepath.Glob(filepath.Join(v.state, "runs", "2*"))
	try(v.t, err)
	for _, dir := range runs {
		if b, _ := os.ReadFile(filepath.Join(dir, "run.json")); strings.Contains(string(b), `"provision"`) {
			return filepath.Base(dir)
		}
	}
	v.t.Fatalf("no run provisioned %s: %v", phase, runs)
	return ""
}

// unattended is a real unattended upgrade that lasts until /run/go is there: of a package from an archive in a folder.
const unattended = `set -e; apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -qqy --no-install-recommends unattended-upgrades >/dev/null 2>&1
mkdir -p /srv/repo /srv/p/DEBIAN; cd /srv/repo
for n in 1 2; do
  printf 'Package: slowpoke\nVersion: %s\nArchitecture: all\nMaintainer: e2e <e2e@localhost>\nDescription: slow\n' $n >/srv/p/DEBIAN/control
  dpkg-deb -b /srv/p slowpoke_$n.deb >/dev/null
  printf '#!/bin/sh\ntouch /run/slow; while [ ! -e /run/go ]; do sleep 0.2; done\n' >/srv/p/DEBIAN/preinst; chmod 755 /srv/p/DEBIAN/preinst
done
dpkg -i slowpoke_1.deb >/dev/null
{ cat /srv/p/DEBIAN/control; echo Filename: ./slowpoke_2.deb; echo Size: $(stat -c %s slowpoke_2.deb); echo SHA256: $(sha256sum <slowpoke_2.deb | cut -c1-64); } >Packages
{ printf 'Origin: Slow\nLabel: Slow\nSuite: slow\nCodename: slow\nDate: %s\nSHA256:\n' "$(date -Ru)"; echo " $(sha256sum <Packages | cut -c1-64) $(stat -c %s Packages) Packages"; } >Release
echo 'deb [trusted=yes] file:/srv/repo ./' >/etc/apt/sources.list.d/slow.list
printf '%s\n' 'Unattended-Upgrade::Origins-Pattern { "origin=Slow"; };' 'APT::Periodic::Unattended-Upgrade "1";' >/etc/apt/apt.conf.d/60e2e
apt-get update -qq; rm -f /var/lib/apt/periodic/*; systemctl start --no-block apt-daily-upgrade.service`

// firstBoot is cloud-init's own, which lasts until /run/finish is there.
const firstBoot = `set -e; DEBIAN_FRONTEND=noninteractive apt-get install -qqy --no-install-recommends cloud-init >/dev/null 2>&1
mkdir -p /var/lib/cloud/seed/nocloud; echo 'instance-id: e2e' >/var/lib/cloud/seed/nocloud/meta-data
cat >/etc/cloud/cloud.cfg.d/99-e2e.cfg <<'X'
datasource_list: [NoCloud]
network: {config: disabled}
ssh_deletekeys: false
disable_root: false
preserve_hostname: true
users: []
apt: {preserve_sources_list: true}
X
cat >/var/lib/cloud/seed/nocloud/user-data <<'X'
#cloud-config
runcmd:
  - 'while [ ! -e /run/finish ]; do sleep 0.2; done; touch /run/finished'
X`

// TestHostsThatAreBusy: Debian's unattended upgrade and cloud-init's first boot are waited for, and named.
func TestHostsThatAreBusy(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	v.phase("tools", "steps:\n  - {name: jq, packages: [jq]}\n")
	on(t, h, unattended)
	exists(t, h, "/run/slow")
	status, text, _ := check(t, v, 0, "locks", "--only-phase", "tools")
	if status != "warn" || !strings.Contains(text, "unattended-upgr (apt-daily-upgrade.service)") {
		t.Errorf("preflight: %s %q", status, text)
	}
	p := v.start("provision", "--only-phase", "tools")
	p.sees("apt-daily-upgrade.service")
	on(t, h, "touch /run/go")
	r := p.wait(0)
	wants(t, "provision", r.says(), "pid ", "unattended-upgr")
	if got := on(t, h, "dpkg-query -W -f '${Version} ${db:Status-Status}\n' slowpoke; command -v jq"); got != "2 installed\n/usr/bin/jq" {
		t.Errorf("on the host: %q", got)
	}

	on(t, h, firstBoot)
	v.phase("more", "steps:\n  - {name: order, packages: [tree]}\n  - name: late\n    run: test -e /run/finished\n")
	try(t, h.Reboot(t.Context()))
	until(t, "cloud-init begins", func() bool {
		out, err := h.Exec(context.Background(), "systemctl show -P ActiveState cloud-final")
		return err == nil && strings.TrimSpace(out) == "activating"
	})
	if status, text, hint := check(t, v, 0, "cloud-init", "--only-phase", "more"); status != "warn" || !strings.Contains(hint, "ping --wait") {
		t.Errorf("preflight: %s %q > %q", status, text, hint)
	}
	w := v.start("ping", "--wait", "5m", "-o", "json")
	w.sees("waiting for cloud-init")
	p = v.start("provision", "--only-phase", "more")
	p.sees("cloud-init")
	on(t, h, "touch /run/finish")
	wants(t, "ping --wait", w.wait(0).out, `"cloud_init": "done"`)
	p.wait(0)
}
