//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

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
	benchInSilence(t, h, v)
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

// TestBenchCloudPeers: hosts are peers by what cloud-init left on them, and for root alone it leaves nothing.
func TestBenchCloudPeers(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 2)
	v := newTool(t, f)
	for _, h := range f.Hosts {
		longAgo(t, h) // what was measured soon after a provision is no peer's figure
		t.Cleanup(func() { _, _ = h.Exec(context.Background(), "rm -r /run/cloud-init") })
		on(t, h, `mkdir /run/cloud-init && cat >/run/cloud-init/instance-data.json <<'END'
{"v1": {"cloud_id": "aws", "region": "eu-west-1"}, "ds": {"meta_data": {"instance_type": "t3.small"}}}
END`)
	}
	counts := map[string]bool{}
	for n := 0; n < 5 && len(counts) < len(f.Hosts); n++ { // on a laden machine a host may be busy
		for _, s := range sessionsOf(t, v.run(0, quickBench("memory", "--repeats", "1", "-o", "json")...)) {
			if s.Excluded == "" {
				counts[s.Host] = true
			}
		}
	}
	if len(counts) < len(f.Hosts) {
		t.Fatalf("of %d hosts only %v were quiet once in five sessions", len(f.Hosts), counts)
	}
	r := v.run(0, "bench", "compare", "--peers")
	wants(t, "bench compare --peers", r.out, "aws/t3.small/eu-west-1/", "(by cloud metadata): "+f.Hosts[0].Name+", "+f.Hosts[1].Name+"\n")
	on(t, f.Hosts[0], "chmod 600 /run/cloud-init/instance-data.json")
	s := sessionOf(t, v.run(0, quickBench("memory", "--repeats", "1", "-l", f.Hosts[0].Name, "-o", "json")...))
	if s.Notes.Region != "" || s.Notes.Mirror == "" { // on EC2 the machine itself tells the plan
		t.Errorf("%+v", s.Notes)
	}
}

// TestBenchFullDisk: on a disk that is nearly full the file is smaller or there is none, and a tenth stays free. When
// others fill it meanwhile, the file makes room.
func TestBenchFullDisk(t *testing.T) {
	t.Parallel()
	const size = 1000 // MiB
	f := FreshLab(t, 1)
	h, v := f.Hosts[0], newTool(t, f)
	// A disk by its kind, in memory: what is a tmpfs itself is not measured.
	on(t, h, fmt.Sprintf(`mkdir -p /mnt/small /var/lib/vpsctl && mount -t tmpfs -o size=%dm tmpfs /mnt/small && mkdir /mnt/small/upper /mnt/small/work /mnt/small/lower
mount -t overlay -o lowerdir=/mnt/small/lower,upperdir=/mnt/small/upper,workdir=/mnt/small/work overlay /var/lib/vpsctl`, size))
	free := func() int {
		return number(t, on(t, h, "df --output=avail -BM /var/lib/vpsctl | tail -n 1 | tr -d ' M'"))
	}
	measured := func(p *proc) (s bench.Session, least int) {
		for least = free(); !p.over(); time.Sleep(10 * time.Millisecond) {
			least = min(least, free())
		}
		return sessionOf(t, p.wait(0)), least
	}
	start := func() *proc { return v.start(quickBench("disk", "--repeats", "2", "-o", "json")...) }

	on(t, h, "fallocate -l 600M /mnt/small/theirs")
	s, least := measured(start())
	if len(s.Metrics) != 7 || least < size/10 {
		t.Errorf("with 400 MiB free: %d of 7 metrics, %d MiB were left: %v", len(s.Metrics), least, s.Skipped)
	}
	for _, m := range s.Metrics {
		_, text, _ := strings.Cut(m.Note, "file of ")
		text, _, _ = strings.Cut(text, " MiB")
		if n := number(t, text); n < 64 || n > 80 {
			t.Errorf("%s: %q, want at most a fifth of 400 MiB", m.Name, m.Note)
		}
	}
	if least > 400-64 {
		t.Errorf("%d MiB were left: nobody has seen the file", least)
	}

	p := measuringDisk(t, h, v, "--each", "1s", "--repeats", "2", "-o", "json")
	was := -1
	until(t, "the file to be whole", func() bool {
		now := free()
		defer func() { was = now }()
		return now == was && now < 400-64
	})
	on(t, h, fmt.Sprintf("fallocate -l %dM /mnt/small/more", free()-size/20))
	s, _ = measured(p)
	wants(t, "why the disk was measured no more", strings.Join(s.Skipped, "\n"), "disk/", "are free by now, under 10 %", "was removed")
	if len(s.Metrics) == 7 && !slices.ContainsFunc(s.Metrics, func(m bench.Metric) bool { return len(m.Values) < 2 }) {
		t.Error("it was measured to the end although others needed the space")
	}

	on(t, h, "rm /mnt/small/more; fallocate -l 720M /mnt/small/theirs")
	s, least = measured(start())
	wants(t, "why nothing was measured", strings.Join(s.Skipped, "\n"), "disk: ", "no room for a file of 64 MiB that leaves 12 % free")
	if len(s.Metrics) > 0 || least < size/10 {
		t.Errorf("with 280 MiB free: %d metrics, %d MiB were left", len(s.Metrics), least)
	}
	nothingLeft(t, h)
}

