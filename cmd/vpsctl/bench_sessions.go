package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/vpsctl/vpsctl/bench"
	"github.com/vpsctl/vpsctl/report"
)

// benchDoc is what `bench run -o json` prints.
type benchDoc struct {
	Schema   string                 `json:"schema"`
	RunID    string                 `json:"run_id"`
	ExitCode int                    `json:"exit_code"`
	Sessions []bench.Session        `json:"sessions"`
	Failed   []report.ProvisionHost `json:"failed"` // hosts without a session
}

// result prints what was measured, host by host.
func (m *measuring) result(rep *report.Report) error {
	if m.Bool("events") {
		return nil
	}
	all := report.Provision(rep, func(o report.Outcome) int { return outcomes[o] })
	doc := benchDoc{Schema: "vpsctl/bench-run/1", RunID: rep.Run.ID, ExitCode: all.ExitCode, Sessions: m.done, Failed: []report.ProvisionHost{}}
	slices.SortFunc(doc.Sessions, func(a, b bench.Session) int { return strings.Compare(a.Host, b.Host) })
	for _, h := range all.Hosts {
		if !slices.ContainsFunc(m.done, func(s bench.Session) bool { return s.Host == h.Host }) {
			doc.Failed = append(doc.Failed, h)
		}
	}
	return m.ui.result(m.json(), doc, doc.text)
}

func (d benchDoc) text(w io.Writer) error {
	for _, s := range d.Sessions {
		fmt.Fprintf(w, "%s: %s, %d cores, %d MB, %s (%s), Linux %s\n", s.Host, s.Epoch.CPUModel, s.Epoch.Cores, s.Epoch.MemoryMB, s.Epoch.Disk, s.Epoch.Virt, s.Notes.Kernel)
		if err := sessionTable(w, s); err != nil {
			return err
		}
		if s.Around.Load1 > 0.5*float64(s.Epoch.Cores) || s.Around.PSICPU > 5 {
			fmt.Fprintf(w, "  [INFO] before the first probe: %s\n", loadText(s.Around))
		}
		if s.Around.StealPct >= 0.1 {
			fmt.Fprintf(w, "  [INFO] %.1f %% of the CPU time was stolen by neighbours%s\n", s.Around.StealPct, worstStolen(s.Metrics))
		}
		if s.Around.MHz > 0 {
			fmt.Fprintf(w, "  [INFO] the CPU ran at %s\n", clockText(s))
		}
		for _, what := range s.Skipped {
			fmt.Fprintf(w, "  [INFO] %s\n", notMeasured(what))
		}
		if s.Excluded != "" {
			fmt.Fprintf(w, "  [WARN] kept, but no baseline will count it: %s\n", s.Excluded)
		}
	}
	for _, h := range d.Failed {
		why := string(h.Status)
		if h.Error != nil {
			why = h.Error.Message
		}
		fmt.Fprintf(w, "%s: no session: %s\n", h.Host, report.Clean(why))
	}
	return nil
}

// notMeasured is what was not, and why: "sustained: not measured: only …".
func notMeasured(skipped string) string {
	what, why, _ := strings.Cut(skipped, ": ")
	if strings.HasPrefix(why, "not measurable") {
		return skipped
	}
	return strings.TrimSuffix(what+": not measured: "+why, ": ")
}

// worstStolen is the repeat that neighbours took most from.
func worstStolen(metrics []bench.Metric) string {
	name, most := "", 0.0
	for _, m := range metrics {
		for _, pct := range m.Steal {
			if pct > most {
				name, most = m.Name, pct
			}
		}
	}
	if name == "" {
		return ""
	}
	return fmt.Sprintf(", %.1f %% while %s was measured", most, name)
}

// clockText is the mean frequency, and those of single repeats where they differ.
func clockText(s bench.Session) string {
	low, high := math.Inf(1), 0.0
	for _, m := range s.Metrics {
		for _, mhz := range m.MHz {
			low, high = min(low, mhz), max(high, mhz)
		}
	}
	text := fmt.Sprintf("%.0f MHz", s.Around.MHz)
	if high-low >= 1 {
		text += fmt.Sprintf(" in the mean, %.0f to %.0f in single repeats", low, high)
	}
	return text
}

// loadText is what was going on, as the kernel counts it.
func loadText(c bench.Conditions) string {
	text := fmt.Sprintf("load %.2f", c.Load1)
	if c.PSICPU >= 0 {
		text += fmt.Sprintf(", something waited for a CPU %.0f %% of the time", c.PSICPU)
	}
	return text
}

// sessionTable is a session for people: the median, how far the repeats lie
// apart, and what single operations took.
func sessionTable(w io.Writer, s bench.Session) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, m := range s.Metrics {
		spread := fmt.Sprintf("±%.0f %%", math.Ceil(m.SpreadPct()))
		if len(m.Values) < 2 {
			spread = "once"
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\n", m.Name, figure(m.Median), m.Unit, spread, latencies(m.Percentiles))
	}
	return t.Flush()
}

// figure has four digits that count.
func figure(v float64) string {
	switch {
	case v >= 1e7:
		return fmt.Sprintf("%.2f M", v/1e6)
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

func latencies(p map[string]float64) string {
	var words []string
	for _, name := range []string{"p50", "p95", "p99"} {
		if v, ok := p[name+"_us"]; ok {
			words = append(words, fmt.Sprintf("%s %s µs", name, figure(v)))
		}
	}
	return strings.Join(words, ", ")
}
