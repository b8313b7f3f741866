package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/remote/sshtest"
)

// do runs a script and gives what came back.
func do(t *testing.T, r *rig, script, stdin string) (stdout, stderr string, rc int) {
	t.Helper()
	var out, errs bytes.Buffer
	rc, err := r.session(t).Exec(testContext(t), script, strings.NewReader(stdin), &out, &errs)
	if err != nil {
		t.Errorf("%q: %v", script, err)
	}
	return out.String(), errs.String(), rc
}

const nasty = `a 'b' "c" \d \\ $HOME ! !! %s ~ * # ; & | < > ( ) [ ] { } ^ ? = : é` + " \t`x`"

func TestExec(t *testing.T) {
	r := newRig(t, sshtest.Options{})
	tests := []struct {
		script, stdin, stdout, stderr string
		rc                            int
	}{
		{script: "echo hello; echo oops >&2; exit 7", stdout: "hello\n", stderr: "oops\n", rc: 7},
		{script: "cat", stdin: "in and out", stdout: "in and out"},
		{script: "printf %s " + "'" + strings.ReplaceAll(nasty, "'", `'\''`) + "'", stdout: nasty},
		{script: "if true; then\n\n  echo a\nfi\ncat <<X\nb\nX\n", stdout: "a\nb\n"},
		{script: "echo $#", stdout: "0\n"},
		{script: "kill -KILL $$", rc: 137},
		{script: "printf 'no newline'", stdout: "no newline"},
		{script: "", stdout: ""},
	}
	for _, tt := range tests {
		out, errs, rc := do(t, r, tt.script, tt.stdin)
		if out != tt.stdout || errs != tt.stderr || rc != tt.rc {
			t.Errorf("%q: got %q, %q, %d; want %q, %q, %d", tt.script, out, errs, rc, tt.stdout, tt.stderr, tt.rc)
		}
	}
	out, _, _ := do(t, r, "echo $PATH", "")
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if !strings.Contains(out, dir) {
			t.Errorf("PATH %q has no %s", out, dir)
		}
	}
}

func TestExecRefusesWhatCannotBeSaid(t *testing.T) {
	r := newRig(t, sshtest.Options{})
	for script, word := range map[string]string{"a\x00b": "zero byte", strings.Repeat("x", 200<<10): "vpsctl run"} {
		_, err := r.session(t).Exec(testContext(t), script, nil, io.Discard, io.Discard)
		wantError(t, err, Local, word)
	}
	if n := r.Counts().Connections; n != 0 {
		t.Errorf("%d connections", n)
	}
}

func TestExecStreamsMuchWithFlatMemory(t *testing.T) {
	r := newRig(t, sshtest.Options{})
	n := &counter{}
	rc, err := r.session(t).Exec(testContext(t), "head -c 30000000 /dev/zero; head -c 3000000 /dev/zero >&2", nil, n, io.Discard)
	if err != nil || rc != 0 || n.n != 30000000 {
		t.Errorf("%d bytes, rc %d, %v", n.n, rc, err)
	}
}

type counter struct{ n int }

func (c *counter) Write(p []byte) (int, error) { c.n += len(p); return len(p), nil }

func TestExecOnALineThatBreaks(t *testing.T) {
	r := newRig(t, sshtest.Options{})
	s := r.session(t)
	_, err := s.Exec(testContext(t), "echo started; exec sleep 60", nil, writerFunc(func() { r.Cut() }), io.Discard)
	wantError(t, err, Unreachable, "line was lost")
	if n := r.Counts().Commands; n != 1 {
		t.Errorf("%d commands: a command must not be run again", n)
	}
}

type writerFunc func()

func (f writerFunc) Write(p []byte) (int, error) { f(); return len(p), nil }

func TestExecObeysItsContext(t *testing.T) {
	r := newRig(t, sshtest.Options{})
	ctx, cancel := context.WithTimeout(testContext(t), 300*time.Millisecond)
	defer cancel()
	_, err := r.session(t).Exec(ctx, "exec sleep 60", nil, io.Discard, io.Discard)
	wantError(t, err, TimedOut, "time limit")
}

