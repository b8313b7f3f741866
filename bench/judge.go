package bench

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/vpsctl/vpsctl/bench/stat"
)

// SchemaVerdict names the format of a Report.
const SchemaVerdict = "vpsctl/bench-verdict/1"

// A Word is a verdict in one word.
type Word string

// The words. A finding whose evidence is all from one day is "slow now" and
// never a regression: whole days are bad together, whatever the p-value.
const (
	OK            Word = "OK"
	Regressed     Word = "REGRESSED"
	Inconclusive  Word = "INCONCLUSIVE"
	SlowNow       Word = "SLOW_NOW"
	NotComparable Word = "NOT_COMPARABLE" // another machine, or measured in another way
)

// Question says what is asked of the histories.
type Question struct {
	Hosts   []string `json:"hosts,omitempty"`   // empty: all; the others are then peers only
	Metrics []string `json:"metrics,omitempty"` // empty: all that its newest session has, or that have a history
	// Since is when an owner accepted a host's level as it was: older sessions
	// of that host are not counted.
	Since map[string]time.Time `json:"since,omitempty"`
	// Certain asks for a proof: only a slowdown whose lower 99 % bound is above
	// 20 % is a regression. It needs about 30 % on a quiet host.
	Certain bool `json:"certain,omitempty"`
}

// Report is what may be said of all hosts and metrics asked for.
type Report struct {
	Schema   string    `json:"schema"`
	Rule     string    `json:"rule"` // "one question", "one host", "fleet"
	Screened int       `json:"screened"`
	Judged   int       `json:"judged"` // of Screened: the others have too little history, too much noise, or are other machines
	Findings []Finding `json:"findings"`
	Without  []string  `json:"without,omitempty"` // hosts asked for that have no session that counts, or nothing to judge in it
	Text     string    `json:"text"`              // one paragraph
}

// Finding is the verdict on one metric of one host. Every percentage is time
// taken: 25 means 1.25 times as long, or a rate divided by 1.25.
type Finding struct {
	Host      string    `json:"host"`
	Metric    string    `json:"metric"`
	Unit      string    `json:"unit"`
	Better    Direction `json:"better"`
	Verdict   Word      `json:"verdict"`
	Judged    bool      `json:"judged"`
	Now       float64   `json:"now"`                     // newest session that has it, in Unit
	At        time.Time `json:"at"`                      // of that session
	Old       bool      `json:"not_in_newest,omitempty"` // the host's newest session does not have it, or is of another depth
	SlowerPct float64   `json:"slower_pct"`              // that session against the baseline
	Baseline  *Baseline `json:"baseline,omitempty"`
	Effect    *Effect   `json:"effect,omitempty"`    // of the sessions that confirm; nil if it was not needed or they are too few
	Since     time.Time `json:"since,omitzero"`      // first slow session
	Changed   time.Time `json:"changed,omitzero"`    // when the level changed, to judge by the whole history; drawn, never an alarm
	Scope     Scope     `json:"scope,omitempty"`     // who else became slower
	WouldSee  float64   `json:"would_see_pct"`       // smallest slowdown found in four of five cases; 0: not known
	More      int       `json:"more_sessions"`       // that would settle it; 0: settled, -1: no number would
	MoreDays  int       `json:"more_days,omitempty"` // over which, at least
	Rank      int       `json:"rank,omitempty"`      // by false discovery rate, 1 = most surely slower; for the order shown only
	Text      string    `json:"text"`                // one sentence
}