// TestBenchThroughSSH: over one connection and over eight the line's rate is found, both ways, and not what buffers take
// at first; round trips have percentiles. Afterwards the connections are closed.
func TestBenchThroughSSH(t *testing.T) {
	t.Parallel()
	const mbit = 50
	f := NewLab(t, 1)
	h, v := f.Hosts[0], newTool(t, f)
	try(t, h.Rate(t.Context(), mbit))
	t.Cleanup(func() { _ = h.Rate(context.Background(), 0) })
	low := []string{"not measured"}
	for n := 0; n < 3 && len(low) > 0; n++ { // a machine that gives its CPUs to others finds less, never more
		low = nil
		s := sessionOf(t, v.run(0, "bench", "run", "--only", "network", "--quick", "--each", "4s", "--repeats", "1", "--quiet-wait", "0s", "-o", "json"))
		got := map[string]bench.Metric{}
		for _, m := range s.Metrics {
			got[m.Name] = m
		}
		for _, name := range []string{"net/ssh/from-host", "net/ssh/to-host", "net/ssh/from-host/8", "net/ssh/to-host/8"} {
			said := fmt.Sprintf("%s is %.1f Mbit/s on a line of %d: %v", name, got[name].Median, mbit, s.Skipped)
			if got[name].Median > mbit*1.05 {
				t.Error(said)
			}
			if got[name].Median < mbit*0.6 { // headers take 5 % of a packet
				low = append(low, said)
			}
		}
		if m := got["net/ssh/rtt"]; m.Unit != "us" || m.Median <= 0 || m.Percentiles["p99_us"] < m.Percentiles["p50_us"] {
			t.Errorf("%+v: %v", m, s.Skipped)
		}
	}
	if len(low) > 0 {
		t.Error(strings.Join(low, "\n"))
	}
	until(t, "the connections to be closed", func() bool { return on(t, h, "ss -Htn state established sport = :22 | wc -l") == "0" })
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(text))
	try(t, err)
	return n
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
	benchAfterDetached(t, h, v)
}

// benchAfterDetached: of a provision that was left to itself the host knows when it ended. To fetch its end hours later
// makes it no later.
func benchAfterDetached(t *testing.T, h *lab.Host, v *tool) {
	longAgo(t, h)
	measured := func() string {
		return sessionOf(t, v.run(0, quickBench("memory", "--repeats", "1", "-o", "json")...)).Excluded
	}
	if why := measured(); strings.Contains(why, "provision") {
		t.Errorf("two hours after a provision: %q", why)
	}
	v.phase("alone", "steps:\n"+gate("c"))
	v.run(0, "provision", "--only-phase", "alone", "--sample-interval", "1s", "--detach")
	run := v.lastRun()
	exists(t, h, "/root/gate.c")
	on(t, h, "touch /root/go.c")
	journal := "/var/lib/vpsctl/runs/" + run + "/journal.jsonl"
	until(t, "the detached run to end", func() bool { return on(t, h, "tail -n 1 "+journal+` | grep -c '"end"' || true`) != "0" })
	wants(t, "after a detached provision", measured(), "0 min after a provision")
	on(t, h, "touch -d '2 hours ago' "+journal)
	v.run(0, "runs", "attach", run)
	if why := measured(); strings.Contains(why, "provision") {
		t.Errorf("fetched two hours after a detached provision: %q", why)
	}
}

// longAgo has all that was ever run on a host be over for two hours.
func longAgo(t *testing.T, h *lab.Host) {
	t.Helper()
	on(t, h, "mkdir -p /var/lib/vpsctl/runs && find /var/lib/vpsctl/runs -name journal.jsonl -exec touch -d '2 hours ago' {} +")
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
func measuringDisk(t *testing.T, h *lab.Host, v *tool, more ...string) *proc {
	p := v.start(append(quickBench("disk", "--each", "5s", "--plain"), more...)...)
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

// benchInSilence: the line falls silent for as long as the host measures. The host goes on, and nothing of the session
// is lost.
func benchInSilence(t *testing.T, h *lab.Host, v *tool) {
	before := v.sessions(h)
	p := measuringDisk(t, h, v, "--each", "2s", "--repeats", "2", "-o", "json")
	try(t, h.Cut(t.Context()))
	t.Cleanup(func() { _ = h.Restore(context.Background()) })
	p.sees("silent")
	nothingLeft(t, h)
	try(t, h.Restore(t.Context()))
	s := sessionOf(t, p.wait(0))
	if len(s.Metrics) != 7 {
		t.Errorf("%d of 7 metrics: %v", len(s.Metrics), s.Skipped)
	}
	for _, m := range s.Metrics {
		if len(m.Values) != 2 {
			t.Errorf("%s: %d of 2 values", m.Name, len(m.Values))
		}
	}
	if n := v.sessions(h); n != before+1 {
		t.Errorf("%d sessions, then %d", before, n)
	}
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
