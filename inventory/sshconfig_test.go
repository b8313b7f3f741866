package inventory

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const sshText = `# the weakest layer
Include conf.d/*.conf
Host alias
	HostName 203.0.113.7
	Port=2222
	User "jo"
	IdentityFile ~/.ssh/one
	IdentityFile %d/.ssh/%h-%r
	IdentitiesOnly yes
Host named !named2
	HostName %h.example.net
	ProxyJump ops@192.0.2.9:2200
Host 203.0.113.8
	User byaddress
Host relay
	HostName 192.0.2.1
	User relay
	IdentityFile /keys/relay
Host behind
	ProxyJump relay
Host cmd
	ProxyCommand nc %h %p
Match exec "true" user x
	User never
	Include never.conf
Match originalhost matched,other
	User matched
Host bad
	Port high
	User -x
	HostName a b
Match all
	ProxyJump none
	IdentityFile ~/.ssh/all
Host *
	User everybody
`

func sshHosts(t *testing.T, text string) *Inventory {
	t.Helper()
	mustLoad(t, text, Options{SSHConfig: "none"})
	home := os.Getenv("HOME")
	write(t, filepath.Join(home, ".ssh/config"), sshText)
	write(t, filepath.Join(home, ".ssh/conf.d/a.conf"), "User included # not alias\nHost inc\n  Port 99\n")
	write(t, filepath.Join(home, ".ssh/never.conf"), "Host *\n Port 1\n")
	inv, err := Load(t.Context(), "inventory.yaml", Options{})
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func TestSSHConfig(t *testing.T) {
	inv := sshHosts(t, `hosts:
  alias: {}
  strong: {address: alias, port: 7}
  named: {}
  named2: {}
  ip: {address: 203.0.113.8, user: me}
  behind: {}
  cmd: {}
  matched: {}
  bad: {}
  inc: {}
  direct: {jump: none, address: named}
`)
	home := os.Getenv("HOME")
	for name, want := range map[string]string{
		"alias":   "included@203.0.113.7:2222 [HOME/.ssh/one HOME/.ssh/203.0.113.7-included HOME/.ssh/all] true",
		"strong":  "included@alias:7 [HOME/.ssh/one HOME/.ssh/alias-included HOME/.ssh/all] true",
		"named":   "included@named.example.net:22 [HOME/.ssh/all] false via ops@192.0.2.9:2200 [HOME/.ssh/all]",
		"named2":  "included@named2:22 [HOME/.ssh/all] false",
		"ip":      "me@203.0.113.8:22 [HOME/.ssh/all] false",
		"behind":  "included@behind:22 [HOME/.ssh/all] false via included@192.0.2.1:22 [/keys/relay HOME/.ssh/all]",
		"cmd":     "included@cmd:22 [HOME/.ssh/all] false",
		"matched": "included@matched:22 [HOME/.ssh/all] false",
		"bad":     "included@bad:22 [HOME/.ssh/all] false",
		"inc":     "included@inc:99 [HOME/.ssh/all] false",
		"direct":  "included@named:22 [HOME/.ssh/all] false",
	} {
		h := one(t, inv, name)
		got := fmt.Sprintf("%s@%s:%d %v %v", h.User, h.Address, h.Port, h.IdentityFiles, h.IdentitiesOnly)
		if h.Jump != nil {
			j := h.Jump.Host
			got += fmt.Sprintf(" via %s@%s:%d %v", j.User, j.Address, j.Port, j.IdentityFiles)
		}
		if got = strings.ReplaceAll(got, home, "HOME"); got != want && runtime.GOOS != "windows" {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
	want := map[string]string{"address": "~/.ssh/config:4", "port": "~/.ssh/config:5", "user": "~/.ssh/conf.d/a.conf:1", "become": "built in",
		"identity_file": "~/.ssh/config:7", "identities_only": "~/.ssh/config:9", "jump": "~/.ssh/config:33"}
	if diff := cmp.Diff(want, one(t, inv, "alias").Origin); diff != "" {
		t.Error(diff)
	}
	wantWarnings := []string{
		`~/.ssh/config:23: Match exec "true" user x is not understood here: its lines are skipped`,
		`~/.ssh/config:29: "high" is not a port: the line is skipped`,
		`~/.ssh/config:30: "-x" is not a user: the line is skipped`,
		`~/.ssh/config:31: "a b" is not a hostname: the line is skipped`,
		`~/.ssh/config:22: ProxyCommand is not in this release: cmd is dialled directly (ProxyJump and jump: are)`,
	}
	if diff := cmp.Diff(wantWarnings, inv.Warnings()); diff != "" {
		t.Error(diff)
	}
}

// TestSSHConfigNeverFails: whatever is wrong with it is a warning.
func TestSSHConfigNeverFails(t *testing.T) {
	for _, c := range []struct {
		name, want string
		make       func(t *testing.T)
	}{
		{"missing", "", func(t *testing.T) {}},
		{"includes itself", "~/.ssh/config: not read: too many files include each other", func(t *testing.T) { put(t, "Include config\nPort 7\n", 0o600) }},
		{"others write", "~/.ssh/config: not read: others can write it (mode 0666)", func(t *testing.T) { put(t, "Port 7\n", 0o666) }},
		{"a folder", "~/.ssh/config: not read: it is no file", func(t *testing.T) {
			if err := os.MkdirAll(filepath.Join(os.Getenv("HOME"), ".ssh/config"), 0o700); err != nil {
				t.Fatal(err)
			}
		}},
		{"huge", "~/.ssh/config: not read: it is larger than 1048576 bytes", func(t *testing.T) { put(t, strings.Repeat("# x\n", 300000), 0o600) }},
		{"long line", "~/.ssh/config:2: a line of over 2048 bytes is skipped", func(t *testing.T) { put(t, "Host a\nUser "+strings.Repeat("x", 1000000)+"\n", 0o600) }},
		{"bad glob", "~/.ssh/config:1: Include [a: syntax error in pattern", func(t *testing.T) { put(t, "Include [a\n", 0o600) }},
		{"match without criteria", "~/.ssh/config:1: Match  is not understood here: its lines are skipped", func(t *testing.T) { put(t, "Match\nUser x\n", 0o600) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if runtime.GOOS == "windows" {
				t.Skip("no modes there")
			}
			t.Chdir(t.TempDir())
			t.Setenv("HOME", t.TempDir())
			c.make(t)
			write(t, "i.yaml", "hosts: {a: {}}")
			inv, err := Load(t.Context(), "i.yaml", Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(inv.Warnings(), "\n"); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
				t.Errorf("warnings: %q, want %q", got, c.want)
			}
		})
	}
}

func put(t *testing.T, text string, mode os.FileMode) {
	t.Helper()
	name := filepath.Join(os.Getenv("HOME"), ".ssh/config")
	write(t, name, text)
	chmod(t, name, mode)
}
