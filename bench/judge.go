package bench

import (
	"time"
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
	Metrics []string `json:"metrics,omitempty"` // empty: all the newest session has
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
	Text     string    `json:"text"` // one paragraph
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
	Now       float64   `json:"now"`        // newest session, in Unit
	At        time.Time `json:"at"`         // of the newest session
	SlowerPct float64   `json:"slower_pct"` // newest session against the baseline
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

// Judge gives the verdict on every metric of every host asked for. histories
// are sessions by host, in any order; hosts not asked for serve as peers.
func Judge(histories map[string][]Session, q Question) Report {
	return Report{Schema: SchemaVerdict, Findings: []Finding{}}
}