func TestNoiseIsNotTheAnswer(t *testing.T) {
	r := newRig(t, sshtest.Options{Noise: "Welcome!\n{\"n\":1}\nno newline: "})
	r.collectors(t, fakeCollector)
	r.journal(t, goodJournal()...)
	var got []string
	if err := r.session(t).Run(testContext(t), testPlan(), collect(&got)); err != nil || len(got) != 11 {
		t.Errorf("%d events, %v", len(got), err)
	}
	out, errs, _ := do(t, r, "echo clean; echo tidy >&2", "")
	if out != "clean\n" || errs != "tidy\n" {
		t.Errorf("got %q, %q", out, errs)
	}
	if !strings.Contains(r.verbose(), "Welcome!") {
		t.Error("the noise is nowhere to be seen, not even with -v")
	}
	flood := newRig(t, sshtest.Options{Noise: strings.Repeat("y\n", 100<<10)})
	wantError(t, ping(t, flood), Hostile, "before the answer")
}

func TestHostsThatRunNothing(t *testing.T) {
	tests := []struct {
		name, forced string
		kind         Kind
		words        []string
	}{
		{"cloud image", `echo 'Please login as the user "debian" rather than the user "root".'; echo; sleep 10; exit 142`, Rights, []string{"wants another user", "`user: debian`"}},
		{"older cloud image", `echo 'Please login as the ec2-user user rather than root user.'; exit 1`, Rights, []string{"`user: ec2-user`"}},
		{"expired password", `echo 'WARNING: Your password has expired.' >&2; echo 'Password change required but no TTY available.' >&2; exit 1`, Rights, []string{"password of dev has expired", "ssh -t -p", "dev@127.0.0.1"}},
		{"no shell", `echo 'This account is currently not available.'; exit 1`, Rights, []string{"may not run commands"}},
		{"sftp only", `echo 'This service allows sftp connections only.'; exit 1`, Rights, []string{"another `user`"}},
		{"something else", `echo nope; exit 3`, Refused, []string{"did not run our command (status 3): nope"}},
		{"nothing at all", `exit 5`, Refused, []string{"status 5) and said nothing"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, sshtest.Options{Forced: tt.forced})
			begin := time.Now()
			wantError(t, ping(t, r), tt.kind, tt.words...)
			if d := time.Since(begin); d > 8*time.Second {
				t.Errorf("took %v: the host's own pause was waited for", d)
			}
			wantError(t, func() error {
				_, err := r.session(t).Exec(testContext(t), "true", nil, io.Discard, io.Discard)
				return err
			}(), tt.kind, tt.words...)
		})
	}
}

func TestSudo(t *testing.T) {
	r := newRig(t, sshtest.Options{Sudo: true})
	r.host.Become = true
	if err := ping(t, r); err != nil {
		t.Error(err)
	}
	if out, _, rc := do(t, r, "echo \"it's\" me; exit 3", ""); out != "it's me\n" || rc != 3 {
		t.Errorf("got %q, %d", out, rc)
	}
	no := newRig(t, sshtest.Options{})
	no.host.Become = true
	no.collectors(t, fakeCollector)
	_, execErr := no.session(t).Exec(testContext(t), "true", nil, io.Discard, io.Discard)
	for _, err := range []error{ping(t, no), execErr, no.session(t).Run(testContext(t), testPlan(), nil)} {
		wantError(t, err, Rights, "a password is required", "dev ALL=(ALL) NOPASSWD: ALL", "user: root")
	}
}

// Whatever shell a user has: our line gets through, and his rc files may talk.
func TestLoginShells(t *testing.T) {
	rc := map[string]string{"bash": ".bashrc", "fish": ".config/fish/config.fish", "csh": ".cshrc", "tcsh": ".tcshrc", "zsh": ".zshenv", "dash": ".profile"}
	for shell, file := range rc {
		t.Run(shell, func(t *testing.T) {
			path, err := exec.LookPath(shell)
			if err != nil {
				t.Skipf("%s is not installed", shell)
			}
			r := newRig(t, sshtest.Options{Shell: path})
			if err := os.MkdirAll(filepath.Dir(filepath.Join(r.Home, file)), 0o755); err != nil {
				t.Fatal(err)
			}
			r.put(t, file, "echo noise\n")
			if out, _, rc := do(t, r, "printf %s "+"'"+strings.ReplaceAll(nasty, "'", `'\''`)+"'\nexit 4", ""); out != nasty || rc != 4 {
				t.Errorf("got %q, %d", out, rc)
			}
			r.collectors(t, fakeCollector)
			r.journal(t, goodJournal()...)
			r.dialer = nil
			var got []string
			if err := r.session(t).Run(testContext(t), testPlan(), collect(&got)); err != nil || len(got) != 11 {
				t.Errorf("%d events, %v", len(got), err)
			}
		})
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"": "''", "a b": "'a b'", "it's": `'it'\''s'`, `a\b!`: `'a'\\'b'\!`} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
	for _, script := range []string{startScript, placeScript, fetchScript, execScript, pingScript} {
		if strings.ContainsRune(script, '\n') {
			t.Errorf("a fixed script has a newline: %q", script)
		}
	}
}

