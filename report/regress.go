package report

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// Total names the row of a Regression that is the whole run.
const Total = "total"

// Bounds of a comparison.
const (
	maxBaseline  = 20       // runs, the newest ones
	leastChange  = 1.0      // seconds: less is no finding, whatever share it is
	spreadFrom   = 3        // runs that make a spread
	judgeFrom    = 12       // runs that history needs before it can say anything
	screenPct    = 10       // slower than that is looked at again
	maxLookBack  = 500      // runs
	memoryAlike  = 0.05     // share
	reportLimit  = 64 << 20 // bytes of a performance-report.json
	sessionsWant = 8        // runs that confirm a finding
	baselineAge  = 365 * 24 * time.Hour
)

// Regression compares one host's run with earlier ones of the same host.
type Regression struct {
	Host     string          `json:"host"`
	RunID    string          `json:"run_id"`
	Baseline []string        `json:"baseline"` // run ids, newest first
	Unlike   int             `json:"unlike"`   // earlier runs of another machine under this name: not compared
	Rows     []RegressionRow `json:"rows"`
}

// RegressionRow is a phase, or the run as a whole. BaselineSec is the median of
// Runs comparable runs; without any there is no change and no class.
type RegressionRow struct {
	Name        string   `json:"name"`
	CurrentSec  float64  `json:"current_sec"`
	BaselineSec *float64 `json:"baseline_sec"`
	ChangePct   *float64 `json:"change_pct"` // positive = slower
	Runs        int      `json:"runs"`
	Class       string   `json:"class"`     // improved, acceptable, warning, critical; empty: not compared
	Regressed   bool     `json:"regressed"` // by the classes: more than 20 % slower
	Verdict     string   `json:"verdict"`   // by history: OK, INCONCLUSIVE
	Note        string   `json:"note,omitempty"`
}

// Regress compares a run with earlier ones, newest first, by the guide's classes
// and by what history allows to say.
func Regress(current PerformanceReport, earlier []PerformanceReport) Regression {
	out := Regression{Host: current.Host, RunID: current.RunID, Baseline: []string{}, Rows: []RegressionRow{}}
	var alike []PerformanceReport
	for _, e := range earlier {
		switch {
		case !sameMachine(current.Hardware, e.Hardware):
			out.Unlike++
		case len(alike) < maxBaseline:
			alike = append(alike, e)
			out.Baseline = append(out.Baseline, e.RunID)
		}
	}
	if whole(current) {
		out.Rows = append(out.Rows, regressionRow(Total, current.Summary.TotalDurationSec, alike, func(e PerformanceReport) (float64, bool) {
			return e.Summary.TotalDurationSec, whole(e) && sameWork(current, e)
		}))
	}
	for _, p := range current.Phases {
		if did(p) {
			out.Rows = append(out.Rows, regressionRow(p.Name, p.DurationSec, alike, func(e PerformanceReport) (float64, bool) {
				i := slices.IndexFunc(e.Phases, func(q PerfPhase) bool { return q.Name == p.Name })
				return phaseSec(e.Phases, i), i >= 0 && did(e.Phases[i]) && (e.Phases[i].Changed > 0) == (p.Changed > 0)
			}))
		}
	}
	return out
}

func phaseSec(phases []PerfPhase, i int) float64 {
	if i < 0 {
		return 0
	}
	return phases[i].DurationSec
}

// sameMachine tells whether times of the two can be compared at all. Another
// kernel is not another machine.
func sameMachine(a, b PerfHardware) bool {
	alike := math.Abs(float64(a.RAMMB-b.RAMMB)) <= memoryAlike*float64(max(a.RAMMB, b.RAMMB))
	return alike && a.Tier == b.Tier && a.CPUCores == b.CPUCores && a.CPUModel == b.CPUModel && a.Arch == b.Arch && a.Virt == b.Virt
}

// did tells whether a phase did all it was to do, so that its time says something.
func did(p PerfPhase) bool { return p.Status == "ok" || p.Status == "changed" }

func whole(r PerformanceReport) bool {
	return (r.Status == "ok" || r.Status == "changed") && r.Summary.TotalDurationSec > 0
}

// sameWork tells whether two runs had the same phases, and the same ones of them
// found something to do.
func sameWork(a, b PerformanceReport) bool {
	if a.Summary.TargetRule != b.Summary.TargetRule || len(a.Phases) != len(b.Phases) {
		return false
	}
	for i, p := range a.Phases {
		if q := b.Phases[i]; p.Name != q.Name || did(p) != did(q) || (p.Changed > 0) != (q.Changed > 0) {
			return false
		}
	}
	return true
}

