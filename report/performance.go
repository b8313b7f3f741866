package report

import (
	"math"
	"strconv"
	"time"
)

// PerformanceReport is performance-report.json.
type PerformanceReport struct {
	Schema        int             `json:"schema"`
	Timestamp     string          `json:"timestamp"` // of the run's end, the host's clock
	RunID         string          `json:"run_id"`
	Host          string          `json:"host"`
	Status        string          `json:"status"` // a status word, or running
	Hardware      PerfHardware    `json:"hardware"`
	Summary       PerfSummary     `json:"summary"`
	Phases        []PerfPhase     `json:"phases"`
	ResourceUsage *PerfResources  `json:"resource_usage"` // null without samples
	Alerts        PerfAlerts      `json:"alerts"`
	Waits         []PerfWait      `json:"waits"`
	Regression    *PerfRegression `json:"regression"` // null: there is no earlier run that did the same
	DataFiles     PerfFiles       `json:"data_files"`
}

// PerfHardware is the host, as far as grading depends on it.
type PerfHardware struct {
	CPUCores int    `json:"cpu_cores"`
	RAMMB    int    `json:"ram_mb"`
	Tier     string `json:"tier"`
	CPUModel string `json:"cpu_model"`
	Arch     string `json:"arch"`
	OS       string `json:"os"`
	Kernel   string `json:"kernel"`
	Virt     string `json:"virt"`
}

// PerfSummary is the run as a whole. The score is null with a reason where
// there is nothing to grade.
type PerfSummary struct {
	TotalDurationSec    float64  `json:"total_duration_sec"`  // first phase's begin to last phase's end
	PhasesDurationSec   float64  `json:"phases_duration_sec"` // sum of the phases
	TargetDurationSec   float64  `json:"target_duration_sec"`
	TargetRule          string   `json:"target_rule"` // full, rerun, partial
	PerformanceScore    *float64 `json:"performance_score"`
	PerformanceScoreRaw *float64 `json:"performance_score_raw"`
	ScoreClass          string   `json:"score_class"`
	ScoreReason         string   `json:"score_reason,omitempty"`
	PhasesCompleted     int      `json:"phases_completed"`
	PhasesTotal         int      `json:"phases_total"`
	ParallelSavedSec    float64  `json:"parallel_saved_sec"`
	OK                  int      `json:"ok"`
	Changed             int      `json:"changed"`
	Failed              int      `json:"failed"`
	Skipped             int      `json:"skipped"`
}

// PerfPhase is one phase. Start and End are empty when it never began.
type PerfPhase struct {
	Name        string     `json:"name"`
	Title       string     `json:"title"`
	Status      string     `json:"status"`
	Reason      string     `json:"reason,omitempty"`
	Start       string     `json:"start"`
	End         string     `json:"end"`
	DurationSec float64    `json:"duration_sec"`
	TargetSec   float64    `json:"target_sec"`
	VariancePct *float64   `json:"variance_pct"`
	Class       string     `json:"class"`
	SuspectFast bool       `json:"suspect_fast,omitempty"` // changed things in under a fifth of its target
	OK          int        `json:"ok"`
	Changed     int        `json:"changed"`
	Failed      int        `json:"failed"`
	Skipped     int        `json:"skipped"`
	Cost        *PerfCost  `json:"cost"`
	Steps       []PerfStep `json:"steps"`
}

// PerfCost is what a phase used, and how that was measured.
type PerfCost struct {
	CPUSec       float64 `json:"cpu_sec"`
	CPUMethod    string  `json:"cpu_method"`
	PeakMemoryMB float64 `json:"peak_memory_mb"`
	AvgMemoryMB  float64 `json:"avg_memory_mb,omitempty"` // mean of the samples in the phase; absent without any
	MemoryMethod string  `json:"memory_method"`
	DiskReadMB   float64 `json:"disk_read_mb"`
	DiskWriteMB  float64 `json:"disk_write_mb"`
	DiskMethod   string  `json:"disk_method"`
	NetRxMB      float64 `json:"net_rx_mb"`
	NetTxMB      float64 `json:"net_tx_mb"`
	NetShared    bool    `json:"net_shared"`
	WaitSec      float64 `json:"wait_sec"`
}

