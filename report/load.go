package report

import (
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
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

	Regression *PerfRegression // nil: no earlier run did the same
}

// Performance is the host's performance-report.json.
func (h *HostReport) Performance() PerformanceReport {
	p := Performance(h.Record)
	p.Regression = h.Regression
	return p
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
	each(len(run.Hosts), func(i int) {
		var err error
		if recs[i], err = d.Record(run.Hosts[i].Host); err != nil {
			problems[i] = cleanLine(err.Error())
		}
	})
	r := NewReport(run, d.dir, recs)
	each(len(r.Hosts), func(i int) {
		h := &r.Hosts[i]
		h.Problem = problems[i]
		if p := Performance(h.Record); run.Verb == provisionVerb {
			h.Regression = d.store.previous(&p)
		}
	})
	return r
}

// Rejudge makes a report anew whose records are read, after run.json has changed.
func (d *RunDir) Rejudge(was *Report) *Report {
	recs := make([]*HostRecord, len(was.Hosts))
	for i := range was.Hosts {
		recs[i] = was.Hosts[i].Record
	}
	r := NewReport(d.Run(), d.dir, recs)
	for i := range r.Hosts {
		r.Hosts[i].Problem, r.Hosts[i].Regression = was.Hosts[i].Problem, was.Hosts[i].Regression
	}
	return r
}

// each does something for 0 to n-1, on all processors at once, and waits.
func each(n int, do func(i int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	all.Wait()
}

// Duration of the run as this machine saw it; while it goes on, as far as its
// hosts have come.
func (r *Report) Duration() time.Duration {
	if !r.Run.Finished.IsZero() {
		return r.Run.took()
	}
	var longest time.Duration
	for _, h := range r.Hosts {
		longest = max(longest, h.Record.Duration())
	}
	return longest
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
