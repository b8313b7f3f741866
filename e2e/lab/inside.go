//go:build linux

package lab

import (
	"context"
	"os/exec"
)

// Beside is a program of this machine that sees the host's network: what it
// connects to sees the host's address.
func (h *Host) Beside(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", h.netns(), name}, args...)...)
}
