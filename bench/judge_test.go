package bench

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
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
				if r.Screened != 0 || !strings.HasPrefix(r.Text, "Nothing was judged") {
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
	}
}
