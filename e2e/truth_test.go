//go:build e2e

package e2e

import (
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/e2e/lab"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// reading is what this machine's kernel says at one moment, read outside of the host and by other code than the host's.
// A host of the lab without limits shares the kernel, and so its counters.
type reading struct {
	at             time.Time
	cpu, idle      float64 // ticks
	memUsed        float64 // MiB
	written, read_ float64 // bytes, all disks
	host           float64 // CPU seconds of all that runs in the host
}

func readMachine(t *testing.T, h *lab.Host) reading {
	t.Helper()
	text := func(path string) string {
		b, err := os.ReadFile(path)
		try(t, err)
		return string(b)
	}
	used, err := h.CPU()
	try(t, err)
	r := reading{at: time.Now(), host: used}
	stat, _, _ := strings.Cut(text("/proc/stat"), "\n")
	for i, f := range strings.Fields(stat)[1:9] {
		v, _ := strconv.ParseFloat(f, 64)
		if r.cpu += v; i == 3 || i == 4 {
			r.idle += v
		}
	}
	mem := map[string]float64{}
	for line := range strings.Lines(text("/proc/meminfo")) {
		if f := strings.Fields(line); len(f) > 1 {
			mem[f[0]], _ = strconv.ParseFloat(f[1], 64)
		}
	}
	r.memUsed = (mem["MemTotal:"] - mem["MemAvailable:"]) / 1024
	for line := range strings.Lines(text("/proc/diskstats")) {
		f := strings.Fields(line)
		if _, err := os.Stat("/sys/block/" + f[2]); err != nil || slices.ContainsFunc([]string{"loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd"}, func(p string) bool { return strings.HasPrefix(f[2], p) }) {
			continue
		}
		in, _ := strconv.ParseFloat(f[5], 64)
		out, _ := strconv.ParseFloat(f[9], 64)
		r.read_, r.written = r.read_+512*in, r.written+512*out
	}
	return r
}

// outside records the machine every 20 ms until stop.
func outside(t *testing.T, h *lab.Host) (stop func() []reading) {
	t.Helper()
	var all []reading
	quit := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		for {
			all = append(all, readMachine(t, h))
			select {
			case <-quit:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	return func() []reading { close(quit); done.Wait(); return all }
}

// at is the machine at a time, between two readings on the straight line.
func at(all []reading, when time.Time) reading {
	i, _ := slices.BinarySearchFunc(all, when, func(r reading, t time.Time) int { return r.at.Compare(t) })
	i = max(1, min(i, len(all)-1))
	a, b := all[i-1], all[i]
	part := max(0, min(1, float64(when.Sub(a.at))/float64(max(1, b.at.Sub(a.at)))))
	mix := func(x, y float64) float64 { return x + part*(y-x) }
	return reading{when, mix(a.cpu, b.cpu), mix(a.idle, b.idle), mix(a.memUsed, b.memUsed), mix(a.written, b.written), mix(a.read_, b.read_), mix(a.host, b.host)}
}

// TestSamplesAreTrue holds what the host says of itself, and of one phase, against known loads and against the kernel's
// counters read from outside in the same window: CPU within 2 points, memory within 3 %, disk bytes within 2 %.
func TestSamplesAreTrue(t *testing.T) {
	f := FreshLab(t, 1) // not parallel: the phase's figures are compared with the whole host's
	h := f.Hosts[0]
	v := newTool(t, f)
	v.phase("cpu", `steps:
  - name: 30 % of a core
    run: |
      end=$(($(date +%s) + 12))
      while [ $(date +%s) -lt $end ]; do
        i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done
        sleep 0.2
      done
`)
	v.phase("memory", "steps:\n  - name: 400 MiB for a while\n    run: \"{ head -c 400M /dev/zero; sleep 3; } | tail -c 400M > /dev/null\"\n")
	v.phase("disk", `steps:
  - name: 50 MiB a second past the cache
    run: for i in 1 2 3 4 5 6; do dd if=/dev/zero of=/var/tmp/load bs=1M count=50 oflag=direct conv=fsync status=none; sleep 0.7; done; rm /var/tmp/load
`)
	v.run(0, "facts")
	unix.Sync() // what this machine still has to write is no part of the window
	stop := outside(t, h)
	phases := map[string]wire.Figures{}
	type window struct{ from, to time.Time }
	windows := map[string]window{}
	var events []wire.Event
	var walls []time.Time
	for _, id := range []string{"cpu", "memory", "disk"} {
		v.run(0, "provision", "--only-phase", id, "--sample-interval", "500ms")
		rec := v.record(h.Name)
		wall := rec.events[0].Start.Wall
		began := int64(0)
		for _, e := range rec.events {
			events, walls = append(events, e), append(walls, wall.Add(time.Duration(e.T)))
			if e.Kind == wire.KindPhase {
				began = e.T
			}
			if e.PhaseEnd != nil {
				phases[id], windows[id] = e.PhaseEnd.Cost, window{wall.Add(time.Duration(began)), wall.Add(time.Duration(e.T))}
			}
		}
	}
	machine := stop()

	// The host's samples against the machine's own counters.
	var cpu, mem, cpuWorst float64
	var written, writtenOutside float64
	n := 0.0
	for i, e := range events {
		if e.Sample == nil || e.Sample.Elapsed < 400*time.Millisecond {
			continue
		}
		s := e.Sample
		from, to := at(machine, walls[i].Add(-s.Elapsed)), at(machine, walls[i])
		truth := 100 * (1 - (to.idle-from.idle)/(to.cpu-from.cpu))
		cpu, cpuWorst = cpu+s.CPUPct-truth, max(cpuWorst, math.Abs(s.CPUPct-truth))
		mem += (float64(s.MemUsedMB) - to.memUsed) / to.memUsed
		n++
		if s.DiskWritMBs != nil {
			written += *s.DiskWritMBs * s.Elapsed.Seconds() * (1 << 20)
			writtenOutside += to.written - from.written
		}
	}
	if n < 20 {
		t.Fatalf("%g samples", n)
	}
	t.Logf("%g samples: CPU off by %.2f points (worst %.2f), memory by %.2f %%, disk by %.2f %%", n, cpu/n, cpuWorst, 100*mem/n, 100*(written/writtenOutside-1))
	if math.Abs(cpu/n) > 2 || math.Abs(mem/n) > 0.03 || math.Abs(written/writtenOutside-1) > 0.02 {
		t.Errorf("the samples differ from what the kernel counted in the same window")
	}

	// The phases' figures against the loads, and CPU against what the whole host used meanwhile: the logins before and
	// after cost what they cost on this machine, and are no part of the phase.
	for id, p := range phases {
		w := windows[id]
		used, took := at(machine, w.to).host-at(machine, w.from).host, w.to.Sub(w.from)
		t.Logf("%s: %v, %+v; the host used %.2f s of CPU", id, took, p, used)
		if points := 100 * (used - p.CPUSec) / took.Seconds(); id == "cpu" && (points < -2 || points > 2) {
			t.Errorf("cpu: the phase says %.2f s of %v, its host used %.2f s: %.1f points apart", p.CPUSec, took, used, points)
		}
	}
	if m := phases["memory"].PeakMemoryMB; math.Abs(m-400)/400 > 0.03 {
		t.Errorf("memory: a phase that filled 400 MiB says %.1f", m)
	}
	if a := phases["memory"].AvgMemoryMB; a < 100 || a > 412 {
		t.Errorf("memory: the mean is %.1f MiB", a)
	}
	if d := phases["disk"].DiskWriteMB; math.Abs(d-300)/300 > 0.02 {
		t.Errorf("disk: a phase that wrote 300 MiB says %.1f", d)
	}
	if c := phases["disk"]; c.DiskReadMB > 30 {
		t.Errorf("disk: a phase that only writes says it read %.1f MiB", c.DiskReadMB)
	}
}
