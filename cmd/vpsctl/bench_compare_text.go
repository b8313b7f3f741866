package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/vpsctl/vpsctl/bench"
	"github.com/vpsctl/vpsctl/report"
)

func (doc *compareDoc) text(w io.Writer) error {
	for i := range doc.Hosts {
		if err := doc.Hosts[i].text(w); err != nil {
			return err
		}
	}
	for _, t := range doc.Tables {
		fmt.Fprintf(w, "%s against %s, one value per %s\n", t.Current, t.Base, t.Of)
		if t.Note != "" {
			fmt.Fprintf(w, "  [INFO] %s\n", report.Clean(t.Note))
		}
		if err := rowsText(w, t.Rows, t.Base, t.Current); err != nil {
			return err
		}
	}
	if doc.Kind == "peers" {
		return doc.peersText(w)
	}
	return nil
}

func (h *compareHost) text(w io.Writer) error {
	switch h.Result {
	case baselineCreated:
		fmt.Fprintf(w, "%s: no baseline yet: the session %s of %s is the baseline from now on\n", h.Host, report.Clean(h.Baseline.Session), benchTime(h.Baseline.At))
	case refused:
		fmt.Fprintf(w, "%s: not compared: another machine than on %s, or measured in another way: %s\n > vpsctl bench baseline set -l %s   (or compare with --force)\n",
			h.Host, benchTime(h.Baseline.At), report.Clean(strings.Join(h.Differs, ", ")), h.Host)
	case notCompared:
		fmt.Fprintf(w, "%s: not compared\n", h.Host)
	default:
		fmt.Fprintf(w, "%s: %s (%s) against %s (%s): one session against one\n", h.Host,
			sessionName(h.Current), benchTime(h.Current.At), sessionName(h.Baseline), benchTime(h.Baseline.At))
	}
	if h.Note != "" {
		fmt.Fprintf(w, "  [INFO] %s\n", report.Clean(h.Note))
	}
	if h.Result != compared {
		return nil
	}
	for _, l := range h.Lines {
		fmt.Fprintf(w, "  %s %s\n", lineMark(l), report.Clean(l.Text()))
	}
	for _, d := range h.Differs {
		fmt.Fprintf(w, "  [WARN] compared by force: %s\n", report.Clean(d))
	}
	if a, b := h.Baseline.Kernel, h.Current.Kernel; a != b && a != "" && b != "" {
		fmt.Fprintf(w, "  [INFO] kernel: %s then, %s now\n", report.Clean(a), report.Clean(b))
	}
	if len(h.Rows) == 0 {
		return nil
	}
	if err := rowsText(w, h.Rows, "baseline", "current"); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, "  n is the repeats of one session each, which say nothing of other days; vpsctl check judges by the history")
	return err
}

func sessionName(r *compareRef) string {
	if r.Session == "" {
		return "a result without a name"
	}
	return report.Clean(r.Session)
}

// lineMark is the guide's class as a mark.
func lineMark(l bench.GuideLine) string {
	switch {
	case l.Regressed:
		return "[ERR] "
	case l.Class == "":
		return "[INFO]"
	}
	return "[OK]  "
}

// rowsText is the table: the two medians with their intervals, and the delta, or
// ~ where it may be chance.
func rowsText(w io.Writer, rows []bench.Row, base, current string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "  METRIC\tUNIT\t%s\t\t%s\t\tDELTA\n", strings.ToUpper(base), strings.ToUpper(current))
	for i := range rows {
		r := &rows[i]
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\n", r.Metric, r.Unit, summaryText(r.Base), summaryText(r.Current), r.DeltaText())
	}
	return t.Flush()
}

func summaryText(s *bench.Summary) string {
	if s == nil {
		return "-\t"
	}
	return bench.Figure(s.Median) + "\t" + s.SpreadText()
}

func (doc *compareDoc) peersText(w io.Writer) error {
	for _, g := range doc.Groups {
		fmt.Fprintf(w, "%s (by %s): %s%s\n", report.Clean(g.Name), g.From, strings.Join(g.Hosts, ", "), noteIf(len(g.Hosts) > 0 && len(g.Hosts) < g.Size(), fmt.Sprintf("; compared with all %d", g.Size())))
		for _, a := range g.Apart {
			fmt.Fprintf(w, "  [INFO] not compared: %s\n", report.Clean(a))
		}
		if err := peerTable(w, g); err != nil {
			return err
		}
		if few := fewPeers(g); few != "" {
			fmt.Fprintf(w, "  [INFO] %s\n", few)
		}
	}
	for _, o := range doc.Outliers {
		fmt.Fprintf(w, "[WARN] %s\n", report.Clean(o))
	}
	if text := noOutlier(doc.Groups); text != "" && len(doc.Outliers) == 0 {
		fmt.Fprintf(w, "[OK] %s\n", text)
	}
	if len(doc.Others) == 0 {
		return nil
	}
	fmt.Fprintln(w, "Hosts without a peer group: neither vars.peer_group nor their cloud's metadata says that they should be equal")
	return othersTable(w, doc.Others)
}

