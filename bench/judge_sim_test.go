package bench

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/vpsctl/vpsctl/bench/stat"
)

// A model is how a rented host's measurements vary, in logarithms of time.
// Everything but runs varies between sessions: noise lives there.
type model struct {
	name              string
	day, session, run float64 // standard deviations; runs of a session depend on each other
	badDay, neighbour float64 // probabilities
	badFrom, badTo    float64 // slowdown of a bad day
	nearFrom, nearTo  float64 // slowdown beside a noisy neighbour
}

// Rented hosts, from quiet ones to those nothing can be said of; and one whose
// sessions are alike within a day, which is what makes false alarms.
var (
	quiet  = model{name: "cpu", session: 0.03, run: 0.02, neighbour: 0.03, nearFrom: 0.05, nearTo: 0.20}
	noisy  = model{name: "noisy", session: 0.07, run: 0.04, neighbour: 0.06, nearFrom: 0.10, nearTo: 0.40}
	disky  = model{name: "disk", session: 0.12, run: 0.08, neighbour: 0.08, nearFrom: 0.10, nearTo: 0.50}
	awful  = model{name: "awful", session: 0.20, run: 0.10, neighbour: 0.10, nearFrom: 0.20, nearTo: 0.60}
	moody  = model{name: "days-5%", day: 0.05, session: 0.05, run: 0.03, badDay: 0.03, badFrom: 0.15, badTo: 0.50}
	moodyX = model{name: "days-8%", day: 0.08, session: 0.05, run: 0.03, badDay: 0.03, badFrom: 0.15, badTo: 0.50}
)

const repeats = 3

// sessions are n session medians, so many a day.
func (m model) sessions(rng *rand.Rand, n, perDay int) []float64 {
	out := make([]float64, n)
	today := 0.0
	for i := range out {
		if i%perDay == 0 {
			today = m.day*rng.NormFloat64() + slowdown(rng, m.badDay, m.badFrom, m.badTo)
		}
		y := today + m.session*rng.NormFloat64() + slowdown(rng, m.neighbour, m.nearFrom, m.nearTo)
		out[i] = y + medianRun(rng, m.run)
	}
	return out
}

func slowdown(rng *rand.Rand, p, from, to float64) float64 {
	if rng.Float64() >= p {
		return 0
	}
	return math.Log1p(from + (to-from)*rng.Float64())
}

// medianRun is the median of a session's runs, each half of the one before.
func medianRun(rng *rand.Rand, sd float64) float64 {
	const rho = 0.5
	var runs [repeats]float64
	runs[0] = sd * rng.NormFloat64()
	for i := 1; i < repeats; i++ {
		runs[i] = rho*runs[i-1] + math.Sqrt(1-rho*rho)*sd*rng.NormFloat64()
	}
	slices.Sort(runs[:])
	return runs[repeats/2]
}

// simFleet is a fleet's histories. from n on, everything takes slower times as
// long.
func simFleet(rng *rand.Rand, m model, hosts, metrics, sessions, perDay, from int, slower float64) map[string][]Session {
	out := map[string][]Session{}
	for h := range hosts {
		l := life{host: fmt.Sprintf("web%d", h), perDay: perDay}
		var values [][]float64
		for k := range metrics {
			l.metrics = append(l.metrics, fmt.Sprintf("disk/%d", k))
			values = append(values, m.sessions(rng, sessions, perDay))
		}
		l.edit = func(n int, s *Session) {
			for k := range s.Metrics {
				y := values[k][n]
				if n >= from {
					y += math.Log(slower)
				}
				s.Metrics[k].Values, s.Metrics[k].Median = nil, 800*math.Exp(-y)
			}
		}
		out[l.host] = l.sessions(rng, sessions)
	}
	return out
}

func regressedIn(r Report) int {
	n := 0
	for _, f := range r.Findings {
		if f.Verdict == Regressed {
			n++
		}
	}
	return n
}

// TestFewFalseAlarms judges whole fleets in which nothing happened but days
// that differ and sessions that do. The seed is fixed: it cannot come out
// otherwise on another machine. The benchmark beside it does more of them.
func TestFewFalseAlarms(t *testing.T) {
	rng := seeded(42)
	runs, alarms, judged, screened := 6, 0, 0, 0
	for range runs {
		r := Judge(simFleet(rng, moodyX, 20, 12, 43, 2, 43, 1), Question{})
		alarms += regressedIn(r)
		judged += r.Judged
		screened += r.Screened
	}
	if screened != runs*240 || judged < screened*6/10 || alarms > 0 {
		t.Errorf("%d false alarms in %d runs, %d of %d judged", alarms, runs, judged, screened)
	}
}

