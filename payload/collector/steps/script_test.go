//go:build linux

package steps

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

func TestInterpreterLine(t *testing.T) {
	for body, want := range map[string]string{
		"echo hi":                           "/bin/sh /proc/self/fd/9 a",
		"#!/bin/bash\necho":                 "/bin/bash /proc/self/fd/9 a",
		"#! /usr/bin/env python3 \nprint()": "/usr/bin/env|python3 /proc/self/fd/9 a",
		"#!/bin/sh -e -u\n":                 "/bin/sh|-e -u /proc/self/fd/9 a",
		"#!/bin/sh\r\n":                     "/bin/sh /proc/self/fd/9 a",
	} {
		cmd, err := interpreter(body, []string{"a"})
		if err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		want = strings.ReplaceAll(want, " /proc", "|/proc")
		want = strings.TrimSuffix(want, " a") + "|a"
		if got := strings.Join(cmd.Args, "|"); got != want {
			t.Errorf("%q: %s, want %s", body, got, want)
		}
	}
	if _, err := interpreter("#!sh\n", nil); err == nil {
		t.Error("a relative interpreter was taken")
	}
}

func TestScriptSees(t *testing.T) {
	r := newRig(t)
	r.do(wire.Step{Name: "s", Run: &wire.Run{Args: []string{"one", "two words"}, Script: `
		echo "args $# $2"; echo "var $greeting"; echo "pwd $(pwd)"; echo "lc $LC_ALL"
		echo "dir $PHASE_DIR"; read line || echo "stdin is empty"
		tr '\0' ' ' </proc/$$/cmdline; echo SECRET""MARK >/dev/null`}}, wire.Changed)
	out := r.out.String()
	for _, want := range []string{"args 2 two words\n", "var hello\n", "pwd /\n", "lc C.UTF-8\n", "dir " + r.PhaseDir, "stdin is empty\n", "/bin/sh /proc/self/fd/9 one two words"} {
		r.has(want, out)
	}
	if strings.Contains(out, "MARK") {
		t.Error("the script's text is in its argv")
	}
}

func TestScriptInAnotherLanguage(t *testing.T) {
	r := newRig(t)
	r.do(wire.Step{Name: "s", Run: &wire.Run{Script: "#!/usr/bin/awk -f\nBEGIN { print \"from awk\" }\n"}}, wire.Changed)
	r.has("from awk\n", r.out.String())
}

func TestScriptSecrets(t *testing.T) {
	r := newRig(t)
	cleaned := false
	r.SecretsDir = func(names []string, uid, gid int) (string, func(), error) {
		if len(names) != 1 || names[0] != "token" || uid != os.Geteuid() {
			t.Errorf("asked for %v as %d:%d", names, uid, gid)
		}
		r.file("secrets/token", "hidden value")
		return r.path("secrets"), func() { cleaned = true }, nil
	}
	r.do(wire.Step{Name: "s", Secrets: []string{"token"}, Run: &wire.Run{Script: `cat $VPSCTL_SECRETS/token; env | grep -c 'hidden value'; exit 0`}}, wire.Changed)
	if r.out.String() != "hidden value0\n" || !cleaned {
		t.Errorf("output %q, cleaned %v", r.out.String(), cleaned)
	}
}

func TestRunShape(t *testing.T) {
	r := newRig(t)
	mark := r.path("mark")
	s := wire.Step{Name: "s", Run: &wire.Run{Script: "touch " + mark, Check: "test -e " + mark, Undo: "rm " + mark + "; echo $greeting"}}
	got := r.do(s, wire.Changed)
	r.has("the check said no", got.Reason)
	if len(r.undos) != 1 || strings.Contains(r.undos[0].What+r.undos[0].Data["script"], "rm ") {
		t.Fatalf("undo records: %+v", r.undos)
	}
	r.do(s, wire.OK)
	r.revert()
	if _, err := os.Stat(mark); err == nil {
		t.Error("the undo script did not run")
	}
	r.has("hello", r.out.String())
}

func TestRunFailures(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		run       wire.Run
		rc        int
		reason    string
		retryable bool
	}{
		{wire.Run{Script: "echo oh no >&2; exit 7"}, 7, "exited 7", false},
		{wire.Run{Script: "kill -9 $$"}, 137, "SIGKILL", false},
		{wire.Run{Script: "true", Check: "exit 1"}, 0, "still not as it shall be", false},
		{wire.Run{Script: "true", Check: "command -v no-such-thing"}, 127, "neither yes", false},
		{wire.Run{Script: "echo 'curl: (6) Could not resolve host: x' >&2; exit 6"}, 6, "exited 6", true},
		{wire.Run{Script: "#!/no/such/thing\n"}, 0, "/no/such/thing", false},
	} {
		got := r.do(wire.Step{Name: "s", Run: &c.run}, wire.Failed)
		r.has(c.reason, got.Reason)
		if c.rc != 0 && (got.RC == nil || *got.RC != c.rc) {
			t.Errorf("%+v: rc %v, want %d", c.run, got.RC, c.rc)
		}
		if got.Retryable != c.retryable {
			t.Errorf("%+v: retryable %v", c.run, got.Retryable)
		}
	}
}

