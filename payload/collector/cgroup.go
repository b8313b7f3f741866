//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroups is where this run may make a cgroup for each phase.
type cgroups struct {
	v2 string            // our own scope's folder; "" when there is none
	v1 map[string]string // controller -> the folder we are in
}

// v1Controllers are those that count something.
var v1Controllers = []string{"cpuacct", "memory", "blkio"}

// findCgroups prepares the run's own part of the hierarchy. scope is what
// ownScope gave; without it only the older hierarchies are used.
func findCgroups(scope string) cgroups {
	c := cgroups{v1: map[string]string{}}
	if scope != "" {
		c.v2 = prepareScope(scope)
	}
	if os.Geteuid() != 0 {
		return c
	}
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return c
	}
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		for _, ctl := range strings.Split(f[1], ",") {
			dir := filepath.Join("/sys/fs/cgroup", ctl, f[2])
			if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil && slices.Contains(v1Controllers, ctl) {
				c.v1[ctl] = dir
			}
		}
	}
	return c
}

// prepareScope makes the scope a parent: processes may only be in its leaves
// once a controller is handed down.
func prepareScope(scope string) string {
	for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		dir := filepath.Join(mount, scope)
		if _, err := os.Stat(filepath.Join(dir, "cgroup.subtree_control")); err != nil {
			continue
		}
		self := filepath.Join(dir, "runner")
		if os.Mkdir(self, 0o755) != nil || put(filepath.Join(self, "cgroup.procs"), "0") != nil {
			return ""
		}
		have, _ := os.ReadFile(filepath.Join(dir, "cgroup.controllers")) // none is an answer too
		for _, ctl := range strings.Fields(string(have)) {
			if ctl == "cpu" || ctl == "memory" || ctl == "io" {
				_ = put(filepath.Join(dir, "cgroup.subtree_control"), "+"+ctl) // then that figure is got another way
			}
		}
		return dir
	}
	return ""
}

func put(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// phaseCgroup is the cgroup of one phase, in both hierarchies where there are
// both. Its zero value is none.
type phaseCgroup struct {
	v2   *os.File
	v1   map[string]string
	home map[string]string
}

func (c cgroups) phase(id string) phaseCgroup {
	g := phaseCgroup{v1: map[string]string{}, home: c.v1}
	if c.v2 != "" {
		dir := filepath.Join(c.v2, "phase-"+id)
		if os.Mkdir(dir, 0o755) == nil {
			g.v2, _ = os.Open(dir) // nil: counted another way
		}
	}
	for ctl, dir := range c.v1 {
		sub := filepath.Join(dir, "vpsctl-"+strconv.Itoa(os.Getpid())+"-"+id)
		if os.Mkdir(sub, 0o755) == nil {
			g.v1[ctl] = sub
		}
	}
	return g
}

// enter has f start a process in the older hierarchies' cgroups: a child is
// born where the thread that forks it is.
func (g phaseCgroup) enter(f func() error) error {
	if len(g.v1) == 0 {
		return f()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tid := strconv.Itoa(unix.Gettid())
	for _, dir := range g.v1 {
		_ = put(filepath.Join(dir, "tasks"), tid) // then this process is not counted there
	}
	err := f()
	for ctl := range g.v1 {
		_ = put(filepath.Join(g.home[ctl], "tasks"), tid)
	}
	return err
}

// number reads a file of the phase's cgroup with one number, or the value of
// key in one with "key value" lines; -1 when there is none.
func (g phaseCgroup) number(file, key string) int64 {
	b := g.read(file)
	if b == "" {
		return -1
	}
	if key != "" {
		for line := range strings.Lines(b) {
			if v, ok := strings.CutPrefix(line, key+" "); ok {
				return number(v)
			}
		}
		return -1
	}
	return number(b)
}

// read gives a file of the newer hierarchy's cgroup, or of the controller's its
// name begins with.
func (g phaseCgroup) read(file string) string {
	dir := ""
	if ctl, _, ok := strings.Cut(file, "."); ok && g.v1[ctl] != "" {
		dir = g.v1[ctl]
	} else if g.v2 != nil {
		dir = g.v2.Name()
	} else {
		return ""
	}
	return readSmall(filepath.Join(dir, file))
}

func number(s string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// bytes sums what the phase read from and wrote to disks; false when nobody
// counted.
func (g phaseCgroup) bytes() (read, written int64, ok bool) {
	if b := g.read("io.stat"); b != "" {
		r, w := ioStat(b)
		return r, w, true
	}
	b := g.read("blkio.throttle.io_service_bytes_recursive")
	if b == "" {
		return 0, 0, g.v2 != nil && fileExists(filepath.Join(g.v2.Name(), "io.stat"))
	}
	for line := range strings.Lines(b) {
		if f := strings.Fields(line); len(f) == 3 && f[1] == "Read" {
			read += max(0, number(f[2]))
		} else if len(f) == 3 && f[1] == "Write" {
			written += max(0, number(f[2]))
		}
	}
	return read, written, true
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// ioStat sums the devices of io.stat.
func ioStat(text string) (read, written int64) {
	for f := range strings.FieldsSeq(text) {
		if v, ok := strings.CutPrefix(f, "rbytes="); ok {
			read += max(0, number(v))
		} else if v, ok := strings.CutPrefix(f, "wbytes="); ok {
			written += max(0, number(v))
		}
	}
	return read, written
}

// procs lists who is in the phase's cgroup.
func (g phaseCgroup) procs() []int {
	var pids []int
	for f := range strings.FieldsSeq(g.read("cgroup.procs")) {
		if pid := number(f); pid > 0 {
			pids = append(pids, int(pid))
		}
	}
	return pids
}

// remove gives the cgroup back. Services a phase left running in it keep the
// newer one, which goes with the scope; from the older ones they are moved out.
func (g phaseCgroup) remove() {
	if g.v2 != nil {
		_ = os.Remove(g.v2.Name())
		g.v2.Close()
	}
	for ctl, dir := range g.v1 {
		b, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		for pid := range strings.FieldsSeq(string(b)) {
			_ = put(filepath.Join(g.home[ctl], "cgroup.procs"), pid)
		}
		_ = os.Remove(dir)
	}
}