// A line that goes behind ours in the same shell does what it does alone, and
// says the same.
func TestPlainLines(t *testing.T) {
	for script, want := range map[string]bool{"true": true, "df -h / | tail -1": true, "echo 'a b' \"c\"; false": true, "A=1 env": true,
		"done": false, "if true": false, "if true; then echo; fi": false, "echo $HOME": false, "echo a >b": false, "echo 'a": false,
		"echo a\necho b": false, "": false, " ": false, "f() { :; }": false, "echo é": false, "echo a |": false, "sleep 0 &": true,
		"else|r": false, "echo a; then": false, "function f": false, "]]": false, "A=1 done": false, "echo done": true, "'else' || true": true} {
		if simple(script) != want {
			t.Errorf("simple(%q) is %v", script, !want)
		}
		if !want {
			continue
		}
		alone := exec.Command("/bin/sh", "-c", script)
		both := exec.Command("/bin/sh", "-c", "{ "+execPlain+"} >/dev/null 2>&1; "+script, "/bin/sh", "marker")
		a, errA := alone.CombinedOutput()
		b, errB := both.CombinedOutput()
		if script != "A=1 env" && string(a) != string(b) || fmt.Sprint(errA) != fmt.Sprint(errB) {
			t.Errorf("%q: %q, %v; alone %q, %v", script, b, errB, a, errA)
		}
	}
}

func FuzzPlain(f *testing.F) {
	f.Add("echo a; false | true")
	f.Add("a=b 'c' \"d\" && e || f &")
	f.Add("esac")
	f.Add("else|r")
	f.Add("a && function b")
	shells := []string{"/bin/sh"}
	if bash, err := exec.LookPath("bash"); err == nil {
		shells = append(shells, bash)
	}
	f.Fuzz(func(t *testing.T, script string) {
		if !simple(script) {
			t.Skip()
		}
		for _, shell := range shells {
			if out, err := exec.Command(shell, "-n", "-c", execPlain+script).CombinedOutput(); err != nil {
				t.Errorf("%s cannot read %q: %s", shell, script, out)
			}
		}
	})
}

func FuzzQuote(f *testing.F) {
	f.Add(nasty)
	f.Add("''\\'!")
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsAny(s, "\n\x00") {
			t.Skip()
		}
		out, err := exec.Command("/bin/sh", "-c", "printf %s "+quote(s)).Output()
		if err != nil || string(out) != s {
			t.Errorf("sh reads %q as %q, %v", s, out, err)
		}
	})
}

// What nobody waits for any more does not go on: not the script, and not what
// it has started.
func TestExecEndsItsProcessGroup(t *testing.T) {
	r := newRig(t, sshtest.Options{Sudo: true})
	for _, become := range []bool{false, true} {
		r.host.Become = become
		ctx, cancel := context.WithCancel(testContext(t))
		script := "trap '' TERM; sleep 60 & echo $! >$HOME/child; echo $$ >$HOME/pids; echo started; wait; sleep 60"
		_, err := r.session(t).Exec(ctx, script, nil, writerFunc(cancel), io.Discard)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("become %v: %v", become, err)
		}
		for _, name := range []string{"child", "pids"} {
			pid, err := os.ReadFile(filepath.Join(r.Home, name))
			if err != nil {
				t.Fatal(err)
			}
			state := "?"
			for begin := time.Now(); state != "" && state != "Z" && time.Since(begin) < 5*time.Second; time.Sleep(time.Millisecond) {
				state = processState(strings.TrimSpace(string(pid)))
			}
			if state != "" && state != "Z" {
				t.Errorf("become %v: %s %s still runs (%s)", become, name, pid, state)
			}
		}
	}
}

// processState is the state of a process as /proc has it, or "".
func processState(pid string) string {
	b, _ := os.ReadFile("/proc/" + pid + "/stat")
	_, rest, _ := strings.Cut(string(b), ") ")
	state, _, _ := strings.Cut(rest, " ")
	return state
}

func TestShellLine(t *testing.T) {
	r := newRig(t, sshtest.Options{})
	out, _, rc := do(t, r, ShellLine([]string{"printf", "%s\n", nasty, "two\nlines", ""}), "")
	if want := nasty + "\ntwo\nlines\n\n"; out != want || rc != 0 {
		t.Errorf("got %q, %d, want %q", out, rc, want)
	}
}
