//go:build e2e

package e2e

import (
	"regexp"
	"strings"
	"testing"

	"github.com/vpsctl/vpsctl/e2e/lab"
)

// asDeveloper is a line of an interactive bash of devuser, as after ssh -t.
func asDeveloper(t *testing.T, h *lab.Host, line string) string {
	t.Helper()
	return on(t, h, "runuser -u devuser -- env HOME=/home/devuser TERM=xterm-256color bash -ic '"+line+"' 2>/dev/null")
}

// TestTerminalAndTools: what terminal-setup and dev-tools leave is the developer's and not root's, a second run changes
// nothing, edits survive, and a link to somebody else's file is not followed with root's rights.
func TestTerminalAndTools(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	args := spined("--skip-phase", "system-prep", "--skip-phase", "verification", "--sample-interval", "0", "-o", "json")
	on(t, h, "apt-get update -qq")
	rootsOwn := on(t, h, "cat /root/.bashrc; ls -A /root")
	v.run(0, append([]string{"provision"}, args...)...)
	for alias, want := range map[string]string{"gs": "git status", "ga": "git add", "gc": "git commit", "gp": "git push", "gl": "git log", "gco": "git checkout", "gb": "git branch"} {
		wants(t, alias, asDeveloper(t, h, "alias "+alias), "alias "+alias+"=", want)
	}
	for key, want := range map[string]string{"alias.st": "status", "alias.ci": "commit", "alias.co": "checkout", "alias.br": "branch", "init.defaultBranch": "main",
		"pull.rebase": "false", "color.ui": "auto", "core.editor": "vim", "credential.helper": "cache --timeout=3600"} {
		if got := asDeveloper(t, h, "git config --global --get "+key); got != want {
			t.Errorf("git config %s: %q", key, got)
		}
	}
	if got := asDeveloper(t, h, `git init -q -b topic ~/work; cd ~/work; echo "${PS1@P}"`); !regexp.MustCompile(`\x1b\[1;32m.*devuser@.*\(topic\)`).MatchString(got) {
		t.Errorf("the prompt is %q", got)
	}
	wants(t, "completion", asDeveloper(t, h, "type -t _comp_load _completion_loader || true"), "function")
	on(t, h, "for c in git vim curl wget jq htop tree tmux ifconfig dig gcc make python3; do command -v $c >/dev/null || exit 1; done")
	wants(t, "the owner", on(t, h, "stat -c %U /home/devuser/.bashrc /home/devuser/.gitconfig | sort -u"), "devuser")
	wants(t, "new users' .bashrc", on(t, h, "cat /etc/skel/.bashrc; ls /var/vps-provision/backups/bashrc"), "alias gs=", "devuser.2", "skel.2")
	if got := on(t, h, "cat /root/.bashrc; ls -A /root"); got != rootsOwn {
		t.Errorf("root's own files have changed: %s", firstDifference(got, rootsOwn))
	}

	before := on(t, h, fingerprint)
	if d := v.run(0, append([]string{"provision"}, args...)...).doc(t).Hosts[0]; d.Changed != 0 {
		t.Errorf("the second run: %+v", d)
	}
	if after := on(t, h, fingerprint); after != before {
		t.Errorf("the second run has changed the host: %s", firstDifference(after, before))
	}

	on(t, h, `echo "alias gs='git stash'" >>/home/devuser/.bashrc; runuser -u devuser -- git config --file /home/devuser/.gitconfig alias.st 'status -sb'`)
	own := on(t, h, "cat /home/devuser/.bashrc /home/devuser/.gitconfig")
	v.run(0, append([]string{"provision"}, args...)...)
	if got := on(t, h, "cat /home/devuser/.bashrc /home/devuser/.gitconfig"); got != own {
		t.Errorf("the developer's edits are gone: %s", firstDifference(got, own))
	}
	plantedLink(t, v, h)
}

// plantedLink: the step acts as the developer, who may not write there.
func plantedLink(t *testing.T, v *tool, h *lab.Host) {
	t.Helper()
	on(t, h, "cd /home/devuser && mv .bashrc mine && runuser -u devuser -- ln -s /etc/shadow .bashrc")
	before := on(t, h, "stat -c '%Y %s %i %U %a' /etc/shadow; ls -A /var/vps-provision/backups/bashrc")
	r := v.run(2, "provision", "--only-phase", "terminal-setup", "--sample-interval", "0")
	wants(t, "a planted link", r.says(), "terminal-setup/")
	if after := on(t, h, "stat -c '%Y %s %i %U %a' /etc/shadow; ls -A /var/vps-provision/backups/bashrc"); after != before {
		t.Errorf("the link was followed: %s", firstDifference(after, before))
	}
	if strings.Contains(r.says(), "root:") {
		t.Error("what the link leads to was shown")
	}
}