// Baseline is what a finding was compared with.
type Baseline struct {
	Of       string    `json:"of"` // "rolling", "frozen", "group"
	Median   float64   `json:"median"`
	CVPct    float64   `json:"cv_pct"` // of session medians, robust
	Sessions int       `json:"sessions"`
	Days     int       `json:"days"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
}

// Effect is what the confirming sessions say: the Hodges-Lehmann shift with
// exact one-sided bounds, and the exact one-sided Mann-Whitney p-value.
type Effect struct {
	Sessions  int     `json:"sessions"`
	Days      int     `json:"days"`
	SlowerPct float64 `json:"slower_pct"`
	LowPct    float64 `json:"low_pct"`  // lower bound at the level of the test
	HighPct   float64 `json:"high_pct"` // upper 95 % bound
	P         float64 `json:"p"`
	PHolm     float64 `json:"p_holm"` // over all hosts and metrics screened
}

// A Scope says who became slower.
type Scope string

// The scopes.
const (
	HostOnly   Scope = "host"       // its peers did not
	Peers      Scope = "peers"      // all of the same provider, plan and region
	Everything Scope = "everything" // hosts of other groups too: suspect what measures
)

// A judgement is one question on its way to a report.
type judgement struct {
	question Question
	rule     rule
	records  map[string]*record
	ordered  []*record // by name
	without  []string
	points   map[string]map[string][]point
	tracks   []*track
	exact    stat.Exact
}

// Judge gives the verdict on every metric of every host asked for. histories
// are sessions by host, in any order; hosts not asked for serve as peers.
func Judge(histories map[string][]Session, q Question) Report {
	j := begin(histories, q)
	j.follow()
	return j.report(j.settle())
}

// follow goes through every history asked for. A young host's is compared with
// its group's until it has a baseline of its own.
func (j *judgement) follow() {
	for _, t := range j.tracks {
		r := j.records[t.host]
		points := j.pointsOf(r, t.metric)
		if len(points) > 0 && len(points) <= j.rule.young() {
			t.group = j.groupPoints(r, t.metric)
		}
		t.follow(points)
	}
}

// begin finds out what there is to be judged, and by which rule.
func begin(histories map[string][]Session, q Question) *judgement {
	j := &judgement{question: q, records: map[string]*record{}, points: map[string]map[string][]point{}}
	for _, host := range slices.Sorted(maps.Keys(histories)) {
		r := recordOf(host, histories[host], q.Since[host])
		j.records[host] = r
		j.ordered = append(j.ordered, r)
	}
	hosts := q.Hosts
	if len(hosts) == 0 {
		hosts = slices.Sorted(maps.Keys(histories))
	}
	n := 0
	for _, host := range hosts {
		if r := j.records[host]; r != nil && r.newest() != nil {
			n++
		}
	}
	for _, host := range hosts {
		metrics := j.metrics(host, n)
		if len(metrics) == 0 {
			j.without = append(j.without, host)
		}
		for _, m := range metrics {
			j.tracks = append(j.tracks, &track{host: host, metric: m, certain: q.Certain, exact: &j.exact, calm: daily{most: basePerDay}})
		}
	}
	j.rule = ruleFor(n, len(j.tracks))
	for _, t := range j.tracks {
		t.rule = j.rule
	}
	return j
}

// metrics are the names that are judged of one of n hosts. One that its newest session
// does not have must be able to have a finding: against a history of its own, or while
// the host is young against its peers'.
func (j *judgement) metrics(host string, n int) []string {
	r := j.records[host]
	switch {
	case r == nil || r.newest() == nil:
		return nil
	case len(j.question.Metrics) > 0:
		return j.question.Metrics
	}
	by := ruleFor(n, 2) // how many tests there will be says nothing of how many sessions they need
	return r.metrics(func(metric string) bool {
		have := earlier(j.pointsOf(r, metric))
		return have >= by.least || have >= by.confirm && len(j.groupPoints(r, metric)) >= by.least
	})
}

// pointsOf are a host's values of a metric, found once.
func (j *judgement) pointsOf(r *record, metric string) []point {
	of := j.points[r.host]
	if of == nil {
		of = map[string][]point{}
		j.points[r.host] = of
	}
	if _, ok := of[metric]; !ok {
		of[metric] = r.points(metric)
	}
	return of[metric]
}

// held is what a p-value is held against.
type held struct {
	level float64 // for this one, after those that are smaller
	holm  float64 // the p-value, adjusted
	fdr   float64 // false discovery rate, for the order
}

// levels are, by track, what those that were looked at are held against: alpha
// is shared with all that was screened, step by step as Holm has it.
func (j *judgement) levels() map[int]held {
	var p []float64
	var at []int
	for i, t := range j.tracks {
		if e := t.current(); e != nil && e.looks > 0 {
			p, at = append(p, e.found.p), append(at, i)
		}
	}
	holm, fdr := stat.Holm(p, j.rule.family), stat.BenjaminiHochberg(p, j.rule.family)
	out := map[int]held{}
	for k, i := range at {
		out[i] = held{level: j.step(holm, p, k), holm: holm[k], fdr: fdr[k]}
	}
	return out
}

// step is the level p-value k is held against: with every one that is called
// true, the next shares alpha with one test less.
func (j *judgement) step(holm, p []float64, k int) float64 {
	smaller := 0
	for i := range p {
		if p[i] < p[k] && holm[i] <= j.rule.alpha {
			smaller++
		}
	}
	return j.rule.alpha / float64(j.rule.family-smaller)
}

// settle makes findings of the tracks.
func (j *judgement) settle() []Finding {
	levels := j.levels()
	findings := make([]Finding, len(j.tracks))
	for i, t := range j.tracks {
		findings[i] = j.finding(t, levels[i])
	}
	rank(findings, levels)
	return findings
}

// rank numbers what was looked at, the most surely slower first.
func rank(findings []Finding, levels map[int]held) {
	order := slices.Sorted(maps.Keys(levels))
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := findings[a].Effect, findings[b].Effect
		return cmp.Or(cmp.Compare(levels[a].fdr, levels[b].fdr), cmp.Compare(x.P, y.P), cmp.Compare(y.SlowerPct, x.SlowerPct))
	})
	for i, k := range order {
		findings[k].Rank = i + 1
	}
}
