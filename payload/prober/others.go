//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"
	"time"
)

const hertz = 100 // USER_HZ, of every Linux that Go runs on

// ticks are the CPU's times of all CPUs together.
type ticks struct{ all, steal float64 }

func readTicks() ticks {
	f := strings.Fields(firstLine("/proc/stat"))
	var t ticks
	for i := 1; i < min(len(f), 9); i++ { // guest time is in user time already
		v, _ := strconv.ParseFloat(f[i], 64)
		t.all += v
		if i == 8 {
			t.steal = v
		}
	}
	return t
}

func (t ticks) stealPct(later ticks) float64 {
	if later.all <= t.all || later.steal < t.steal {
		return 0
	}
	return 100 * (later.steal - t.steal) / (later.all - t.all)
}

// A process is told from a later one of the same number by its start.
type process struct {
	pid   int
	start uint64
}

type usage struct {
	name   string
	ticks  uint64
	kernel bool // a thread of the kernel's own
}

// processes are what every process but this one has used so far.
type processes map[process]usage

func readProcesses() processes {
	all := processes{}
	dir, err := os.ReadDir("/proc")
	if err != nil {
		return all
	}
	for _, e := range dir {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		b, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		if id, u, ok := parseStat(pid, string(b)); ok {
			all[id] = u
		}
	}
	return all
}

// programs are those that are not the kernel's: while we measure, what md, loop
// devices and writeback do is the work that we gave them.
func (p processes) programs() processes {
	out := maps.Clone(p)
	maps.DeleteFunc(out, func(_ process, u usage) bool { return u.kernel })
	return out
}

// ofKernel is the flag PF_KTHREAD of linux/sched.h.
const ofKernel = 0x200000

// parseStat reads /proc/PID/stat (proc_pid_stat(5)): the name may hold anything,
// so what counts begins behind the last parenthesis.
func parseStat(pid int, text string) (process, usage, bool) {
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return process{}, usage{}, false
	}
	f := strings.Fields(text[end+1:])
	if len(f) < 20 {
		return process{}, usage{}, false
	}
	flags, e0 := strconv.ParseUint(f[6], 10, 64)
	user, e1 := strconv.ParseUint(f[11], 10, 64)
	system, e2 := strconv.ParseUint(f[12], 10, 64)
	start, e3 := strconv.ParseUint(f[19], 10, 64)
	return process{pid, start}, usage{text[open+1 : end], user + system, flags&ofKernel != 0}, errors.Join(e0, e1, e2, e3) == nil
}

// disturbing is the share of a core above which a process disturbs.
const disturbing = 0.10

// busiest names the process that used most between two readings, if it used
// over a tenth of a core.
func (p processes) busiest(later processes, elapsed time.Duration) string {
	var top usage
	pid := 0
	for id, now := range later {
		if used := now.ticks - min(now.ticks, p[id].ticks); used > top.ticks {
			top, pid = usage{name: now.name, ticks: used}, id.pid
		}
	}
	share := float64(top.ticks) / hertz / max(elapsed.Seconds(), 0.01)
	if share <= disturbing {
		return ""
	}
	return fmt.Sprintf("%s (pid %d) used %.0f %% of a core", top.name, pid, 100*share)
}

// waitQuiet waits until no process disturbs, at most d; it says who still does.
func waitQuiet(ctx context.Context, d time.Duration) string {
	until := time.Now().Add(d)
	for {
		before, from := readProcesses(), time.Now()
		select {
		case <-ctx.Done():
			return ""
		case <-time.After(time.Second):
		}
		who := before.busiest(readProcesses(), time.Since(from))
		if who == "" || time.Now().After(until) {
			return who
		}
	}
}