func regressionRow(name string, now float64, earlier []PerformanceReport, value func(PerformanceReport) (float64, bool)) RegressionRow {
	row := RegressionRow{Name: name, CurrentSec: now, Verdict: "INCONCLUSIVE"}
	var before []float64
	for _, e := range earlier {
		if v, ok := value(e); ok && v > 0 {
			before = append(before, v)
		}
	}
	row.Runs = len(before)
	if len(before) == 0 {
		row.Note = "no earlier run did the same"
		return row
	}
	slices.Sort(before)
	base := median(before)
	change := 100 * (now - base) / base
	shown := print1(change, RegressionClass)
	row.BaselineSec, row.ChangePct, row.Class = &base, &shown, RegressionClass(change)
	switch {
	case change <= RegressionPct:
	case now-base < leastChange:
		row.Class, row.Note = "acceptable", "less than a second"
	case len(before) >= spreadFrom && now <= before[len(before)-1]:
		row.Class, row.Note = "acceptable", fmt.Sprintf("within the spread of %d runs", len(before))
	default:
		row.Regressed = true
	}
	row.judge(change)
	return row
}

// judge says what history allows to say of one run: that nothing is wrong, or
// that it is slow now. One run alone is never called a regression.
func (row *RegressionRow) judge(change float64) {
	switch {
	case row.Runs < judgeFrom:
		if row.Note == "" {
			row.Note = fmt.Sprintf("%s earlier, %d are needed for a verdict", plural(row.Runs, "run"), judgeFrom)
		}
	case change <= screenPct:
		row.Verdict = "OK"
	case row.Note == "":
		row.Note = fmt.Sprintf("slow now; %d more runs on other days would tell", sessionsWant)
	}
}

func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// Line is the row as the guide writes it.
func (row RegressionRow) Line() string {
	name := "Phase " + row.Name
	if row.Name == Total {
		name = "Total Time"
	}
	if row.ChangePct == nil {
		return fmt.Sprintf("%s: %ss, not compared: %s", name, number(row.CurrentSec), row.Note)
	}
	word := row.Class
	if row.Regressed {
		word = "REGRESSION DETECTED!"
	}
	sign := "+"
	if *row.ChangePct < 0 {
		sign = ""
	}
	line := fmt.Sprintf("%s: %s%s%% variance (%s)", name, sign, strconv.FormatFloat(*row.ChangePct, 'f', -1, 64), word)
	return line + fmt.Sprintf(", %ss against %ss", number(row.CurrentSec), number(*row.BaselineSec))
}

// Performance is a host's performance-report.json of this run, or what its
// events amount to where the file is not there.
func (d *RunDir) Performance(host string) (PerformanceReport, error) {
	if err := checkHost(host); err != nil {
		return PerformanceReport{}, fmt.Errorf("record: %w", err)
	}
	name := host + "/" + reportFile
	if st, err := d.root.Stat(name); err == nil && st.Mode().IsRegular() && st.Size() <= reportLimit {
		var p PerformanceReport
		if b, err := d.root.ReadFile(name); err == nil && json.Unmarshal(b, &p) == nil && p.Schema == Schema && p.Host == host && p.RunID == d.id {
			return p, nil
		}
	}
	rec, err := d.Record(host)
	return Performance(rec), err
}

// CanRegress tells whether a run took long enough for a comparison to find it
// slower; history need not be read for one that did not.
func CanRegress(r PerformanceReport) bool {
	return r.Summary.TotalDurationSec > leastChange ||
		slices.ContainsFunc(r.Phases, func(p PerfPhase) bool { return p.DurationSec > leastChange })
}

// Earlier are a host's reports of the provisioning runs before one, newest
// first, as far back as a comparison looks. Runs that cannot be read are left out.
func (s Store) Earlier(id, host string) ([]PerformanceReport, error) {
	began, err := idTime(id)
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	root, ids, err := s.names(runNames)
	if root == nil || err != nil {
		return nil, err
	}
	defer root.Close()
	var out []PerformanceReport
	for _, before := range ids[:min(len(ids), maxLookBack)] {
		at, err := idTime(before)
		if err != nil || before >= id || began.Sub(at) > baselineAge {
			continue
		}
		if len(out) == 2*maxBaseline {
			break
		}
		e := s.entry(root, before)
		if e.State != StateComplete || e.Run.Verb != provisionVerb || !slices.ContainsFunc(e.Run.Hosts, func(h HostRun) bool { return h.Host == host }) {
			continue
		}
		if p, err := s.performance(before, host); err == nil {
			out = append(out, p)
		}
	}
	return out, nil
}

func (s Store) performance(id, host string) (PerformanceReport, error) {
	d, err := s.Open(id)
	if err != nil {
		return PerformanceReport{}, err
	}
	defer d.Close()
	return d.Performance(host)
}
