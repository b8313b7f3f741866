//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/payload/collector/steps"
)

// The timer that puts a guarded change back is a pair of units on the disk and
// not a transient one, so that it also goes off after a reboot.
const unitFolder = "/etc/systemd/system"

func unitName(token, kind string) string { return "vpsctl-guard-" + token + "." + kind }

func wantsLink(token string) string {
	return filepath.Join(unitFolder, "timers.target.wants", unitName(token, "timer"))
}

func guardService(exe, run, token string) string {
	return fmt.Sprintf(`[Unit]
Description=vpsctl: undo an unconfirmed change of run %s

[Service]
Type=oneshot
ExecStart=%s revert %s %s
`, run, exe, run, token)
}

func guardTimer(run string, after time.Duration) string {
	return fmt.Sprintf(`[Unit]
Description=vpsctl: undo an unconfirmed change of run %s

[Timer]
OnActiveSec=%ds
AccuracySec=1s

[Install]
WantedBy=timers.target
`, run, int(after.Seconds()))
}

// armTimer has systemd run `revert` after a while, whatever becomes of us.
func armTimer(run, token string, after time.Duration) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	service, timer := filepath.Join(unitFolder, unitName(token, "service")), filepath.Join(unitFolder, unitName(token, "timer"))
	err = errors.Join(
		writeSynced(service, os.O_CREATE|os.O_EXCL|os.O_WRONLY, []byte(guardService(exe, run, token))),
		writeSynced(timer, os.O_CREATE|os.O_EXCL|os.O_WRONLY, []byte(guardTimer(run, after))),
		os.MkdirAll(filepath.Dir(wantsLink(token)), 0o755),
		os.Symlink(timer, wantsLink(token)),
		syncFolder(filepath.Dir(wantsLink(token))), syncFolder(unitFolder))
	if err == nil {
		err = systemctl("daemon-reload")
	}
	if err == nil {
		err = systemctl("start", unitName(token, "timer"))
	}
	if err != nil {
		return fmt.Errorf("arm the timer that would undo it: %w", errors.Join(full(err), disarmTimer(token)))
	}
	return nil
}

// disarmTimer removes the units. It may be called again.
func disarmTimer(token string) error {
	timer := unitName(token, "timer")
	known := fileExists(filepath.Join(unitFolder, timer))
	var err error
	if known {
		err = systemctl("stop", timer)
	}
	for _, name := range []string{wantsLink(token), filepath.Join(unitFolder, timer), filepath.Join(unitFolder, unitName(token, "service"))} {
		if e := os.Remove(name); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	if known {
		err = errors.Join(err, systemctl("daemon-reload"))
	}
	return err
}

func systemctl(args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "/usr/bin/systemctl", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemctl %s: %w: %s", args[0], err, out)
	}
	return nil
}

// confirmVerb says that a new connection has come through after a change.
func confirmVerb(p place, run, token string) error {
	d, err := p.run(run)
	if err != nil {
		return err
	}
	if !isHex(token, 32) {
		return fail(exitUsage, "%q is not a guard's token", token)
	}
	first, err := d.decide(token, "confirmed")
	switch {
	case err != nil:
		return fail(exitRefused, "confirm in run %s: %w", run, err)
	case first || fileExists(d.guard(token, "confirmed")):
		return nil
	}
	return fail(exitRefused, "confirm in run %s: too late, or no such guard: the change was put back", run)
}

// revertVerb is what the timer's unit runs: nobody has confirmed and nobody has
// put the change back.
func revertVerb(p place, run, token string) error {
	d, err := p.run(run)
	if err != nil {
		return err
	}
	if !isHex(token, 32) {
		return fail(exitUsage, "%q is not a guard's token", token)
	}
	if err := putBackLate(p, d, token); err != nil {
		return fail(exitRefused, "revert in run %s: %w", run, err)
	}
	return nil
}

// putBackLate undoes a change that nobody has confirmed, where no runner is
// left to do it.
func putBackLate(p place, d runDir, token string) error {
	first, err := d.decide(token, "reverting")
	if err != nil {
		return err
	}
	// A revert that a reboot cut short is begun again; undoing twice is harmless.
	if !first && (!fileExists(d.guard(token, "reverting")) || runs(d)) {
		return disarmTimer(token)
	}
	g, err := loadGuard(d, token)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), handlerTime)
	defer cancel()
	if err := g.putBack(ctx, plainEnv(p, d)); err != nil {
		return err
	}
	err = os.Rename(d.guard(token, "reverting"), d.guard(token, "reverted"))
	return errors.Join(err, disarmTimer(token))
}

// settleGuards puts back what runs that died have left unconfirmed: their
// timers would go off in the middle of this run, and undo what it has found.
func (r *runner) settleGuards() {
	for _, d := range listRuns(r.place) {
		if d.id() == r.plan.RunID || !guardPending(d, "pending", "reverting") || runs(d) {
			continue
		}
		for _, state := range []string{"pending", "reverting"} {
			names, _ := filepath.Glob(d.guard("*", state)) // the pattern is right
			for _, name := range names {
				token := strings.TrimSuffix(filepath.Base(name), "."+state)
				text := "put back what run " + d.id() + " left unconfirmed"
				if err := putBackLate(r.place, d, token); err != nil {
					text += " failed: " + err.Error()
				}
				r.note("", "", "warn", text)
			}
		}
	}
}

// plainEnv is what undoing may use when there is no runner.
func plainEnv(p place, d runDir) *steps.Env {
	return &steps.Env{Root: p.root, RunDir: string(d), UndoDir: d.undo(), Out: func(string, []byte) {}, Note: func(string, string) {},
		Run: func(ctx context.Context, cmd *exec.Cmd, _ bool) error {
			u := &usage{births: &births{}, leaders: map[int]bool{}}
			return u.run(ctx, cmd, false)
		}}
}
