//go:build linux

package main

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// How long a group of processes has between being asked to end and being
// killed, how long a pipe is read after its process is gone, and how long a
// package transaction may go on after its step's time is over.
const (
	graceTime = 5 * time.Second
	pipeTime  = 2 * time.Second
	patience  = time.Hour
)

// witnessOOM is the runner's OOM score, where it may set one.
const witnessOOM = "-800"

// births are serialized: a child inherits the runner's OOM score and, in the
// older cgroups, the thread's group, so both are set around the fork.
type births struct {
	mu       sync.Mutex
	startOOM string // the score the runner was born with
	lowered  bool
}

// lower makes the kernel take a step rather than the runner when memory is out.
func (b *births) lower() {
	old, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return
	}
	b.startOOM = strings.TrimSpace(string(old))
	b.lowered = put("/proc/self/oom_score_adj", witnessOOM) == nil
}

// start starts cmd for u and notes it as one that its own Wait is for.
func (b *births) start(cmd *exec.Cmd, u *usage) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lowered && put("/proc/self/oom_score_adj", b.startOOM) == nil {
		defer put("/proc/self/oom_score_adj", witnessOOM)
	}
	if err := u.cgroup.enter(cmd.Start); err != nil {
		return err
	}
	u.led(cmd.Process.Pid, true)
	return nil
}

// usage is what the processes of one phase used.
type usage struct {
	births *births
	cgroup phaseCgroup
	now    <-chan struct{} // closed: package transactions are killed too

	mu       sync.Mutex
	leaders  map[int]bool // process groups we started: does the leader still run
	cpu      time.Duration
	disk     [2]int64 // bytes read, written
	largest  int64    // bytes of the largest single process
	together int64    // bytes of all processes at once, at samples
	sum, n   int64    // of all samples, for their mean
}

// run starts cmd and waits for it as cmd.Run does. When ctx ends its process
// group is ended, unless keep: then it is waited for, for as long as patience.
func (u *usage) run(ctx context.Context, cmd *exec.Cmd, keep bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	attr := &syscall.SysProcAttr{}
	if cmd.SysProcAttr != nil {
		copied := *cmd.SysProcAttr
		attr = &copied
	}
	attr.Setpgid = true
	if u.cgroup.v2 != nil {
		attr.UseCgroupFD, attr.CgroupFD = true, int(u.cgroup.v2.Fd())
	}
	cmd.SysProcAttr = attr
	if cmd.WaitDelay == 0 {
		cmd.WaitDelay = pipeTime
	}
	if err := u.births.start(cmd, u); err != nil {
		return err
	}
	pid := cmd.Process.Pid
	born := startTicks(pid) // before its Wait: the number may be somebody else's afterwards
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		u.endGroup(ctx, pid, born, keep, done)
	}()
	err := cmd.Wait()
	close(done)
	<-gone
	u.led(pid, false)
	if cmd.ProcessState != nil {
		if ru, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			u.add(ru)
		}
	}
	return err
}

func (u *usage) led(pid int, runs bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.leaders[pid] = runs
}

// endGroup waits for the process to end, and sees to it when it must.
func (u *usage) endGroup(ctx context.Context, pid int, born int64, keep bool, done <-chan struct{}) {
	stop := ctx.Done()
	if keep {
		limit := make(chan struct{})
		defer context.AfterFunc(ctx, func() {
			select {
			case <-time.After(patience):
				close(limit)
			case <-done:
			}
		})()
		select {
		case <-done:
			return
		case <-u.now:
		case <-limit:
		}
	} else {
		select {
		case <-done:
			return
		case <-stop:
		}
	}
	_ = unix.Kill(-pid, unix.SIGTERM)
	u.killStrays(born, unix.SIGTERM)
	select {
	case <-done: // what is left of the group goes with it
	case <-time.After(graceTime):
	}
	_ = unix.Kill(-pid, unix.SIGKILL)
	u.killStrays(born, unix.SIGKILL)
}

// killStrays signals what a process has started and what has left its group
// since: all that was born in the phase's cgroup after it. Steps of a phase
// come one after the other, so nobody else's processes are among them. Without
// a cgroup of the phase they are not found.
func (u *usage) killStrays(born int64, sig unix.Signal) {
	if u.cgroup.v2 == nil || born <= 0 {
		return
	}
	for _, pid := range u.cgroup.procs() {
		if startTicks(pid) >= born {
			_ = unix.Kill(pid, sig)
		}
	}
}

// startTicks is when a process began, in ticks since boot; 0 when there is none.
func startTicks(pid int) int64 {
	stat := readSmall("/proc/" + strconv.Itoa(pid) + "/stat")
	f := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(f) < 20 {
		return 0
	}
	return number(f[19])
}

func (u *usage) add(ru *syscall.Rusage) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.cpu += time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
	u.disk[0] += ru.Inblock * 512
	u.disk[1] += ru.Oublock * 512
	u.largest = max(u.largest, ru.Maxrss*1024)
}

// sample looks at the memory of the phase: of its cgroup, else of all its
// processes.
func (u *usage) sample() {
	now := max(u.cgroup.number("memory.current", ""), u.cgroup.number("memory.usage_in_bytes", ""))
	if now < 0 {
		now = u.resident()
	}
	u.mu.Lock()
	u.together = max(u.together, now)
	u.sum, u.n = u.sum+now, u.n+1
	u.mu.Unlock()
}

// resident is the memory of all processes of the phase.
func (u *usage) resident() (sum int64) {
	pids := u.cgroup.procs()
	if u.cgroup.v2 == nil {
		u.mu.Lock()
		for pid, runs := range u.leaders {
			if runs {
				pids = descend(pids, pid)
			}
		}
		u.mu.Unlock()
	}
	for _, pid := range pids {
		if f := strings.Fields(readSmall("/proc/" + strconv.Itoa(pid) + "/statm")); len(f) > 1 {
			sum += max(0, number(f[1])) * int64(os.Getpagesize())
		}
	}
	return sum
}

// figures sums up, each figure by the best method there is.
func (u *usage) figures() wire.Figures {
	const mib = 1 << 20
	u.mu.Lock()
	defer u.mu.Unlock()
	f := wire.Figures{CPUSec: u.cpu.Seconds(), CPUMethod: "wait4", MemoryMethod: "sampled", DiskMethod: "wait4",
		PeakMemoryMB: float64(max(u.together, u.largest)) / mib, DiskReadMB: float64(u.disk[0]) / mib, DiskWriteMB: float64(u.disk[1]) / mib}
	if n := u.cgroup.number("cpu.stat", "usage_usec"); n >= 0 {
		f.CPUSec, f.CPUMethod = float64(n)/1e6, "cgroup"
	} else if n := u.cgroup.number("cpuacct.usage", ""); n >= 0 {
		f.CPUSec, f.CPUMethod = float64(n)/1e9, "cgroup"
	}
	if n := max(u.cgroup.number("memory.peak", ""), u.cgroup.number("memory.max_usage_in_bytes", "")); n >= 0 {
		f.PeakMemoryMB, f.MemoryMethod = float64(n)/mib, "cgroup"
	}
	if u.n > 0 {
		f.AvgMemoryMB = float64(u.sum/u.n) / mib
	}
	if r, w, ok := u.cgroup.bytes(); ok {
		f.DiskReadMB, f.DiskWriteMB, f.DiskMethod = float64(r)/mib, float64(w)/mib, "cgroup"
	}
	return f
}
