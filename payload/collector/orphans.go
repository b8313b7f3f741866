//go:build linux

package main

import (
	"os"
	"path/filepath"
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
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, pid := range children(os.Getpid()) {
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
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", 0
	}
	// The name before may hold blanks and brackets.
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 3 {
		return "", 0
	}
	return f[0], int(number(f[2]))
}

// children lists the children of all threads of a process.
func children(pid int) []int {
	files, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	if err != nil {
		return nil
	}
	var pids []int
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		for f := range strings.FieldsSeq(string(b)) {
			pids = append(pids, int(number(f)))
		}
	}
	return pids
}

// descend appends pid and all its descendants.
func descend(pids []int, pid int) []int {
	pids = append(pids, pid)
	for _, child := range children(pid) {
		pids = descend(pids, child)
	}
	return pids
}
