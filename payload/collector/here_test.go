//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// beginOverSSH begins a run as sshd does it: in a session of its own, without a
// terminal, as the child of a process that is called sshd. What else is to come
// on stdin stands behind the plan.
func (h *testHost) beginOverSSH(plan *wire.Plan, behind string, changes ...func(*exec.Cmd)) *stream {
	h.t.Helper()
	setsid, err := exec.LookPath("setsid")
	if err != nil {
		h.t.Fatal(err)
	}
	sshd := filepath.Join(h.home, "sshd")
	if err := os.Symlink("/bin/sh", sshd); err != nil && !os.IsExist(err) {
		h.t.Fatal(err)
	}
	b, err := json.Marshal(plan)
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := h.command("start")
	cmd.Path, cmd.Args = sshd, []string{"sshd", "-c", `"$@"; exit $?`, "sshd", setsid, collectorPath, "start"}
	cmd.Stdin = strings.NewReader(string(b) + "\n" + behind)
	cmd.WaitDelay = 100 * time.Millisecond // what goes on has its stderr still
	for _, change := range changes {
		change(cmd)
	}
	return h.follow(cmd)
}

// A plan that came with the command begins before stdin has it, what it starts
// does not see it, and the report is still the document behind the plan. What is
// no plan is not taken for one.
func TestPlanComesWithTheCommand(t *testing.T) {
	h := newHost(t)
	plan := planOf("r1", "cat /proc/self/environ | tr '\\0' '\\n' | grep -c "+wire.EarlyPlan+" || true")
	b, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	late, stdin := io.Pipe()
	s := h.beginOverSSH(plan, "", func(cmd *exec.Cmd) {
		value, sum := plan.Early(b)
		cmd.Env, cmd.Args = append(cmd.Env, wire.EarlyPlan+"="+value), append(cmd.Args, sum)
		cmd.Stdin = late
	})
	s.until(wire.KindEnd)
	if _, err := fmt.Fprintf(stdin, "%s\n{\"schema\":1}", b); err != nil {
		t.Fatal(err)
	}
	stdin.Close()
	events := s.rest()
	if out := find(t, events, "output", func(e *wire.Event) bool { return e.IsOutput() }); out.Output.Text != "0\n" {
		t.Errorf("a step sees %q", out.Output.Text)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, s.stderr.String())
	}
	b, err = os.ReadFile(filepath.Join(h.place().logs, "performance-report.json"))
	if err != nil || string(b) != "{\"schema\":1}\n" {
		t.Errorf("the report %q, %v", b, err)
	}
	planted, sum := planOf("planted", "echo x").Early(b) // by a file of the user's own; nobody sent it
	for i, wrong := range [][2]string{{"", sum}, {"e30=", sum}, {planted, ""}, {planted, strings.Repeat("0", 64)}} {
		id := fmt.Sprintf("wrong%d", i)
		s := h.beginOverSSH(planOf(id, "echo x"), "", func(cmd *exec.Cmd) {
			cmd.Env, cmd.Args = append(cmd.Env, wire.EarlyPlan+"="+wrong[0]), append(cmd.Args, wrong[1])
		})
		if events := s.rest(); events[0].Start == nil || events[0].Start.RunID != id {
			t.Errorf("%q: %s", wrong, kinds(events))
		}
	}
}

// heldBy is who holds the host's lock, by its own word.
func (h *testHost) heldBy() int {
	h.t.Helper()
	var l wire.Lock
	b, err := os.ReadFile(h.place().lock)
	if err != nil || json.Unmarshal(b, &l) != nil {
		return 0
	}
	return l.PID
}

// Below sshd one process does all: it tells of the run, and takes the report.
func TestOneProcessBelowSSHD(t *testing.T) {
	h := newHost(t)
	gate := filepath.Join(h.home, "gate")
	plan := planOf("r1", "while ! test -e "+gate+"; do sleep 0.02; done; echo after; grep SigIgn /proc/self/status; ls -l /proc/self/fd | grep -c ' -> /.*\\(journal\\|lock\\|plan\\|attached\\)'; cat")
	plan.Exclusive = true
	s := h.beginOverSSH(plan, `{"schema":1}`)
	s.until(wire.KindStep)
	waitFor(t, "the lock's word", func() bool { return h.heldBy() != 0 })
	comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", h.heldBy()))
	if h.findRunner("r1") != 0 || string(comm) != collectorPath+"\x00start\x00" {
		t.Errorf("the runner is %q, another one %d", comm, h.findRunner("r1"))
	}
	touch(t, gate)
	events := s.rest()
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, s.stderr.String())
	}
	said := ""
	for _, e := range events {
		if e.IsOutput() && e.Output.Stream == "stdout" { // in one piece or in several
			said += e.Output.Text
		}
	}
	var ignored uint64
	if _, err := fmt.Sscanf(said, "after\nSigIgn:\t%x\n", &ignored); err != nil || ignored&^(3<<31) != 0 || !strings.HasSuffix(said, "\n0\n") {
		t.Errorf("said %q", said)
	}
	if j := h.journal("r1"); endOf(t, events).Status != wire.Changed || kinds(j) != kinds(events) {
		t.Errorf("told %s\nkept %s", kinds(events), kinds(j))
	}
	b, err := os.ReadFile(filepath.Join(h.place().logs, "performance-report.json"))
	if err != nil || string(b) != "{\"schema\":1}\n" {
		t.Errorf("the report %q, %v", b, err)
	}
	if runs(h.run("r1")) {
		t.Error("the journal is still locked")
	}
}

