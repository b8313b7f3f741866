//go:build linux

package main

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// adoptOrphans makes processes whose parents ended before them fall to the
// runner, so that what they used can be counted without a cgroup.
func adoptOrphans() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// reapOrphans waits for adopted processes that have ended and counts them for
// the phase whose group they were in, else for the only phase there is.
// Processes that a step's own Wait is for are left to it.
func reapOrphans(b *births, phases []*usage) {
	var ended unix.Siginfo
	b.mu.Lock()
	defer b.mu.Unlock()
	if unix.Waitid(unix.P_ALL, 0, &ended, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) != nil || ended.Signo == 0 {
		return // nobody has
	}
	for _, pid := range children() {
		state, group := processState(pid)
		if state != "Z" || waitedFor(phases, pid) {
			continue
		}
		var ru syscall.Rusage
		if got, err := syscall.Wait4(pid, nil, syscall.WNOHANG, &ru); err != nil || got != pid {
			continue
		}
		for _, u := range phases {
			if len(phases) == 1 || u.hasLed(group) {
				u.add(&ru)
				break
			}
		}
	}
}

func waitedFor(phases []*usage, pid int) bool {
	for _, u := range phases {
		u.mu.Lock()
		runs := u.leaders[pid]
		u.mu.Unlock()
		if runs {
			return true
		}
	}
	return false
}

func (u *usage) hasLed(group int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, ok := u.leaders[group]
	return ok
}

// processState reads state and process group of a process.
func processState(pid int) (state string, group int) {
	stat := readSmall("/proc/" + strconv.Itoa(pid) + "/stat")
	// The name before may hold blanks and brackets.
	f := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(f) < 3 {
		return "", 0
	}
	return f[0], int(number(f[2]))
}

// children lists the children of all threads of this process.
func children() []int {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil
	}
	var pids []int
	for _, t := range threads {
		pids = append(pids, forkedBy("self", t.Name())...)
	}
	return pids
}

// forkedBy lists the children of one thread.
func forkedBy(pid, tid string) (pids []int) {
	for f := range strings.FieldsSeq(readSmall("/proc/" + pid + "/task/" + tid + "/children")) {
		pids = append(pids, int(number(f)))
	}
	return pids
}

// descend appends pid and its descendants. Only the first thread of each
// process is asked: this is done every second, and shells have one.
func descend(pids []int, pid int) []int {
	pids = append(pids, pid)
	p := strconv.Itoa(pid)
	for _, child := range forkedBy(p, p) {
		pids = descend(pids, child)
	}
	return pids
}

// readSmall reads a file of /proc or of a cgroup in the fewest system calls;
// "" when it cannot be read, the first 4 KiB of a longer one.
func readSmall(path string) string {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	var buf [4096]byte
	n, err := unix.Read(fd, buf[:])
	unix.Close(fd)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}
