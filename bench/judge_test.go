package bench

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// A life is a made-up host: sessions at fixed hours, each metric with its own
// noise, and what happens to it.
type life struct {
	host    string
	group   string
	metrics []string
	noise   float64 // of sessions, as standard deviation of the logarithm
	level   func(metric string, n int) float64
	edit    func(n int, s *Session)
	perDay  int
}

var firstDay = time.Date(2026, 9, 1, 8, 0, 0, 0, time.FixedZone("CET", 3600))

// sessions are n of a life's.
func (l life) sessions(rng *rand.Rand, n int) []Session {
	if l.perDay == 0 {
		l.perDay = 2
	}
	if l.metrics == nil {
		l.metrics = []string{"disk/read/1m"}
	}
	out := make([]Session, n)
	for i := range out {
		s := Session{Schema: SchemaSession, ID: fmt.Sprint(l.host, i), Host: l.host, Depth: Default,
			Start: firstDay.AddDate(0, 0, i/l.perDay).Add(time.Duration(i%l.perDay) * 9 * time.Hour / time.Duration(l.perDay)),
			Epoch: Epoch{CPUModel: "EPYC", Cores: 2, MemoryMB: 4096, Method: 1}, Notes: Notes{Prober: "a1", PeerGroup: l.group}}
		for _, m := range l.metrics {
			y := l.noise * rng.NormFloat64()
			if l.level != nil {
				y += math.Log(l.level(m, i))
			}
			v := 800 * math.Exp(-y)
			s.Metrics = append(s.Metrics, Metric{Name: m, Unit: "MB/s", Better: Higher, Values: []float64{v, v * 1.01, v * 0.9}, Median: v})
		}
		if l.edit != nil {
			l.edit(i, &s)
		}
		out[i] = s
	}
	return out
}

// from is a level that is another one after n sessions.
func from(n int, ratio float64) func(string, int) float64 {
	return func(_ string, i int) float64 {
		if i >= n {
			return ratio
		}
		return 1
	}
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// TestJudgeOneQuestion goes through what one metric of one host may be told.
func TestJudgeOneQuestion(t *testing.T) {
	slow := from(20, 1.5)
	for _, c := range []struct {
		name   string
		life   life
		n      int
		want   Word
		judged bool
		says   string
	}{
		{"too young", life{noise: 0.03}, 11, Inconclusive, false, "11 sessions, and a verdict needs 12 earlier ones (at most 2 a day count): 2 more over at least 1 day"},
		{"as ever", life{noise: 0.03}, 30, OK, true, "than the median of the "},
		{"slow today", life{noise: 0.03, level: slow}, 21, SlowNow, false, "slow now: "},
		{"slow all day", life{noise: 0.03, perDay: 4, level: slow}, 24, SlowNow, false, "7 sessions more"},
		{"slow for two days", life{noise: 0.03, level: slow}, 23, Inconclusive, false, "2 of 8 sessions that tell are there"},
		{"slow for good", life{noise: 0.03, level: slow}, 29, Regressed, true, "since 2026-09-11"},
		{"and later", life{noise: 0.03, level: slow}, 60, Regressed, true, "p 3e-07"},
		{"a little slower", life{noise: 0.02, level: from(20, 1.14)}, 29, OK, true, "less than 20 % slower for sure"},
		{"back again", life{noise: 0.03, level: func(_ string, i int) float64 { return map[bool]float64{true: 1.5, false: 1}[i >= 20 && i < 30] }}, 40, OK, true, ""},
		{"once slow", life{noise: 0.03, level: func(_ string, i int) float64 { return map[bool]float64{true: 1.5, false: 1}[i == 20] }}, 22, OK, true, ""},
		{"noise alone", life{noise: 0.3}, 40, Inconclusive, false, "no verdict on 20 %"},
		{"faster", life{noise: 0.03, level: from(20, 0.7)}, 40, OK, true, ""},
		{"nothing", life{noise: 0.03, edit: func(_ int, s *Session) { s.Metrics[0].Values, s.Metrics[0].Median = nil, 0 }}, 20, "", false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.life.host = "web1"
			r := Judge(map[string][]Session{"web1": c.life.sessions(seeded(3), c.n)}, Question{})
			if c.want == "" {
				if r.Screened != 0 || !strings.HasPrefix(r.Text, "0 of 0 metrics were judged") {
					t.Errorf("%+v", r)
				}
				return
			}
			f := r.Findings[0]
			if f.Verdict != c.want || f.Judged != c.judged || !strings.Contains(f.Text, c.says) {
				t.Errorf("%s (judged %t): %s", f.Verdict, f.Judged, f.Text)
			}
			t.Logf("%s: %s", f.Verdict, f.Text)
			t.Log(r.Text)
			checkReport(t, r)
		})
	}
}