// fewPeers says that no figure of a group was compared; empty where one was.
func fewPeers(g bench.PeerGroup) string {
	if n, of := g.Compared(); n > 0 || of == 0 {
		return ""
	}
	return fmt.Sprintf("too few peers, nothing was compared: a figure needs %d hosts that have it, measured in the same way; the group has %d", bench.LeastPeers, g.Size())
}

// noOutlier says what was looked for where none was found; empty where nothing
// was compared.
func noOutlier(groups []bench.PeerGroup) string {
	n, of := 0, 0
	for _, g := range groups {
		a, b := g.Compared()
		n, of = n+a, of+b
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("no outlier: of %d figures %d have peers enough, and none of those is both more than 20 %% and more than %v of their standard deviations from their median", of, n, bench.OutlierSD)
}

// peerTable has a row per metric and a column per host.
func peerTable(w io.Writer, g bench.PeerGroup) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "  METRIC\tUNIT\t%s\n", strings.Join(g.Hosts, "\t"))
	for _, m := range g.Metrics {
		cells := make([]string, len(g.Hosts))
		for i, h := range g.Hosts {
			cells[i] = "-"
			for _, v := range m.Values {
				if v.Host == h {
					cells[i] = bench.Figure(v.Median)
					if v.Outlier != "" {
						cells[i] += " " + v.Outlier
					}
				}
			}
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\n", m.Metric, m.Unit, strings.Join(cells, "\t"))
	}
	return t.Flush()
}

func othersTable(w io.Writer, others []otherHost) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "  METRIC\tUNIT")
	var names [][2]string
	seen := map[string]bool{}
	for _, o := range others {
		fmt.Fprintf(t, "\t%s", o.Host)
		for _, m := range o.Metrics {
			if key := m.Name + " " + m.Unit; !seen[key] {
				seen[key] = true
				names = append(names, [2]string{m.Name, m.Unit})
			}
		}
	}
	fmt.Fprintln(t)
	for _, n := range names {
		fmt.Fprintf(t, "  %s\t%s", n[0], n[1])
		for _, o := range others {
			cell := "-"
			for _, m := range o.Metrics {
				if m.Name == n[0] && m.Unit == n[1] {
					cell = bench.Figure(m.Median)
				}
			}
			fmt.Fprintf(t, "\t%s", cell)
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

// csv has a row per metric that two sides have, or per host and metric of peers.
func (doc *compareDoc) csv(w io.Writer) error {
	c := csv.NewWriter(w)
	if doc.Kind == "peers" {
		_ = c.Write([]string{"group", "host", "metric", "unit", "better", "median", "n", "peers_median", "slower_pct", "outlier"})
		for _, g := range doc.Groups {
			for _, m := range g.Metrics {
				for _, v := range m.Values {
					_ = c.Write([]string{g.Name, v.Host, m.Metric, m.Unit, string(m.Better), csvNumber(&v.Median), strconv.Itoa(v.Sessions), csvNumber(v.Peers), csvNumber(v.SlowerPct), v.Outlier})
				}
			}
		}
		for _, o := range doc.Others {
			for _, m := range o.Metrics {
				_ = c.Write([]string{"", o.Host, m.Name, m.Unit, string(m.Better), csvNumber(&m.Median), strconv.Itoa(len(m.Values)), "", "", ""})
			}
		}
		c.Flush()
		return c.Error()
	}
	_ = c.Write([]string{"base", "current", "metric", "unit", "better", "base_median", "base_low", "base_high", "base_n",
		"current_median", "current_low", "current_high", "current_n", "delta_pct", "p", "significant"})
	for _, h := range doc.Hosts {
		for _, r := range h.Rows {
			_ = c.Write(append([]string{h.Host + " " + h.Baseline.Session, h.Host + " " + h.Current.Session}, rowCSV(r)...))
		}
	}
	for _, t := range doc.Tables {
		for _, r := range t.Rows {
			_ = c.Write(append([]string{t.Base, t.Current}, rowCSV(r)...))
		}
	}
	c.Flush()
	return c.Error()
}

func rowCSV(r bench.Row) []string {
	summary := func(s *bench.Summary) []string {
		if s == nil {
			return []string{"", "", "", "0"}
		}
		return []string{csvNumber(&s.Median), csvNumber(s.Low), csvNumber(s.High), strconv.Itoa(s.N)}
	}
	row := append([]string{r.Metric, r.Unit, string(r.Better)}, summary(r.Base)...)
	return append(append(row, summary(r.Current)...), csvNumber(r.DeltaPct), csvNumber(r.P), strconv.FormatBool(r.Differs))
}

// csvNumber is empty where there is none.
func csvNumber(v *float64) string {
	if v == nil {
		return ""
	}
	return strconv.FormatFloat(*v, 'g', -1, 64)
}

// benchfmt has every value of every side.
func (doc *compareDoc) benchfmt(w io.Writer) error { return bench.Benchfmt(w, doc.sides) }
