//go:build e2e

package e2e

import (
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// TestMonitorGoesOnAlone: monitoring survives the session that began it, lets other work go on beside it, and two
// fetches make one record without a gap. A power cut is noted.
func TestMonitorGoesOnAlone(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	wants(t, "status before", v.run(0, "monitor", "status").out, h.Name, "none")
	wants(t, "start", v.run(0, "monitor", "start", "--interval", "200ms").out, "[OK] "+h.Name+" is monitored every 200ms")
	run := v.lastRun()
	wants(t, "a second start", v.run(0, "monitor", "start").out, "was monitored already", run)
	until(t, "no session of ours on the host", func() bool { return on(t, h, "pgrep -c -f '[s]shd-session: root' || true") == "0" })
	wants(t, "status", v.run(0, "monitor", "status").out, "running", run)

	rows := func() int {
		return strings.Count(on(t, h, "cat /var/log/vps-provision/resources.csv 2>/dev/null || true"), "\n")
	}
	begin := rows()
	until(t, "samples without us", func() bool { return rows() > begin+5 })
	v.phase("beside", "steps:\n  - name: work\n    run: sleep 1\n")
	v.provision(0, "beside")
	wants(t, "the first fetch", v.run(0, "monitor", "fetch").out, h.Name+": running", "resources.csv")
	n := len(v.recordOf(run, h.Name).events)
	until(t, "more samples", func() bool { return rows() > begin+30 })
	v.run(0, "monitor", "fetch")
	rec := v.recordOf(run, h.Name)
	if len(rec.events) <= n {
		t.Errorf("the second fetch brought nothing: %d events, then %d", n, len(rec.events))
	}
	for i, e := range rec.events {
		if e.N != int64(i+1) {
			t.Fatalf("event %d has number %d: the record has a gap", i+1, e.N)
		}
	}

	try(t, h.Kill(t.Context()))
	try(t, h.Start(t.Context()))
	r := v.run(0, "monitor", "fetch")
	wants(t, "fetch after a power cut", r.out, "ended", "reboot")
	if end := v.recordOf(run, h.Name).end(); end.Status != wire.Failed || !strings.Contains(end.Reason, "reboot") {
		t.Errorf("end %+v", end)
	}
	rec = v.recordOf(run, h.Name)
	samples := 0
	for _, e := range rec.events {
		if e.Sample != nil {
			samples++
		}
	}
	if got := strings.Count(rec.file("resources.csv"), "\n"); got != samples+1 {
		t.Errorf("resources.csv has %d lines for %d samples", got, samples)
	}
	wants(t, "runs list", v.run(0, "runs", "list").out, run, "monitor")

	v.run(0, "monitor", "start", "--interval", "200ms")
	wants(t, "stop", v.run(0, "monitor", "stop").out, h.Name+": stopped")
	if end := v.record(h.Name).end(); end.Status != wire.OK {
		t.Errorf("a monitor that was stopped ended %+v", end)
	}
	wants(t, "stop without a monitor", v.run(0, "monitor", "stop").out, "ended")
}

// TestMonitorLooks: collect and watch leave nothing on the host; alerts are on the screen and reach a command.
func TestMonitorLooks(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	count := func(s string) int { n, _ := strconv.Atoi(s); return n }
	before := on(t, h, "ls /var/lib/vpsctl/runs 2>/dev/null | wc -l")
	lines := strings.Split(strings.TrimSpace(v.run(0, "monitor", "collect", "--interval", "200ms").out), "\n")
	if len(lines) != 2 || lines[0] != strings.Join(wire.ResourcesHeader, ",") || strings.Count(lines[1], ",") != len(wire.ResourcesHeader)-1 {
		t.Errorf("collect: %q", lines)
	}
	r := v.run(0, "monitor", "watch", "--count", "3", "--interval", "200ms", "-e", "alert_memory_mb=99999999", "--notify", "cat >> "+v.dir+"/told")
	if n := strings.Count(r.out, h.Name+": cpu "); n != 3 {
		t.Errorf("watch printed %d samples:\n%s", n, r.out)
	}
	wants(t, "watch", r.err, "[WARN] "+h.Name+": ALERT: Available memory below threshold")
	wants(t, "the receiver", v.file("told"), `"kind":"alert"`, `"type":"memory"`, h.Name)
	r = v.run(0, "provision", "--limit", h.Name, "--only-phase", v.quick(), "--sample-interval", "100ms", "-e", "alert_memory_mb=99999999", "--notify", "cat >> "+v.dir+"/told2")
	wants(t, "provision", r.err, "ALERT: Available memory below threshold")
	wants(t, "the receiver of a run", v.file("told2"), `"kind":"alert"`, `"kind":"end"`)
	if after := on(t, h, "ls /var/lib/vpsctl/runs | wc -l"); count(after) != count(before)+1 {
		t.Errorf("run folders on the host: %s before, %s after; only provision leaves one", before, after)
	}

	p := v.start("monitor", "watch", "--interval", "100ms")
	p.sees(h.Name + ": cpu ")
	begin := time.Now()
	p.signal(syscall.SIGINT)
	p.wait(130)
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("left after %v", took)
	}
	until(t, "the sampler to end", func() bool { return on(t, h, "pgrep -c -f '[s]ample 100000000' || true") == "0" })
}

// quick is a phase that takes a second and changes nothing.
func (v *tool) quick() string {
	v.phase("quick", "steps:\n  - name: rest\n    run: sleep 1\n")
	return "quick"
}
