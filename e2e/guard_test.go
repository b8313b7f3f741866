//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/e2e/lab"
	"github.com/vpsctl/vpsctl/payload/wire"
)

const dropIn = "/etc/ssh/sshd_config.d/00-test.conf"

// guarded is a phase that changes how sshd lets people in, and then goes on.
func guarded(config string, window string) string {
	return fmt.Sprintf(`steps:
  - name: sshd
    file: {path: %s, content: "%s\n", validate: "sshd -t -f %%s"}
    on_change: [{reload: ssh}]
    guard: {window: %s}
`, dropIn, config, window)
}

// outcome is how the record says a guard ended, "" when it did not.
func (r *record) outcome() string {
	for _, e := range r.events {
		if e.Kind == wire.KindGuardEnd && e.Guard != nil {
			return e.Guard.Outcome
		}
	}
	return ""
}

// safeAgain wants the change gone, root let in, and no timer left.
func safeAgain(t *testing.T, h *lab.Host) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute) // the timer waits longer than a runner would
	defer cancel()
	for ctx.Err() == nil {
		if _, err := h.Exec(ctx, "test ! -e "+dropIn); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	until(t, h.Name+" to let root in", func() bool {
		c, err := h.Dial(t.Context(), "root")
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	noTimers(t, h)
}

func noTimers(t *testing.T, h *lab.Host) {
	t.Helper()
	until(t, "no timer of ours on "+h.Name, func() bool {
		return on(t, h, "systemctl list-units --all --no-legend 'vpsctl*' | grep -E 'guard|timer' || true; ls /etc/systemd/system | grep vpsctl || true") == ""
	})
}

// TestGoodChangeIsKept: what does not lock us out is confirmed at once and stays.
func TestGoodChangeIsKept(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	v.phase("ssh", guarded("MaxSessions 9", "30s"))
	v.provision(0, "ssh")
	rec := v.record(h.Name)
	if rec.outcome() != "confirmed" || rec.step("ssh/sshd").Status != wire.Changed {
		t.Errorf("outcome %q, step %+v", rec.outcome(), rec.step("ssh/sshd"))
	}
	if got := on(t, h, "sshd -T | grep -i '^maxsessions'"); got != "maxsessions 9" {
		t.Errorf("sshd says %q", got)
	}
	noTimers(t, h)
	v.provision(0, "ssh")
	if got := v.record(h.Name).step("ssh/sshd").Status; got != wire.OK {
		t.Errorf("second run: %s", got)
	}
}

// TestLockOut: a change that would lock us out is taken back by the host itself, and the run fails with the reason.
func TestLockOut(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]string{"another_port": "Port 2222", "user_denied": "DenyUsers root", "no_keys": "PubkeyAuthentication no"} {
		t.Run(name, func(t *testing.T) {
			f := FreshLab(t, 1)
			h := f.Hosts[0]
			v := newTool(t, f)
			v.phase("ssh", guarded(config, "8s"))
			r := v.provision(2, "ssh")
			rec := v.record(h.Name)
			if got := rec.outcome(); got != "reverted" && got != "unconfirmed" {
				t.Errorf("outcome %q", got)
			}
			if s := rec.step("ssh/sshd"); s.Status != wire.Skipped || s.Reason == "" || rec.end().Stage != "unconfirmed" {
				t.Errorf("step %+v, end %+v", s, rec.end())
			}
			wants(t, "provision", r.says(), "ssh/sshd", "unconfirmed", " > ")
			if strings.Contains(r.says(), "unconfirmed: unconfirmed") || strings.Contains(r.says(), "[OK] "+h.Name) {
				t.Errorf("it says:\n%s", tail(r.says()))
			}
			rec.whole(h)
			safeAgain(t, h)
			v.run(0, "ping")
		})
	}
}

// guardPending starts a run that is locked out and returns while the guard waits.
func guardPending(t *testing.T, window string, args ...string) (*tool, *lab.Host, *proc) {
	t.Helper()
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	v.phase("ssh", guarded("DenyUsers root", window)+"  - name: after\n    run: echo after\n")
	p := v.start(append([]string{"provision", "--only-phase", "ssh", "--sample-interval", "1s", "--plain"}, args...)...)
	until(t, "the guard in the journal", func() bool {
		out, _ := h.Exec(t.Context(), "cat /var/lib/vpsctl/runs/*/journal.jsonl 2>/dev/null")
		return strings.Contains(out, `"k":"guard"`)
	})
	if got := on(t, h, "cat "+dropIn); got != "DenyUsers root" {
		t.Fatalf("the change is not there: %q", got)
	}
	return v, h, p
}

// TestGuardOutlivesTheRunner: the timer is a unit of its own.
func TestGuardOutlivesTheRunner(t *testing.T) {
	t.Parallel()
	_, h, p := guardPending(t, "5s")
	p.kill() // or it would find the dead run and put the change back itself
	on(t, h, `kill -9 $(grep -o '"pid": *[0-9]*' /run/lock/vpsctl | tr -dc 0-9)`)
	safeAgain(t, h)
}

// TestGuardOutlivesAPowerCut: the host dies while the guard waits, comes up locked, and opens itself again.
func TestGuardOutlivesAPowerCut(t *testing.T) {
	t.Parallel()
	_, h, p := guardPending(t, "5s")
	p.kill()
	try(t, h.Kill(t.Context()))
	if err := h.Start(t.Context()); err == nil {
		t.Log("the guard was faster than the lab")
	}
	safeAgain(t, h)
}

// TestGuardAndReboot: a host that is shut down in order has put the change back before it goes.
func TestGuardAndReboot(t *testing.T) {
	t.Parallel()
	v, h, p := guardPending(t, "30s")
	try(t, h.Reboot(t.Context())) // which waits until root is let in
	p.wait(2)
	v.record(h.Name).whole(h)
	safeAgain(t, h)
}

// TestGuardWithNobodyThere: vpsctl is gone when the guard asks. The change is taken back, the step is unconfirmed, and
// the run goes on.
func TestGuardWithNobodyThere(t *testing.T) {
	t.Parallel()
	v, h, p := guardPending(t, "8s")
	p.kill()
	safeAgain(t, h)
	q := v.start("runs", "attach")
	q.finishes()
	rec := v.record(h.Name)
	rec.whole(h)
	if got := rec.outcome(); got != "unconfirmed" {
		t.Errorf("outcome %q\n%s", got, q.talk())
	}
	if !slices.ContainsFunc(rec.events, func(e wire.Event) bool { return e.Kind == wire.KindStepEnd && e.Step == "ssh/after" }) {
		t.Error("the run did not go on")
	}
	if rec.end().Stage != "unconfirmed" || q.cmd.ProcessState.ExitCode() != 2 {
		t.Errorf("an unconfirmed step counts as done: exit %d, end %+v", q.cmd.ProcessState.ExitCode(), rec.end())
	}
}

// TestGuardAnswersOnlyItsToken: a wrong token confirms nothing.
func TestGuardAnswersOnlyItsToken(t *testing.T) {
	t.Parallel()
	v, h, p := guardPending(t, "10s")
	on(t, h, "$(echo /var/lib/vpsctl/bin/*) confirm "+v.lastRun()+" 0123456789abcdef 2>&1 || true")
	p.wait(2)
	if got := v.record(h.Name).outcome(); got == "confirmed" {
		t.Error("confirmed by a wrong token")
	}
	safeAgain(t, h)
}
