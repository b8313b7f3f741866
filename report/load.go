package report

import (
	"errors"
	"path/filepath"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// Report is a run with the records of its hosts and the verdict on it: what
// every writer of this package writes from.
type Report struct {
	Run     Run
	Dir     string // of the record
	Hosts   []HostReport
	Verdict Verdict
}

// HostReport is one host of a Report, in the order of Run.Hosts.
type HostReport struct {
	Host    HostRun
	Record  *HostRecord
	Verdict HostVerdict
	Dir     string
	Problem string // what of its record could not be read
}

// NewReport judges a run by the records of its hosts (in their order; nil where
// there is none).
func NewReport(run Run, dir string, recs []*HostRecord) *Report {
	r := &Report{Run: run, Dir: dir, Verdict: Judge(&run, recs)}
	for i, h := range run.Hosts {
		hr := HostReport{Host: h, Verdict: r.Verdict.Hosts[i], Dir: filepath.Join(dir, h.Host)}
		if i < len(recs) {
			hr.Record = recs[i]
		}
		if hr.Record == nil {
			hr.Record = NewHostRecord(run.ID, h.Host, h.Limits)
		}
		r.Hosts = append(r.Hosts, hr)
	}
	return r
}

// Load makes the report of what is recorded. Records that cannot be read to
// their end are reported as far as they go, with the problem named.
func (d *RunDir) Load() *Report {
	run := d.Run()
	recs := make([]*HostRecord, len(run.Hosts))
	problems := make([]string, len(run.Hosts))
	for i, h := range run.Hosts {
		var err error
		if recs[i], err = d.Record(h.Host); err != nil {
			problems[i] = cleanLine(err.Error())
		}
	}
	r := NewReport(run, d.dir, recs)
	for i := range r.Hosts {
		r.Hosts[i].Problem = problems[i]
	}
	return r
}

// Finish notes that this vpsctl is done with the run, judges it and writes the
// verdict into run.json. code makes an exit code of an outcome. The report is
// there also when run.json could not be written.
func (d *RunDir) Finish(now time.Time, code func(Outcome) int) (*Report, error) {
	d.mu.Lock()
	d.run.Finished = now.UTC()
	d.mu.Unlock()
	r := d.Load()
	err := d.Update(func(run *Run) {
		run.judged(r.Verdict, code)
		r.Run = run.clone()
	})
	for i := range r.Hosts {
		r.Hosts[i].Host = r.Run.Hosts[i]
	}
	return r, err
}

// judged writes a verdict into the run.
func (run *Run) judged(v Verdict, code func(Outcome) int) {
	exit := code(v.Outcome)
	run.Status, run.Outcome, run.ExitCode = v.Status, v.Outcome, &exit
	for i, h := range v.Hosts {
		exit := code(h.Outcome)
		at := &run.Hosts[i]
		at.Status, at.Outcome, at.ExitCode = h.Status, h.Outcome, &exit
		if h.Error != nil {
			at.Error = h.Error
		}
	}
}

// Duration of the run as this machine saw it; while it goes on, as far as its
// hosts have come.
func (r *Report) Duration() time.Duration {
	if !r.Run.Finished.IsZero() {
		return r.Run.Finished.Sub(r.Run.Started)
	}
	var longest time.Duration
	for _, h := range r.Hosts {
		longest = max(longest, h.Record.Duration())
	}
	return longest
}

// Host is the part of a host.
func (r *Report) Host(name string) (*HostReport, error) {
	for i := range r.Hosts {
		if r.Hosts[i].Host.Host == name {
			return &r.Hosts[i], nil
		}
	}
	return nil, errors.New("run " + r.Run.ID + ": no host " + cleanLine(name))
}

// running is the word for what has no status yet.
const running = "running"

func word(s wire.Status) string {
	if s == "" {
		return running
	}
	return string(s)
}

// Word of a phase: its status, or what stands for it while it has none.
func (p *PhaseRecord) word() string {
	switch {
	case p.Status != "":
		return string(p.Status)
	case p.Begun:
		return running
	}
	return string(wire.NotReached)
}

func (s *StepRecord) word() string {
	switch {
	case s.Status != "":
		return string(s.Status)
	case s.Begun:
		return running
	}
	return string(wire.NotReached)
}
