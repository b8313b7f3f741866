package report

import (
	"slices"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// The types of alerts.
const (
	AlertMemory = "memory"
	AlertDisk   = "disk"
	AlertCPU    = "cpu"
	AlertPhase  = "phase_duration"
)

// The levels of alerts.
const (
	LevelWarn  = "warn"
	LevelError = "error"
)

// Alert is a limit that was crossed. It is raised by the first sample over the
// limit and again only after three samples in a row were fine; a phase's alert
// comes once, when the phase has used up 150 % of its target, and says in the
// end how long it took.
type Alert struct {
	Type    string
	Level   string // warn; error: a phase took twice its target or more
	At      time.Duration
	Phase   string // of phase_duration
	Value   float64
	Limit   float64
	Message string // without mark
	Samples int    // over the limit since it was raised; 0 of phase_duration
}

// Line is the alert as the screen and the log say it.
func (a Alert) Line() string { return "[WARN] " + a.Message }

// watch is the state of one type of alert.
type watch struct {
	raised bool
	index  int // into Alerts
	clean  int // samples in a row that were fine
}

func (r *HostRecord) check(w *watch, over bool, make func() Alert) {
	switch {
	case !over && w.raised:
		if w.clean++; w.clean >= alertClean {
			w.raised = false
		}
	case over && w.raised:
		w.clean = 0
		if w.index < len(r.Alerts) {
			r.Alerts[w.index].Samples++
		}
	case over:
		*w = watch{raised: true, index: len(r.Alerts)}
		a := make()
		a.Samples = 1
		add(r, &r.Alerts, a)
	}
}

// limit is the value in force: the default for zero, none for a negative one.
func limit[T int | float64](set, standard T) (T, bool) {
	if set == 0 {
		return standard, true
	}
	return set, set > 0
}

// shortest is the shortest sample whose CPU use says something: the one at the
// end of a run that took milliseconds is all the run itself.
const shortest = 500 * time.Millisecond

func (r *HostRecord) alerts(s *wire.Sample, at time.Duration) {
	w := &r.Samples.watches
	if most, on := limit(r.Limits.MemoryMB, AlertMemoryMB); on {
		r.check(&w[0], s.MemAvailMB < most, func() Alert {
			return Alert{Type: AlertMemory, Level: LevelWarn, At: at, Value: float64(s.MemAvailMB), Limit: float64(most), Message: memoryAlert(s.MemAvailMB, most)}
		})
	}
	if most, on := limit(r.Limits.DiskMB, AlertDiskMB); on {
		r.check(&w[1], s.DiskAvailMB < most, func() Alert {
			return Alert{Type: AlertDisk, Level: LevelWarn, At: at, Value: float64(s.DiskAvailMB), Limit: float64(most), Message: diskAlert(s.DiskAvailMB, most)}
		})
	}
	if most, on := limit(r.Limits.CPUPct, AlertCPUPct); on && (s.Elapsed == 0 || s.Elapsed >= shortest) {
		r.check(&w[2], s.CPUPct > most, func() Alert {
			return Alert{Type: AlertCPU, Level: LevelWarn, At: at, Value: s.CPUPct, Limit: most, Message: cpuAlert(s.CPUPct, most)}
		})
	}
}

// Overdue warns about running phases that are over their limit at a time, by the
// host's clock. Events do that by themselves; it is for the time between them,
// and makes no difference to what the record is in the end.
func (r *HostRecord) Overdue(at time.Duration) {
	for i := range r.Phases {
		p := &r.Phases[i]
		if !p.Begun || p.Ended || p.warned != 0 || !overTarget(at-p.Begin, p.Target) {
			continue
		}
		most := warnAfter(p.Target)
		add(r, &r.Alerts, Alert{Type: AlertPhase, Level: LevelWarn, At: p.Begin + most, Phase: p.ID, Value: most.Seconds(),
			Limit: p.Target.Seconds(), Message: phaseAlert(p.ID, most, p.Target)})
		p.warned = len(r.Alerts) // dropped when the list is full: then the entry is another one's
	}
}

// overdueBy has the alert about a phase say how long it took in the end.
func (r *HostRecord) overdueBy(p *PhaseRecord) {
	if p.warned == 0 || r.Alerts[p.warned-1].Phase != p.ID {
		return
	}
	if !overTarget(p.Duration(), p.Target) { // the clock that said so ran ahead of the host's
		r.withdraw(p.warned - 1)
		return
	}
	a := &r.Alerts[p.warned-1]
	a.Value, a.Message = p.Duration().Seconds(), phaseAlert(p.ID, p.Duration(), p.Target)
	if farOverTarget(p.Duration(), p.Target) {
		a.Level = LevelError
	}
}

// withdraw takes an alert out of the list.
func (r *HostRecord) withdraw(i int) {
	r.Alerts = slices.Delete(r.Alerts, i, i+1)
	for k := range r.Samples.watches {
		if w := &r.Samples.watches[k]; w.index > i {
			w.index--
		}
	}
	for k := range r.Phases {
		switch p := &r.Phases[k]; {
		case p.warned == i+1:
			p.warned = 0
		case p.warned > i+1:
			p.warned--
		}
	}
}

// Broken names the limits that a sample breaks: memory, disk, cpu.
func (l Limits) Broken(s *wire.Sample) (types []string) {
	if most, on := limit(l.MemoryMB, AlertMemoryMB); on && s.MemAvailMB < most {
		types = append(types, AlertMemory)
	}
	if most, on := limit(l.DiskMB, AlertDiskMB); on && s.DiskAvailMB < most {
		types = append(types, AlertDisk)
	}
	if most, on := limit(l.CPUPct, AlertCPUPct); on && s.CPUPct > most {
		types = append(types, AlertCPU)
	}
	return types
}
