//go:build unix

package inventory

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func script(t *testing.T, body string) (name string) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "inv")
	write(t, name, "#!/bin/sh\n"+body)
	if err := os.Chmod(name, 0o700); err != nil {
		t.Fatal(err)
	}
	return name
}

func yes(string, []string) error { return nil }

func TestProgram(t *testing.T) {
	for _, c := range []struct{ name, body, hosts string }{
		{"yaml", "printf 'hosts:\\n  a: {}\\n  b: {}\\n'", "a b"},
		{"ansible", `[ "$*" = --list ] && echo '{"web": ["a"], "_meta": {"hostvars": {"a": {"ansible_host": "203.0.113.1"}}}}'`, "a"},
		{"in its folder", `cat ./inv >/dev/null && echo 'hosts: {a: {}}'`, "a"},
		{"without a terminal", `if (: </dev/tty) 2>/dev/null; then exit 1; fi; read x; echo 'hosts: {a: {}}'`, "a"},
		{"talk is no output", `echo warning >&2; echo 'hosts: {a: {}}'`, "a"},
	} {
		inv, err := Load(t.Context(), script(t, c.body), Options{SSHConfig: "none", Approve: yes})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var names []string
		for _, h := range inv.Hosts() {
			names = append(names, h.Name)
		}
		if got := strings.Join(names, " "); got != c.hosts {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

func TestProgramFails(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{
		{"exit code", "echo one >&2; printf 'two\\033[31m\\tx\\n' >&2; exit 3", "the program failed: exit status 3; it said:\n    one\n    two[31m    x\n  hint: see what it prints"},
		{"nothing", "exit 0", "the program printed nothing\n"},
		{"too much", "yes '# filler filler filler filler filler filler filler filler'", "the program prints more than 32 MiB"},
		{"mistakes have the place in the output", "echo 'hosts: {a: {prt: 1}}'", `inv (its output):1:13: host "a": unknown key "prt"`},
		{"a chatty failure is bounded", "i=0; while [ $i -lt 3000 ]; do echo line $i >&2; i=$((i+1)); done; exit 1", "it said:\n    line 2990\n"},
	} {
		_, err := Load(t.Context(), script(t, c.body), Options{SSHConfig: "none", Approve: yes})
		var p *Problems
		if !errors.As(err, &p) || !strings.Contains(err.Error()+"\n", c.want) {
			t.Errorf("%s: %v\nwant %s", c.name, err, c.want)
		}
	}
}

// TestProgramIsAskedFor: what was not approved of does not run, and another
// content is another program.
func TestProgramIsAskedFor(t *testing.T) {
	ran := filepath.Join(t.TempDir(), "ran")
	name := script(t, "touch "+ran+"; echo 'hosts: {a: {vars: {t: {command: [pass]}}}}'")
	if _, err := Load(t.Context(), name, Options{SSHConfig: "none"}); err == nil || !strings.Contains(err.Error(), "nobody has approved") {
		t.Error(err)
	}
	no := errors.New("no")
	var dir string
	var code []string
	_, err := Load(t.Context(), name, Options{SSHConfig: "none", Approve: func(d string, c []string) error { dir, code = d, c; return no }})
	if err != no || dir != filepath.Dir(name) || len(code) != 1 || !strings.Contains(code[0], strconv.Quote(name)+" sha256:") {
		t.Errorf("%v in %s: %q", err, dir, code)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Fatal("it ran")
	}
	inv, err := Load(t.Context(), name, Options{SSHConfig: "none", Approve: yes})
	if err != nil {
		t.Fatal(err)
	}
	if all := inv.Code(); len(all) != 2 || all[0] != code[0] || all[1] != `t: command: ["pass"]` {
		t.Errorf("code: %q, before %q", all, code)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	write(t, name, string(b)+"\n")
	inv, err = Load(t.Context(), name, Options{SSHConfig: "none", Approve: yes})
	if err != nil || inv.Code()[0] == code[0] {
		t.Errorf("%v: the same code for another content", err)
	}
}

// TestProgramEnds: a program that hangs is stopped with all it has started.
func TestProgramEnds(t *testing.T) {
	for _, c := range []struct {
		name, body, want string
		cancel           bool
	}{
		{"too long", "sleep 1000 & echo $! >pid; echo stuck >&2; wait", "had not ended after 300ms, and was stopped; it said:\n    stuck", false},
		{"cancelled", "sleep 1000 & echo $! >pid; wait", "context canceled", true},
		{"a child keeps its output open", "sleep 1000 & echo $! >pid; echo 'hosts: {a: {}}'", "kept its output open", false},
	} {
		name := script(t, c.body)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		pidFile := filepath.Join(filepath.Dir(name), "pid")
		if c.cancel {
			go func() {
				awaitPid(t, pidFile)
				cancel()
			}()
		}
		limit := 300 * time.Millisecond
		if c.cancel || strings.HasPrefix(c.name, "a child") {
			limit = time.Minute
		}
		_, err := (&program{path: name, most: limit}).run(ctx)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
		awaitEnd(t, awaitPid(t, pidFile))
	}
}

func awaitPid(t *testing.T, file string) int {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if b, err := os.ReadFile(file); err == nil && strings.HasSuffix(string(b), "\n") {
			pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
			return pid
		}
	}
	t.Error("the program did not start")
	return 0
}

// awaitEnd waits until a process is gone, or nobody's zombie.
func awaitEnd(t *testing.T, pid int) {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err := syscall.Kill(pid, 0); err != nil {
			return
		}
		if b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err == nil && strings.Contains(string(b), ") Z ") {
			return
		}
	}
	t.Errorf("process %d is still there", pid)
}

var errNeedsRoot = errors.New("needs root to give a file away")

func TestProgramOthersCanSwap(t *testing.T) {
	for _, c := range []struct {
		name, want string
		do         func(dir, name string) error
	}{
		{"the file", "others can write it (mode 0702)", func(_, name string) error { return os.Chmod(name, 0o702) }},
		{"its folder", "its folder", func(dir, _ string) error { return os.Chmod(dir, 0o777) }},
		{"a folder above", "its folder", func(dir, _ string) error { return os.Chmod(filepath.Dir(dir), 0o777) }},
		{"a link's target", "its folder", func(dir, name string) error {
			open := filepath.Join(dir, "open")
			if err := os.Mkdir(open, 0o700); err != nil {
				return err
			}
			target := filepath.Join(open, "real")
			if err := errors.Join(os.Rename(name, target), os.Symlink(target, name)); err != nil {
				return err
			}
			return os.Chmod(open, 0o777)
		}},
		{"another owner", "it belongs to another user", func(_, name string) error {
			if os.Geteuid() != 0 {
				return errNeedsRoot
			}
			return os.Chown(name, 12345, 12345)
		}},
		{"a group", "a group can write it", func(_, name string) error {
			if os.Geteuid() != 0 {
				return errNeedsRoot
			}
			return errors.Join(os.Chown(name, 0, 12345), os.Chmod(name, 0o770))
		}},
		{"not marked", "is a program, but may not be run", func(_, name string) error { return os.Chmod(name, 0o600) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "sub")
			name := filepath.Join(dir, "inv")
			ran := filepath.Join(t.TempDir(), "ran")
			write(t, name, "#!/bin/sh\ntouch "+ran+"\n")
			if err := os.Chmod(name, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := c.do(dir, name); errors.Is(err, errNeedsRoot) {
				t.Skip(err)
			} else if err != nil {
				t.Fatal(err)
			}
			_, err := Load(t.Context(), name, Options{SSHConfig: "none", Approve: yes})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
			if _, err := os.Stat(ran); err == nil {
				t.Error("it ran")
			}
		})
	}
}

// TestMarkedYAML: on some file systems every file may be run.
func TestMarkedYAML(t *testing.T) {
	name := filepath.Join(t.TempDir(), "i.yaml")
	write(t, name, "# hosts\nhosts: {a: {}}\n")
	if err := os.Chmod(name, 0o755); err != nil {
		t.Fatal(err)
	}
	if inv, err := Load(t.Context(), name, Options{SSHConfig: "none"}); err != nil || len(inv.Code()) != 0 {
		t.Error(err)
	}
}
