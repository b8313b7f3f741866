//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/collector/steps"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// Limits of what a plan sets none for, and the first wait before another try.
const (
	stepTime    = time.Hour
	handlerTime = 5 * time.Minute
	retryAfter  = 2 * time.Second
	retryMost   = 30 * time.Second
)

// full names a full disk as such.
func full(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return errFull
	}
	return err
}

func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// step runs one step and journals its beginning and its end.
func (p *phaseRun) step(ctx context.Context, s *wire.Step) *wire.StepEnd {
	id := p.ph.ID + "/" + s.Name
	p.event(&wire.Event{Kind: wire.KindStep, Phase: p.ph.ID, Step: id})
	out := newOutput(p.j, p.ph.ID, id)
	end := p.attempts(ctx, s, p.env(s.Name, out))
	if end.RC != nil && *end.RC == 128+int(unix.SIGTERM) {
		// A shutdown ends runner and step at once, and the runner's own signal
		// may come a moment later: the run then did not fail of this step.
		select {
		case <-p.ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
	out.close()
	end.Critical = s.Assert != nil && s.Assert.Critical
	end.Optional = s.Optional || s.Assert != nil && !s.Assert.Critical
	if len(end.Stderr) > 4<<10 {
		end.Stderr = strings.ToValidUTF8(end.Stderr[len(end.Stderr)-4<<10:], "")
	}
	p.event(&wire.Event{Kind: wire.KindStepEnd, Phase: p.ph.ID, Step: id, StepEnd: end})
	return end
}

// attempts does the step, again while it fails of what can pass.
func (p *phaseRun) attempts(ctx context.Context, s *wire.Step, env *steps.Env) *wire.StepEnd {
	if s.Skip != "" {
		return &wire.StepEnd{Status: wire.Skipped, Reason: s.Skip}
	}
	if s.Budget <= 0 {
		return p.tries(ctx, s, env)
	}
	limited, cancel := context.WithTimeout(ctx, s.Budget)
	defer cancel()
	end := p.tries(limited, s, env)
	if end.Status == wire.Failed && limited.Err() != nil && ctx.Err() == nil {
		why := strings.TrimPrefix(end.Reason, p.overBudget()) // it is the step's own
		if !end.TimedOut {                                    // it ended between two tries
			why = ": the last try failed: " + why
		}
		end.Reason, end.TimedOut = "stopped: the step is over its budget of "+wire.FormatDuration(s.Budget)+why, true
	}
	return end
}

// tries does the step as often as it may.
func (p *phaseRun) tries(ctx context.Context, s *wire.Step, env *steps.Env) *wire.StepEnd {
	limit := s.Timeout
	if limit <= 0 {
		limit = stepTime
	}
	for n := 1; ; n++ {
		try, cancel := context.WithTimeout(ctx, limit)
		end, again := p.attempt(try, s, env)
		if end.TimedOut = end.Status == wire.Failed && try.Err() == context.DeadlineExceeded; end.TimedOut && ctx.Err() == nil {
			end.Reason = fmt.Sprintf("timed out after %s", wire.FormatDuration(limit)) + p.waitsForWhom()
		} else if end.TimedOut && ctx.Err() == context.DeadlineExceeded {
			end.Reason = p.overBudget() + p.waitsForWhom()
		}
		cancel()
		if n > 1 {
			end.Attempts = n
		}
		if !again || n > s.Retries || ctx.Err() != nil {
			return end
		}
		pause := min(retryAfter<<(n-1), retryMost)
		env.Note("info", fmt.Sprintf("try %d of %d failed (%s); again in %s", n, s.Retries+1, end.Reason, wire.FormatDuration(pause)))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return end
		}
	}
}

// attempt does the step once, and says whether another try could go better.
func (p *phaseRun) attempt(ctx context.Context, s *wire.Step, env *steps.Env) (end *wire.StepEnd, again bool) {
	if s.When != "" {
		switch yes, reason, err := steps.Holds(ctx, env, s.When, s.As); {
		case err != nil && p.ctx.Err() != nil:
			return &wire.StepEnd{Status: wire.Cancelled, Reason: "the run was ended"}, false
		case err != nil:
			return &wire.StepEnd{Status: wire.Failed, Reason: err.Error(), Hint: hintOf(err)}, false
		case !yes:
			return &wire.StepEnd{Status: wire.Skipped, Reason: reason}, false
		}
	}
	if s.Guard != nil {
		return p.guarded(ctx, s, env)
	}
	var res steps.Result
	switch {
	case s.Revert != nil:
		res = p.takeBack(ctx, s.Revert, env)
	case s.Look != nil:
		res = steps.Look(ctx, env, s.Look)
	default:
		res = steps.Do(ctx, env, s)
	}
	p.repair(env, s)
	if res.Finish != nil && res.Status != wire.Failed && res.Status != wire.Cancelled {
		p.finishStep(ctx, &res)
	}
	if res.Status == wire.Changed {
		p.later(s)
	}
	return stepEnd(res), res.Status == wire.Failed && res.Retryable
}

// finishStep does what may only happen after the proof, or without a guard at
// once.
func (p *phaseRun) finishStep(ctx context.Context, res *steps.Result) {
	if err := res.Finish(ctx); err != nil {
		res.Status, res.Reason, res.Hint = wire.Failed, err.Error(), hintOf(err)
	} else if res.Status == wire.OK {
		res.Status = wire.Changed
	}
}

func stepEnd(r steps.Result) *wire.StepEnd {
	return &wire.StepEnd{Status: r.Status, Reason: r.Reason, RC: r.RC, Stderr: r.Stderr, Hint: r.Hint, Created: r.Created, Found: r.Found}
}

// repair brings dpkg's records in order after a transaction that --now killed,
// and says what it could not.
func (p *phaseRun) repair(env *steps.Env, s *wire.Step) {
	select {
	case <-p.now:
	default:
		return
	}
	if s.Packages == nil {
		return
	}
	text := "the package transaction was killed; dpkg --configure -a repaired it"
	if _, err := p.dpkg("--configure", "-a"); err != nil {
		text = "the package transaction was killed, and dpkg --configure -a failed: " + err.Error()
	}
	// Packages that were only half unpacked need their archives again.
	if left, err := p.dpkg("--audit"); err == nil && len(left) > 0 {
		text += "; dpkg --audit still complains, on the host: apt-get -f install. " + strings.Join(strings.Fields(string(left)), " ")
	}
	env.Note("warn", text)
}

// dpkg runs the package manager's lowest tool, in no hurry any more.
func (p *phaseRun) dpkg(args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var out bytes.Buffer
	cmd := &exec.Cmd{Path: "/usr/bin/dpkg", Args: append([]string{"dpkg"}, args...), Stdout: &out}
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8",
		"DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1", "APT_LISTCHANGES_FRONTEND=none"}
	calm := &usage{births: p.births, cgroup: p.usage.cgroup, leaders: map[int]bool{}}
	err := calm.run(ctx, cmd, false)
	return out.Bytes(), err
}
