//go:build e2e

package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/vpsctl/vpsctl/e2e/lab"
)

// ownLab is a lab beside the shared one.
func ownLab(t *testing.T, opt lab.Options) *lab.Lab {
	t.Helper()
	opt.Dir, opt.Ephemeral, opt.Log = filepath.Join(t.TempDir(), "lab"), true, t.Output()
	l, err := lab.Up(t.Context(), opt)
	if l != nil {
		t.Cleanup(func() {
			if err := l.Down(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	try(t, err)
	return l
}

// size is what a host sees of its memory (kB) and of its CPUs, by each of the ways to look.
func size(t *testing.T, h *lab.Host) string {
	t.Helper()
	out, err := say(t, h, "plain", `awk '/^MemTotal/ {print $2}' /proc/meminfo; nproc; getconf _NPROCESSORS_ONLN
		grep -c ^processor /proc/cpuinfo; grep -c '^cpu[0-9]' /proc/stat; cat /sys/devices/system/cpu/online`)
	try(t, err)
	return strings.Join(strings.Fields(out), " ")
}

func TestLabLimits(t *testing.T) {
	if _, err := exec.LookPath("lxcfs"); err != nil {
		t.Skip("needs lxcfs: make lab-deps MEM=2048")
	}
	l := ownLab(t, lab.Options{N: 2, Limits: lab.Limits{MemoryMB: 2048, CPUs: 1}})
	small, other := l.Hosts[0], l.Hosts[1]
	const want = "2097152 1 1 1 1 0"
	if got := size(t, small); got != want {
		t.Errorf("2 GB and 1 CPU look like %s, want %s", got, want)
	}
	// tail keeps the whole of its only line in memory.
	if out, err := say(t, small, "root", "head -c 3G /dev/zero | tail >/dev/null; echo $?"); out != "137" {
		t.Errorf("3 GB in a host of 2 GB: %s, %v, want tail killed", out, err)
	}
	try(t, small.Reboot(t.Context()))
	if got := size(t, small); got != want {
		t.Errorf("after a reboot: %s, want %s", got, want)
	}
	if runtime.NumCPU() < 2 {
		t.Skip("this machine has 1 CPU")
	}
	_, err := other.Exec(t.Context(), "touch /root/kept")
	try(t, err)
	try(t, other.Limit(t.Context(), lab.Limits{MemoryMB: 4096, CPUs: 2}))
	if got, want := size(t, other), "4194304 2 2 2 2 0-1"; got != want {
		t.Errorf("4 GB and 2 CPUs look like %s, want %s", got, want)
	}
	if out, err := other.Exec(t.Context(), "ls /root"); out != "kept\n" {
		t.Errorf("another size has cost the disk: %q, %v", out, err)
	}
	try(t, other.Limit(t.Context(), lab.Limits{}))
	if out, err := say(t, other, "root", "mount | grep -c lxcfs; nproc"); !strings.HasPrefix(out, "0") {
		t.Errorf("without limits: %q, %v", out, err)
	}
}

func TestLabLimitsLeaveNothing(t *testing.T) {
	if _, err := exec.LookPath("lxcfs"); err != nil {
		t.Skip("needs lxcfs: make lab-deps MEM=2048")
	}
	dir := filepath.Join(t.TempDir(), "lab")
	l, err := lab.Up(t.Context(), lab.Options{Dir: dir, Ephemeral: true, Limits: lab.Limits{MemoryMB: 512}, AptCache: true})
	try(t, err)
	try(t, l.Hosts[0].Loss(t.Context(), 1))
	patterns := []string{"/sys/fs/cgroup/*/vpsctl-lab-" + l.ID, "/run/vl" + l.ID + "*"}
	if found, _ := filepath.Glob(patterns[1]); len(found) == 0 {
		t.Error("the lxcfs is elsewhere: this test proves nothing")
	}
	try(t, l.Down(t.Context()))
	left := traces(t, dir)
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		try(t, err)
		left = append(left, found...)
	}
	processes, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range processes {
		if b, _ := os.ReadFile(path); strings.Contains(string(b), "vl"+l.ID) {
			left = append(left, path+": "+string(b))
		}
	}
	if len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}
