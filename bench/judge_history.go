package bench

import (
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/vpsctl/vpsctl/bench/stat"
)

// Values beyond these are nothing that was measured.
const (
	leastValue = 1e-100
	mostValue  = 1e100
)

// A point is one session's value of a metric.
type point struct {
	session *Session
	value   float64 // median of the repeats
	y       float64 // logarithm of time, or minus that of a rate: larger is slower
	day     string  // as the laptop's calendar had it
}

// record is the part of a host's history whose sessions may be compared with each
// other: the newest one's machine and way of measuring, one depth, nothing excluded.
type record struct {
	host   string
	good   []*Session // oldest first
	latest *Session   // newest session of that machine, of whatever depth
	other  *Session   // newest session of another epoch before all of good
	others int        // how many of those
	depths int        // sessions of other depths left out
}

// newest is the newest session of good, nil if there is none.
func (r *record) newest() *Session {
	if len(r.good) == 0 {
		return nil
	}
	return r.good[len(r.good)-1]
}

func recordOf(host string, history []Session, since time.Time) *record {
	r := &record{host: host}
	var all []*Session
	for i := range history {
		if s := &history[i]; s.Excluded == "" && !s.Start.Before(since) {
			all = append(all, s)
		}
	}
	slices.SortStableFunc(all, func(a, b *Session) int { return a.Start.Compare(b.Start) })
	if len(all) == 0 {
		return r
	}
	r.latest = all[len(all)-1]
	depth := depthOf(all, r.latest.Epoch)
	for _, s := range all {
		switch {
		case s.Epoch != r.latest.Epoch:
			r.other = s
			r.others++
		case s.Depth != depth:
			r.depths++
		default:
			r.good = append(r.good, s)
		}
	}
	return r
}

// depthOf is the depth that is judged: the one at which an epoch is usually measured.
// Another takes its place when it is leastBase days ahead, counted from when it last was
// not: a new habit gets there, quick looks now and then never do, however many they are.
// Then the old one has as far to go back, so two that are as frequent do not take turns.
func depthOf(all []*Session, epoch Epoch) Depth {
	var usual Depth
	have, ahead, seen := map[Depth]int{}, map[Depth]int{}, map[string]bool{}
	for _, s := range all {
		if s.Epoch != epoch {
			continue
		}
		have[s.Depth]++
		today := date(s.Start) + " " + string(s.Depth)
		if seen[today] {
			continue
		}
		seen[today] = true
		if s.Depth == usual {
			for d := range ahead {
				ahead[d] = max(0, ahead[d]-1)
			}
			continue
		}
		// A usual one that has no history yet has found nothing that could be hidden.
		if ahead[s.Depth]++; ahead[s.Depth] >= min(leastBase, have[usual]) {
			usual = s.Depth
			clear(ahead)
		}
	}
	return usual
}

// comparison is what the names begin with that --against measures. They are compared
// inside their session: no host is slower for another program's figure.
const comparison = "against/"

// metrics are the names that a verdict is given on, the newest session's first. What it
// did not measure is no better for that, but what was measured once is no history that
// anybody waits for: worth tells which of those are kept.
func (r *record) metrics(worth func(metric string) bool) []string {
	var out []string
	seen := map[string]bool{}
	for _, s := range slices.Backward(r.good) {
		for _, m := range s.metrics() {
			if seen[m] || strings.HasPrefix(m, comparison) {
				continue
			}
			seen[m] = true
			if s == r.newest() || worth(m) {
				out = append(out, m)
			}
		}
	}
	return out
}

// earlier is how many of the points before the newest one a baseline may be made of.
func earlier(points []point) int {
	d := daily{most: basePerDay}
	d.add(points[:max(0, len(points)-1)]...)
	return len(d.points)
}

// points are the values of a metric, oldest first.
func (r *record) points(metric string) []point {
	var out []point
	for _, s := range r.good {
		if m := s.metric(metric); m != nil {
			if p, ok := pointOf(s, m); ok {
				out = append(out, p)
			}
		}
	}
	return out
}

func pointOf(s *Session, m *Metric) (point, bool) {
	v := m.Median
	if len(m.Values) > 0 {
		v = stat.Median(m.Values)
	}
	if !(v > leastValue && v < mostValue) { // neither NaN
		return point{}, false
	}
	p := point{session: s, value: v, y: math.Log(v), day: s.Start.Format(time.DateOnly)}
	if m.Better == Higher {
		p.y = -p.y
	}
	return p, true
}

func (s *Session) metric(name string) *Metric {
	for i := range s.Metrics {
		if s.Metrics[i].Name == name {
			return &s.Metrics[i]
		}
	}
	return nil
}

// metrics are the names a session has values for, in its order.
func (s *Session) metrics() []string {
	var out []string
	for i := range s.Metrics {
		m := &s.Metrics[i]
		if _, ok := pointOf(s, m); ok && printable(m.Name) && printable(m.Unit) && !slices.Contains(out, m.Name) {
			out = append(out, m.Name)
		}
	}
	return out
}

// printable keeps what a host may have put into a name off the screen.
func printable(name string) bool {
	return len(name) <= 120 && strings.IndexFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// daily keeps the first few points of every day: which ones must not hang on
// what they say. They are added in their order in time.
type daily struct {
	most   int
	points []point
	count  map[string]int
}

func (d *daily) add(points ...point) {
	if d.count == nil {
		d.count = map[string]int{}
	}
	for _, p := range points {
		if d.count[p.day]++; d.count[p.day] <= d.most {
			d.points = append(d.points, p)
		}
	}
}

func days(points []point) int {
	seen := map[string]bool{}
	for _, p := range points {
		seen[p.day] = true
	}
	return len(seen)
}

func ys(points []point) []float64 {
	out := make([]float64, len(points))
	for i, p := range points {
		out[i] = p.y
	}
	return out
}
