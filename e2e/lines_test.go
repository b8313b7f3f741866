//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// chatty says enough, in enough steps, for a line to be cut at many places. None of its steps ever holds beforehand.
const chatty = `steps:
  - name: first
    run: echo one; echo two >&2
  - name: flood
    run: |
      i=0
      while [ $i -lt 3000 ]; do i=$((i+1)); echo "$i the quick brown fox jumps over the lazy dog"; done
  - name: skipped
    when: "false"
    run: echo never
  - name: strange
    run: printf 'no newline at the end, \377\376 and \033[31mred'
  - name: last
    run: echo done
`

// gate is a step that goes on when the test says so: /root/gate.N appears when it has begun, and it waits for /root/go.N.
func gate(n string) string {
	return fmt.Sprintf("  - name: gate%[1]s\n    run: |\n      echo gate %[1]s; touch /root/gate.%[1]s\n      while ! test -e /root/go.%[1]s; do sleep 0.05; done\n      echo through %[1]s\n", n)
}

const closeGates = "rm -f /root/gate.* /root/go.*"

// TestLineCutAtManyPlaces: wherever in its stream the line is cut, the record equals that of an uncut run.
func TestLineCutAtManyPlaces(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 1)
	h := f.Hosts[0]
	line := newProxy(t, h.Addr+":22")
	v := newTool(t, f)
	v.phase("chatty", chatty)
	v.inventory("hosts:\n" + f.entry(t, h, "address", "127.0.0.1", "port", line.port))
	v.provision(0, "chatty", "--sample-interval", "0") // the collector is there from now on
	line.cutAfter(-1)
	v.provision(0, "chatty", "--sample-interval", "0")
	total, _ := line.stats()
	want := v.record(h.Name).shape()
	v.record(h.Name).whole(h)
	const cuts = 24
	for i := range cuts {
		at := total * int64(i+1) / (cuts + 1)
		line.cutAfter(at)
		v.provision(0, "chatty", "--sample-interval", "0")
		if _, n := line.stats(); n < 2 {
			t.Errorf("cut after %d of %d bytes: %d connections, so nothing was cut", at, total, n)
		}
		rec := v.record(h.Name)
		rec.whole(h)
		if got := rec.shape(); got != want {
			t.Fatalf("cut after %d of %d bytes: the record differs from the uncut one\n%s", at, total, firstDifference(got, want))
		}
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d\n got %.300q\nwant %.300q", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("got %d lines, want %d", len(g), len(w))
}

// TestLineCutAgainAndAgain: every connection dies young, and yet the run is recorded whole.
func TestLineCutAgainAndAgain(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 1)
	h := f.Hosts[0]
	line := newProxy(t, h.Addr+":22")
	v := newTool(t, f)
	on(t, h, closeGates)
	v.phase("long", "steps:\n"+gate("a")+gate("b")+gate("c")+"  - name: end\n    run: echo end\n")
	v.inventory("hosts:\n" + f.entry(t, h, "address", "127.0.0.1", "port", line.port))
	p := v.start("provision", "--only-phase", "long", "--sample-interval", "1s", "--plain")
	for _, n := range []string{"a", "b", "c"} {
		p.sees("gate " + n)
		line.cut()
		on(t, h, "touch /root/go."+n)
	}
	p.wait(0)
	rec := v.record(h.Name)
	rec.whole(h)
	for _, n := range []string{"a", "b", "c"} {
		if got, want := rec.output("long/gate"+n, "stdout"), fmt.Sprintf("gate %[1]s\nthrough %[1]s\n", n); got != want {
			t.Errorf("step %s printed %q, want %q", n, got, want)
		}
	}
	if _, n := line.stats(); n < 4 {
		t.Errorf("%d connections", n)
	}
}

// TestCableUnplugged: the line falls silent for longer than anybody waits, without a word; vpsctl says so, dials again
// once it is whole, and the record is whole. The host did not stop meanwhile.
func TestCableUnplugged(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 1)
	h := f.Hosts[0]
	on(t, h, closeGates)
	v := newTool(t, f)
	v.phase("long", "steps:\n"+gate("a")+"  - name: end\n    run: echo end; touch /root/finished\n")
	on(t, h, "rm -f /root/finished")
	p := v.start("provision", "--only-phase", "long", "--sample-interval", "1s", "--plain")
	p.sees("gate a")
	try(t, h.Cut(t.Context()))
	on(t, h, "touch /root/go.a")
	exists(t, h, "/root/finished")
	p.sees("silent")
	time.Sleep(50 * time.Second) // past the minute after which a silent line is given up
	try(t, h.Restore(t.Context()))
	p.wait(0)
	v.record(h.Name).whole(h)
}

