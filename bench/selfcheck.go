package bench

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/vpsctl/vpsctl/bench/stat"
)

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
	Unscreened  int     `json:"unscreened"`       // splits that would be, if no slow session were needed first
	AlarmPct    float64 `json:"alarm_pct"`
	AlarmMaxPct float64 `json:"alarm_max_pct"` // its upper 95 % bound, if splits were independent
	Note        string  `json:"note,omitempty"`
}

// CheckSelf splits a history at random, by whole days and never by sessions,
// into a baseline and confirming sessions, and counts how often the rule for
// one host would have called that a regression. since is when an owner accepted
// the host's level, or zero: older sessions are not counted, as the verdict does not.
func CheckSelf(host string, history []Session, since time.Time, splits int, seed uint64) SelfCheck {
	c := SelfCheck{Host: host, Splits: splits, Seed: seed, Metrics: []SplitCheck{}}
	r := recordOf(host, history, since)
	if r.newest() == nil {
		c.Text = "There is no session that counts."
		return c
	}
	names := r.metrics(func(metric string) bool { return earlier(r.points(metric)) >= leastBase })
	for i, m := range names {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		c.Metrics = append(c.Metrics, splitCheck(rng, m, r.points(m), ruleFor(1, max(2, len(names))), splits))
	}
	c.Text = c.paragraph()
	if !since.IsZero() {
		c.Text += " Sessions before " + date(since) + ", when the host's level was accepted, are left out."
	}
	return c
}

// splitCheck is CheckSelf for one metric.
func splitCheck(rng *rand.Rand, metric string, points []point, r rule, splits int) SplitCheck {
	d := daily{most: r.perDay}
	d.add(points...)
	c := SplitCheck{Metric: metric, Sessions: len(d.points), CVPct: cvPct(ys(d.points))}
	byDay := splitDays(d.points)
	c.Days = len(byDay)
	r, ok := r.forNoise(c.CVPct)
	c.Base, c.Confirm = min(r.base, c.Sessions-r.confirm-r.perDay), r.confirm
	switch {
	case !ok:
		c.Note = fmt.Sprintf("varies by %.0f %%, above %d %% no verdict is given anyway", c.CVPct, loudestCV)
		return c
	case c.Base < r.least:
		c.Note = fmt.Sprintf("too few days: %s, a split needs %d", count(c.Sessions, "session"), r.least+r.confirm+r.perDay)
		return c
	}
	c.Splits = splits
	var exact stat.Exact
	slow := 0
	for range splits {
		rng.Shuffle(len(byDay), func(a, b int) { byDay[a], byDay[b] = byDay[b], byDay[a] })
		first, regressed := split(&exact, byDay, r)
		if first {
			slow++
		}
		if regressed {
			c.Unscreened++
		}
		if first && regressed {
			c.Alarms++
		}
	}
	c.SlowPct, c.AlarmPct = percent(slow, splits), percent(c.Alarms, splits)
	c.AlarmMaxPct = 100 * stat.UpperRate(c.Alarms, splits, 0.05)
	if ways := math.Round(choose(c.Days, r.days())); ways < float64(splits) {
		c.Note = fmt.Sprintf("%s can be split in %.0f ways only, so some splits are the same", count(c.Days, "day"), ways)
	}
	return c
}

// split takes the first of the days for one session and those that confirm it,
// the others for the baseline: is the one slow, do the others say regression?
func split(x *stat.Exact, byDay [][]point, r rule) (slow, regressed bool) {
	var now, before []point
	for _, day := range byDay {
		if len(now) <= r.confirm {
			now = append(now, day...)
		} else {
			before = append(before, day...)
		}
	}
	if len(now) <= r.confirm || len(before) == 0 {
		return false, false
	}
	b := baseOf(rolling, before[:min(len(before), r.base)])
	return b.slow(now[0]), compare(x, b.y, ys(now[1:r.confirm+1])).word(r.level(), false) == Regressed
}

func splitDays(points []point) [][]point {
	var out [][]point
	for i, p := range points {
		if i == 0 || p.day != points[i-1].day {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], p)
	}
	return out
}

// choose is the number of ways to choose k of n.
func choose(n, k int) float64 {
	ways := 1.0
	for i := range k {
		ways *= float64(n-i) / float64(i+1)
	}
	return ways
}

func percent(k, n int) float64 { return 100 * float64(k) / float64(max(1, n)) }

// paragraph says what the splits say, and what they do not.
func (c *SelfCheck) paragraph() string {
	split, alarmed, worst := 0, 0, SplitCheck{}
	for _, m := range c.Metrics {
		if m.Splits > 0 {
			split++
		}
		if m.Alarms > 0 {
			alarmed++
		}
		if m.AlarmPct > worst.AlarmPct {
			worst = m
		}
	}
	text := fmt.Sprintf("%d of %d metrics have days enough to be split", split, len(c.Metrics))
	switch {
	case split == 0:
		return text + ": nothing can be said of false alarms on this host yet."
	case alarmed == 0:
		text += fmt.Sprintf("; none of %d splits of any was called a regression.", c.Splits)
	default:
		text += fmt.Sprintf("; %d had splits that were called a regression, %s most often: %.2f %%.", alarmed, worst.Metric, worst.AlarmPct)
	}
	return text + " If the host did change in that time, alarms are right; and splits of the same days are not independent," +
		" so a history of few weeks shows only what those weeks held."
}