// TestRuleAlone puts the fleet's and the single question's rule to sessions that
// nobody screened: the bounds are four standard deviations above what larger
// simulations found.
func TestRuleAlone(t *testing.T) {
	for _, c := range []struct {
		rule   rule
		perDay int
		trials int
		most   int
	}{
		{ruleFor(20, 240), 2, 12000, 3}, // 0.003 %
		{ruleFor(1, 12), 2, 8000, 12},   // 0.03 %
		{ruleFor(1, 1), 4, 3000, 36},    // 0.6 %
	} {
		if n := falseAlarms(seeded(43), moodyX, c.rule, c.perDay, c.trials); n > c.most {
			t.Errorf("%s: %d false alarms in %d trials, at most %d were expected", c.rule.name, n, c.trials, c.most)
		}
	}
}

func falseAlarms(rng *rand.Rand, m model, r rule, perDay, trials int) (n int) {
	var x stat.Exact
	for range trials {
		if compare(&x, m.sessions(rng, r.base, basePerDay), m.sessions(rng, r.confirm, perDay)).word(r.level(), false) == Regressed {
			n++
		}
	}
	return n
}

// found is how often of trials a true slowdown is screened and confirmed.
func found(rng *rand.Rand, m model, base, confirm int, level, slower float64, trials int) (n int) {
	var x stat.Exact
	for range trials {
		b := baseOf(rolling, asPoints(m.sessions(rng, base, basePerDay)))
		now := m.sessions(rng, confirm+1, basePerDay)
		for i := range now {
			now[i] += math.Log(slower)
		}
		if b.slow(point{y: now[0]}) && compare(&x, b.y, now[1:]).word(level, false) == Regressed {
			n++
		}
	}
	return n
}

func asPoints(y []float64) []point {
	out := make([]point, len(y))
	for i := range out {
		out[i].y = y[i]
	}
	return out
}

// TestPower holds that real regressions are found: fixed seed, and bounds four
// standard deviations from what larger simulations found.
func TestPower(t *testing.T) {
	for _, c := range []struct {
		model         model
		base, confirm int
		slower        float64
		least, most   float64
	}{
		{quiet, 20, 8, 1.30, 0.97, 1},
		{quiet, 20, 8, 1.10, 0, 0.01},
		{noisy, 30, 12, 1.40, 0.95, 1},
		{noisy, 30, 12, 1.10, 0, 0.02},
		{disky, 60, 24, 1.60, 0.93, 1},
	} {
		const trials = 300
		got := float64(found(seeded(44), c.model, c.base, c.confirm, 1e-4, c.slower, trials)) / trials
		if got < c.least || got > c.most {
			t.Errorf("%s %dv%d x%.2f: found in %.3f of cases, want %.2f to %.2f", c.model.name, c.base, c.confirm, c.slower, got, c.least, c.most)
		}
	}
}

// normal are n values of a host that varies by sd and is slower by so much.
func normal(rng *rand.Rand, n int, sd, slower float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = slower + sd*rng.NormFloat64()
	}
	return out
}

// TestWouldSee: a slowdown as large as data say that they would have seen is found
// in about four of five cases, one half as large hardly ever.
func TestWouldSee(t *testing.T) {
	const lots, trials, level = 40, 20, 1e-3
	var x stat.Exact
	for _, c := range []struct{ sd, part, least, most float64 }{
		{0.03, 1, 0.70, 0.90}, {0.08, 1, 0.70, 0.90}, {0.03, 0.5, 0, 0.02}, {0.08, 0.5, 0, 0.05},
	} {
		rng, found := seeded(45), 0
		for range lots {
			y := normal(rng, 20, c.sd, 0)
			tr := track{exact: &x}
			see := c.part * math.Log1p(tr.wouldSee(y, 20, 8, level)/100)
			for range trials {
				if compare(&x, normal(rng, 20, c.sd, 0), normal(rng, 8, c.sd, see)).word(level, false) == Regressed {
					found++
				}
			}
		}
		if got := float64(found) / (lots * trials); got < c.least || got > c.most {
			t.Errorf("noise %.2f: %.1f of what would be seen is seen in %.2f of cases, want %.2f to %.2f", c.sd, c.part, got, c.least, c.most)
		}
	}
}

// TestFurther: with as many sessions more as are asked for, most cases are settled,
// and fewer without them; beside the limit itself none are asked for.
func TestFurther(t *testing.T) {
	const lots, level, n = 400, 1e-3, 8
	var x stat.Exact
	tr := track{exact: &x}
	for _, c := range []struct{ sd, slower float64 }{{0.08, 1.30}, {0.08, 1.12}, {0.05, 1.25}} {
		rng, then, now := seeded(46), 0, 0
		more := tr.further(normal(rng, 20, c.sd, 0), math.Log(c.slower), n, level)
		if more < 1 || more > mostFurther {
			t.Errorf("%.2f times as long with noise %.2f: %d more", c.slower, c.sd, more)
			continue
		}
		for range lots {
			base, sessions := normal(rng, 20, c.sd, 0), normal(rng, n+more, c.sd, math.Log(c.slower))
			if compare(&x, base, sessions).word(level, false) != Inconclusive {
				then++
			}
			if compare(&x, base, sessions[:n]).word(level, false) != Inconclusive {
				now++
			}
		}
		if got := float64(then) / lots; got < 0.65 || now >= then {
			t.Errorf("%.2f times as long with noise %.2f: %d sessions more settle %.2f of cases, without them %.2f are", c.slower, c.sd, more, got, float64(now)/lots)
		}
	}
	if more := tr.further(normal(seeded(47), 20, 0.05, 0), math.Log(regression), n, level); more != -1 {
		t.Errorf("a slowdown of just the limit would be settled by %d sessions", more)
	}
}

