//go:build linux

package host

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// Facts reads what the host is, below root ("/" but in tests). What cannot be
// read stays empty.
func Facts(root string) wire.Facts {
	f := wire.Facts{Arch: runtime.GOARCH, UID: os.Geteuid(), Cgroup: "none"}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		f.Hostname, f.Kernel = unix.ByteSliceToString(u.Nodename[:]), unix.ByteSliceToString(u.Release[:])
	}
	f.OS, f.OSName = osRelease(read(root, "etc/os-release"))
	if f.OS == "" {
		f.OS, f.OSName = osRelease(read(root, "usr/lib/os-release"))
	}
	cpuinfo := read(root, "proc/cpuinfo")
	f.CPUModel = value(cpuinfo, "model name")
	f.Cores = cores(root)
	m := parseMeminfo([]byte(read(root, "proc/meminfo")))
	f.MemoryMB, f.SwapMB = int(m.total>>10), int(m.swapTotal>>10)
	f.DiskMB, f.DiskAvailMB = diskMB(root)
	f.Virt = virt(root, cpuinfo)
	f.Systemd = isDir(root, "run/systemd/system")
	f.Cgroup = cgroupVersion(root)
	f.User = userName(read(root, "etc/passwd"), f.UID)
	return f
}

func read(root, name string) string {
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		return ""
	}
	return string(b)
}

func isDir(root, name string) bool {
	st, err := os.Stat(filepath.Join(root, name))
	return err == nil && st.IsDir()
}

// osRelease gives ID-VERSION_ID and PRETTY_NAME.
func osRelease(text string) (id, name string) {
	vars := map[string]string{}
	for line := range strings.Lines(text) {
		k, v, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok {
			vars[k] = strings.Trim(v, `"'`)
		}
	}
	id = vars["ID"]
	if v := vars["VERSION_ID"]; v != "" {
		id += "-" + v
	}
	return id, vars["PRETTY_NAME"]
}

// value finds "key : value" in a file such as /proc/cpuinfo.
func value(text, key string) string {
	for line := range strings.Lines(text) {
		k, v, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// cores counts the CPUs this process may use; a container may use fewer than
// there are.
func cores(root string) int {
	if root == "/" {
		var set unix.CPUSet
		if unix.SchedGetaffinity(0, &set) == nil {
			return set.Count()
		}
	}
	n := strings.Count("\n"+read(root, "proc/cpuinfo"), "\nprocessor")
	return max(n, 1)
}

// cgroupVersion is v2 only where the one hierarchy does the accounting.
func cgroupVersion(root string) string {
	if _, err := os.Stat(filepath.Join(root, "sys/fs/cgroup/cgroup.controllers")); err == nil {
		return "v2"
	}
	if isDir(root, "sys/fs/cgroup/cpuacct") || isDir(root, "sys/fs/cgroup/memory") {
		return "v1"
	}
	return "none"
}

func userName(passwd string, uid int) string {
	for line := range strings.Lines(passwd) {
		f := strings.Split(line, ":")
		if len(f) > 2 && f[2] == strconv.Itoa(uid) {
			return f[0]
		}
	}
	return strconv.Itoa(uid)
}
