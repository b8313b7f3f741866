//go:build linux

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// watchPlan only samples, until it is cancelled.
func watchPlan(id string, rotate int64) *wire.Plan {
	return &wire.Plan{Wire: wire.Version, RunID: id, Host: "h", Verb: "monitor", Interval: 100 * time.Millisecond,
		Linger: time.Hour, Rotate: rotate, HostLogs: true, Phases: []wire.Phase{}}
}

// A plan that lingers samples beside an exclusive run, survives its follower
// and ends well when it is told to.
func TestLinger(t *testing.T) {
	h := newHost(t)
	s := h.begin(watchPlan("m1", 0))
	s.until(wire.KindSample)
	s.cut()
	other := planOf("r1", "true")
	other.Exclusive = true
	if end := endOf(t, h.start(other)); end.Status != wire.Changed {
		t.Errorf("beside a monitor a run ends %+v", end)
	}
	first := h.fetch("m1", 0)
	waitFor(t, "more samples", func() bool { return len(h.journal("m1")) > len(first)+2 })
	rest := h.fetch("m1", first[len(first)-1].N)
	if rest[0].N != first[len(first)-1].N+1 {
		t.Errorf("the second fetch begins with %d after %d", rest[0].N, first[len(first)-1].N)
	}
	if _, stderr, code := h.verb("cancel", "m1"); code != exitDone {
		t.Fatalf("cancel: %s", stderr)
	}
	waitFor(t, "the monitor to end", func() bool { return !runs(h.run("m1")) })
	if end := endOf(t, h.journal("m1")); end.Status != wire.OK {
		t.Errorf("end %+v", end)
	}
	b, err := os.ReadFile(filepath.Join(h.place().logs, "resources.csv"))
	if err != nil || strings.Count(string(b), "\n") < len(first)+len(rest)-2 {
		t.Errorf("resources.csv on the host: %v\n%s", err, b)
	}
}

// fetch asks for what is there after a number, and does not wait for more.
func (h *testHost) fetch(id string, after int64) []wire.Event {
	h.t.Helper()
	stdout, stderr, code := h.verb("follow", id, strconv.FormatInt(after, 10), "0", "--once")
	if code != exitDone {
		h.t.Fatalf("fetch: exit %d: %s", code, stderr)
	}
	return decode(h.t, stdout)
}

// A bounded journal keeps to its bound, and neither who follows all the time nor
// who comes now and then misses an event.
func TestRing(t *testing.T) {
	h := newHost(t)
	const most = 16 << 10 // four seconds and more that a reader may be late
	s := h.begin(watchPlan("m1", most))
	var fetched []wire.Event
	last := func() (n int64) {
		if len(fetched) > 0 {
			n = fetched[len(fetched)-1].N
		}
		return n
	}
	size := func(name string) int64 {
		st, err := os.Stat(name)
		if err != nil {
			return 0
		}
		return st.Size()
	}
	d := h.run("m1")
	for range 120 { // 12 s: about 50 KB
		s.until(wire.KindSample)
		if n := int64(len(s.seen)); n%5 == 0 {
			fetched = append(fetched, h.fetch("m1", last())...)
		}
		if now := size(d.journal()) + size(d.older()); now > 2*most+2048 {
			t.Fatalf("the journal holds %d bytes, bound twice %d", now, most)
		}
	}
	if size(d.older()) == 0 {
		t.Fatal("the journal never changed files")
	}
	if _, stderr, code := h.verb("cancel", "m1"); code != exitDone {
		t.Fatalf("cancel: %s", stderr)
	}
	live := s.rest()
	fetched = append(fetched, h.fetch("m1", last())...)
	for name, events := range map[string][]wire.Event{"live": live, "fetched": fetched} {
		for i := range events {
			if events[i].N != int64(i+1) {
				t.Fatalf("%s: event %d has number %d", name, i+1, events[i].N)
			}
		}
		if end := endOf(t, events); end.Status != wire.OK {
			t.Errorf("%s: end %+v", name, end)
		}
	}
	if j := h.journal("m1"); j[0].Start == nil {
		t.Errorf("the newest file begins with %+v", j[0])
	}
	if late := h.fetch("m1", 0); late[0].Start == nil || late[1].N <= 2 {
		t.Errorf("who comes too late gets %s", kinds(late[:3]))
	}
}

// Samples to look at leave nothing on the host.
func TestSample(t *testing.T) {
	h := newHost(t)
	stdout, stderr, code := h.verb("sample", strconv.Itoa(int(200*time.Millisecond)), "2")
	events := decode(t, stdout)
	if code != exitDone || len(events) != 3 || events[0].Start == nil || events[1].Sample == nil {
		t.Fatalf("exit %d: %s\n%s", code, stdout, stderr)
	}
	if e := events[1].Sample.Elapsed + events[2].Sample.Elapsed; e != time.Duration(events[2].T) || e < 400*time.Millisecond {
		t.Errorf("the two samples stand for %v of %v", e, time.Duration(events[2].T))
	}
	if b, _ := json.Marshal(events[1].Sample); events[1].Sample.MemUsedMB == 0 || events[1].Sample.Procs == 0 {
		t.Errorf("sample %s", b)
	}
	if entries, err := os.ReadDir(h.home); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v %v", entries, err)
	}
	for _, args := range [][]string{{"sample", "5", "1"}, {"sample", "x", "1"}, {"sample", "1000000000"}} {
		if _, _, code := h.verb(args...); code != exitUsage {
			t.Errorf("%v: exit %d", args, code)
		}
	}
	s := h.follow(h.command("sample", strconv.Itoa(int(time.Minute)), "0"))
	s.until(wire.KindStart)
	s.out.Close()
	done := make(chan error, 1)
	go func() { done <- s.cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Error("goes on though nobody reads")
	}
}
