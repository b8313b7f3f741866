package bench

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/bench/stat"
)

// Level of the two-sided intervals and tests of a table, as benchstat's: a
// table only shows, it gives no verdict.
const (
	tableConfidence = 0.95
	tableAlpha      = 0.05
)

// A Side is what one column of a table is made of: values by metric. Hosts and
// groups give one value per session or host, a session its repeats.
type Side struct {
	Host    string // of the session that is a side; empty for others
	Name    string
	Metrics []Metric // Values are the sample
	Epoch   Epoch    // of a host's sessions
	Depth   Depth
}

// Summary is a sample's median and its interval.
type Summary struct {
	Median float64   `json:"median"`
	Low    *float64  `json:"low"` // of the 95 % interval; null: too few values for one
	High   *float64  `json:"high"`
	N      int       `json:"n"`
	Values []float64 `json:"values"`
}

// Row sets a metric of one side against the other's. Without a base or a
// current one it was measured on one side only.
type Row struct {
	Metric  string    `json:"metric"`
	Unit    string    `json:"unit"`
	Better  Direction `json:"better"`
	Base    *Summary  `json:"base"`
	Current *Summary  `json:"current"`
	// DeltaPct is the current median against the base's, with the sign of the
	// values themselves: what is better depends on the metric.
	DeltaPct *float64 `json:"delta_pct"`
	P        *float64 `json:"p"`           // two-sided, exact (Mann-Whitney)
	Differs  bool     `json:"significant"` // p < 0.05: the table shows a delta instead of ~
}

// Table sets two sides against each other, metric by metric in the order of
// current.
func Table(base, current Side) []Row {
	rows := []Row{}
	var x stat.Exact
	for _, m := range current.Metrics {
		row := Row{Metric: m.Name, Unit: m.Unit, Better: m.Better, Current: summarize(m.Values)}
		if i := slices.IndexFunc(base.Metrics, func(o Metric) bool { return o.Name == m.Name && o.Unit == m.Unit }); i >= 0 {
			row.Base = summarize(base.Metrics[i].Values)
			row.set(&x)
		}
		rows = append(rows, row)
	}
	for _, m := range base.Metrics {
		if !slices.ContainsFunc(rows, func(r Row) bool { return r.Metric == m.Name && r.Unit == m.Unit }) {
			rows = append(rows, Row{Metric: m.Name, Unit: m.Unit, Better: m.Better, Base: summarize(m.Values)})
		}
	}
	return rows
}

// set compares the two samples. Two-sided is twice the smaller one-sided
// probability, as benchstat has it.
func (r *Row) set(x *stat.Exact) {
	if r.Base == nil || r.Current == nil {
		return
	}
	if d := 100 * (r.Current.Median - r.Base.Median) / r.Base.Median; !math.IsInf(d, 0) && !math.IsNaN(d) {
		r.DeltaPct = &d
	}
	_, more := x.MannWhitney(r.Base.Values, r.Current.Values)
	_, less := x.MannWhitney(r.Current.Values, r.Base.Values)
	p := min(1, 2*min(more, less))
	r.P, r.Differs = &p, p < tableAlpha
}

// summarize is nil for a sample nothing can be said of. The interval is between
// the two order statistics that hold the median with at least 95 %.
func summarize(values []float64) *Summary {
	values = slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return !(v > leastValue && v < mostValue) })
	if len(values) == 0 {
		return nil
	}
	s := &Summary{Median: stat.Median(values), N: len(values), Values: values}
	if l := medianOrder(len(values)); l > 0 {
		sorted := slices.Sorted(slices.Values(values))
		low, high := sorted[l-1], sorted[len(sorted)-l]
		s.Low, s.High = &low, &high
	}
	return s
}

// Band is where the middle half of values lies; 0, 0 for fewer than four.
func Band(values []float64) (low, high float64) {
	if len(values) < 4 {
		return 0, 0
	}
	return stat.Quantile(values, 0.25), stat.Quantile(values, 0.75)
}

// medianOrder is the order statistic that begins a symmetric interval for the
// median of n values; 0 if so few hold none. The number of values below the
// median is binomial with probability one half.
func medianOrder(n int) int {
	below, pmf, l := 0.0, math.Exp2(-float64(n)), 0
	for k := 0; k < n/2; k++ {
		below += pmf
		if 1-2*below < tableConfidence {
			break
		}
		l = k + 1
		pmf *= float64(n-k) / float64(k+1)
	}
	return l
}

// SpreadText is the interval as a table has it: ± the farther end in percent of
// the median, ∞ where so few values hold none.
func (s *Summary) SpreadText() string {
	if s.Low == nil {
		return "± ∞"
	}
	return fmt.Sprintf("± %.0f%%", 100*max(*s.High/s.Median-1, 1-*s.Low/s.Median))
}

// DeltaText is the delta as a table has it: ~ for one that may be chance.
func (r *Row) DeltaText() string {
	switch {
	case r.DeltaPct == nil:
		return ""
	case !r.Differs:
		return fmt.Sprintf("~ (p=%.3f n=%s)", *r.P, r.counts())
	}
	return fmt.Sprintf("%+.2f%% (p=%.3f n=%s)", *r.DeltaPct, *r.P, r.counts())
}

