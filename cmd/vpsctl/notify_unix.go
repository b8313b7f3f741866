//go:build !windows

package main

import (
	"os/exec"
	"syscall"
)

func shellWords(line string) []string { return []string{"/bin/sh", "-c", line} }

// ownGroup has the command and all that it started end together.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