// TestKilledAndAttached: vpsctl is killed in the middle. All that had arrived is in the record; attach fetches the rest.
func TestKilledAndAttached(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 1)
	h := f.Hosts[0]
	on(t, h, closeGates)
	v := newTool(t, f)
	v.phase("long", "steps:\n  - name: begin\n    run: echo begin\n"+gate("a")+"  - name: end\n    run: echo end\n")
	p := v.start("provision", "--only-phase", "long", "--sample-interval", "1s", "--plain")
	p.sees("gate a")
	p.signal(syscall.SIGKILL)
	p.wait(-int(syscall.SIGKILL))
	rec := v.record(h.Name)
	if got := rec.output("long/gatea", "stdout"); got != "gate a\n" {
		t.Errorf("what the screen had shown is not in the record: %q", got)
	}
	if rec.step("long/begin").Status == "" || rec.outputLog() == "" {
		t.Error("the record lacks the finished step or its output")
	}
	run := v.lastRun()
	wants(t, "runs list", v.run(0, "runs", "list").out, run)
	v.run(0, "report", run) // half a run has half a report
	on(t, h, "touch /root/go.a")
	v.run(0, "runs", "attach", run)
	rec = v.record(h.Name)
	rec.whole(h)
	if rec.end().Status != wire.Changed || rec.file("performance-report.json") == "" {
		t.Errorf("end %+v", rec.end())
	}
	before := rec.lines
	v.run(0, "runs", "attach", run) // once more brings nothing twice
	if after := v.record(h.Name).lines; len(after) != len(before) {
		t.Errorf("attaching again made %d events of %d", len(after), len(before))
	}
}

// TestAttachFromAnotherLaptop: whoever has only the inventory and the run's id gets the whole record.
func TestAttachFromAnotherLaptop(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 1)
	h := f.Hosts[0]
	on(t, h, closeGates)
	first := newTool(t, f)
	first.phase("long", "steps:\n"+gate("a"))
	p := first.start("provision", "--only-phase", "long", "--sample-interval", "1s", "--plain")
	p.sees("gate a")
	run := first.lastRun()
	other := newTool(t, f)
	q := other.start("runs", "attach", run, "--plain")
	q.sees("gate a")
	wants(t, "runs list --remote", other.run(0, "runs", "list", "--remote").out, run)
	on(t, h, "touch /root/go.a")
	p.wait(0)
	q.wait(0)
	first.recordOf(run, h.Name).whole(h)
	other.recordOf(run, h.Name).whole(h)
}

// TestDetach starts the run and leaves; attach brings the record.
func TestDetach(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 2)
	v := newTool(t, f)
	for _, h := range f.Hosts {
		on(t, h, closeGates)
	}
	v.phase("long", "steps:\n"+gate("a"))
	r := v.provision(0, "long", "--detach")
	run := v.lastRun()
	wants(t, "provision", r.out+r.err, "vpsctl runs attach "+run)
	for _, h := range f.Hosts {
		exists(t, h, "/root/gate.a")
		on(t, h, "touch /root/go.a")
	}
	v.run(0, "runs", "attach")
	for _, h := range f.Hosts {
		v.recordOf(run, h.Name).whole(h)
	}
}

// TestInterruptedOnce: ^C stops the hosts after the step that runs, and the record says so.
func TestInterruptedOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		signal syscall.Signal
		code   int
	}{"SIGINT": {syscall.SIGINT, 130}, "SIGTERM": {syscall.SIGTERM, 143}} {
		t.Run(name, func(t *testing.T) {
			f := NewLab(t, 2)
			v := newTool(t, f)
			for _, h := range f.Hosts {
				on(t, h, closeGates+" /root/never")
			}
			v.phase("long", "steps:\n"+gate("a")+"  - name: never\n    run: touch /root/never\n")
			p := v.start("provision", "--only-phase", "long", "--sample-interval", "1s", "--plain")
			for _, h := range f.Hosts {
				p.makes(h, "/root/gate.a")
			}
			p.signal(c.signal)
			for _, h := range f.Hosts {
				until(t, "the cancellation in the journal of "+h.Name, func() bool {
					return p.over() || strings.Contains(on(t, h, "cat /var/lib/vpsctl/runs/"+v.lastRun()+"/journal.jsonl"), `"cancelling"`)
				})
				on(t, h, "touch /root/go.a") // should the step be waited for; harmless when it was stopped
			}
			p.wait(c.code)
			for _, h := range f.Hosts {
				rec := v.record(h.Name)
				rec.whole(h)
				if rec.end().Status != wire.Cancelled || rec.step("long/never").Status == wire.Changed {
					t.Errorf("%s: end %+v, next step %+v", h.Name, rec.end(), rec.step("long/never"))
				}
				if on(t, h, "ls /root/never 2>/dev/null || true; flock -n /run/lock/vpsctl true || echo locked") != "" {
					t.Errorf("%s: the next step has run, or the lock is held", h.Name)
				}
			}
		})
	}
}

