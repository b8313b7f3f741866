//go:build unix

package inventory

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
)

// alone gives cmd a session of its own: it has no terminal to wait at, and ends
// together with what it has started.
func alone(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error {
		killGroup(cmd)
		return nil
	}
}

func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// othersMay says who else can write a file or folder: nobody is "". The user's
// own group and root's do not count.
func othersMay(st fs.FileInfo) string {
	mode, owner := st.Mode().Perm(), st.Sys().(*syscall.Stat_t)
	switch {
	case mode&0o002 != 0:
		return fmt.Sprintf("others can write it (mode %04o)", mode)
	case owner.Uid != 0 && int(owner.Uid) != os.Geteuid():
		return fmt.Sprintf("it belongs to another user (uid %d)", owner.Uid)
	case mode&0o020 != 0 && owner.Gid != 0 && int(owner.Gid) != os.Getegid():
		return fmt.Sprintf("a group can write it (gid %d, mode %04o)", owner.Gid, mode)
	}
	return ""
}
