package report

import (
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// slowRun is a record of one phase with a target of 300 s that began at 10 s.
func slowRun() *HostRecord {
	r := NewHostRecord(testRun, "web1", Limits{})
	r.Apply(&wire.Event{N: 1, Kind: wire.KindStart, Start: &wire.Start{Phases: []wire.PhaseHead{{ID: "p", Target: wire.Target{Standard: 300 * time.Second}}}}})
	r.Apply(&wire.Event{N: 2, Kind: wire.KindPhase, T: int64(10 * time.Second), Phase: "p"})
	return r
}

func phaseEnds(r *HostRecord, at time.Duration) {
	r.Apply(&wire.Event{N: 3, Kind: wire.KindPhaseEnd, T: int64(at), Phase: "p", PhaseEnd: &wire.PhaseEnd{Status: wire.OK}})
}

// A phase is warned of once, live, at 150 % to the nanosecond; the record says in
// the end how long it took, and is the same whether somebody watched or not.
func TestOverdue(t *testing.T) {
	const end = 10 * time.Second
	for _, c := range []struct {
		took  time.Duration
		line  string // empty: none
		level string
	}{
		{449_999_999_999, "", ""},
		{450 * time.Second, "Phase 'p' exceeded expected duration: 450s vs 300s (150%)", LevelWarn},
		{540 * time.Second, "Phase 'p' exceeded expected duration: 540s vs 300s (180%)", LevelWarn},
		{599_999_999_999, "Phase 'p' exceeded expected duration: 599s vs 300s (199%)", LevelWarn},
		{600 * time.Second, "Phase 'p' exceeded expected duration: 600s vs 300s (200%)", LevelError},
	} {
		watched, alone := slowRun(), slowRun()
		for at := end; at < end+c.took; at += time.Second {
			watched.Overdue(at)
		}
		phaseEnds(watched, end+c.took)
		phaseEnds(alone, end+c.took)
		for name, r := range map[string]*HostRecord{"watched": watched, "alone": alone} {
			switch {
			case c.line == "" && len(r.Alerts) == 0:
			case c.line == "" || len(r.Alerts) != 1:
				t.Errorf("%v, %s: alerts %+v", c.took, name, r.Alerts)
			case r.Alerts[0].Message != c.line || r.Alerts[0].Level != c.level || r.Alerts[0].At != end+450*time.Second:
				t.Errorf("%v, %s: %+v", c.took, name, r.Alerts[0])
			}
		}
	}
}

// Live the line says 450 s, whenever it was looked at.
func TestOverdueLive(t *testing.T) {
	r := slowRun()
	r.Overdue(10*time.Second + 449*time.Second)
	if len(r.Alerts) != 0 {
		t.Fatalf("too early: %+v", r.Alerts)
	}
	r.Overdue(10*time.Second + 463*time.Second)
	if len(r.Alerts) != 1 || r.Alerts[0].Line() != "[WARN] Phase 'p' exceeded expected duration: 450s vs 300s (150%)" {
		t.Fatalf("alerts %+v", r.Alerts)
	}
}

// A warning that turns out to be wrong, because this machine's clock ran ahead,
// goes, and the others stay what they are.
func TestOverdueWithdrawn(t *testing.T) {
	r := slowRun()
	low := &wire.Sample{Elapsed: time.Second, MemAvailMB: 400, DiskAvailMB: 99999}
	r.Overdue(10*time.Second + 455*time.Second)
	r.Apply(&wire.Event{N: 3, Kind: wire.KindSample, T: int64(400 * time.Second), Sample: low})
	phaseEnds(r, 10*time.Second+440*time.Second)
	r.Apply(&wire.Event{N: 4, Kind: wire.KindSample, T: int64(460 * time.Second), Sample: low})
	if len(r.Alerts) != 1 || r.Alerts[0].Type != AlertMemory || r.Alerts[0].Samples != 2 {
		t.Errorf("alerts %+v", r.Alerts)
	}
}

// The comparison is strict; a host's own limits count, and a negative one is none.
func TestBrokenLimits(t *testing.T) {
	fine := wire.Sample{MemAvailMB: 500, DiskAvailMB: 5120, CPUPct: 95}
	bad := wire.Sample{MemAvailMB: 499, DiskAvailMB: 5119, CPUPct: 95.1}
	for _, c := range []struct {
		l    Limits
		s    wire.Sample
		want int
	}{
		{Limits{}, fine, 0}, {Limits{}, bad, 3},
		{Limits{MemoryMB: 501, DiskMB: 5121, CPUPct: 94.9}, fine, 3},
		{Limits{MemoryMB: -1, DiskMB: -1, CPUPct: -1}, bad, 0},
	} {
		if got := c.l.Broken(&c.s); len(got) != c.want {
			t.Errorf("%+v of %+v: %v, want %d", c.l, c.s, got, c.want)
		}
	}
}