// checkReport holds what is so of every report.
func checkReport(t *testing.T, r Report) {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if r.Screened != len(r.Findings) || r.Judged > r.Screened || r.Text == "" {
		t.Errorf("%s", b)
	}
	for _, f := range r.Findings {
		if f.Text == "" || f.Verdict == "" || f.Verdict == Regressed && (!f.Judged || f.Effect == nil || f.Effect.SlowerPct < 20-1e-9) {
			t.Errorf("%+v", f)
		}
		if f.Verdict == Inconclusive || f.Verdict == SlowNow {
			checkOpen(t, f)
		}
	}
}

// checkOpen holds that what cannot be told comes with what the data could have
// seen, and how many more sessions would settle it: as numbers and in words.
func checkOpen(t *testing.T, f Finding) {
	t.Helper()
	sees := "could not have seen any slowdown"
	if f.WouldSee > 0 {
		sees = fmt.Sprintf("see a slowdown of %.0f %% or more", math.Ceil(f.WouldSee))
		if !strings.Contains(f.Text, sees) {
			sees = strings.Replace(sees, "see", "seen", 1)
		}
	}
	more := []string{fmt.Sprintf("%d more", f.More), count(f.More, "session") + " more"}
	if f.More < 0 {
		more = []string{"no number of sessions would", "however many sessions"}
	}
	if f.Baseline != nil && f.WouldSee <= 0 || f.More == 0 || f.More > 0 && f.MoreDays == 0 || !strings.Contains(f.Text, sees) || !strings.Contains(f.Text, more[0]) && !strings.Contains(f.Text, more[1]) {
		t.Errorf("%d more sessions over %d days, would see %.1f %%: %s", f.More, f.MoreDays, f.WouldSee, f.Text)
	}
}

// findingOf is a report's finding on a host's metric.
func findingOf(t *testing.T, r Report, host, metric string) Finding {
	t.Helper()
	for _, f := range r.Findings {
		if f.Host == host && f.Metric == metric {
			return f
		}
	}
	t.Fatalf("no finding on %s %s in %+v", host, metric, r)
	return Finding{}
}

func fleetOf(rng *rand.Rand, n int, lives ...life) map[string][]Session {
	out := map[string][]Session{}
	for _, l := range lives {
		out[l.host] = l.sessions(rng, n)
	}
	return out
}

