// Package report keeps what came back from hosts and tells it: the record of
// runs on this machine, the fold that turns a host's events into a HostRecord,
// the grading of it, and the writers. A record is only ever added to, and every
// report is a pure function of records.
package report

import (
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// HostRecord is what the events of one host's run amount to. It is made by
// NewHostRecord and filled by Apply; half a journal makes half a record. All
// text in it is clean (see Clean). Host and RunID are the laptop's knowledge,
// not the host's claim. Durations from Begin, End and At are since Start.Wall.
type HostRecord struct {
	Host      string
	RunID     string
	Limits    Limits
	Start     *wire.Start   // nil until it has been seen
	Refused   *wire.Refused // no run was begun
	Phases    []PhaseRecord // in the plan's order
	Samples   Samples
	Curves    Curves
	Alerts    []Alert
	Waits     []Wait
	Fetched   []Fetched
	Guards    []Guard
	Notes     []Note
	Undo      []Undo
	Installed []Package     // packages set up, with their versions
	Created   []string      // things that were not there before: "user devuser"
	Cancel    *Note         // cancel was asked for
	End       *wire.End     // nil while the run goes on, or when it was never seen to end
	EndAt     time.Duration // of End
	LastAt    time.Duration // of the latest event of any kind
	Output    int64         // bytes of output
	Events    int64         // all that were folded
	Strange   int64         // of unknown kind, or about what the plan does not have
	Dropped   int64         // notes, waits, alerts over the bound of their list

	squeezes []squeezed // samples that can explain a delay
	phases   map[string]int
	steps    map[string][2]int
}

// Limits of alerts; zero values are the defaults, negative ones turn an alert off.
type Limits struct {
	MemoryMB int     `json:"memory_mb,omitempty"` // MiB available
	DiskMB   int     `json:"disk_mb,omitempty"`   // MiB available
	CPUPct   float64 `json:"cpu_pct,omitempty"`
}

// PhaseRecord is one phase of the plan. Status is empty while it has not ended.
type PhaseRecord struct {
	ID      string
	Title   string
	Targets wire.Target
	Target  time.Duration // by the host's tier; 0 = none
	Status  wire.Status
	Reason  string
	Begun   bool
	Ended   bool
	Begin   time.Duration
	End     time.Duration
	OK      int // steps
	Changed int
	Failed  int
	Skipped int
	Cost    *wire.Figures // nil until the phase has ended
	Steps   []StepRecord

	warned int // 1 + the index of its alert
}

// Duration of a phase that ran to its end, else 0.
func (p *PhaseRecord) Duration() time.Duration {
	if !p.Begun || !p.Ended {
		return 0
	}
	return p.End - p.Begin
}

// Variance from the target in percent, positive = slower; ok is false without
// a target or a duration.
func (p *PhaseRecord) Variance() (pct float64, ok bool) {
	if p.Target <= 0 || !p.Begun || !p.Ended {
		return 0, false
	}
	return wire.Variance(p.Duration(), p.Target), true
}

// class grades the variance; empty for a phase that did not do all it was to do.
func (p *PhaseRecord) class() string {
	v, ok := p.Variance()
	if !ok || !p.complete() {
		return ""
	}
	return VarianceClass(v)
}

// complete tells whether the phase did all it was to do, so that its duration
// says something.
func (p *PhaseRecord) complete() bool {
	return p.Begun && p.Ended && (p.Status == wire.OK || p.Status == wire.Changed)
}

// StepRecord is one step of a phase.
type StepRecord struct {
	ID       string // phase/name
	Name     string
	Status   wire.Status
	Begun    bool
	Ended    bool
	Begin    time.Duration
	End      time.Duration
	Reason   string
	RC       *int
	Stderr   string // last lines of a failed step
	Hint     string
	Optional bool
	Critical bool
	Created  string
	Attempts int
	TimedOut bool
	Undo     int         // undo entries written before it acted
	Found    *wire.Found // of a look at it
}

// Duration of a step that ended, else 0.
func (s *StepRecord) Duration() time.Duration {
	if !s.Begun || !s.Ended {
		return 0
	}
	return s.End - s.Begin
}

// Wait is a time in which a step waited for somebody else.
type Wait struct {
	Step   string
	For    string
	Holder string
	Begin  time.Duration
	End    time.Duration
	Done   bool
}

// Guard is a change that needed a confirmation through a new connection.
type Guard struct {
	Step    string
	Login   string
	Window  time.Duration
	Outcome string // empty while awaited, else confirmed, reverted, unconfirmed
	Reason  string
	Begin   time.Duration
	End     time.Duration
}

// Note is a line for people.
type Note struct {
	At    time.Duration
	Step  string
	Level string
	Text  string
	Hint  string
}

// Undo says how a change can be taken back; the content for it is on the host.
type Undo struct {
	Step string
	Kind string
	What string
	Hash string
}

// NewHostRecord is the empty record of a host in a run.
func NewHostRecord(runID, host string, l Limits) *HostRecord {
	return &HostRecord{RunID: runID, Host: host, Limits: l}
}

// Wall is the host's wall time at t; zero when the journal's start is missing
// or no calendar can say it.
func (r *HostRecord) Wall(t time.Duration) time.Time {
	if r.Start == nil {
		return time.Time{}
	}
	w := r.Start.Wall.Add(t).UTC()
	if y := w.Year(); y < 1 || y > 9999 {
		return time.Time{}
	}
	return w
}

// Duration of the run so far: to its End, else to the latest event.
func (r *HostRecord) Duration() time.Duration {
	if r.End != nil {
		return r.EndAt
	}
	return r.LastAt
}

// Counts of steps over all phases, by what became of them.
func (r *HostRecord) Counts() (ok, changed, failed, skipped int) {
	for i := range r.Phases {
		p := &r.Phases[i]
		ok, changed, failed, skipped = ok+p.OK, changed+p.Changed, failed+p.Failed, skipped+p.Skipped
	}
	return ok, changed, failed, skipped
}

// Facts of the host; zero until Start was seen.
func (r *HostRecord) Facts() wire.Facts {
	if r.Start == nil {
		return wire.Facts{}
	}
	return r.Start.Facts
}
