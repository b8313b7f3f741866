package report

import (
	"encoding/json"
	"io"
	"os"
	"slices"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// PerfRegression sets a run against the latest earlier one that did the same on
// the same host. Detected: something took over 20 % longer than then.
type PerfRegression struct {
	Against  string       `json:"against"` // run id
	At       string       `json:"at"`      // its end
	Detected bool         `json:"detected"`
	Total    PerfChange   `json:"total"`
	Phases   []PerfChange `json:"phases"`
}

// PerfChange is one duration against the earlier one. Without a class the two
// cannot be compared, for the reason given.
type PerfChange struct {
	Name      string   `json:"name"`
	NowSec    float64  `json:"now_sec"`
	BeforeSec float64  `json:"before_sec"`
	ChangePct *float64 `json:"change_pct"` // positive = slower
	Class     string   `json:"class"`      // improved, acceptable, warning, critical
	Reason    string   `json:"reason,omitempty"`
}

// Bounds of the search for an earlier run.
const (
	lookBack      = 200 // runs
	maxReportFile = 8 << 20
)

// Compare sets a report against an earlier one of the same host.
func Compare(now, before *PerformanceReport) *PerfRegression {
	r := &PerfRegression{Against: before.RunID, At: before.Timestamp, Phases: []PerfChange{},
		Total: change("total", now.Summary.TotalDurationSec, before.Summary.TotalDurationSec)}
	if !finished(now) {
		r.Total = PerfChange{Name: "total", NowSec: r.Total.NowSec, BeforeSec: r.Total.BeforeSec, Reason: "this run did not do all it was to do"}
	}
	for i := range now.Phases {
		for j := range before.Phases {
			if now.Phases[i].Name == before.Phases[j].Name {
				r.Phases = append(r.Phases, phaseChange(&now.Phases[i], &before.Phases[j]))
				break
			}
		}
	}
	slow := func(c PerfChange) bool { return c.Class == "warning" || c.Class == "critical" }
	r.Detected = slow(r.Total) || slices.ContainsFunc(r.Phases, slow)
	return r
}

func phaseChange(now, before *PerfPhase) PerfChange {
	c := PerfChange{Name: now.Name, NowSec: now.DurationSec, BeforeSec: before.DurationSec}
	did := func(p *PerfPhase) bool { return p.Status == string(wire.OK) || p.Status == string(wire.Changed) }
	switch {
	case !did(now) || !did(before):
		c.Reason = "it did not run to its end both times"
	case (now.Changed > 0) != (before.Changed > 0):
		c.Reason = "it had nothing to do one of the two times"
	default:
		return change(c.Name, c.NowSec, c.BeforeSec)
	}
	return c
}

// change grades two durations in seconds. Differences too short to mean
// anything are no regression, however large in percent.
func change(name string, now, before float64) PerfChange {
	c := PerfChange{Name: name, NowSec: now, BeforeSec: before}
	d := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	pct, ok := Slowdown(d(now), d(before))
	if !ok {
		c.Reason = "there is no duration to compare with"
		return c
	}
	shown := ceil1(pct)
	c.ChangePct, c.Class = &shown, RegressionClass(pct)
	if slower := d(now) - d(before); slower > 0 && slower < noticeable && c.Class != "acceptable" {
		c.Class, c.Reason = "acceptable", "less than a second"
	}
	return c
}

// noticeable is the least slowness in seconds that is called a regression: what
// takes milliseconds takes twice as many now and then.
const noticeable = time.Second

func finished(p *PerformanceReport) bool {
	return p.Status == string(wire.OK) || p.Status == string(wire.Changed)
}

// comparable tells whether an earlier report is of the same work: the same
// phases on a host of the same size, and something to do both times or neither.
func comparable(now, before *PerformanceReport) bool {
	if !finished(before) || before.Hardware.Tier != now.Hardware.Tier ||
		(before.Summary.TargetRule == "rerun") != (now.Summary.TargetRule == "rerun") || len(now.Phases) != len(before.Phases) {
		return false
	}
	names := func(p *PerformanceReport) []string {
		var list []string
		for _, ph := range p.Phases {
			list = append(list, ph.Name)
		}
		slices.Sort(list)
		return list
	}
	return slices.Equal(names(now), names(before))
}

// previous finds the latest earlier provision of the same host that did the
// same, and sets the report against it; nil when there is none. Records that
// cannot be read are passed over: they compare with nothing.
func (s Store) previous(now *PerformanceReport) *PerfRegression {
	if now.Hardware.Tier == "" || len(now.Phases) == 0 {
		return nil
	}
	root, err := s.root()
	if err != nil {
		return nil
	}
	defer root.Close()
	ids, err := runNames(root)
	if err != nil {
		return nil
	}
	tries := 0
	for _, id := range ids { // newest first
		if id >= now.RunID {
			continue
		}
		if tries++; tries > lookBack {
			return nil
		}
		if before := readReport(root, id, now.Host); before != nil && comparable(now, before) && isProvision(root, id) {
			return Compare(now, before)
		}
	}
	return nil
}

// provisionVerb makes the runs that are compared.
const provisionVerb = "provision"

func isProvision(root *os.Root, id string) bool {
	own, err := root.OpenRoot(id)
	if err != nil {
		return false
	}
	defer own.Close()
	run, err := readRun(own, id, id)
	return err == nil && run.Verb == provisionVerb
}

// readReport reads the performance-report.json of a host of a run.
func readReport(root *os.Root, id, host string) *PerformanceReport {
	f, err := root.Open(id + "/" + host + "/" + reportFile)
	if err != nil {
		return nil
	}
	defer f.Close()
	var p PerformanceReport
	if err := json.NewDecoder(io.LimitReader(f, maxReportFile)).Decode(&p); err != nil || p.RunID != id {
		return nil
	}
	return &p
}