// TestJudgeFleet finds one real regression among many hosts, names it, and says
// nothing of the others.
func TestJudgeFleet(t *testing.T) {
	var lives []life
	for h := range 6 {
		lives = append(lives, life{host: fmt.Sprintf("web%d", h), group: "ams", noise: 0.05, metrics: []string{"cpu/sha256/1", "disk/read/1m"}})
	}
	lives[3].level = func(m string, n int) float64 {
		if m == "disk/read/1m" && n >= 34 {
			return 1.8
		}
		return 1
	}
	r := Judge(fleetOf(seeded(5), 47, lives...), Question{})
	checkReport(t, r)
	if r.Rule != "fleet" || r.Screened != 12 || regressedIn(r) != 1 {
		t.Fatalf("%+v", r)
	}
	f := r.Findings[0]
	if f.Host != "web3" || f.Metric != "disk/read/1m" || f.Verdict != Regressed || f.Scope != HostOnly || f.Rank != 1 {
		t.Errorf("%+v", f)
	}
	if want := firstDay.AddDate(0, 0, 17); !f.Changed.Equal(want) || !f.Since.Equal(want) {
		t.Errorf("changed %s, since %s, want %s", f.Changed, f.Since, want)
	}
	if f.Effect.PHolm > 0.01 || f.Effect.PHolm < f.Effect.P || f.Effect.LowPct > 80 || f.Effect.HighPct < 75 {
		t.Errorf("%+v", f.Effect)
	}
	if !strings.Contains(r.Text, "12 metrics on 6 hosts") || !strings.Contains(r.Text, "1 REGRESSED: web3 disk/read/1m") {
		t.Error(r.Text)
	}
}

// TestJudgeScope tells a host's own change from its provider's and from one of
// the tool's.
func TestJudgeScope(t *testing.T) {
	slow := from(34, 1.5)
	for _, c := range []struct {
		name string
		slow func(host int) bool
		edit func(n int, s *Session)
		want Word
		who  Scope
	}{
		{"host", func(h int) bool { return h == 0 }, nil, Regressed, HostOnly},
		{"provider", func(h int) bool { return h < 4 }, nil, Regressed, Peers},
		{"everything", func(int) bool { return true }, nil, Regressed, Everything},
		{"the tool", func(int) bool { return true }, func(n int, s *Session) {
			if n >= 34 {
				s.Notes.Prober = "b2"
			}
		}, Inconclusive, Everything},
	} {
		t.Run(c.name, func(t *testing.T) {
			var lives []life
			for h := range 8 {
				l := life{host: fmt.Sprintf("web%d", h), group: []string{"ams", "fra"}[h/4], noise: 0.04, edit: c.edit}
				if c.slow(h) {
					l.level = slow
				}
				lives = append(lives, l)
			}
			r := Judge(fleetOf(seeded(6), 47, lives...), Question{})
			checkReport(t, r)
			f := findingOf(t, r, "web0", "disk/read/1m")
			if f.Verdict != c.want || f.Scope != c.who {
				t.Errorf("%s %q: %s", f.Verdict, f.Scope, f.Text)
			}
		})
	}
}

// TestJudgeOnlyAsked judges one host of many: the others are its peers.
func TestJudgeOnlyAsked(t *testing.T) {
	all := fleetOf(seeded(7), 29, life{host: "web0", group: "ams", noise: 0.03, level: from(20, 1.5)},
		life{host: "web1", group: "ams", noise: 0.03}, life{host: "web2", group: "ams", noise: 0.03})
	r := Judge(all, Question{Hosts: []string{"web0"}})
	if r.Rule != "one question" || r.Screened != 1 || r.Findings[0].Verdict != Regressed || r.Findings[0].Scope != HostOnly {
		t.Errorf("%+v", r)
	}
	r = Judge(all, Question{Hosts: []string{"web0", "gone"}, Metrics: []string{"disk/read/1m", "cpu/none"}})
	if f := findingOf(t, r, "web0", "cpu/none"); r.Rule != "one host" || !slices.Equal(r.Without, []string{"gone"}) || f.Judged || f.Verdict != Inconclusive {
		t.Errorf("%+v", r)
	}
	checkReport(t, r)
}

