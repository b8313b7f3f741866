//go:build e2e

package e2e

import (
	"encoding/json"
	"testing"

	"github.com/vpsctl/vpsctl/report"
)

// untouched is all that a run may change on a host, but for our own folder: the
// times of files too.
const untouched = `find /etc /opt /srv /home /usr /var/lib /var/cache/apt /var/log/vps-provision /usr/local -xdev ! -path '/var/lib/vpsctl*' ! -path '/var/lib/systemd*' ! -path '/var/lib/private*' ! -path /var/lib -printf '%p %M %U:%G %s %T@ %l\n' 2>/dev/null | sort
dpkg -l; systemctl list-unit-files --no-pager; systemctl show -p NeedDaemonReload --value ssh.service; passwd -S -a`

const mixed = `steps:
  - {name: before, file: {path: /etc/vpsctl-e2e/one, content: "colour=green\n"}}
  - {name: hostname, file: {path: /etc/motd, content: "bought from us\n"}}
  - {name: closed, file: {path: /etc/vpsctl-e2e/closed, content: "hunter2hunter2\n", mode: "0600"}}
  - {name: there, packages: [bash]}
  - {name: tools, packages: [tree]}
  - {name: person, user: {name: mixed-e2e, shell: /bin/sh}}
  - {name: home, file: {path: /home/mixed-e2e/note, content: "x\n", owner: mixed-e2e}}
  - {name: unit, service: {name: ssh, enabled: true, state: running}}
  - {name: asked, run: "tree -L 1 /srv >/srv/tree", check: "test -s /srv/tree", undo: "rm -f /srv/tree"}
  - {name: works, assert: {check: "command -v tree || exit 1", critical: true}}
`

func (v *tool) dryRun(host string, code int, args ...string) report.LookedHost {
	v.t.Helper()
	r := v.run(code, append([]string{"provision", "--dry-run", "--exit-code", "-o", "json"}, args...)...)
	var doc report.LookDoc
	try(v.t, json.Unmarshal([]byte(r.out), &doc))
	for _, h := range doc.Hosts {
		if h.Host == host {
			return h
		}
	}
	v.t.Fatalf("nothing is said of %s", host)
	return report.LookedHost{}
}

// TestDryRunTellsTheTruth: it changes nothing, the run that follows does what it
// has claimed to know, and then it finds nothing to do.
func TestDryRunTellsTheTruth(t *testing.T) {
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	v.phase("mixed", mixed)
	on(t, h, "apt-get update -q >/dev/null 2>&1; touch /var/lib/apt/lists") // so that what apt would do can be known
	before := on(t, h, untouched)
	ten := v.dryRun(h.Name, 8) // all there is
	if len(ten.Phases) < 5 || ten.Change == 0 {
		t.Errorf("of all phases: %d, %d would change", len(ten.Phases), ten.Change)
	}
	look := v.dryRun(h.Name, 8, "--only-phase", "mixed")
	if after := on(t, h, untouched); after != before {
		t.Errorf("a dry run changed:\n%s", differ(before, after))
	}
	if left := on(t, h, "ls /var/lib/vpsctl/runs | wc -l; ls -d /var/log/vps-provision 2>/dev/null || true"); left != "1" {
		t.Errorf("two dry runs left %q", left)
	}
	said := map[string]report.Looked{}
	for _, s := range look.Phases[0].Steps {
		said[s.Name] = s
	}
	if s := said["hostname"]; s.Outlook != report.WillChange || s.Diff == "" {
		t.Errorf("a file: %+v", s)
	}
	if s := said["closed"]; s.Hidden != "sensitive" || s.Diff != "" {
		t.Errorf("a closed file: %+v", s)
	}
	if s := said["tools"]; s.Packages == nil || len(s.Packages.Install) != 1 || s.Packages.Install[0].Version == "" {
		t.Errorf("packages: %+v", s)
	}
	if s := said["home"]; s.Outlook != report.Unknown || s.After != "mixed/person" {
		t.Errorf("a file of a user to come: %+v", s)
	}
	if s := said["works"]; s.Outlook != report.Unknown {
		t.Errorf("a question about a program to come: %+v", s)
	}
	v.run(0, "provision", "--only-phase", "mixed")
	rec := v.record(h.Name)
	want := map[report.Outlook]string{report.Holds: "ok", report.WillChange: "changed", report.WillSkip: "skipped", report.WillFail: "failed"}
	for name, s := range said {
		if got := string(rec.step("mixed/" + name).Status); s.Outlook != report.Unknown && s.After == "" && got != want[s.Outlook] {
			t.Errorf("%s: the dry run said %s, and it was %s", name, s.Outlook, got)
		}
	}
	if again := v.dryRun(h.Name, 0, "--only-phase", "mixed"); again.Change+again.Unknown != 0 || again.Holds != 10 {
		t.Errorf("on a host that is done: %+v", again)
	}
	if got := on(t, h, "ls /var/lib/vpsctl/runs | grep -vc ^dry-"); got != "1" {
		t.Errorf("runs on the host: %s", got)
	}
}
