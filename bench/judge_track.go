package bench

import (
	"math"
	"time"

	"github.com/vpsctl/vpsctl/bench/stat"
)

// A base is a baseline: of what, and its points.
type base struct {
	of     string
	points []point
	y      []float64
	middle float64
}

// The baselines there are.
const (
	rolling = "rolling" // the last sessions
	frozen  = "frozen"  // the first ones: a slow decline takes the rolling one with it
	group   = "group"   // of the host's peers, while it has no history
)

func baseOf(of string, points []point) *base {
	b := &base{of: of, points: points, y: ys(points)}
	b.middle = stat.Median(b.y)
	return b
}

// slower is by how much a point is slower than the baseline, as a logarithm.
func (b *base) slower(p point) float64 { return p.y - b.middle }

func (b *base) slow(p point) bool { return b.slower(p) > math.Log(slowRatio) }

// An episode begins with a slow session and collects the further sessions that
// confirm it or not. It is looked at when it has as many as its rule wants, and
// once more when it has twice as many; never in between, for who looks after
// every session finds something in the end.
type episode struct {
	first   point
	base    *base
	rule    rule
	all     []point
	counted daily
	looks   int
	looked  []point // what the last look saw
	found   compared
	word    Word // of the last look; empty before it
}

// wants is at how many sessions the episode is looked at next.
func (e *episode) wants() int { return e.rule.confirm * min(e.looks+1, maxLooks) }

// ready tells whether it is time to look: enough sessions, really spread.
func (e *episode) ready() bool {
	seen := e.counted.points
	if e.looks == maxLooks || e.word == Regressed || len(seen) < e.wants() {
		return false
	}
	span := seen[len(seen)-1].session.Start.Sub(seen[0].session.Start)
	return span >= time.Duration(e.rule.days()-1)*spanPerDay
}

func (e *episode) look(x *stat.Exact, certain bool) {
	e.looks++
	e.looked = e.counted.points[:len(e.counted.points):len(e.counted.points)]
	e.found = compare(x, e.base.y, ys(e.looked))
	e.word = e.found.word(e.rule.level(), certain)
}

// over tells whether the episode has ended: settled as no regression, given up
// after the last look, or recovered from.
func (e *episode) over() bool {
	return e.word == OK || e.word == Inconclusive && e.looks == maxLooks || e.recovered()
}

// recovered tells whether the last sessions after a regression are as before.
func (e *episode) recovered() bool {
	if e.word != Regressed || len(e.counted.points) < len(e.looked)+recoverAfter {
		return false
	}
	for _, p := range last(e.counted.points, recoverAfter) {
		if e.base.slow(p) {
			return false
		}
	}
	return true
}

// A track follows one metric of one host through its history.
type track struct {
	host, metric string
	rule         rule
	certain      bool
	exact        *stat.Exact
	points       []point
	calm         daily     // what baselines are made of
	group        []point   // of peers, for a host without a history
	episodes     []episode // all that have ended
	open         *episode
	ended        bool // the last of episodes ended with the newest point
	// what the newest point was screened against, if no episode was open
	against *base
	asked   rule
	fits    bool // there was a baseline, and not too much noise
}

// follow goes through all points, oldest first.
func (t *track) follow(points []point) {
	t.points = points
	for _, p := range points {
		t.ended = false
		if t.open != nil {
			t.goOn(p)
		} else {
			t.screen(p)
		}
	}
}

// screen looks whether a session is slow against any baseline.
func (t *track) screen(p point) {
	t.against, t.asked, t.fits = t.slowest(p)
	if !t.fits || !t.against.slow(p) {
		t.calm.add(p)
		return
	}
	t.open = &episode{first: p, base: t.against, rule: t.asked, counted: daily{most: t.asked.perDay}}
}

// goOn adds a session to the episode. What turned out to be no regression
// belongs to the host's ordinary life and into its baselines.
func (t *track) goOn(p point) {
	e := t.open
	e.all = append(e.all, p)
	e.counted.add(p)
	if e.ready() {
		e.look(t.exact, t.certain)
	}
	if !e.over() {
		return
	}
	if e.word == Regressed {
		t.calm.add(last(e.all, recoverAfter)...)
	} else {
		t.calm.add(e.first)
		t.calm.add(e.all...)
	}
	t.episodes = append(t.episodes, *e)
	t.open, t.ended = nil, true
}

// slowest is the baseline against which a point is slowest, and the rule for
// its noise; false where there is none, or too much noise in the last sessions.
// First ones that are too noisy are no second baseline.
func (t *track) slowest(p point) (*base, rule, bool) {
	var worst *base
	by := t.rule
	for _, b := range t.bases() {
		r, ok := t.rule.forNoise(cvPct(b.y))
		if ok = ok && len(b.points) >= r.least; !ok && worst == nil {
			return b, r, false
		}
		if !ok {
			continue
		}
		if worst == nil || b.slower(p) > worst.slower(p) {
			worst, by = b, r
		}
	}
	return worst, by, worst != nil
}

// bases are the baselines a session is compared with now; none if there are too
// few sessions for any.
func (t *track) bases() []*base {
	capped := t.calm.points
	of := rolling
	if len(capped) < t.rule.least && len(t.group) >= t.rule.least {
		capped, of = t.group, group
	}
	if len(capped) < t.rule.least {
		return nil
	}
	n := t.rule.base
	if r, ok := t.rule.forNoise(cvPct(ys(last(capped, n)))); ok {
		n = r.base
	}
	if len(capped) <= n || of == group {
		return []*base{baseOf(of, last(capped, n))}
	}
	return []*base{baseOf(rolling, last(capped, n)), baseOf(frozen, capped[:n])}
}

func last(points []point, n int) []point { return points[max(0, len(points)-n):] }