// TestJudgeAnotherMachine refuses to compare machines, and says what differs.
func TestJudgeAnotherMachine(t *testing.T) {
	l := life{host: "web1", noise: 0.03, level: from(30, 2), edit: func(n int, s *Session) {
		if n >= 30 {
			s.Epoch.CPUModel, s.Epoch.Cores = "Xeon", 1
		}
		if n == 12 {
			s.Notes.Kernel = "6.13" // no other machine
		}
	}}
	f := Judge(map[string][]Session{"web1": l.sessions(seeded(8), 36)}, Question{}).Findings[0]
	if f.Verdict != NotComparable || f.Judged || !strings.Contains(f.Text, `CPU model was "EPYC", is "Xeon", cores was 2, is 1`) {
		t.Errorf("%s: %s", f.Verdict, f.Text)
	}
	f = Judge(map[string][]Session{"web1": l.sessions(seeded(8), 60)}, Question{}).Findings[0]
	if f.Verdict != OK || f.Baseline.Sessions > 20 || f.Baseline.From.Before(firstDay.AddDate(0, 0, 15)) {
		t.Errorf("%s: %s %+v", f.Verdict, f.Text, f.Baseline)
	}
}

// TestJudgeCounts leaves out what does not count: excluded sessions, those of
// another depth, more than two a day, and those before a level was accepted.
func TestJudgeCounts(t *testing.T) {
	judge := func(l life, n int, since time.Time) Finding {
		l.host = "web1"
		return Judge(map[string][]Session{"web1": l.sessions(seeded(9), n)}, Question{Since: map[string]time.Time{"web1": since}}).Findings[0]
	}
	busy := func(n int, s *Session) {
		if n%2 == 0 {
			s.Excluded = "busy: load 3.1 on 2 cores"
		}
	}
	if f := judge(life{noise: 0.03, edit: busy}, 24, time.Time{}); f.Judged || f.Baseline != nil {
		t.Errorf("12 good sessions are no 12 earlier ones: %s", f.Text)
	}
	quick := func(n int, s *Session) {
		if n%2 == 0 {
			s.Depth = Quick
		}
	}
	if f := judge(life{noise: 0.03, edit: quick}, 24, time.Time{}); f.Judged {
		t.Errorf("another depth counted: %s", f.Text)
	}
	if f := judge(life{noise: 0.03, perDay: 6}, 30, time.Time{}); f.Judged || !strings.HasPrefix(f.Text, "10 sessions") {
		t.Errorf("5 days of two make 10: %s", f.Text)
	}
	if f := judge(life{noise: 0.03, perDay: 8, level: from(60, 1.5)}, 68, time.Time{}); f.Verdict == Regressed || f.Verdict == OK {
		t.Errorf("one bad day: %s", f.Text)
	}
	if f := judge(life{noise: 0.03, level: from(20, 1.5)}, 60, firstDay.AddDate(0, 0, 10)); f.Verdict != OK || f.SlowerPct > 10 {
		t.Errorf("the level was accepted: %s", f.Text)
	}
	broken := func(n int, s *Session) {
		s.Metrics[0].Values = []float64{[]float64{math.NaN(), math.Inf(1), -1, 0}[n%4]}
		s.Metrics = append(s.Metrics, Metric{Name: "evil\x1b[2J", Values: []float64{1}}, Metric{Name: "mem/ok", Unit: "ns", Better: Lower, Values: []float64{4}})
	}
	if f := judge(life{edit: broken}, 30, time.Time{}); f.Metric != "mem/ok" || f.Verdict != OK {
		t.Errorf("%+v", f)
	}
}