// PerfStep is one step.
type PerfStep struct {
	Name        string  `json:"name"`
	Status      string  `json:"status"`
	DurationSec float64 `json:"duration_sec"`
	Reason      string  `json:"reason,omitempty"`
	RC          *int    `json:"rc,omitempty"`
}

// PerfResources sums up the samples. cpu_class grades the 95th percentile,
// memory_class the peak, disk_class the minimum.
type PerfResources struct {
	Samples          int     `json:"samples"`
	CPUAvg           float64 `json:"cpu_avg_percent"`
	CPUP95           float64 `json:"cpu_p95_percent"`
	CPUPeak          float64 `json:"cpu_peak_percent"`
	CPUClass         string  `json:"cpu_class"`
	CPUAvgClass      string  `json:"cpu_avg_class"`
	MemoryAvgMB      float64 `json:"memory_avg_mb"`
	MemoryPeakMB     int     `json:"memory_peak_mb"`
	MemoryClass      string  `json:"memory_class"`
	MemoryAvgClass   string  `json:"memory_avg_class"`
	MemoryClassBasis string  `json:"memory_class_basis"` // guide: as for 4 GB; scaled: by this host's memory
	MemoryClassGuide string  `json:"memory_class_guide"`
	DiskMinAvailMB   int     `json:"disk_min_avail_mb"`
	DiskClass        string  `json:"disk_class"`
	LoadPeak         float64 `json:"load_peak"`
	SwapPeakMB       int     `json:"swap_peak_mb"`
}

// PerfAlerts are the alerts that were raised.
type PerfAlerts struct {
	Count  int            `json:"count"`
	ByType map[string]int `json:"by_type"`
	Items  []PerfAlert    `json:"items"`
}

// PerfAlert is one alert; Samples were over the limit while it stood.
type PerfAlert struct {
	Type    string  `json:"type"`
	Level   string  `json:"level"` // warn, error
	At      string  `json:"at"`
	Phase   string  `json:"phase,omitempty"`
	Value   float64 `json:"value"`
	Limit   float64 `json:"limit"`
	Samples int     `json:"samples"`
	Message string  `json:"message"`
}

// PerfWait is a time somebody else was waited for.
type PerfWait struct {
	Step   string  `json:"step"`
	For    string  `json:"for"`
	Holder string  `json:"holder,omitempty"`
	Sec    float64 `json:"sec"`
}

// PerfFiles are the files the report was made of, beside it.
type PerfFiles struct {
	Resources string `json:"resources"`
	Timing    string `json:"timing"`
}

// Performance makes the report of a record, complete or not.
func Performance(r *HostRecord) PerformanceReport {
	f := r.Facts()
	p := PerformanceReport{Schema: Schema, Timestamp: r.stamp(r.Duration()), RunID: r.RunID, Host: r.Host, Status: running,
		Hardware: PerfHardware{CPUCores: f.Cores, RAMMB: f.MemoryMB, Tier: TierOf(f).Name, CPUModel: f.CPUModel,
			Arch: f.Arch, OS: f.OSName, Kernel: f.Kernel, Virt: f.Virt},
		Summary: r.summary(), Phases: []PerfPhase{}, ResourceUsage: r.resources(), Alerts: r.perfAlerts(), Waits: []PerfWait{},
		DataFiles: PerfFiles{Resources: resourcesFile, Timing: timingFile}}
	if r.End != nil {
		p.Status = string(r.End.Status)
	}
	for i := range r.Phases {
		p.Phases = append(p.Phases, r.perfPhase(&r.Phases[i]))
	}
	for _, w := range r.Waits {
		p.Waits = append(p.Waits, PerfWait{Step: w.Step, For: w.For, Holder: w.Holder, Sec: secs(w.End - w.Begin)})
	}
	return p
}