// TestInterruptedTwice: the second ^C leaves at once and says how to come back; the host goes on.
func TestInterruptedTwice(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 1)
	h := f.Hosts[0]
	on(t, h, closeGates)
	v := newTool(t, f)
	// A package transaction is not cancelled; this step plays one, for it ignores what asks it to stop.
	v.phase("long", "steps:\n  - name: stubborn\n    run: |\n      trap '' TERM INT HUP\n      echo stubborn; touch /root/gate.s\n      while ! test -e /root/go.s; do sleep 0.05; done; echo through\n")
	p := v.start("provision", "--only-phase", "long", "--sample-interval", "1s", "--plain")
	p.sees("stubborn")
	p.signal(syscall.SIGINT)
	until(t, "the cancellation in the record", func() bool {
		for _, e := range v.record(h.Name).events {
			if e.Kind == wire.KindCancelled {
				return true
			}
		}
		return p.over()
	})
	p.signal(syscall.SIGINT)
	run := v.lastRun()
	r := p.wait(130)
	wants(t, "the second ^C", r.out+r.err, "vpsctl runs attach "+run)
	on(t, h, "touch /root/go.s")
	q := v.start("runs", "attach", run)
	q.finishes()
	rec := v.recordOf(run, h.Name)
	rec.whole(h)
	if rec.end().Status != wire.Cancelled {
		t.Errorf("end %+v", rec.end())
	}
}

// TestTwoOnOneHost: the second is told who holds the host, and leaves no trace; verbs that only look are let in.
func TestTwoOnOneHost(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 1)
	h := f.Hosts[0]
	on(t, h, closeGates)
	first, second := newTool(t, f), newTool(t, f)
	for _, v := range []*tool{first, second} {
		v.phase("long", "steps:\n"+gate("a"))
	}
	p := first.start("provision", "--only-phase", "long", "--sample-interval", "1s", "--plain")
	p.sees("gate a")
	before := on(t, h, "ls /var/lib/vpsctl/runs")
	r := second.provision(9, "long", "-o", "json")
	wants(t, "the second provision", r.out+r.err, first.lastRun())
	if d := r.doc(t); d.Hosts[0].ExitCode != 9 || d.Hosts[0].Status != "failed" && d.Hosts[0].Status != "not_reached" {
		t.Errorf("got %+v", d.Hosts[0])
	}
	if after := on(t, h, "ls /var/lib/vpsctl/runs"); after != before {
		t.Errorf("run folders: %s, before %s", after, before)
	}
	wants(t, "clean", second.run(9, "clean", "-y").err, first.lastRun())
	second.run(0, "facts")
	on(t, h, "touch /root/go.a")
	p.wait(0)
	second.provision(0, "long")
}

// TestManyAtOnce: of five that start on one host at the same moment exactly one gets it, the others are refused.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 1)
	h := f.Hosts[0]
	on(t, h, closeGates)
	var procs []*proc
	for range 5 {
		v := newTool(t, f)
		v.phase("long", "steps:\n"+gate("a"))
		procs = append(procs, v.start("provision", "--only-phase", "long", "--sample-interval", "0", "--plain"))
	}
	for left := 5; left > 1; {
		left = 0
		for _, p := range procs {
			if !p.over() {
				left++
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	on(t, h, "touch /root/go.a")
	codes := map[int]int{}
	for _, p := range procs {
		p.finishes()
		codes[p.cmd.ProcessState.ExitCode()]++
	}
	if codes[0] != 1 || codes[9] != 4 {
		t.Errorf("exit codes %v, want one 0 and four 9", codes)
	}
}

// TestFullStateDir: this machine's disk is full; that ends nothing on the host, is said with the folder, and exits 11.
func TestFullStateDir(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	v.phase("flood", "steps:\n  - name: flood\n    run: head -c 8000000 /dev/zero | tr '\\0' 'x' | fold -w 100; touch /root/flooded\n")
	on(t, h, "rm -f /root/flooded")
	small := filepath.Join(v.dir, "small")
	try(t, os.Mkdir(small, 0o700))
	try(t, syscall.Mount("tmpfs", small, "tmpfs", 0, "size=2m"))
	t.Cleanup(func() { _ = syscall.Unmount(small, syscall.MNT_DETACH) })
	v.state = filepath.Join(small, "state")
	r := v.run(11, "provision", "--only-phase", "flood", "--state-dir", v.state)
	wants(t, "provision", r.err, "space", v.state)
	exists(t, h, "/root/flooded")
	rec := v.record(h.Name) // what was written is valid
	if len(rec.events) == 0 || rec.events[0].Kind != wire.KindStart {
		t.Errorf("the record has %d events", len(rec.events))
	}
	try(t, syscall.Mount("tmpfs", small, "tmpfs", syscall.MS_REMOUNT, "size=64m"))
	v.run(0, "runs", "attach", rec.run, "--state-dir", v.state)
	v.record(h.Name).whole(h)
}

// TestStateDirIsNoFolder is a fault of this machine, found before a host is touched.
func TestStateDirIsNoFolder(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	v.phase("mark", onePhase)
	on(t, h, "rm -f /root/mark")
	try(t, os.WriteFile(filepath.Join(v.dir, "plainfile"), nil, 0o600))
	r := v.run(11, "provision", "--only-phase", "mark", "--state-dir", filepath.Join(v.dir, "plainfile"))
	wants(t, "provision", r.err, "plainfile")
	if on(t, h, "ls /root/mark 2>/dev/null || true") != "" {
		t.Error("the host was changed without a record")
	}
}