// TestJudgeOldMetric: a regression stays one until sessions measure again what it
// is of. One that measured something else, or a quick look, does not hide it.
func TestJudgeOldMetric(t *testing.T) {
	const disk = "disk/read/1m"
	slow := func(m string, n int) float64 {
		if m == disk && n >= 20 {
			return 1.5
		}
		return 1
	}
	only := func(s *Session) {
		s.Metrics = slices.DeleteFunc(s.Metrics, func(m Metric) bool { return m.Name == disk })
	}
	for _, c := range []struct {
		name    string
		edit    func(s *Session)
		from, n int // sessions from there on are edited
		old     bool
		says    string
		verdict Word
	}{
		{"measured", func(*Session) {}, 40, 40, false, "since 2026-09-11", Regressed},
		{"without the disk", only, 38, 40, true, "not in the newest session: that of 2026-09-20 does not have it, this one is of 2026-09-19", Regressed},
		{"a quick look", func(s *Session) { s.Depth = Quick }, 38, 40, true, "that of 2026-09-20 is of another depth (quick), this one is of 2026-09-19", Regressed},
		{"quick for some days", func(s *Session) { s.Depth = Quick }, 40, 62, true, "that of 2026-10-01 is of another depth (quick), this one is of 2026-09-20", Regressed},
		{"quick for good", func(s *Session) { s.Depth = Quick }, 40, 64, false, "than the median of the last 20 sessions", OK},
		{"excluded", func(s *Session) { s.Excluded = "busy: load 3" }, 38, 40, false, "since 2026-09-11", Regressed},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := life{host: "web1", metrics: []string{"cpu/sha256/1", disk}, noise: 0.03, level: slow, edit: func(n int, s *Session) {
				if n >= c.from {
					c.edit(s)
				}
			}}
			r := Judge(map[string][]Session{"web1": l.sessions(seeded(14), c.n)}, Question{})
			checkReport(t, r)
			f := findingOf(t, r, "web1", disk)
			if r.Screened != 2 || f.Verdict != c.verdict || f.Old != c.old || !strings.Contains(f.Text, c.says) {
				t.Errorf("%d screened: %s (old: %v): %s", r.Screened, f.Verdict, f.Old, f.Text)
			}
			if said := strings.Contains(r.Text, "not in the newest session: the last ones"); said != c.old {
				t.Errorf("that old ones were taken is said: %v: %s", said, r.Text)
			}
			if cpu := findingOf(t, r, "web1", "cpu/sha256/1"); c.verdict == Regressed && cpu.Verdict != OK {
				t.Errorf("%s: %s", cpu.Verdict, cpu.Text)
			}
		})
	}
}

// TestJudgeRareMetric: what the newest session did not measure is judged where its
// history can hold a finding, and is never slow now. The figures of --against never are.
func TestJudgeRareMetric(t *testing.T) {
	const sessions = 40
	from := map[string]int{"cpu/sha256/1": 0, "net/mirror/old/1": 25, "net/mirror/new/1": 26, "net/peer/web2/rtt": 37, "cpu/burst/all": 38, "against/fio/read": 0}
	to := map[string]int{"cpu/sha256/1": sessions, "net/mirror/old/1": 38, "net/mirror/new/1": 38, "net/peer/web2/rtt": 38, "cpu/burst/all": 39, "against/fio/read": sessions}
	l := life{host: "web1", noise: 0.03, metrics: slices.Sorted(maps.Keys(from)), level: func(_ string, n int) float64 {
		return map[bool]float64{true: 1.5, false: 1}[n == 37]
	}, edit: func(n int, s *Session) {
		s.Metrics = slices.DeleteFunc(s.Metrics, func(m Metric) bool { return n < from[m.Name] || n >= to[m.Name] })
	}}
	all := map[string][]Session{"web1": l.sessions(seeded(14), sessions)}
	r := Judge(all, Question{})
	checkReport(t, r)
	if r.Screened != 2 || r.Rule != "one host" {
		t.Errorf("%d screened: %s", r.Screened, r.Text)
	}
	if f := findingOf(t, r, "web1", "cpu/sha256/1"); f.Verdict != OK || f.Old {
		t.Errorf("%s (old: %v): %s", f.Verdict, f.Old, f.Text)
	}
	f := findingOf(t, r, "web1", "net/mirror/old/1")
	if f.Verdict != Inconclusive || !f.Old || !strings.Contains(f.Text, "slow since 2026-09-19, 0 of 8 sessions") {
		t.Errorf("%s (old: %v): %s", f.Verdict, f.Old, f.Text)
	}
	var checked []string
	for _, m := range CheckSelf("web1", all["web1"], time.Time{}, 10, 1).Metrics {
		checked = append(checked, m.Metric)
	}
	if !slices.Equal(checked, []string{"cpu/sha256/1", "net/mirror/old/1"}) {
		t.Errorf("the self-check is of %q", checked)
	}
	some := map[string][]Session{"web1": slices.Clone(all["web1"][:10])}
	some["web1"][9].Metrics = nil
	if r := Judge(some, Question{}); r.Screened > 0 || !slices.Equal(r.Without, []string{"web1"}) {
		t.Errorf("a host of which nothing is judged goes by in silence: %s", r.Text)
	}
	all["web1"] = all["web1"][:38] // both mirrors are in the newest session, and it is slow
	r = Judge(all, Question{})
	if f := findingOf(t, r, "web1", "net/mirror/old/1"); r.Screened != 4 || f.Verdict != SlowNow || f.Old {
		t.Errorf("%d screened: %s (old: %v): %s", r.Screened, f.Verdict, f.Old, f.Text)
	}
}

