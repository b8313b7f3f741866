//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A user copies a folder to two hosts and back, runs a command and a script there, as root by sudo.
func TestEverydayWork(t *testing.T) {
	f := NewLab(t, 2)
	v := bareTool(t)
	text := "hosts:\n"
	for _, h := range f.Hosts {
		text += f.entry(t, h, "user", "admin", "become", "true")
	}
	v.inventory(text)
	site := filepath.Join(v.dir, "site", "sub")
	try(t, os.MkdirAll(site, 0o755))
	try(t, os.WriteFile(filepath.Join(site, "page"), []byte("hello\n"), 0o640))
	v.run(0, "push", "site", "/srv/everyday/")
	for _, h := range f.Hosts {
		if got := on(t, h, "stat -c '%U %a' /srv/everyday/site/sub/page; ls -A /srv/everyday/site /home/admin | grep -c vpsctl-push || true"); got != "root 640\n0" {
			t.Errorf("%s: got %q", h.Name, got)
		}
	}
	r := v.run(0, "exec", "--fold", "--", "id -un; cat /srv/everyday/site/sub/page")
	wants(t, "exec", r.out, "(2)", "root\nhello")
	v.run(0, "pull", "/srv/everyday/site", "got")
	for _, h := range f.Hosts {
		if got := v.file("got/" + h.Name + "/site/sub/page"); got != "hello\n" {
			t.Errorf("%s: got %q", h.Name, got)
		}
	}
	try(t, os.WriteFile(filepath.Join(v.dir, "tidy.sh"), []byte("rm -rf /srv/everyday; echo \"tidied $host $1\"\n"), 0o644))
	r = v.run(0, "run", "tidy.sh", "now")
	wants(t, "run", r.says(), "tidied "+f.Hosts[0].Name+" now")
}

// ^C ends what the command has started on the host, also what runs as root.
func TestInterruptedExecLeavesNothingRunning(t *testing.T) {
	f := NewLab(t, 1)
	v := bareTool(t)
	v.inventory("hosts:\n" + f.entry(t, f.Hosts[0], "user", "admin", "become", "true"))
	p := v.start("exec", "--", "echo begun; sleep 4711 & wait")
	p.sees("begun")
	p.signal(syscall.SIGINT)
	p.wait(130)
	until(t, "the end of the command", func() bool {
		out, err := f.Hosts[0].Exec(t.Context(), "pgrep -f 'sleep 471[1]' || echo none")
		return err == nil && strings.TrimSpace(out) == "none"
	})
}
