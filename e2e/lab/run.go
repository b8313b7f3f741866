//go:build linux

package lab

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// toolLimit bounds every tool and every wait for another lab command; building a base over a slow line is the longest.
const toolLimit = 15 * time.Minute

// run runs a tool of this machine with text on its stdin and returns its stdout; an error ends with its stderr.
func run(ctx context.Context, stdin, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, toolLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	endAsGroup(cmd)
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("lab: %s: %w: %s", tail(strings.Join(cmd.Args, " "), 200), err, tail(errs.String(), 2000))
	}
	return out.String(), nil
}

// endAsGroup lets the end of cmd's context also reach the processes that cmd has started.
func endAsGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
}

func tail(s string, n int) string {
	s = strings.TrimSpace(s)
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// poll asks done every 20 ms until it says true or fails, or ctx ends.
func poll(ctx context.Context, done func() (bool, error)) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
