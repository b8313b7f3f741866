//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip" // as it is embedded

	"github.com/vpsctl/vpsctl/payload/wire"
)

// BenchmarkCollectorCost is what the collector costs a host while it samples
// every second, runner and follower together, over a minute; beside it sadc of
// the package sysstat, if there is one, in the same minute and read the same
// way. VPSCTL_BENCH_WINDOW is another window than 60s.
func BenchmarkCollectorCost(b *testing.B) {
	window := time.Minute
	if w, err := time.ParseDuration(os.Getenv("VPSCTL_BENCH_WINDOW")); err == nil {
		window = w
	}
	h := newHost(b)
	plan := planOf("cost", fmt.Sprintf("sleep %d", int(window.Seconds())+30))
	plan.Interval, plan.HostLogs = time.Second, true
	line, err := json.Marshal(plan)
	if err != nil {
		b.Fatal(err)
	}
	follower := h.command("start")
	follower.Stdin = bytes.NewReader(line)
	if err := follower.Start(); err != nil { // stdout is /dev/null: a reader here would be on the bill of nobody
		b.Fatal(err)
	}
	waitFor(b, "the first sample", func() bool {
		journal, _ := os.ReadFile(h.run("cost").journal())
		return bytes.Contains(journal, []byte(`"k":"sample"`))
	})
	groups := map[string][]int{"collector": {h.runnerPID("cost"), follower.Process.Pid}}
	if sadc := startSadc(b, h); sadc != nil {
		defer func() { _ = sadc.Process.Kill(); _ = sadc.Wait() }()
		groups["sadc"] = []int{sadc.Process.Pid}
	}
	time.Sleep(2 * time.Second)
	for b.Loop() {
		before := map[string]float64{}
		for name, pids := range groups {
			before[name] = cpuSeconds(b, pids)
		}
		began := time.Now()
		time.Sleep(window)
		took := time.Since(began).Seconds()
		for name, pids := range groups {
			cpu := 100 * (cpuSeconds(b, pids) - before[name]) / took
			rss := 0
			for _, pid := range pids {
				rss += memoryOf(pid)
			}
			b.ReportMetric(cpu, name+"-%core")
			b.ReportMetric(float64(rss)/1024, name+"-MiB")
			fmt.Printf("%-10s %.3f %% of a core, %.1f MiB resident at most, over %.0f s\n", name, cpu, float64(rss)/1024, took)
		}
	}
	b.StopTimer()
	fmt.Printf("%-10s %d bytes compressed\n", "collector", compressedSize(b))
	h.verb("cancel", "cost")
	_ = follower.Wait()
}

func startSadc(b *testing.B, h *testHost) *exec.Cmd {
	const path = "/usr/lib/sysstat/sadc"
	if !fileExists(path) {
		fmt.Println("sadc       is not here: apt-get install sysstat")
		return nil
	}
	cmd := exec.Command(path, "-S", "DISK", "1", "100000", filepath.Join(h.home, "sa"))
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	return cmd
}

// cpuSeconds sums the run time of processes from the scheduler's own count,
// which is finer than the ticks in /proc/PID/stat.
func cpuSeconds(b *testing.B, pids []int) (sum float64) {
	for _, pid := range pids {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil || len(threads) == 0 {
			b.Fatalf("process %d is gone (%v)", pid, err)
		}
		for _, t := range threads {
			text, err := os.ReadFile(t)
			if err != nil {
				continue // a thread that has just ended
			}
			var ns float64
			fmt.Sscan(string(text), &ns)
			sum += ns / 1e9
		}
	}
	return sum
}

func compressedSize(b *testing.B) int {
	program, err := os.ReadFile(collectorPath)
	if err != nil {
		b.Fatal(err)
	}
	var out bytes.Buffer
	zw, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := zw.Write(program); err != nil {
		b.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		b.Fatal(err)
	}
	return out.Len()
}

// BenchmarkTenSteps is the wall time of a run of ten trivial steps, from the
// plan on stdin to the end event.
func BenchmarkTenSteps(b *testing.B) {
	h := newHost(b)
	scripts := strings.Fields(strings.Repeat("true ", 10))
	for i := 0; b.Loop(); i++ {
		plan := planOf(fmt.Sprintf("r%d", i), scripts...)
		plan.Keep = wire.Keep{Runs: 5}
		h.start(plan)
	}
}