// TestUsualDepth goes through what people may measure day by day, a letter a session
// (quick, default, thorough), and holds which depth is judged after each.
func TestUsualDepth(t *testing.T) {
	days := func(n int, pattern string) []string { return strings.Fields(strings.Repeat(pattern+" ", n)) }
	for _, c := range []struct {
		name   string
		before []string // whatever is judged after these
		then   []string
		want   string // after each day of then; one letter: always
	}{
		{"quick looks", days(20, "d"), days(15, "d d dqq d q d"), "d"},
		{"many on a bad day", days(20, "d"), days(3, "dqqqqqqqqqqqqqqq"), "d"},
		{"a bad week", days(20, "dd"), days(1, "qqq qqq qqq qqq qqq qqq qqq d qq qq qq d"), "d"},
		{"thorough once a week", days(20, "d"), days(20, "d d d t d d d"), "d"},
		{"in turns", days(1, "q d"), days(40, "q d"), "q"},
		{"both every day", days(5, "d"), days(60, "qd"), "d"},
		{"first a look", days(1, "q"), days(20, "d"), "d"},
		{"young", days(4, "d"), days(1, "q q"), "d"},
		{"for good", days(60, "d"), days(12, "q"), "dddddddddddq"},
		{"for good, with looks back", append(days(60, "d"), days(11, "q")...), days(1, "d q q q q d d q q"), "ddqqqqqqq"},
		{"two new ones", days(60, "d"), days(10, "q t"), "d"},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := c.want
			if len(want) == 1 {
				want = strings.Repeat(want, len(c.then))
			}
			var all []*Session
			got := ""
			for day, depths := range append(c.before, c.then...) {
				for i, d := range depths {
					depth := map[rune]Depth{'q': Quick, 'd': Default, 't': Thorough}[d]
					all = append(all, &Session{Start: firstDay.AddDate(0, 0, day).Add(time.Duration(i) * time.Hour / 2), Depth: depth})
				}
				if day >= len(c.before) {
					got += string(depthOf(all, Epoch{})[:1])
				}
			}
			if got != want {
				t.Errorf("judged was %s, want %s", got, want)
			}
		})
	}
	moved := []*Session{{Depth: Default}, {Depth: Default}, {Depth: Quick, Epoch: Epoch{Cores: 2}}}
	if got := depthOf(moved, Epoch{Cores: 2}); got != Quick {
		t.Errorf("another machine's depth counts: %s", got)
	}
}

