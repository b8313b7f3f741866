//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// provideLxcfs has one lxcfs running for the lab, in a cgroup of its own below the lab's, and returns where it is
// mounted. Hosts whose lxcfs dies have to be restarted.
func (l *Lab) provideLxcfs(ctx context.Context) (string, error) {
	unlock, err := lockFile(ctx, filepath.Join(labDir(l.ID), "lxcfs.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	dir := lxcfsDir(l.ID)
	serves := func() bool { _, err := os.Stat(filepath.Join(dir, "proc/meminfo")); return err == nil }
	if serves() {
		return dir, nil
	}
	_ = unix.Unmount(dir, unix.MNT_DETACH) // of one that died
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("lab: %w", err)
	}
	pidfile := filepath.Join(labDir(l.ID), "lxcfs.pid") // the default one is for one lxcfs alone
	err = l.spawn("lxcfs", "lxcfs", "--foreground", "--pidfile="+pidfile, dir)
	if err == nil {
		err = l.await(ctx, "lxcfs", serves)
	}
	return dir, err
}

// lxcfsDir is short-lived on this machine and in the hosts alike.
func lxcfsDir(id string) string { return "/run/vl" + id + "-lxcfs" }

// removeLxcfs removes the folder of an lxcfs that has been killed.
func removeLxcfs(id string) error {
	for unix.Unmount(lxcfsDir(id), unix.MNT_DETACH) == nil {
	}
	if err := os.Remove(lxcfsDir(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("lab: %w", err)
	}
	return nil
}

// spawn starts a program that outlives this process, until the lab is down. It is born in a cgroup of its own below the
// lab's, inherits none of our locks and writes to a log in the lab's folder.
func (l *Lab) spawn(name string, command ...string) error {
	group, err := cgroupOf(l.ID)
	if err != nil {
		return err
	}
	group = filepath.Join(group, name)
	removeCgroups(group) // what is born in one that was ever killed dies at once
	if err := os.MkdirAll(group, 0o755); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	dir, err := os.Open(group)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	defer dir.Close()
	log, err := os.Create(filepath.Join(labDir(l.ID), name+".log"))
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	defer log.Close()
	cmd := exec.Command("setsid", append([]string{"--fork"}, command...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("lab: start %s: %w", name, err)
	}
	return nil
}

// await waits until the spawned program does its work. The error ends with what it has said.
func (l *Lab) await(ctx context.Context, name string, works func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	group, err := cgroupOf(l.ID)
	if err != nil {
		return err
	}
	err = poll(ctx, func() (bool, error) {
		if works() {
			return true, nil
		}
		if !populated(filepath.Join(group, name)) {
			return false, errors.New("it has ended")
		}
		return false, nil
	})
	if err != nil {
		said, _ := os.ReadFile(filepath.Join(labDir(l.ID), name+".log"))
		return fmt.Errorf("lab: wait for %s: %w: %s", name, err, tail(string(said), 1000))
	}
	return nil
}
