//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroupRoot is where the cgroup v2 tree is mounted: alone, or beside v1 in the hybrid layout. Even where every
// controller is bound to v1 it counts CPU time and kills whole trees.
func cgroupRoot() (string, error) {
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			return dir, nil
		}
	}
	return "", errors.New("lab: no cgroup v2 tree is mounted at /sys/fs/cgroup or /sys/fs/cgroup/unified")
}

func cgroupOf(id string) (string, error) {
	root, err := cgroupRoot()
	return filepath.Join(root, "vpsctl-lab-"+id), err
}

func (h *Host) cgroup() (string, error) {
	dir, err := cgroupOf(h.lab.ID)
	return filepath.Join(dir, h.Name), err
}

// makeCgroup makes the host's cgroup with a child for the keeper and returns that child, opened. Processes live in
// leaves alone, so that controllers can be handed down to the host where this machine has them on v2. The child is
// always a new one: Linux 6.18 kills at birth what is cloned into a cgroup that was ever killed.
func (h *Host) makeCgroup() (*os.File, error) {
	dir, err := h.cgroup()
	if err != nil {
		return nil, err
	}
	keeper := filepath.Join(dir, "keeper")
	removeCgroups(keeper)
	if err := os.MkdirAll(keeper, 0o755); err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	for _, d := range []string{filepath.Dir(filepath.Dir(dir)), filepath.Dir(dir), dir} {
		handDown(d)
	}
	return os.Open(keeper)
}

// handDown lets children of a cgroup use what controllers it has. A controller that refuses is one the host lacks.
func handDown(dir string) {
	b, _ := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	for _, c := range strings.Fields(string(b)) {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0o644)
	}
}

// populated tells whether any process lives in the cgroup or below it.
func populated(dir string) bool {
	b, _ := os.ReadFile(filepath.Join(dir, "cgroup.events"))
	return strings.Contains(string(b), "populated 1")
}

// killCgroup kills all processes in and below the cgroup and waits until they are gone.
func killCgroup(ctx context.Context, dir string) error {
	err := os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0o644)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	if err := poll(ctx, func() (bool, error) { return !populated(dir), nil }); err != nil {
		return fmt.Errorf("lab: wait for the processes of %s to end: %w", dir, err)
	}
	return nil
}

// removeCgroup removes the empty cgroup and all below it.
func removeCgroup(ctx context.Context, dir string) error {
	// The kernel may need a moment after the last process: the folder is busy until then.
	err := poll(ctx, func() (bool, error) {
		removeCgroups(dir)
		_, err := os.Stat(dir)
		return errors.Is(err, os.ErrNotExist), nil
	})
	if err != nil {
		return fmt.Errorf("lab: remove the cgroup %s: %w", dir, err)
	}
	return nil
}

func removeCgroups(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			removeCgroups(filepath.Join(dir, e.Name()))
		}
	}
	_ = unix.Rmdir(dir)
}

// pidsIn returns the processes in and below the cgroup.
func pidsIn(dir string) (pids []int) {
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return nil // a cgroup that went away meanwhile has no processes
		}
		b, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		for _, f := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids
}

// CPU returns the CPU seconds that the host has used since it was first started, all its boots together.
func (h *Host) CPU() (float64, error) {
	dir, err := h.cgroup()
	if err != nil {
		return 0, err
	}
	b, err := os.ReadFile(filepath.Join(dir, "cpu.stat"))
	if err != nil {
		return 0, fmt.Errorf("%s: read its CPU time: %w", h.Name, err)
	}
	var usec float64
	if _, err := fmt.Sscanf(string(b), "usage_usec %g", &usec); err != nil {
		return 0, fmt.Errorf("%s: read its CPU time: %w", h.Name, err)
	}
	return usec / 1e6, nil
}
