package bench

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/vpsctl/vpsctl/bench/stat"
)

// Numbers of peers and of their sessions that are enough to say something.
const (
	leastPeers   = 2 // to tell a provider's change from a host's own
	groupPeers   = 3 // to lend a new host their baseline
	leastEarlier = 5 // sessions of a peer before a change
)

// peersOf are the hosts of r's group, in their order.
func (j *judgement) peersOf(r *record) []*record {
	var out []*record
	for _, o := range j.ordered {
		if o != r && o.newest() != nil && sameGroup(r, o) {
			out = append(out, o)
		}
	}
	return out
}

func sameGroup(a, b *record) bool {
	g := a.newest().Notes.Group()
	return g.Name != "" && g == b.newest().Notes.Group()
}

// groupPoints are what a host without a history is compared with: sessions of
// its peers on the same machine, two a day in all, taken from each in turn.
func (j *judgement) groupPoints(r *record, metric string) []point {
	var pool []point
	hosts := 0
	for _, o := range j.peersOf(r) {
		if o.newest().Epoch != r.newest().Epoch || o.newest().Depth != r.newest().Depth {
			continue
		}
		ps := o.points(metric)
		pool = append(pool, ps...)
		if len(ps) > 0 {
			hosts++
		}
	}
	if hosts < groupPeers {
		return nil
	}
	slices.SortStableFunc(pool, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.session.Host, b.session.Host))
	})
	return inTurn(pool)
}

// inTurn takes two points of every day's, beginning somewhere else every day.
func inTurn(pool []point) []point {
	var out []point
	for turn := 0; len(pool) > 0; turn += basePerDay {
		n := 1
		for n < len(pool) && pool[n].day == pool[0].day {
			n++
		}
		for i := range min(basePerDay, n) {
			out = append(out, pool[(turn+i)%n])
		}
		pool = pool[n:]
	}
	return out
}

// scope tells who else became slower since a time.
func (j *judgement) scope(t *track, since time.Time) Scope {
	r := j.records[t.host]
	var near, far []float64
	for _, o := range j.ordered {
		if o == r || o.newest() == nil {
			continue
		}
		by, ok := movedBy(j.pointsOf(o, t.metric), since)
		switch {
		case !ok:
		case sameGroup(r, o):
			near = append(near, by)
		default:
			far = append(far, by)
		}
	}
	moved := func(by []float64) bool { return stat.Median(by) > math.Log(slowRatio) }
	nearKnown, farKnown := len(near) >= leastPeers, len(far) >= leastPeers
	switch {
	case nearKnown && !moved(near):
		return HostOnly
	case farKnown && moved(far):
		return Everything
	case nearKnown:
		return Peers
	}
	return ""
}

// movedBy is by how much points since a time are slower than those before it.
func movedBy(points []point, since time.Time) (float64, bool) {
	i := slices.IndexFunc(points, func(p point) bool { return !p.session.Start.Before(since) })
	if i < leastEarlier {
		return 0, false
	}
	before := ys(last(points[:i], oldestPeers))
	return stat.Median(ys(points[i:])) - stat.Median(before), true
}

// oldestPeers is how many sessions before a change say what a peer was like.
const oldestPeers = 20

// otherProber tells whether sessions since a time were measured by another
// program than those before it.
func (t *track) otherProber(since time.Time) bool {
	var before, after string
	for _, p := range t.points {
		if p.session.Start.Before(since) {
			before = p.session.Notes.Prober
		} else {
			after = cmp.Or(after, p.session.Notes.Prober)
		}
	}
	return before != "" && after != "" && before != after
}