// TestMoreSettles: the sessions that a verdict asks for do settle it.
func TestMoreSettles(t *testing.T) {
	peers := map[string][]Session{}
	for h := range 4 {
		peers[fmt.Sprint("old", h)] = life{host: fmt.Sprint("old", h), group: "ams", noise: 0.03}.sessions(seeded(uint64(h)), 60)
	}
	for _, c := range []struct {
		name string
		life life
		seed uint64
		n    int
		all  map[string][]Session
		then Word
		sure bool // it is settled with the last of them, not before
	}{
		{"too young", life{noise: 0.03}, 17, 5, nil, OK, true},
		{"noisy", life{noise: 0.115}, 6, 30, nil, OK, true},
		{"slow for two days", life{noise: 0.03, level: from(20, 1.5)}, 17, 23, nil, Regressed, true},
		{"near the limit", life{noise: 0.05, level: from(20, 1.2)}, 7, 29, nil, Regressed, false},
		{"a stranger", life{noise: 0.03, group: "ams", level: from(0, 1.6)}, 17, 9, peers, OK, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			judge := func(n int) Finding {
				all := maps.Clone(c.all)
				if all == nil {
					all = map[string][]Session{}
				}
				c.life.host = "web1"
				all["web1"] = c.life.sessions(seeded(c.seed), n)
				r := Judge(all, Question{Hosts: []string{"web1"}})
				checkReport(t, r)
				return r.Findings[0]
			}
			f := judge(c.n)
			if f.Verdict != Inconclusive && f.Verdict != SlowNow || f.More < 1 {
				t.Fatalf("%s, %d more: %s", f.Verdict, f.More, f.Text)
			}
			if g := judge(c.n + f.More); g.Verdict != c.then {
				t.Errorf("%s\n%d sessions later %s: %s", f.Text, f.More, g.Verdict, g.Text)
			}
			if g := judge(c.n + f.More - 1); c.sure && g.Verdict != Inconclusive && g.Verdict != SlowNow {
				t.Errorf("%d sessions later it was settled: %s: %s", f.More-1, g.Verdict, g.Text)
			}
		})
	}
}

// TestJudgeMidnight takes sessions around one midnight for no two days.
func TestJudgeMidnight(t *testing.T) {
	l := life{host: "web1", noise: 0.03, level: from(20, 1.6), edit: func(n int, s *Session) {
		if n >= 20 {
			s.Start = firstDay.AddDate(0, 0, 12).Add(13*time.Hour + time.Duration(n-20)*20*time.Minute) // from 21:00 on
		}
	}}
	f := Judge(map[string][]Session{"web1": l.sessions(seeded(10), 36)}, Question{}).Findings[0]
	if f.Verdict == Regressed {
		t.Error(f.Text)
	}
}

// TestJudgeDecline finds what a rolling baseline would go along with.
func TestJudgeDecline(t *testing.T) {
	l := life{host: "web1", noise: 0.02, level: func(_ string, n int) float64 { return 1 + 0.004*float64(n) }}
	f := Judge(map[string][]Session{"web1": l.sessions(seeded(11), 120)}, Question{}).Findings[0]
	if f.Verdict != Regressed || f.Baseline.Of != frozen {
		t.Errorf("%s: %s", f.Verdict, f.Text)
	}
}

// TestJudgeNewHost compares a host without a history with its peers, and never
// says that it became slower.
func TestJudgeNewHost(t *testing.T) {
	all := map[string][]Session{}
	for h := range 4 {
		all[fmt.Sprint("old", h)] = life{host: fmt.Sprint("old", h), group: "ams", noise: 0.03}.sessions(seeded(uint64(h)), 40)
	}
	judge := func(level float64, n int) Finding {
		all["new"] = life{host: "new", group: "ams", noise: 0.03, level: from(0, level)}.sessions(seeded(20), n)
		return Judge(all, Question{Hosts: []string{"new"}}).Findings[0]
	}
	if f := judge(1, 3); f.Verdict != OK || f.Baseline.Of != group || !strings.Contains(f.Text, "its peers'") {
		t.Errorf("%s: %s", f.Verdict, f.Text)
	}
	if f := judge(1.6, 9); f.Verdict != Inconclusive || f.Judged || !strings.Contains(f.Text, "no history of its own") {
		t.Errorf("%s: %s", f.Verdict, f.Text)
	}
	// A session without the metric does not hide that, nor makes a finding of a few.
	for n, want := range map[int]int{8: 0, 9: 1} {
		all["new"] = append(life{host: "new", group: "ams", noise: 0.03, level: from(0, 1.6)}.sessions(seeded(20), n),
			life{host: "new", group: "ams", metrics: []string{}}.sessions(seeded(20), 16)[15])
		r := Judge(all, Question{Hosts: []string{"new"}})
		if r.Screened != want || want > 0 && (!r.Findings[0].Old || !strings.Contains(r.Findings[0].Text, "no history of its own")) {
			t.Errorf("%d sessions and one without it: %s", n, r.Text)
		}
	}
}