func TestStderrKeepsItsEnd(t *testing.T) {
	r := newRig(t)
	got := r.do(wire.Step{Name: "s", Run: &wire.Run{Script: "i=0; while [ $i -lt 2000 ]; do echo line $i >&2; i=$((i+1)); done; exit 3"}}, wire.Failed)
	if len(got.Stderr) > tailSize || !strings.HasSuffix(got.Stderr, "line 1999\n") || !strings.HasPrefix(got.Stderr, "line ") {
		t.Errorf("%d bytes: %.40q … ", len(got.Stderr), got.Stderr)
	}
}

func TestCancelledAndTimedOut(t *testing.T) {
	r := newRig(t)
	s := wire.Step{Name: "s", Run: &wire.Run{Script: "echo going; sleep 60 & wait"}}
	ctx, cancel := context.WithCancel(t.Context())
	r.Out = func(_ string, b []byte) { cancel() } // it runs: stop it
	if got := Do(ctx, r.Env, &s); got.Status != wire.Cancelled {
		t.Errorf("cancelled step is %s: %s", got.Status, got.Reason)
	}
	late, end := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer end()
	if got := Do(late, r.Env, &s); got.Status != wire.Failed || !strings.HasPrefix(got.Reason, "timed out") {
		t.Errorf("step out of time is %s: %s", got.Status, got.Reason)
	}
}

func TestADaemonDoesNotHoldTheStep(t *testing.T) {
	r := newRig(t)
	pidFile := r.path("pid")
	r.do(wire.Step{Name: "s", Run: &wire.Run{Script: "sleep 30 & echo $! >" + pidFile}}, wire.Changed)
	if err := exec.Command("kill", strings.TrimSpace(r.read("pid"))).Run(); err != nil {
		t.Error("the daemon had gone:", err)
	}
}

func TestNothingHappensWithoutAJournal(t *testing.T) {
	r := newRig(t)
	r.Env.Undo = func(wire.Undo, []byte) error { return os.ErrPermission }
	got := r.do(wire.Step{Name: "s", Run: &wire.Run{Script: "touch " + r.path("mark"), Undo: "true"}}, wire.Failed)
	r.has("nothing was changed", got.Reason)
	if r.exists("mark") {
		t.Error("the script ran")
	}
}

func (r *rig) exists(name string) bool {
	_, err := os.Lstat(r.path(name))
	return err == nil
}

func TestUndoScriptKeepsItsSiblings(t *testing.T) {
	r := newRig(t)
	r.Phase.Files = map[string][]byte{"sub/words": []byte("kept words")}
	r.do(wire.Step{Name: "s", Run: &wire.Run{Script: "true", Undo: `cat "$PHASE_DIR/sub/words"`}}, wire.Changed)
	r.PhaseDir, r.Phase = "/nonexistent", nil
	r.Root = false // else the files go to the fake root's /run
	r.revert()
	r.has("kept words", r.out.String())
}

func TestAssertAndWhen(t *testing.T) {
	r := newRig(t)
	r.do(wire.Step{Name: "a", Assert: &wire.Assert{Check: "true"}}, wire.OK)
	got := r.do(wire.Step{Name: "a", Assert: &wire.Assert{Check: "echo found 3, wanted 4; exit 1", Hint: "count again"}}, wire.Failed)
	r.has("found 3, wanted 4", got.Reason)
	if got.Hint != "count again" || len(r.undos) != 0 {
		t.Errorf("%+v, undo %v", got, r.undos)
	}
	for body, want := range map[string]bool{"true": true, "false": false, "exit 7": false, "command -v no-such-thing": false} {
		ok, reason, err := Holds(t.Context(), r.Env, body, "")
		if err != nil || ok != want || ok == (reason != "") {
			t.Errorf("when %q: %v %q %v", body, ok, reason, err)
		}
	}
	if _, _, err := Holds(t.Context(), r.Env, "true", "nobody-here"); err == nil {
		t.Error("a user that does not exist was asked")
	}
}

func TestRunAsAnother(t *testing.T) {
	needRoot(t)
	r := newRig(t)
	r.do(wire.Step{Name: "s", As: "stranger", Run: &wire.Run{Script: "id -u; id -G; echo $HOME $USER; cat /proc/self/fd/9 >/dev/null && { echo x >>/proc/self/fd/9; } 2>/dev/null || echo sealed"}}, wire.Changed)
	if got := r.out.String(); got != "31415\n31415\n/ stranger\nsealed\n" {
		t.Errorf("output %q", got)
	}
	if files, _ := filepath.Glob(r.path("run/*")); len(files) != 0 {
		t.Errorf("left in the run folder: %v", files)
	}
}
