package report

import (
	"time"
)

// ProvisionDoc is what `provision -o json` prints.
type ProvisionDoc struct {
	Schema      int             `json:"schema"`
	RunID       string          `json:"run_id"`
	Status      string          `json:"status"`
	ExitCode    int             `json:"exit_code"`
	Started     time.Time       `json:"started"`
	DurationSec float64         `json:"duration_sec"`
	Hosts       []ProvisionHost `json:"hosts"`
	// Rollback is the run that undid this one where it failed.
	Rollback *ProvisionDoc `json:"rollback,omitempty"`
}

// ProvisionHost is one host of it. The counts are of steps.
type ProvisionHost struct {
	Host        string           `json:"host"`
	Status      string           `json:"status"`
	ExitCode    int              `json:"exit_code"`
	DurationSec float64          `json:"duration_sec"`
	Changed     int              `json:"changed"`
	OK          int              `json:"ok"`
	Failed      int              `json:"failed"`
	Phases      []ProvisionPhase `json:"phases"`
	Alerts      []PerfAlert      `json:"alerts"`
	Error       *ProvisionError  `json:"error"`
}

// ProvisionPhase is one phase. Figures are null where they were not taken.
type ProvisionPhase struct {
	ID           string   `json:"id"`
	Title        string   `json:"title"`
	Status       string   `json:"status"`
	DurationSec  float64  `json:"duration_sec"`
	TargetSec    float64  `json:"target_sec"`
	VariancePct  *float64 `json:"variance_pct"`
	Changed      int      `json:"changed"`
	CPUSec       *float64 `json:"cpu_sec"`
	PeakMemoryMB *float64 `json:"peak_memory_mb"`
	DiskMB       *float64 `json:"disk_mb"` // read and written
	NetMB        *float64 `json:"net_mb"`  // received and sent
}

// ProvisionError is why a host did not get to its end.
type ProvisionError struct {
	Stage   string `json:"stage"`
	Message string `json:"message"`
	Hint    string `json:"hint"`
}

// Provision makes the document of a run; code makes an exit code of an outcome.
func Provision(r *Report, code func(Outcome) int) ProvisionDoc {
	doc := ProvisionDoc{Schema: Schema, RunID: r.Run.ID, Status: word(r.Verdict.Status), ExitCode: code(r.Verdict.Outcome),
		Started: r.Run.Started.UTC().Truncate(time.Millisecond), DurationSec: secs(r.Duration()), Hosts: []ProvisionHost{}}
	for i := range r.Hosts {
		doc.Hosts = append(doc.Hosts, provisionHost(&r.Hosts[i], code))
	}
	return doc
}

// JSON is the document's text.
func (d ProvisionDoc) JSON() ([]byte, error) { return marshal(d) }

func provisionHost(h *HostReport, code func(Outcome) int) ProvisionHost {
	rec := h.Record
	out := ProvisionHost{Host: h.Host.Host, Status: word(h.Verdict.Status), ExitCode: code(h.Verdict.Outcome),
		DurationSec: secs(rec.Duration()), Phases: []ProvisionPhase{}, Alerts: rec.perfAlerts().Items}
	out.OK, out.Changed, out.Failed, _ = rec.Counts()
	for i := range rec.Phases {
		out.Phases = append(out.Phases, provisionPhase(&rec.Phases[i]))
	}
	if e := h.Verdict.Error; e != nil {
		out.Error = &ProvisionError{Stage: e.Stage, Message: e.Message, Hint: e.Hint}
	}
	return out
}

func provisionPhase(p *PhaseRecord) ProvisionPhase {
	out := ProvisionPhase{ID: p.ID, Title: p.Title, Status: p.word(), DurationSec: secs(p.Duration()), TargetSec: secs(p.Target), Changed: p.Changed}
	if v, ok := p.Variance(); ok {
		shown := ceil1(v)
		out.VariancePct = &shown
	}
	if c := p.Cost; c != nil {
		cpu, mem, disk, net := round3(c.CPUSec), round3(c.PeakMemoryMB), round3(c.DiskReadMB+c.DiskWriteMB), round3(c.NetRxMB+c.NetTxMB)
		out.CPUSec, out.PeakMemoryMB, out.DiskMB, out.NetMB = &cpu, &mem, &disk, &net
	}
	return out
}
