//go:build linux

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Limits are the size of a host, as it sees it itself. Zero is all that this machine has.
type Limits struct {
	MemoryMB int `json:"memory_mb,omitempty"`
	CPUs     int `json:"cpus,omitempty"`
}

const leastMB = 128 // systemd and sshd do not start in much less

func (l Limits) check() error {
	switch {
	case l == Limits{}:
		return nil
	case l.CPUs < 0 || l.MemoryMB < 0 || l.MemoryMB > 0 && l.MemoryMB < leastMB:
		return fmt.Errorf("lab: %d CPUs and %d MB: want at least 1 and %d", l.CPUs, l.MemoryMB, leastMB)
	case l.CPUs > len(ownCPUs()):
		return fmt.Errorf("lab: %d CPUs: this machine has %d", l.CPUs, len(ownCPUs()))
	}
	if _, err := exec.LookPath("lxcfs"); err != nil {
		return &needsLxcfs{}
	}
	return nil
}

type needsLxcfs struct{}

func (*needsLxcfs) Error() string {
	return "lab: limits: lxcfs, which shows them to hosts, is not installed"
}
func (*needsLxcfs) Hint() string { return "apt-get install lxcfs" }

// Limit gives the host another size. As with a real one it takes a power cycle: a running host is switched off hard and
// on again, with the disk it has.
func (h *Host) Limit(ctx context.Context, limits Limits) error {
	if err := limits.check(); err != nil {
		return err
	}
	unlock, err := h.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	b, err := json.Marshal(limits)
	if err != nil {
		return err
	}
	if err := os.WriteFile(h.limitsFile(), b, 0o644); err != nil {
		return fmt.Errorf("%s: limits: %w", h.Name, err)
	}
	if !h.Running() {
		return nil
	}
	if err := h.kill(ctx); err != nil {
		return err
	}
	return h.start(ctx)
}

func (h *Host) limitsFile() string { return filepath.Join(h.dir(), "limits.json") }

// Limits are those of the host's next start: its own, or else its lab's.
func (h *Host) Limits() (limits Limits, err error) {
	b, err := os.ReadFile(h.limitsFile())
	if errors.Is(err, os.ErrNotExist) {
		return h.lab.state.Limits, nil
	}
	if err := errors.Join(err, json.Unmarshal(b, &limits)); err != nil {
		return limits, fmt.Errorf("%s: limits: %w", h.Name, err)
	}
	return limits, nil
}

// confine makes the cgroups that limit the host, which is off, and has lxcfs running where it takes that to tell the
// host. What it returns is for boot.sh: JOIN, the cgroups beside the host's own, and LXCFS.
func (h *Host) confine(ctx context.Context) (env []string, err error) {
	limits, err := h.Limits()
	if err != nil {
		return nil, err
	}
	memory, cpus := h.memorySettings(limits), h.cpuSettings(limits)
	var join []string
	for controller, settings := range map[string][]setting{"memory": memory, "cpuset": cpus} {
		extra, err := h.apply(controller, settings)
		if err != nil {
			return nil, fmt.Errorf("%s: limit its %s: %w", h.Name, controller, err)
		}
		join = append(join, extra...)
	}
	if limits == (Limits{}) {
		return nil, nil
	}
	dir, err := h.lab.provideLxcfs(ctx)
	return []string{"JOIN=" + strings.Join(join, " "), "LXCFS=" + dir}, err
}

// setting is a value for the file of that name, in one of the two kinds of tree. v1 is also what v2 calls by v2.
type setting struct{ v1, v2, value string }

func (h *Host) memorySettings(l Limits) []setting {
	if l.MemoryMB == 0 {
		return []setting{{"", "memory.max", "max"}, {"", "memory.swap.max", "max"}}
	}
	bytes := strconv.Itoa(l.MemoryMB << 20)
	return []setting{{"memory.limit_in_bytes", "memory.max", bytes}, {"memory.memsw.limit_in_bytes", "", bytes}, {"", "memory.swap.max", "0"}}
}

func (h *Host) cpuSettings(l Limits) []setting {
	if l.CPUs == 0 {
		return []setting{{"", "cpuset.cpus", "\n"}}
	}
	all := ownCPUs()
	list := make([]string, l.CPUs)
	for i := range list {
		list[i] = strconv.Itoa(all[(h.number-1+i)%len(all)]) // hosts of one CPU are spread over this machine's
	}
	return []setting{{"cpuset.cpus", "cpuset.cpus", strings.Join(list, ",")}}
}

// apply makes the settings where this machine has the controller: on the host's own cgroup, or in a tree of version 1,
// in a cgroup made for it, which is returned.
func (h *Host) apply(controller string, settings []setting) (join []string, err error) {
	root, v2, err := controllerTree(controller)
	wanted := settings[0].v1 != ""
	if err != nil {
		if wanted {
			return nil, err
		}
		return nil, nil
	}
	dir := filepath.Join(root, "vpsctl-lab-"+h.lab.ID, h.Name)
	if !v2 {
		removeCgroups(dir) // with the settings of the last time
		if !wanted {
			return nil, nil
		}
		join = []string{dir}
		err = makeCgroupV1(controller, dir)
	}
	for i, s := range settings {
		file := s.v2
		if !v2 {
			file = s.v1
		}
		path := filepath.Join(dir, file)
		if _, e := os.Stat(path); file == "" || e != nil && (!wanted || i > 0) {
			continue // nothing to lift, or no count of swap, as on most machines
		}
		err = errors.Join(err, os.WriteFile(path, []byte(s.value), 0o644))
	}
	return join, err
}

// makeCgroupV1 makes a cgroup and its parent. A cpuset begins with no CPUs and no memory nodes, which nothing can join.
func makeCgroupV1(controller, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil || controller != "cpuset" {
		return err
	}
	for _, d := range []string{filepath.Dir(dir), dir} {
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			b, err := os.ReadFile(filepath.Join(filepath.Dir(d), file))
			if err == nil {
				err = os.WriteFile(filepath.Join(d, file), b, 0o644)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// controllerTree is where the controller's tree is mounted, and whether that is the one of version 2.
func controllerTree(controller string) (root string, v2 bool, err error) {
	root, err = cgroupRoot()
	if err != nil {
		return "", false, err
	}
	b, _ := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	for _, c := range strings.Fields(string(b)) {
		if c == controller {
			return root, true, nil
		}
	}
	dir := filepath.Join("/sys/fs/cgroup", controller)
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil || st.Type != unix.CGROUP_SUPER_MAGIC {
		return "", false, fmt.Errorf("this machine's kernel has no cgroup controller %s", controller)
	}
	return dir, false, nil
}

// removeLimits removes what confine made outside of the lab's own cgroup.
func removeLimits(ctx context.Context, id string) (err error) {
	for _, controller := range []string{"memory", "cpuset", "cpu", "blkio"} {
		if root, v2, e := controllerTree(controller); e == nil && !v2 {
			err = errors.Join(err, removeCgroup(ctx, filepath.Join(root, "vpsctl-lab-"+id)))
		}
	}
	return err
}

// ownCPUs are the CPUs that this process may use.
func ownCPUs() (cpus []int) {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return nil
	}
	for cpu := range len(set) * 64 {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus
}
