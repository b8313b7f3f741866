//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// quotaPeriod is over how long a share of CPU time is counted, in microseconds: short, as neighbours disturb, but the
// kernel gives no less than a millisecond of it.
func quotaPeriod(cores float64) int {
	if cores >= 0.1 || cores == 0 {
		return 10_000
	}
	return 100_000
}

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
	period := quotaPeriod(cores)
	quota := int(cores * float64(period))
	own, err := h.cgroup()
	if err != nil {
		return err
	}
	if v2 {
		value := strconv.Itoa(quota)
		if quota == 0 {
			value = "max"
		}
		return os.WriteFile(filepath.Join(own, "cpu.max"), []byte(value+" "+strconv.Itoa(period)), 0o644)
	}
	dir := filepath.Join(root, "vpsctl-lab-"+h.lab.ID, h.Name)
	if quota == 0 {
		quota = -1
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("%s: throttle: %w", h.Name, err)
	}
	for _, set := range []struct {
		file  string
		value int
	}{{"cpu.cfs_quota_us", -1}, {"cpu.cfs_period_us", period}, {"cpu.cfs_quota_us", quota}} { // no old quota in a new period
		if err := os.WriteFile(filepath.Join(dir, set.file), []byte(strconv.Itoa(set.value)), 0o644); err != nil {
			return fmt.Errorf("%s: throttle: %w", h.Name, err)
		}
	}
	if err := h.joins(dir); err != nil {
		return fmt.Errorf("%s: throttle: %w", h.Name, err)
	}
	return nil
}

// joins puts all that runs in the host into another cgroup of version 1.
func (h *Host) joins(dir string) error {
	own, err := h.cgroup()
	if err != nil {
		return err
	}
	for range 2 { // what was started while the first pass went on
		for _, pid := range pidsIn(own) {
			err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
			if err != nil && !gone(pid) {
				return err
			}
		}
	}
	return nil
}

// ThrottleDisk gives all that runs in the host now, and what that starts, at most so many bytes a second of the disk,
// each way, until the host's next start; 0 lifts it. Writes that wait in the page cache may not count where this machine
// has the controller in version 1.
func (h *Host) ThrottleDisk(ctx context.Context, bytes int64) error {
	unlock, err := h.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := h.throttleDisk(bytes); err != nil {
		return fmt.Errorf("%s: throttle its disk: %w", h.Name, err)
	}
	return nil
}

func (h *Host) throttleDisk(bytes int64) error {
	disk, err := diskUnder(h.dir())
	if err != nil {
		return err
	}
	if root, v2, err := controllerTree("io"); err == nil && v2 {
		limit := strconv.FormatInt(bytes, 10)
		if bytes == 0 {
			limit = "max"
		}
		dir := filepath.Join(root, "vpsctl-lab-"+h.lab.ID, h.Name)
		return os.WriteFile(filepath.Join(dir, "io.max"), []byte(disk+" rbps="+limit+" wbps="+limit), 0o644)
	}
	root, _, err := controllerTree("blkio")
	if err != nil {
		return err
	}
	dir := filepath.Join(root, "vpsctl-lab-"+h.lab.ID, h.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, way := range []string{"read", "write"} {
		line := fmt.Sprintf("%s %d", disk, bytes)
		if err := os.WriteFile(filepath.Join(dir, "blkio.throttle."+way+"_bps_device"), []byte(line), 0o644); err != nil {
			return err
		}
	}
	return h.joins(dir)
}

// diskUnder is the number of the whole disk that holds a folder, as 254:0.
func diskUnder(dir string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return "", err
	}
	number := fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	device, err := filepath.EvalSymlinks("/sys/dev/block/" + number)
	if err != nil {
		return "", fmt.Errorf("%s is on no block device: %w", dir, err)
	}
	if _, err := os.Stat(filepath.Join(device, "partition")); err == nil {
		device = filepath.Dir(device)
	}
	b, err := os.ReadFile(filepath.Join(device, "dev"))
	return strings.TrimSpace(string(b)), err
}

func gone(pid int) bool {
	_, err := os.Stat("/proc/" + strconv.Itoa(pid))
	return errors.Is(err, os.ErrNotExist)
}
