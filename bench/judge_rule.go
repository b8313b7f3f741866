package bench

import (
	"math"
	"time"

	"github.com/vpsctl/vpsctl/bench/stat"
)

// What a verdict is about, as ratios of time.
const (
	slowRatio   = 1.10 // a single session slower than that is looked at again
	regression  = 1.20 // the slowdown nobody accepts
	surelyAbove = 1.05 // its lower bound, so that noise around 20 % is none
)

// Noise, as coefficient of variation of session medians, in percent.
const (
	calmCV    = 10
	noisyCV   = 12.5
	loudestCV = 15 // above it 20 % cannot be told from nothing
)

const (
	upperLevel   = 0.05 // of the bound that says "less than 20 % slower"
	certainLevel = 0.01 // of the lower bound a proof is asked for
	basePerDay   = 2
	spanPerDay   = 12 * time.Hour // sessions around one midnight are not two days
	recoverAfter = 3              // good sessions that end a regression
	maxLooks     = 2              // at the sessions of one episode
	leastBase    = 12             // sessions: fewer are no history
)

// A rule is how many sessions a verdict stands on. The numbers are those that
// keep false alarms under 1 % per question, host or fleet run while whole days
// may be slow: what counts is over how many days the confirming sessions are
// spread, far more than the p-value asked for.
type rule struct {
	name    string
	base    int // sessions of the baseline
	least   int // the fewest
	confirm int // further sessions after a slow one
	perDay  int // of those
	alpha   float64
	family  int // tests alpha is shared by
}

// ruleFor is the rule for so many tests at once.
func ruleFor(hosts, tests int) rule {
	switch {
	case tests <= 1:
		return rule{name: "one question", base: 20, least: leastBase, confirm: 8, perDay: 4, alpha: 1e-3, family: 1}
	case hosts <= 1:
		return rule{name: "one host", base: 20, least: leastBase, confirm: 8, perDay: 2, alpha: 0.01, family: tests}
	}
	return rule{name: "fleet", base: 30, least: 30, confirm: 12, perDay: 2, alpha: 0.01, family: tests}
}

// days is over how many days the confirming sessions are spread at least.
func (r rule) days() int { return (r.confirm + r.perDay - 1) / r.perDay }

// level is the p-value that is small enough whatever the other tests say.
func (r rule) level() float64 { return r.alpha / float64(r.family) }

// young is how many sessions of its own a host has at most while it is compared
// with its peers.
func (r rule) young() int { return r.least + 2*maxLooks*r.confirm }

// forNoise is the rule for a metric that varies by cv percent; false where no
// number of sessions makes sense.
func (r rule) forNoise(cv float64) (rule, bool) {
	switch {
	case cv <= calmCV:
	case cv <= noisyCV:
		r.base, r.least, r.confirm = 40, 40, 16
	case cv <= loudestCV:
		r.base, r.least, r.confirm = 60, 60, 24
	default:
		return r, false
	}
	return r, true
}

// cvPct is the coefficient of variation of values whose logarithms are y, in
// percent. It is robust: single bad sessions are what the rank test is for.
func cvPct(y []float64) float64 {
	if len(y) < 2 {
		return 0
	}
	sd := stat.MAD(y)
	return min(mostPct, 100*math.Sqrt(math.Expm1(sd*sd))) // of a log-normal distribution
}

// compared is what confirming sessions say against a baseline, in logarithms
// of time.
type compared struct {
	shift stat.Shift
	hl    float64
	p     float64
}

func compare(x *stat.Exact, base, now []float64) compared {
	c := compared{shift: x.Shift(base, now)}
	c.hl = c.shift.HodgesLehmann()
	_, c.p = x.MannWhitney(base, now)
	return c
}

// word is the verdict at a level.
func (c compared) word(level float64, certain bool) Word {
	const last = 1e-12 // digits lost in logarithms
	regressed := c.hl >= math.Log(regression)-last && c.p <= level && c.shift.Lower(level) > math.Log(surelyAbove)
	if certain {
		regressed = regressed && c.shift.Lower(certainLevel) > math.Log(regression)
	}
	switch {
	case regressed:
		return Regressed
	case c.shift.Upper(upperLevel) < math.Log(regression)-last:
		return OK
	}
	return Inconclusive
}

// mostPct bounds what a host that makes its numbers up can make of ours.
const mostPct = 1e9

func pct(logRatio float64) float64 { return min(mostPct, 100*math.Expm1(logRatio)) }
