//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// describe says what this host is.
func describe(dir string) wire.ProbeHost {
	h := wire.ProbeHost{Method: wire.ProbeMethod, Cores: runtime.NumCPU(), MemoryMB: field("/proc/meminfo", "MemTotal:") >> 10,
		Disk: diskModel(dir), Virt: virtualisation(), QuotaCPU: quota()}
	h.Hostname, _ = os.Hostname()
	h.CPUModel, h.Microcode = cpuinfo("model name"), cpuinfo("microcode")
	if h.CPUModel == "" { // arm64 has numbers instead of a name
		h.CPUModel = strings.TrimSpace("arm " + cpuinfo("CPU implementer") + " " + cpuinfo("CPU part"))
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) == nil {
		h.DiskGB = int(fs.Blocks * uint64(fs.Bsize) / 1e9)
	}
	if from, err := findMirror("/etc/apt", runtime.GOARCH); err == nil {
		h.Mirror = strings.ToLower(from.Hostname())
	}
	c := readCloud("/")
	h.Provider, h.Plan, h.Region = c.provider, c.plan, c.region
	return h
}

func firstLine(name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line)
}

// field is the number behind a word at the beginning of a line; 0 if there is none.
func field(name, word string) int {
	f, err := os.Open(name)
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), word); ok {
			n, _ := strconv.Atoi(strings.Fields(rest + " 0")[0])
			return n
		}
	}
	return 0
}

// cpuinfo is the first CPU's value of a key.
func cpuinfo(key string) string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// megahertz is the mean of all CPUs' clocks now; 0 where the kernel does not say.
func megahertz() float64 {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return 0
	}
	sum, n := 0.0, 0
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "cpu MHz"); ok {
			if v, err := strconv.ParseFloat(strings.Trim(rest, "\t :\n"), 64); err == nil {
				sum, n = sum+v, n+1
			}
		}
	}
	return sum / float64(max(n, 1))
}

// virtualisation is systemd's word for it.
func virtualisation() string {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, "systemd-detect-virt").Output() // "none" comes with exit code 1
	if word := strings.TrimSpace(string(out)); word != "" {
		return word
	}
	if strings.Contains(" "+cpuinfo("flags")+" ", " hypervisor ") {
		return "vm"
	}
	return "unknown"
}

// diskModel is the model of the disk below dir, or the filesystem's type where
// there is no single disk.
func diskModel(dir string) string {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return "unknown"
	}
	device := fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	if real, err := filepath.EvalSymlinks(device); err == nil {
		for _, d := range []string{real, filepath.Dir(real)} { // a partition's disk is its parent
			if model := firstLine(d + "/device/model"); model != "" {
				return model
			}
		}
		return strings.TrimRight(filepath.Base(real), "0123456789")
	}
	return filesystem(dir)
}

// filesystem is the type of the filesystem that dir is on.
func filesystem(dir string) string {
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) != nil {
		return "unknown"
	}
	names := map[int64]string{unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlay", unix.BTRFS_SUPER_MAGIC: "btrfs",
		unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.NFS_SUPER_MAGIC: "nfs", 0x2fc12fc1: "zfs", unix.RAMFS_MAGIC: "ramfs"}
	if name := names[int64(fs.Type)]; name != "" {
		return name
	}
	return fmt.Sprintf("filesystem %x", fs.Type)
}

// quota is how many CPUs this process may use by its control groups; 0: all.
func quota() float64 {
	line := firstLine("/proc/self/cgroup")
	_, path, _ := strings.Cut(line, "::")
	least := math.Inf(1)
	for {
		f := strings.Fields(firstLine(filepath.Join("/sys/fs/cgroup", path, "cpu.max")))
		if len(f) == 2 && f[0] != "max" {
			q, e1 := strconv.ParseFloat(f[0], 64)
			p, e2 := strconv.ParseFloat(f[1], 64)
			if e1 == nil && e2 == nil && p > 0 {
				least = min(least, q/p)
			}
		}
		if path == "/" || path == "." || path == "" {
			break
		}
		path = filepath.Dir(path)
	}
	if math.IsInf(least, 1) {
		return 0
	}
	return least
}

func load1() float64 {
	word, _, _ := strings.Cut(firstLine("/proc/loadavg"), " ")
	v, _ := strconv.ParseFloat(word, 64)
	return v
}

// psiCPU is the share of the last 10 s in which something waited for a CPU, in
// percent; -1 where the kernel does not say.
func psiCPU() float64 {
	for _, word := range strings.Fields(firstLine("/proc/pressure/cpu")) {
		if rest, ok := strings.CutPrefix(word, "avg10="); ok {
			if v, err := strconv.ParseFloat(rest, 64); err == nil {
				return v
			}
		}
	}
	return -1
}