// BenchmarkFleetRun counts false alarms of whole fleet runs, 20 hosts with 12
// metrics in which nothing changed: -benchtime 4000x are 4,000 of them.
func BenchmarkFleetRun(b *testing.B) {
	for _, m := range []model{quiet, noisy, moody, moodyX} {
		b.Run(m.name, func(b *testing.B) {
			rng := seeded(1)
			wrong, looked := 0, 0
			for b.Loop() {
				j := begin(simFleet(rng, m, 20, 12, 43, 2, 43, 1), Question{})
				j.follow()
				levels, alarm := j.levels(), 0
				for i, to := range levels {
					if j.tracks[i].current().found.word(to.level, false) == Regressed {
						alarm = 1
					}
				}
				looked += len(levels)
				wrong += alarm
			}
			b.ReportMetric(100*float64(wrong)/float64(b.N), "false-%/run")
			b.ReportMetric(100*stat.UpperRate(wrong, b.N, 0.05), "at-most-%")
			b.ReportMetric(float64(looked)/float64(b.N), "confirmed-of-240")
		})
	}
}

// BenchmarkUnscreened counts false alarms of each rule where every metric is
// confirmed, by the days its sessions are spread over: -benchtime 200000x.
func BenchmarkUnscreened(b *testing.B) {
	for _, c := range []struct {
		rule rule
		days int
	}{{ruleFor(1, 1), 1}, {ruleFor(1, 1), 2}, {ruleFor(1, 1), 4}, {ruleFor(1, 12), 4}, {ruleFor(20, 240), 4}, {ruleFor(20, 240), 6}, {ruleFor(20, 240), 12}} {
		for _, m := range []model{moody, moodyX} {
			b.Run(fmt.Sprintf("%s/%s/days=%d", m.name, c.rule.name, c.days), func(b *testing.B) {
				rng := seeded(2)
				n := 0
				for b.Loop() {
					n += falseAlarms(rng, m, c.rule, c.rule.confirm/c.days, 1)
				}
				b.ReportMetric(100*float64(n)/float64(b.N), "false-%/test")
				b.ReportMetric(100*stat.UpperRate(n, b.N, 0.05)*float64(c.rule.family), "at-most-%/run")
			})
		}
	}
}

// BenchmarkPower prints how many of true slowdowns are found: -benchtime 2000x.
func BenchmarkPower(b *testing.B) {
	for _, c := range []struct {
		model         model
		base, confirm int
	}{{quiet, 20, 8}, {noisy, 20, 8}, {moodyX, 20, 8}, {quiet, 30, 12}, {noisy, 30, 12}, {moodyX, 30, 12}, {disky, 40, 16}, {disky, 60, 24}, {awful, 60, 24}} {
		b.Run(fmt.Sprintf("%s/%dv%d", c.model.name, c.base, c.confirm), func(b *testing.B) {
			level := ruleFor(1, 1).level()
			if c.base > 20 {
				level = ruleFor(20, 240).level()
			}
			rng := seeded(3)
			hits := map[int]int{}
			for b.Loop() {
				for _, pct := range []int{10, 20, 25, 30, 40, 60} {
					hits[pct] += found(rng, c.model, c.base, c.confirm, level, 1+float64(pct)/100, 1)
				}
			}
			for pct, n := range hits {
				b.ReportMetric(100*float64(n)/float64(b.N), fmt.Sprintf("found-%%@+%d%%", pct))
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkQuarter is a fleet's life of 90 days with two sessions each in which
// nothing changes: how many confirmations are begun, and come out wrong.
func BenchmarkQuarter(b *testing.B) {
	for _, m := range []model{quiet, noisy, moodyX} {
		b.Run(m.name, func(b *testing.B) {
			rng := seeded(4)
			begun, wrong := 0, 0
			for b.Loop() {
				j := begin(simFleet(rng, m, 20, 12, 180, 2, 180, 1), Question{})
				j.follow()
				for _, t := range j.tracks {
					begun += len(t.episodes)
					for _, e := range t.episodes {
						if e.word == Regressed {
							wrong++
						}
					}
					if t.open != nil && t.open.word == Regressed {
						wrong++
					}
				}
			}
			b.ReportMetric(float64(begun)/float64(b.N), "confirmations")
			b.ReportMetric(float64(wrong)/float64(b.N), "false-alarms")
		})
	}
}
