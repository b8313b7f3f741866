//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// quotaPeriod is over how long a share of CPU time is counted, in microseconds.
const quotaPeriod = 100_000

// Throttle gives all that runs in the host now, and what that starts, at most so many cores of CPU time (0.25: a quarter
// of one core), until the host's next start; 0 lifts it. The host does not see fewer CPUs: it is slow, as beside busy
// neighbours.
func (h *Host) Throttle(ctx context.Context, cores float64) error {
	unlock, err := h.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	root, v2, err := controllerTree("cpu")
	if err != nil {
		return fmt.Errorf("%s: throttle: %w", h.Name, err)
	}
	quota := int(cores * quotaPeriod)
	own, err := h.cgroup()
	if err != nil {
		return err
	}
	if v2 {
		value := strconv.Itoa(quota)
		if quota == 0 {
			value = "max"
		}
		return os.WriteFile(filepath.Join(own, "cpu.max"), []byte(value+" "+strconv.Itoa(quotaPeriod)), 0o644)
	}
	dir := filepath.Join(root, "vpsctl-lab-"+h.lab.ID, h.Name)
	if quota == 0 {
		quota = -1
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("%s: throttle: %w", h.Name, err)
	}
	for file, value := range map[string]int{"cpu.cfs_period_us": quotaPeriod, "cpu.cfs_quota_us": quota} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(strconv.Itoa(value)), 0o644); err != nil {
			return fmt.Errorf("%s: throttle: %w", h.Name, err)
		}
	}
	for range 2 { // what was started while the first pass went on
		for _, pid := range pidsIn(own) {
			err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
			if err != nil && !gone(pid) {
				return fmt.Errorf("%s: throttle: %w", h.Name, err)
			}
		}
	}
	return nil
}

func gone(pid int) bool {
	_, err := os.Stat("/proc/" + strconv.Itoa(pid))
	return errors.Is(err, os.ErrNotExist)
}
