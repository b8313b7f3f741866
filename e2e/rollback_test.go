//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// What a user's folders, files and accounts are, for "as it was before".
const asItWas = `find /etc /srv /opt -xdev ! -name '*-' ! -name '*.cache' -printf '%p %M %U:%G %l\n' | sort; find /etc /srv /opt -xdev -type f ! -name '*-' ! -name '*.cache' -exec sha256sum {} + | sort -k2`

const reboots = `steps:
  - {name: file, file: {path: /etc/vpsctl-e2e/one, content: "one\n"}}
  - {name: ini, file: {path: /etc/systemd/journald.conf, keys: {Journal: {SystemMaxUse: 50M}}}, on_change: [{restart: systemd-journald}]}
  - name: kernel
    run: cat /proc/sys/kernel/random/boot_id >/srv/boot-before; echo x >>/srv/ran
    check: test -e /srv/boot-before
    undo: rm -f /srv/boot-before /srv/ran
    reboot: true
  - name: after
    run: test "$(cat /srv/boot-before)" != "$(cat /proc/sys/kernel/random/boot_id)" && touch /srv/after
    check: test -e /srv/after
    undo: rm -f /srv/after
`

// TestRunSurvivesAReboot: the host reboots in the middle, the rest is done in
// the new boot under the same run, and a rollback brings all of it back.
func TestRunSurvivesAReboot(t *testing.T) {
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	before := on(t, h, asItWas)
	v.phase("boots", reboots)
	v.run(0, "provision", "--only-phase", "boots", "-o", "json")
	rec := v.record(h.Name)
	rec.whole(h)
	if got := on(t, h, "cat /srv/ran; ls /srv/after; ls /var/lib/vpsctl/runs | wc -l"); got != "x\n/srv/after\n1" {
		t.Errorf("on the host: %q", got)
	}
	if s := rec.step("boots/after"); s.Status != "changed" {
		t.Errorf("behind the reboot: %+v", s)
	}
	if grep := on(t, h, "grep -rl 'boot-before' /var/lib/vpsctl/runs --include=* --exclude-dir=undo | grep -v journal || true"); grep != "" {
		t.Errorf("the plan is on the disk: %s", grep)
	}
	run := v.lastRun()
	v.run(0, "provision", "--only-phase", "boots")
	if s := v.record(h.Name).step("boots/kernel"); s.Status != "ok" {
		t.Errorf("a second run: %+v", s)
	}
	r := v.run(0, "rollback", "-y", run)
	wants(t, "the rollback", r.says(), "undone")
	if after := on(t, h, asItWas); after != before {
		t.Errorf("after the rollback:\n%s", differ(before, after))
	}
	v.run(0, "rollback", "-y", run) // nothing is left to undo, and that is no error
}

// TestRollbackSaysWhatIsLeft: exit 3 with the thing that could not be undone,
// and all else is undone.
func TestRollbackSaysWhatIsLeft(t *testing.T) {
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	v.phase("left", "steps:\n  - {name: dir, file: {path: /srv/kept, state: directory}}\n  - {name: file, file: {path: /srv/gone, content: x}}\n")
	v.run(0, "provision", "--only-phase", "left")
	on(t, h, "touch /srv/kept/precious")
	r := v.run(3, "rollback", "-y")
	wants(t, "the screen", r.says(), "left/dir", "the folder is not empty")
	if got := on(t, h, "ls /srv/kept; test ! -e /srv/gone"); got != "precious" {
		t.Errorf("on the host: %q", got)
	}
}

// TestRollbackOfAnswers: debconf's database is what it was, also where somebody
// had answered a question before, which purging the package alone would lose.
func TestRollbackOfAnswers(t *testing.T) {
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	on(t, h, `echo "dma dma/mailname string theirs.example.org" | debconf-set-selections`)
	const known = `cd /var/cache/debconf; cat config.dat passwords.dat templates.dat; dpkg-query -W`
	before := on(t, h, known)
	v.phase("mail", `steps:
  - name: agent
    packages:
      names: [dma]
      debconf:
        dma/mailname: ours.example.org
        dma/relayhost: smart.example.org
        tzdata/Areas: {value: Asia, type: select}
`)
	v.run(0, "provision", "--only-phase", "mail")
	if got := on(t, h, "cat /etc/mailname"); got != "ours.example.org" {
		t.Errorf("the answer was not used: %q", got)
	}
	v.run(0, "rollback", "-y")
	if after := on(t, h, known); after != before {
		t.Errorf("after the rollback:\n%s", differ(before, after))
	}
}

// differ lists the lines that only one of two texts has.
func differ(a, b string) string {
	in := map[string]bool{}
	for l := range strings.Lines(a) {
		in[l] = true
	}
	var out strings.Builder
	for l := range strings.Lines(b) {
		if !in[l] {
			out.WriteString("+ " + l)
		}
		delete(in, l)
	}
	for l := range in {
		out.WriteString("- " + l)
	}
	return out.String()
}