// TestJudgeCertain asks for a proof, which a slowdown of 25 % is too small for.
func TestJudgeCertain(t *testing.T) {
	for _, c := range []struct {
		ratio float64
		want  Word
	}{{1.25, Inconclusive}, {1.5, Regressed}} {
		l := life{host: "web1", noise: 0.05, level: from(20, c.ratio)}
		f := Judge(map[string][]Session{"web1": l.sessions(seeded(12), 29)}, Question{Certain: true}).Findings[0]
		if f.Verdict != c.want {
			t.Errorf("%.2f: %s: %s", c.ratio, f.Verdict, f.Text)
		}
		t.Log(f.Text)
	}
}

// TestHolmStep holds that the second finding is held against a larger level, and
// that everything screened counts, whether it was slow or not.
func TestHolmStep(t *testing.T) {
	j := judgement{rule: ruleFor(20, 240)}
	p := []float64{4e-5, 1e-9, 4.2e-5, 0.5}
	holm := []float64{4e-5 * 239, 1e-9 * 240, 1, 1}
	for k, want := range []float64{0.01 / 239, 0.01 / 240, 0.01 / 238, 0.01 / 238} {
		if got := j.step(holm, p, k); math.Abs(got-want) > 1e-15 {
			t.Errorf("step %d: %g, want %g", k, got, want)
		}
	}
}

// TestSelfCheck counts no alarm in a quiet history, some in one that changed,
// and says when days are too few.
func TestSelfCheck(t *testing.T) {
	l := life{host: "web1", metrics: []string{"a", "b"}, noise: 0.04}
	c := CheckSelf("web1", l.sessions(seeded(13), 60), time.Time{}, 400, 1)
	if len(c.Metrics) != 2 || c.Metrics[0].Splits != 400 || c.Metrics[0].Alarms+c.Metrics[1].Alarms > 0 || c.Metrics[0].Base != 20 || c.Metrics[0].Days != 30 {
		t.Errorf("%+v", c)
	}
	l.level = func(_ string, n int) float64 { // 12 slow sessions: some splits put them together
		if n >= 48 {
			return 2
		}
		return 1
	}
	l.noise = 0.02
	again := CheckSelf("web1", l.sessions(seeded(13), 60), time.Time{}, 4000, 1)
	if m := again.Metrics[0]; m.SlowPct < 10 || m.SlowPct > 30 || m.Alarms == 0 || m.Unscreened < m.Alarms || m.AlarmMaxPct <= m.AlarmPct {
		t.Errorf("%+v", m)
	}
	if few := CheckSelf("web1", l.sessions(seeded(13), 20), time.Time{}, 400, 1); few.Metrics[0].Splits != 0 || few.Metrics[0].Note == "" {
		t.Errorf("%+v", few)
	}
	accepted := CheckSelf("web1", l.sessions(seeded(13), 60), firstDay.AddDate(0, 0, 24), 4000, 1)
	if m := accepted.Metrics[0]; m.Sessions != 12 || m.Splits != 0 || !strings.Contains(accepted.Text, "2026-09-25") {
		t.Errorf("sessions before the level was accepted count: %+v", accepted)
	}
	if CheckSelf("web1", nil, time.Time{}, 400, 1).Text == "" {
		t.Error("an empty history")
	}
	b, _ := json.Marshal(c)
	if d, _ := json.Marshal(CheckSelf("web1", life{host: "web1", metrics: []string{"a", "b"}, noise: 0.04}.sessions(seeded(13), 60), time.Time{}, 400, 1)); string(b) != string(d) {
		t.Error("the same seed, another answer")
	}
}
