//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vpsctl/vpsctl/bench"
	"github.com/vpsctl/vpsctl/e2e/lab"
)

// TestBenchRun: a short session measures all that a host can measure alone, is kept here and there, and leaves nothing behind, however it
// ends. It refuses to run beside a provision, and says who kept the host busy.
func TestBenchRun(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	on(t, h, "rm -rf /var/vps-provision/benchmark; "+closeGates)

	whole(t, h, v)
	benchBesideProvision(t, h, v)
	benchOnBusyHost(t, h, newTool(t, f))
	benchDies(t, h, v)
	benchIsStopped(t, h, v)
}

// TestBenchTakesTurns: hosts of one group may share a disk or a wire, so that none is measured beside another.
func TestBenchTakesTurns(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 2)
	v := newTool(t, f)
	r := v.run(0, quickBench("memory", "--repeats", "2", "-o", "json", "-e", "peer_group=twins")...)
	var doc struct{ Sessions []bench.Session }
	if err := json.Unmarshal([]byte(r.out), &doc); err != nil || len(doc.Sessions) != 2 {
		t.Fatalf("%d sessions, %v\n%s", len(doc.Sessions), err, tail(r.says()))
	}
	a, b := doc.Sessions[0], doc.Sessions[1]
	if b.Start.Before(a.Start) {
		a, b = b, a
	}
	if end := a.Start.Add(a.Took); b.Start.Before(end) || a.Took <= 0 {
		t.Errorf("%s was measured until %s, %s from %s on", a.Host, end, b.Host, b.Start)
	}
	if a.Notes.PeerGroup != "twins" || a.Seed == b.Seed {
		t.Errorf("%+v, seeds %d and %d", a.Notes, a.Seed, b.Seed)
	}
}

// quickBench is a session as short as it can be.
func quickBench(kind string, more ...string) []string {
	return append([]string{"bench", "run", "--quick", "--each", "100ms", "--quiet-wait", "0s", "--only", kind}, more...)
}

func sessionOf(t *testing.T, r result) bench.Session {
	t.Helper()
	var doc struct{ Sessions []bench.Session }
	if err := json.Unmarshal([]byte(r.out), &doc); err != nil || len(doc.Sessions) != 1 {
		t.Fatalf("%d sessions, %v\n%s", len(doc.Sessions), err, tail(r.says()))
	}
	return doc.Sessions[0]
}

// whole is a session that comes to its end.
func whole(t *testing.T, h *lab.Host, v *tool) {
	s := sessionOf(t, v.run(0, quickBench("cpu", "--only", "memory", "--only", "disk", "--repeats", "2", "--against", "-o", "json")...))
	ours := 0
	for _, m := range s.Metrics {
		if !strings.HasPrefix(m.Name, "against/") {
			ours++
		}
		if len(m.Values) != 2 || len(m.Steal) != 2 || m.Median <= 0 || m.Seconds <= 0 {
			t.Errorf("%+v", m)
		}
		if strings.HasPrefix(m.Name, "disk/") && (m.Percentiles["p99_us"] < m.Percentiles["p50_us"] || m.Percentiles["p50_us"] <= 0 || !strings.Contains(m.Note, "O_DIRECT")) {
			t.Errorf("%s: %v, %q", m.Name, m.Percentiles, m.Note)
		}
	}
	skipped := strings.Join(s.Skipped, "\n")
	if ours < 19 {
		t.Errorf("%d of 19 probes: %s", ours, skipped)
	}
	for _, name := range []string{"fio", "openssl", "sysbench"} {
		measured := slices.ContainsFunc(s.Metrics, func(m bench.Metric) bool { return strings.HasPrefix(m.Name, "against/"+name+"/") })
		if measured == strings.Contains(skipped, "the host has no "+name) {
			t.Errorf("%s: measured is %v, said is %q", name, measured, skipped)
		}
	}
	wants(t, "what was not measured", skipped, "sustained: ")
	if s.Seed == 0 || len(s.Notes.Prober) != 64 {
		t.Errorf("seed %d, prober %q: nobody could do the same again", s.Seed, s.Notes.Prober)
	}
	if s.Epoch.Cores < 1 || s.Epoch.CPUModel == "" || s.Notes.Hostname != h.Name || s.Notes.Kernel == "" {
		t.Errorf("%+v %+v", s.Epoch, s.Notes)
	}
	b, err := os.ReadFile(filepath.Join(v.state, "bench", h.Name, bench.HistoryFile))
	if err != nil || strings.Count(string(b), "\n") != 1 {
		t.Errorf("the history has %d lines, %v", strings.Count(string(b), "\n"), err)
	}
	wants(t, "results.json on the host", on(t, h, "cat /var/vps-provision/benchmark/results.json"), `"operations_per_second"`)
	nothingLeft(t, h)
}