func (r *Row) counts() string {
	if r.Base.N == r.Current.N {
		return fmt.Sprint(r.Base.N)
	}
	return fmt.Sprintf("%d+%d", r.Base.N, r.Current.N)
}

// WorsePct is by how much the current side is worse: time taken, so 25 means
// 1.25 times as long, or a rate divided by 1.25.
func (r *Row) WorsePct() (float64, bool) {
	if r.DeltaPct == nil {
		return 0, false
	}
	ratio := r.Current.Median / r.Base.Median
	if r.Better == Higher {
		ratio = 1 / ratio
	}
	return min(mostPct, 100*(ratio-1)), true
}

// SessionSide is a session's repeats. They were taken within minutes of each
// other, so they say little of other days.
func SessionSide(r Results) Side {
	s := Side{Name: r.Session, Metrics: slices.Clone(r.Metrics)}
	for i, m := range s.Metrics {
		if len(m.Values) == 0 {
			s.Metrics[i].Values = []float64{m.Median}
		}
	}
	return s
}

// sideSessions is how many of the newest sessions stand for a host.
const sideSessions = 20

// HostSide is the medians of a host's newest sessions that count, of one machine,
// method and depth.
func HostSide(host string, history []Session) Side {
	side := Side{Name: host}
	r := recordOf(host, history, time.Time{})
	if r.newest() == nil {
		return side
	}
	side.Epoch, side.Depth = r.newest().Epoch, r.newest().Depth
	for _, name := range r.newest().metrics() {
		m := *r.newest().metric(name)
		m.Values = nil
		for _, p := range last(r.points(name), sideSessions) {
			m.Values = append(m.Values, p.value)
		}
		m.Median = stat.Median(m.Values)
		side.Metrics = append(side.Metrics, m)
	}
	return side
}

// GroupSide has one value of every host: the median of its sessions.
func GroupSide(name string, hosts []Side) Side {
	side := Side{Name: name}
	at := map[string]int{}
	for _, h := range hosts {
		for _, m := range h.Metrics {
			key := m.Name + " " + m.Unit
			i, ok := at[key]
			if !ok {
				i = len(side.Metrics)
				at[key] = i
				side.Metrics = append(side.Metrics, Metric{Name: m.Name, Unit: m.Unit, Better: m.Better})
			}
			side.Metrics[i].Values = append(side.Metrics[i].Values, stat.Median(m.Values))
		}
	}
	for i := range side.Metrics {
		side.Metrics[i].Median = stat.Median(side.Metrics[i].Values)
	}
	return side
}

// Unlike says what hosts that are compared do not have in common: each value of it,
// and of whom. Empty: the same machine, measured in the same way.
func Unlike(hosts []Side) []string {
	var out []string
	for _, of := range []struct {
		what  string
		value func(Side) any
	}{
		{"depth", func(s Side) any { return s.Depth }}, {"the probes' method", func(s Side) any { return s.Epoch.Method }},
		{"CPU model", func(s Side) any { return s.Epoch.CPUModel }}, {"cores", func(s Side) any { return s.Epoch.Cores }},
		{"memory in MB", func(s Side) any { return s.Epoch.MemoryMB }}, {"disk", func(s Side) any { return s.Epoch.Disk }},
		{"virtualisation", func(s Side) any { return s.Epoch.Virt }},
	} {
		var values []string
		have := map[string][]string{}
		for _, h := range hosts {
			v := fmt.Sprintf("%v", of.value(h))
			if have[v] == nil {
				values = append(values, v)
			}
			have[v] = append(have[v], h.Name)
		}
		for i, v := range values {
			values[i] = fmt.Sprintf("%s (%s)", v, strings.Join(have[v], ", "))
		}
		if len(values) > 1 {
			out = append(out, of.what+" is "+strings.Join(values, ", "))
		}
	}
	return out
}

// benchfmtName is a metric as a Go benchmark is called.
func benchfmtName(metric string) string {
	return "Benchmark" + strings.ToUpper(metric[:1]) + metric[1:]
}

// Benchfmt writes sides in the Go benchmark format, one line per value, for
// benchstat and its relatives. `benchstat -col side FILE` makes our table of it.
func Benchfmt(w io.Writer, sides []Side) error {
	b := bufio.NewWriter(w)
	units := map[string]bool{}
	for _, s := range sides {
		for _, m := range s.Metrics {
			if !units[m.Unit] {
				units[m.Unit] = true
				fmt.Fprintf(b, "Unit %s better=%s\n", m.Unit, m.Better)
			}
		}
	}
	for _, s := range sides {
		if s.Host != "" {
			fmt.Fprintf(b, "host: %s\n", s.Host)
		}
		fmt.Fprintf(b, "side: %s\n", s.Name)
		for _, m := range s.Metrics {
			for _, v := range m.Values {
				fmt.Fprintf(b, "%s 1 %v %s\n", benchfmtName(m.Name), v, m.Unit)
			}
		}
	}
	return b.Flush()
}
