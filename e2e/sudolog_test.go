//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// The developer we make has a sudo that keeps logs. Secrets that pass through it
// are not in them; and where somebody makes it log what is piped in after all,
// no secret is sent.
func TestSecretsStayOutOfSudosLogs(t *testing.T) {
	t.Parallel()
	const secret = "kirschbaum-4711-geheim"
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	v.provision(0, "user-creation")
	on(t, h, "chage -d 2026-11-01 devuser") // the first password change is another story
	v.inventory("hosts:\n" + f.entry(t, h, "user", "devuser", "become", "true", "vars", "{token: {env: TOKEN}}"))
	v.env = append(v.env, "TOKEN="+secret)
	v.phase("secret", `steps:
  - name: use
    secrets: [token]
    run: |
      [ "$(id -u)" = 0 ]
      tr a-z A-Z <"$VPSCTL_SECRETS/token" >/root/seen
      echo "it is $(cat "$VPSCTL_SECRETS/token")"
`)
	v.provision(0, "secret")
	if got := on(t, h, "cat /root/seen"); got != strings.ToUpper(secret) {
		t.Fatalf("the step saw %q", got)
	}
	if got := on(t, h, "find /var/log/sudo-io -type f | head -n 1"); got == "" {
		t.Fatal("sudo keeps no logs: this test proves nothing")
	}
	const inLogs = "find /var/log/sudo-io /var/log/sudo -type f -exec zcat -f {} + | grep -c " + secret + " || true"
	if got := on(t, h, inLogs); got != "0" {
		t.Errorf("sudo's logs have the secret in %s lines", got)
	}

	on(t, h, "sed -i '/!log_stdin/d' /etc/sudoers.d/80-devuser && rm /root/seen")
	r := v.provision(6, "secret")
	wants(t, "vpsctl", r.says(), "sudo on this host logs what is piped", "!log_stdin")
	if got := on(t, h, inLogs); got != "0" {
		t.Errorf("sudo's logs have the secret in %s lines, though it was refused", got)
	}
	if got := on(t, h, "ls /root/seen 2>/dev/null || true"); got != "" {
		t.Error("the step was run")
	}
}

// TestRollbackTakesTheDeveloperAway: who has used sudo meanwhile is gone with all that was logged, and a log that was
// there before is not.
func TestRollbackTakesTheDeveloperAway(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 2)
	v := newTool(t, f)
	h, logged := f.Hosts[0], f.Hosts[1]
	on(t, logged, "install -d -m 0750 /var/log/sudo && echo mine >/var/log/sudo/sudo.log")
	before := on(t, h, asItWas)
	v.provision(0, "user-creation")
	for _, h := range f.Hosts {
		on(t, h, "chage -d 2026-11-01 devuser && runuser -u devuser -- sudo -n id -u && grep -q devuser /var/log/sudo/sudo.log && test -n \"$(find /var/log/sudo-io -type f)\"")
	}
	v.run(0, "rollback", "-y")
	for _, h := range f.Hosts {
		if got := on(t, h, "getent passwd devuser; ls -d /home/devuser /var/log/sudo-io 2>/dev/null; true"); got != "" {
			t.Errorf("%s: left: %s", h.Name, got)
		}
	}
	if got := on(t, h, "ls -d /var/log/sudo 2>/dev/null; true"); got != "" {
		t.Errorf("left: %s", got)
	}
	if after := on(t, h, asItWas); after != before {
		t.Errorf("after the rollback:\n%s", differ(before, after))
	}
	if got := on(t, logged, "stat -c %a /var/log/sudo; head -n 1 /var/log/sudo/sudo.log"); got != "750\nmine" {
		t.Errorf("somebody's own log: %q", got)
	}
}