// It goes on when sshd and the reader are gone, and nobody is attached then.
func TestOneProcessOutlivesItsLine(t *testing.T) {
	h := newHost(t)
	gate := filepath.Join(h.home, "gate")
	plan := planOf("r1", "while ! test -e "+gate+"; do sleep 0.02; done; echo after")
	plan.Exclusive = true
	s := h.beginOverSSH(plan, "")
	s.until(wire.KindStep)
	waitFor(t, "the lock's word", func() bool { return h.heldBy() != 0 })
	pid := h.heldBy()
	s.cut()
	if err := unix.Kill(pid, unix.SIGHUP); err != nil { // no server sends it; a kernel that knew a terminal would
		t.Fatal(err)
	}
	d := h.run("r1")
	waitFor(t, "the follower to let go", func() bool {
		f, err := os.OpenFile(d.attached(), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		alone, err := flock(f, unix.LOCK_EX)
		return err == nil && alone
	})
	again := h.follow(h.command("follow", "r1", "3", "0"))
	touch(t, gate)
	events := again.rest()
	out := find(t, events, "output", func(e *wire.Event) bool { return e.IsOutput() })
	if out.Output.Text != "after\n" || endOf(t, events).Status != wire.Changed {
		t.Errorf("got %s", kinds(events))
	}
	waitFor(t, "the process to end", func() bool { return unix.Kill(pid, 0) == unix.ESRCH })
}

// When it is killed, who asks next learns it.
func TestOneProcessIsKilled(t *testing.T) {
	h := newHost(t)
	plan := planOf("r1", "sleep 30")
	plan.Exclusive = true
	s := h.beginOverSSH(plan, "")
	s.until(wire.KindStep)
	waitFor(t, "the lock's word", func() bool { return h.heldBy() != 0 })
	if err := unix.Kill(h.heldBy(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if events := s.rest(); events[len(events)-1].End != nil {
		t.Errorf("told %s", kinds(events))
	}
	events := h.follow(h.command("follow", "r1", "0", "0")).rest()
	if end := endOf(t, events); end.Stage != "died" {
		t.Errorf("ended %+v", end)
	}
}

// Who is not sshd's own child, or has a terminal, starts a process that is.
func TestOutlivesLineOnlyBelowSSHD(t *testing.T) {
	h := newHost(t)
	for name, change := range map[string]func(*exec.Cmd){
		"another server": func(cmd *exec.Cmd) {
			cmd.SysProcAttr.Setsid = true
		},
		"no session of its own": func(cmd *exec.Cmd) {
			cmd.Path, cmd.Args = filepath.Join(h.home, "sshd"), []string{"sshd", "-c", `"$@"; exit $?`, "sshd", collectorPath, "start"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.Symlink("/bin/sh", filepath.Join(h.home, "sshd")); err != nil && !os.IsExist(err) {
				t.Fatal(err)
			}
			id := strings.ReplaceAll(name, " ", "-")
			b, err := json.Marshal(planOf(id, "sleep 30"))
			if err != nil {
				t.Fatal(err)
			}
			cmd := h.command("start")
			if cmd.SysProcAttr == nil {
				cmd.SysProcAttr = &syscall.SysProcAttr{}
			}
			change(cmd)
			cmd.Stdin = strings.NewReader(string(b))
			s := h.follow(cmd)
			s.until(wire.KindStep)
			if h.findRunner(id) == 0 {
				t.Error("no runner of its own")
			}
			h.verb("cancel", id)
			if end := endOf(t, s.rest()); end.Status != wire.Cancelled {
				t.Errorf("ended %+v", end)
			}
		})
	}
}

// Events gather for a moment, but the last one and what comes after a silence
// go at once; a journal that closes without an end ends its follower.
func TestTold(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	told := newTold(w)
	for range 3 {
		told.grown(&wire.Event{Kind: wire.KindNote})
	}
	begin := time.Now()
	if more, err := told.wait(); !more || err != nil || time.Since(begin) < pace/2 {
		t.Errorf("%v, %v after %v", more, err, time.Since(begin))
	}
	told.grown(&wire.Event{Kind: wire.KindEnd})
	for i, want := range []bool{true, false, false} {
		if more, err := told.wait(); more != want || err != nil {
			t.Errorf("%d: %v, %v", i, more, err)
		}
	}
	told = newTold(w)
	r.Close()
	if more, err := told.wait(); more || err == nil {
		t.Errorf("without a reader: %v, %v", more, err)
	}
}