// benchBesideProvision: neither is let in beside the other, and what was measured soon after a provision is no baseline.
func benchBesideProvision(t *testing.T, h *lab.Host, v *tool) {
	v.phase("holds", "steps:\n"+gate("b"))
	p := v.start("provision", "--only-phase", "holds", "--sample-interval", "1s", "--plain")
	p.makes(h, "/root/gate.b")
	wants(t, "bench run beside a provision", v.run(9, quickBench("memory")...).says(), "holds")
	on(t, h, "touch /root/go.b")
	p.wait(0)
	r := v.run(0, quickBench("memory", "--repeats", "1")...)
	wants(t, "bench run after a provision", r.out, "memory/latency", "after a provision")
}

// benchOnBusyHost: a user without provisions measures a host on which something else is at work.
func benchOnBusyHost(t *testing.T, h *lab.Host, v *tool) {
	on(t, h, `cp /bin/sh /var/tmp/spinner && systemd-run -q --unit=spin --collect -p RuntimeMaxSec=300 /var/tmp/spinner -c 'while :; do :; done'`)
	t.Cleanup(func() { _, _ = h.Exec(context.Background(), "systemctl stop spin; rm -f /var/tmp/spinner") })
	s := sessionOf(t, v.run(0, quickBench("memory", "--repeats", "1", "-o", "json")...))
	wants(t, "what kept the host busy", s.Around.Busy, "spinner (pid ", "of a core")
	wants(t, "why no baseline counts the session", s.Excluded, "busy: ", "spinner")
	on(t, h, "systemctl stop spin; rm -f /var/tmp/spinner")
}

// measuringDisk begins a session, and returns while it measures the disk.
func measuringDisk(t *testing.T, h *lab.Host, v *tool) *proc {
	p := v.start(quickBench("disk", "--each", "5s", "--plain")...)
	until(t, "the disk to be measured", func() bool {
		if p.over() {
			t.Fatalf("over already\n%s", p.talk())
		}
		// Reading or writing has begun: the file is there, and has no name.
		return on(t, h, `for p in $(pgrep -f '[p]rober[.].* measure'); do ls -l "/proc/$p/fd"; done 2>/dev/null | grep -c deleted || true`) != "0"
	})
	return p
}

// benchDies: nothing can clean up after kill -9, and nothing needs to.
func benchDies(t *testing.T, h *lab.Host, v *tool) {
	before := v.sessions(h)
	p := measuringDisk(t, h, v)
	on(t, h, "pkill -KILL -f '[p]rober[.].* measure'")
	r := p.wait(2)
	wants(t, "bench run", r.says(), h.Name)
	nothingLeft(t, h)
	if n := v.sessions(h); n != before {
		t.Errorf("half a session was kept: %d sessions, then %d", before, n)
	}
}

// benchIsStopped: ^C ends what measures.
func benchIsStopped(t *testing.T, h *lab.Host, v *tool) {
	p := measuringDisk(t, h, v)
	p.signal(syscall.SIGINT)
	p.wait(130)
	nothingLeft(t, h)
}

func (v *tool) sessions(h *lab.Host) int {
	v.t.Helper()
	b, err := os.ReadFile(filepath.Join(v.state, "bench", h.Name, bench.HistoryFile))
	try(v.t, err)
	return strings.Count(string(b), "\n")
}

// nothingLeft looks for the prober's processes and files, those that lost their names included.
func nothingLeft(t *testing.T, h *lab.Host) {
	t.Helper()
	until(t, "the prober to be gone", func() bool { return on(t, h, "pgrep -c -f '[p]rober[.].* measure' || true") == "0" })
	if left := on(t, h, `find /var/lib/vpsctl /var/tmp /root -xdev \( -name 'prober.*' -o -name '.vpsctl-bench-*' -o -size +32M \) -print
ls -l /proc/[0-9]*/fd 2>/dev/null | grep -E '/var/lib/vpsctl/.*[(]deleted[)]' || true`); left != "" {
		t.Errorf("left behind:\n%s", left)
	}
}
