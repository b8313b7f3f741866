package main

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vpsctl/vpsctl/bench"
	"github.com/vpsctl/vpsctl/report"
)

func benchHistoryCommand() *cli.Command {
	return &cli.Command{Name: "history", Usage: "every session kept here, with a small curve for each metric", Flags: flags(talkFlags, stateFlags, []cli.Flag{limitFlag,
		&cli.StringSliceFlag{Name: "metric", Usage: "only this `METRIC`, a name or glob such as 'disk/*' (repeatable)"},
		&cli.IntFlag{Name: "last", Value: 30, Usage: "the newest `N` sessions of each host (0: all)"}}), Action: with(benchHistory),
		Description: "Curves run from the oldest session to the newest, and up is more of the metric,\nwhich is not always better. Sessions that no baseline counts are marked.", CustomHelpTemplate: help(
			"vpsctl bench history", "vpsctl bench history -l alpha --metric 'disk/*'", "vpsctl bench history --last 0 -o json")}
}

// historyDoc is what `bench history -o json` prints.
type historyDoc struct {
	Schema string        `json:"schema"`
	Hosts  []historyHost `json:"hosts"`
}

// historyHost is one host's sessions, oldest first.
type historyHost struct {
	Host     string          `json:"host"`
	Sessions []bench.Session `json:"sessions"`
	Changes  []bench.Change  `json:"changes"`
	Unread   int             `json:"unread"` // lines that could not be read
}

func benchHistory(k *call) error {
	if k.NArg() > 0 {
		return usageError{"bench history takes no arguments", "name hosts with -l"}
	}
	for _, g := range k.StringSlice("metric") {
		if _, err := path.Match(g, ""); err != nil {
			return usageError{fmt.Sprintf("--metric %s: no pattern", g), "such as 'disk/*'"}
		}
	}
	if k.Int("last") < 0 {
		return usageError{"--last: at least 0", ""}
	}
	hosts, err := k.measured()
	if err != nil {
		return err
	}
	doc := historyDoc{Schema: "vpsctl/bench-history/1", Hosts: []historyHost{}}
	for _, h := range hosts {
		list, unread, err := k.benchStore().History(h)
		if err != nil {
			return err
		}
		changes := bench.Changes(list)
		if n := k.Int("last"); n > 0 && len(list) > n {
			list = list[len(list)-n:]
			changes = slices.DeleteFunc(changes, func(c bench.Change) bool { return !c.At.After(list[0].Start) })
		}
		for i := range list {
			list[i].Metrics = slices.DeleteFunc(slices.Clone(list[i].Metrics), func(m bench.Metric) bool { return !wanted(m.Name, k.StringSlice("metric")) })
		}
		if list == nil {
			list = []bench.Session{}
		}
		doc.Hosts = append(doc.Hosts, historyHost{h, list, changes, unread})
	}
	return k.ui.result(k.json(), doc, func(w io.Writer) error { return doc.text(w, k.ui.watchView()) })
}

// wanted tells whether a metric is asked for; a glob's star goes over slashes.
func wanted(name string, globs []string) bool {
	flat := strings.NewReplacer("/", "\x00")
	for _, g := range globs {
		if ok, err := path.Match(flat.Replace(g), flat.Replace(name)); err == nil && ok {
			return true
		}
	}
	return len(globs) == 0
}

func (doc *historyDoc) text(w io.Writer, v watchView) error {
	if len(doc.Hosts) == 0 {
		_, err := fmt.Fprintln(w, "No host has been measured from here yet.")
		return err
	}
	for _, h := range doc.Hosts {
		if err := h.text(w, v); err != nil {
			return err
		}
	}
	return nil
}

func (h *historyHost) text(w io.Writer, v watchView) error {
	fmt.Fprintf(w, "%s: %d sessions\n", h.Host, len(h.Sessions))
	if h.Unread > 0 {
		fmt.Fprintf(w, "  [WARN] %d lines cannot be read and are left out\n", h.Unread)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range h.Sessions {
		note := ""
		if s.Excluded != "" {
			note = "no baseline counts it: " + report.Clean(s.Excluded)
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\n", benchTime(s.Start), s.ID, report.Clean(string(s.Depth)), s.Took.Round(time.Second), note)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, c := range h.Changes {
		fmt.Fprintf(w, "  [INFO] %s: %s\n", benchTime(c.At), report.Clean(c.Text))
	}
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, l := range curveLines(h.Sessions) {
		least, most := slices.Min(l.values), slices.Max(l.values)
		curve := v.spark(scaled(l.values, least, most), len(l.values))
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s to %s\tn=%d\n", l.name, bench.Figure(l.values[len(l.values)-1]), l.unit, curve, bench.Figure(least), bench.Figure(most), len(l.values))
	}
	return t.Flush()
}

// curveLine is a metric over the sessions that have it.
type curveLine struct {
	name, unit string
	values     []float64
}

func curveLines(sessions []bench.Session) []curveLine {
	var lines []curveLine
	for _, s := range sessions {
		for _, m := range s.Metrics {
			i := slices.IndexFunc(lines, func(l curveLine) bool { return l.name == m.Name && l.unit == m.Unit })
			if i < 0 {
				i, lines = len(lines), append(lines, curveLine{name: m.Name, unit: m.Unit})
			}
			lines[i].values = append(lines[i].values, m.Median)
		}
	}
	return lines
}

// scaled puts values between 0 and 100. A curve that is flat looks flat: its
// height is a fifth of the largest value at least.
func scaled(values []float64, least, most float64) []float64 {
	if room := most/5 - (most - least); room > 0 {
		least, most = least-room/2, most+room/2
	}
	out := make([]float64, len(values))
	for i, x := range values {
		out[i] = 100 * (x - least) / (most - least)
	}
	return out
}
