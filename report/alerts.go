package report

import (
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

// Alert is a limit that was crossed. It is raised by the first sample over the
// limit and again only after three samples in a row were fine; a phase's alert
// comes once, as soon as the phase is known to have used up 150 % of its target.
type Alert struct {
	Type    string
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
			return Alert{Type: AlertMemory, At: at, Value: float64(s.MemAvailMB), Limit: float64(most), Message: memoryAlert(s.MemAvailMB, most)}
		})
	}
	if most, on := limit(r.Limits.DiskMB, AlertDiskMB); on {
		r.check(&w[1], s.DiskAvailMB < most, func() Alert {
			return Alert{Type: AlertDisk, At: at, Value: float64(s.DiskAvailMB), Limit: float64(most), Message: diskAlert(s.DiskAvailMB, most)}
		})
	}
	if most, on := limit(r.Limits.CPUPct, AlertCPUPct); on && (s.Elapsed == 0 || s.Elapsed >= shortest) {
		r.check(&w[2], s.CPUPct > most, func() Alert {
			return Alert{Type: AlertCPU, At: at, Value: s.CPUPct, Limit: most, Message: cpuAlert(s.CPUPct, most)}
		})
	}
}

// overdue warns about running phases that are over their limit by now.
func (r *HostRecord) overdue(at time.Duration) {
	for i := range r.Phases {
		p := &r.Phases[i]
		if !p.Begun || p.Ended || p.warned || !overTarget(at-p.Begin, p.Target) {
			continue
		}
		p.warned = true
		add(r, &r.Alerts, Alert{Type: AlertPhase, At: at, Phase: p.ID, Value: (at - p.Begin).Seconds(),
			Limit: p.Target.Seconds(), Message: phaseAlert(p.ID, at-p.Begin, p.Target)})
	}
}
