//go:build linux

// Package steps makes true what a step of a plan states. Each kind has the one
// shape: look; if it already holds, say ok; else have the way back journaled,
// act, and look again. The runner owns everything around a step: time limits,
// retries, `when`, the order of handlers, guards, cgroups and masking.
package steps

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// Env is what a step may use of the runner. Its functions may be called from
// several goroutines at once. Processes inherit the runner's umask.
type Env struct {
	Phase         *wire.Phase
	ConnectionKey string                           // the plan's
	Secret        func(name string) (string, bool) // the plan's secrets; may be nil when there are none
	RunDir        string                           // D/runs/<run>, 0700
	UndoDir       string                           // the run's undo folder: content lies there by its hash
	PhaseDir      string                           // the phase's siblings; readable by every user a step may name
	Root          bool                             // the collector runs as uid 0

	Out  func(stream string, b []byte) // what a process prints; b is valid during the call
	Wait func(wire.Wait)               // may be nil
	Note func(level, text string)

	// Undo (not needed by Revert and Handle) sets u.Hash, saves content (unless nil) as UndoDir/<hex SHA-256>,
	// 0600, journals u, and has both on the disk before it returns. An error
	// means that the act must not happen.
	Undo func(u wire.Undo, content []byte) error

	// Run starts cmd and waits for it, as cmd.Run does, and returns its error
	// (nil, *exec.ExitError, exec.ErrWaitDelay when a child keeps the pipes
	// open). It puts the process into the phase's cgroup and a process group of
	// its own, and keeps SysProcAttr.Credential, Env, Dir, ExtraFiles, Stdin
	// (nil = /dev/null), Stdout and Stderr as they are. When ctx ends, the group
	// is killed, unless keep: a package transaction is waited for.
	Run func(ctx context.Context, cmd *exec.Cmd, keep bool) error

	// Turn waits until no other phase of the run changes packages; nil when there
	// is none. The caller gives the turn back.
	Turn func(ctx context.Context) (release func(), err error)
	// Fetch downloads what a package step wants, unless that is there, and returns
	// when that has ended, well or not. May be nil.
	Fetch func(ctx context.Context, want *wire.Packages)
	// FetchTime is how long one attempt of a download may make no progress.
	FetchTime time.Duration
	// AptConfig is a file that APT_CONFIG names to scripts; "" = none.
	AptConfig string

	// SecretsDir makes a folder in memory with one file per name, readable by
	// uid only; cleanup removes it. Called only for steps that list secrets.
	SecretsDir func(names []string, uid, gid int) (dir string, cleanup func(), err error)

	looks bool     // nothing is changed, not even what systemd has read
	root  string   // where /etc, /var, /proc and /run are looked up; "" = /; tests
	path  string   // PATH of processes; "" = searchPath; tests
	clock clock    // zero = the real one; tests
	extra []string // environment of processes, tests
}

// Result is how a step ended.
type Result struct {
	Status    wire.Status // OK, Changed, Failed, Cancelled
	Reason    string      // what differed, or why it failed
	RC        *int        // of a script or tool that failed
	Stderr    string      // its last lines, at most 4 KiB
	Hint      string
	Created   string // "user NAME": made by this tool, and its password is still to be set or is set by Finish
	Found     *wire.Found
	Retryable bool // the kind of failure that can pass: network, lock
	// Finish is what may only happen after the guard's confirmation, nil when
	// there is nothing. The runner calls it once; without a guard at once.
	Finish func(ctx context.Context) error
}

// thing is what a step wants true.
type thing interface {
	// differs says what is not as it shall be; "" when all holds.
	differs(ctx context.Context) (string, error)
	// remember gives the way back from act (nil: there is none), and may wait
	// for others first.
	remember(ctx context.Context) (*wire.Undo, []byte, error)
	// act makes it so.
	act(ctx context.Context) error
}

// Do brings one step about. The step's When, Skip, Timeout, Retries, OnChange
// and Guard are the runner's. Do returns when all of the step's processes have
// ended or been left to the kill of their group.
func Do(ctx context.Context, env *Env, s *wire.Step) Result {
	switch {
	case s.Packages != nil:
		return doPackages(ctx, env, s.Packages)
	case s.File != nil:
		return converge(ctx, env, newFile(env, s))
	case s.Service != nil:
		return converge(ctx, env, &service{env: env, want: s.Service})
	case s.User != nil:
		return doUser(ctx, env, s)
	case s.Run != nil:
		return converge(ctx, env, &run{env: env, step: s})
	case s.Assert != nil:
		return doAssert(ctx, env, s)
	case s.Repository != nil:
		return doRepository(ctx, env, s.Repository)
	case s.Archive != nil:
		return converge(ctx, env, &archive{env: env, want: s.Archive})
	}
	return Result{Status: wire.Failed, Reason: "a kind of step this collector does not know", Hint: "vpsctl and its collector differ in version"}
}

func converge(ctx context.Context, env *Env, t thing) Result {
	diff, err := t.differs(ctx)
	if err != nil {
		return failed(ctx, err)
	}
	if diff == "" {
		return Result{Status: wire.OK}
	}
	u, content, err := t.remember(ctx)
	if err != nil {
		return failed(ctx, err)
	}
	if u != nil {
		if err := env.Undo(*u, content); err != nil {
			return failed(ctx, fmt.Errorf("nothing was changed: the way back could not be kept: %w", err))
		}
	}
	if err := t.act(ctx); err != nil {
		return failed(ctx, err)
	}
	// What has been done is looked at even when the run was cancelled meanwhile.
	left, err := t.differs(context.WithoutCancel(ctx))
	if err != nil {
		return failed(ctx, fmt.Errorf("done, but looking again failed: %w", err))
	}
	if left != "" {
		return Result{Status: wire.Failed, Reason: "done, but still not as it shall be: " + left}
	}
	return Result{Status: wire.Changed, Reason: diff}
}

// failed turns an error into a result. A step that was stopped is cancelled,
// one that ran out of time has failed.
func failed(ctx context.Context, err error) Result {
	r := Result{Status: wire.Failed, Reason: err.Error()}
	if f := (*failure)(nil); errors.As(err, &f) {
		r.RC, r.Stderr, r.Hint, r.Retryable = f.rc, f.stderr, f.hint, f.retryable
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		r.Hint = "make room on the host: df -h"
	}
	switch ctx.Err() {
	case context.Canceled:
		r.Status, r.Retryable = wire.Cancelled, false
	case context.DeadlineExceeded:
		r.Reason, r.Retryable = "timed out: "+r.Reason, false
	}
	return r
}

// Revert undoes one recorded act. It does nothing where nothing is left to
// undo, so that it may be called again. Handlers are the caller's.
func Revert(ctx context.Context, env *Env, u wire.Undo) error {
	var err error
	switch u.Kind {
	case "packages":
		err = revertPackages(ctx, env, u)
	case "file":
		err = revertFile(ctx, env, u)
	case "service":
		err = revertService(ctx, env, u)
	case "user":
		err = revertUser(ctx, env, u)
	case "run":
		err = revertRun(ctx, env, u)
	case "debconf":
		err = revertDebconf(ctx, env, u)
	case "apt_repository":
		err = revertRepository(ctx, env, u)
	case "archive":
		err = revertArchive(ctx, env, u)
	default:
		err = errors.New("a kind of record this collector does not know")
	}
	if err != nil {
		return fmt.Errorf("undo %s (%s): %w", u.Kind, u.What, err)
	}
	return nil
}
