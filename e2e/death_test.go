//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/e2e/lab"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// dying is a run that stands in a step of its own while something dies.
func dying(t *testing.T, args ...string) (*tool, *lab.Host, *proc) {
	t.Helper()
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	v.phase("long", "steps:\n  - name: begin\n    run: echo begin\n"+gate("a")+"  - name: end\n    run: echo end\n")
	p := v.start(append([]string{"provision", "--only-phase", "long", "--sample-interval", "1s", "--plain"}, args...)...)
	p.sees("gate a")
	return v, h, p
}

// diedRun wants the record of a run that died: closed by an End that says why, with all that came before it.
func diedRun(t *testing.T, v *tool, h *lab.Host, why string) {
	t.Helper()
	rec := v.record(h.Name)
	end := rec.end()
	if end.Status != wire.Failed || end.Stage != "died" || !strings.Contains(end.Reason, why) {
		t.Errorf("end %+v, want one that says %q", end, why)
	}
	if rec.step("long/begin").Status == "" || rec.output("long/gatea", "stdout") != "gate a\n" {
		t.Error("the record lacks what had happened before")
	}
	rec.whole(h)
	wants(t, "the report", v.run(0, "report").out, why)
	if row := rec.column("timing.csv", 1, 3); !strings.Contains(row, "long failure") {
		t.Errorf("timing.csv: %q", row)
	}
}

// TestHostRebootsInTheMiddle: vpsctl waits for it, and the run is closed by what it finds.
func TestHostRebootsInTheMiddle(t *testing.T) {
	t.Parallel()
	v, h, p := dying(t)
	try(t, h.Reboot(t.Context()))
	r := p.wait(2)
	wants(t, "provision", r.says(), h.Name, "shuts down")
	diedRun(t, v, h, "shuts down") // its runner had a moment to say so
	v.provisionAgain(h)
}

// TestHostLosesPower: nothing says goodbye. It comes back later.
func TestHostLosesPower(t *testing.T) {
	t.Parallel()
	v, h, p := dying(t)
	try(t, h.Kill(t.Context()))
	try(t, h.Start(t.Context()))
	r := p.wait(2)
	wants(t, "provision", r.out+r.err, h.Name, "reboot")
	diedRun(t, v, h, "reboot")
}

// TestHostStaysAway: vpsctl gives it up when its time is over; once it is back, attach closes the record.
func TestHostStaysAway(t *testing.T) {
	t.Parallel()
	v, h, p := dying(t, "--timeout", "40s")
	try(t, h.Kill(t.Context()))
	r := p.wait(2)
	wants(t, "provision", r.out+r.err, h.Name, "vpsctl runs attach "+v.lastRun())
	try(t, h.Start(t.Context()))
	v.run(2, "runs", "attach")
	diedRun(t, v, h, "reboot")
}

// TestRunnerIsKilled: the kernel's OOM killer, say. The lock is free again, and the step's processes are not left to
// go on by themselves.
func TestRunnerIsKilled(t *testing.T) {
	t.Parallel()
	v, h, p := dying(t)
	began := time.Now()
	on(t, h, `kill -9 $(grep -o '"pid": *[0-9]*' /run/lock/vpsctl | tr -dc 0-9)`)
	r := p.wait(2)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %v to see it", took)
	}
	wants(t, "provision", r.out+r.err, h.Name, "killed")
	diedRun(t, v, h, "killed")
	v.provisionAgain(h)
}

// provisionAgain wants the next run to find the host free and to finish.
func (v *tool) provisionAgain(h *lab.Host) {
	v.t.Helper()
	on(v.t, h, "touch /root/go.a")
	v.provision(0, "long")
	v.record(h.Name).whole(h)
}

// TestOneOfManyDies: the others do not notice.
func TestOneOfManyDies(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 3)
	v := newTool(t, f)
	v.phase("long", "steps:\n"+gate("a"))
	p := v.start("provision", "--only-phase", "long", "--sample-interval", "1s", "--plain", "-o", "json")
	for _, h := range f.Hosts {
		exists(t, h, "/root/gate.a")
	}
	dead := f.Hosts[1]
	try(t, dead.Kill(t.Context()))
	for _, h := range []*lab.Host{f.Hosts[0], f.Hosts[2]} {
		on(t, h, "touch /root/go.a")
	}
	for _, h := range []*lab.Host{f.Hosts[0], f.Hosts[2]} {
		until(t, "the end of "+h.Name+" in its record", func() bool {
			return slices.ContainsFunc(v.record(h.Name).events, func(e wire.Event) bool { return e.Kind == wire.KindEnd })
		})
	}
	try(t, dead.Start(t.Context()))
	d := p.wait(2).doc(t)
	for i, h := range d.Hosts {
		if want := map[bool]int{true: 2, false: 0}[i == 1]; h.ExitCode != want {
			t.Errorf("%+v, want exit %d", h, want)
		}
	}
}