// JSON is the report as a document.
func (p PerformanceReport) JSON() ([]byte, error) { return marshal(p) }

func (r *HostRecord) perfPhase(p *PhaseRecord) PerfPhase {
	out := PerfPhase{Name: p.ID, Title: p.Title, Status: p.word(), Reason: p.Reason, DurationSec: secs(p.Duration()),
		TargetSec: secs(p.Target), OK: p.OK, Changed: p.Changed, Failed: p.Failed, Skipped: p.Skipped, Steps: []PerfStep{}}
	if p.Begun {
		out.Start = r.stamp(p.Begin)
	}
	if p.Begun && p.Ended {
		out.End = r.stamp(p.End)
	}
	if v, ok := p.Variance(); ok {
		shown := ceil1(v)
		out.VariancePct, out.Class = &shown, p.class()
		out.SuspectFast = v < suspectFastPct && p.Changed > 0 && p.complete()
	}
	if c := p.Cost; c != nil {
		out.Cost = &PerfCost{round3(c.CPUSec), c.CPUMethod, round3(c.PeakMemoryMB), round3(c.AvgMemoryMB), c.MemoryMethod, round3(c.DiskReadMB), round3(c.DiskWriteMB),
			c.DiskMethod, round3(c.NetRxMB), round3(c.NetTxMB), c.NetShared, round3(c.WaitSec)}
	}
	for i := range p.Steps {
		s := &p.Steps[i]
		out.Steps = append(out.Steps, PerfStep{Name: s.Name, Status: s.word(), DurationSec: secs(s.Duration()), Reason: s.Reason, RC: s.RC})
	}
	return out
}

func (r *HostRecord) resources() *PerfResources {
	s := &r.Samples
	if s.Count == 0 {
		return nil
	}
	total := r.Facts().MemoryMB
	memory, basis := MemoryClass, "guide"
	if total > 0 && !guideMemory(total) {
		memory, basis = func(mb float64) string { return ScaledMemoryClass(mb, total) }, "scaled"
	}
	return &PerfResources{Samples: s.Count,
		CPUAvg: print1(s.CPUAvg(), CPUClass), CPUP95: print1(s.CPUP95(), CPUClass), CPUPeak: print1(s.CPUPeak, CPUClass),
		CPUClass: CPUClass(s.CPUP95()), CPUAvgClass: CPUClass(s.CPUAvg()),
		MemoryAvgMB: print1(s.MemAvg(), memory), MemoryPeakMB: s.MemPeakMB, MemoryClass: memory(float64(s.MemPeakMB)),
		MemoryAvgClass: memory(s.MemAvg()), MemoryClassBasis: basis, MemoryClassGuide: MemoryClass(float64(s.MemPeakMB)),
		DiskMinAvailMB: s.DiskMinMB, DiskClass: DiskClass(s.DiskMinMB), LoadPeak: s.LoadPeak, SwapPeakMB: s.SwapPeakMB}
}

func (r *HostRecord) perfAlerts() PerfAlerts {
	a := PerfAlerts{Count: len(r.Alerts), ByType: map[string]int{}, Items: []PerfAlert{}}
	for _, x := range r.Alerts {
		a.ByType[x.Type]++
		a.Items = append(a.Items, PerfAlert{Type: x.Type, Level: x.Level, At: r.stamp(x.At), Phase: x.Phase, Value: round3(x.Value),
			Limit: round3(x.Limit), Samples: x.Samples, Message: x.Message})
	}
	return a
}

// stamp is the host's wall time at t, in UTC; empty when there is none.
func (r *HostRecord) stamp(t time.Duration) string {
	w := r.Wall(t)
	if w.IsZero() {
		return ""
	}
	return w.Format("2006-01-02T15:04:05Z")
}

func secs(d time.Duration) float64 { return round3(d.Seconds()) }

func round3(f float64) float64 { return math.Round(f*1000) / 1000 }

func number(f float64) string { return strconv.FormatFloat(round3(f), 'f', -1, 64) }

func itoa(n int) string { return strconv.Itoa(n) }
