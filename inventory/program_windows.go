package inventory

import (
	"io/fs"
	"os/exec"
)

func alone(*exec.Cmd) {}

func killGroup(cmd *exec.Cmd) { _ = cmd.Process.Kill() }

// othersMay knows nothing about access lists.
func othersMay(fs.FileInfo) string { return "" }
