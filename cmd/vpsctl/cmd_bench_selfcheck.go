package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/vpsctl/vpsctl/bench"
)

// mostSplits bounds what a person may ask for.
const mostSplits = 1_000_000

func benchSelfcheckCommand() *cli.Command {
	return &cli.Command{Name: "selfcheck", Usage: "how often would the verdict have been wrong about this host?", ArgsUsage: "[HOST …]", Flags: flags(talkFlags, stateFlags, []cli.Flag{
		&cli.IntFlag{Name: "splits", Value: 2000, Usage: "`N` random splits of each history"},
		&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "`SEED` of the random splits: the same one, the same answer"}}), Action: with(benchSelfcheck),
		Description: "Splits a host's own history at random, by whole days, into a baseline and\nsessions that would confirm a slowdown, and counts how often the verdict would\nhave been REGRESSED although nothing changed. Reads records, touches no host.\nSessions from before `vpsctl bench baseline pin` do not count.", CustomHelpTemplate: help(
			"vpsctl bench selfcheck", "vpsctl bench selfcheck alpha --splits 10000", "vpsctl bench selfcheck -o json")}
}

// selfcheckDoc is what `bench selfcheck -o json` prints.
type selfcheckDoc struct {
	Schema string            `json:"schema"`
	Hosts  []bench.SelfCheck `json:"hosts"`
	Unread int               `json:"unread,omitempty"` // lines of the histories that could not be read
}

func benchSelfcheck(k *call) error {
	splits := k.Int("splits")
	if splits < 1 || splits > mostSplits {
		return usageError{fmt.Sprintf("--splits %d: 1 to %d", splits, mostSplits), ""}
	}
	store := k.benchStore()
	hosts := k.Args().Slice()
	if len(hosts) == 0 {
		var err error
		if hosts, err = store.Hosts(); err != nil {
			return err
		}
	}
	since, err := k.accepted(hosts)
	if err != nil {
		return err
	}
	doc := selfcheckDoc{Schema: "vpsctl/bench-selfcheck/1", Hosts: []bench.SelfCheck{}}
	for _, h := range hosts {
		history, unread, err := store.History(h)
		if err != nil {
			return err
		}
		if len(history) == 0 && k.NArg() > 0 {
			return usageError{fmt.Sprintf("%s has no history here", h), "see `vpsctl bench run`"}
		}
		doc.Unread += unread
		doc.Hosts = append(doc.Hosts, bench.CheckSelf(h, history, since[h], splits, k.Uint64("seed")))
	}
	return k.ui.result(k.json(), doc, doc.text)
}

func (d selfcheckDoc) text(w io.Writer) error {
	if len(d.Hosts) == 0 {
		_, err := fmt.Fprintln(w, "No host has been measured from here yet.")
		return err
	}
	for _, h := range d.Hosts {
		t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		fmt.Fprintf(t, "%s\tSESSIONS\tDAYS\tVARIES\tSPLIT\tSLOW\tFALSE ALARMS\tAT MOST\tNOTE\n", h.Host)
		for _, m := range h.Metrics {
			if m.Splits == 0 {
				fmt.Fprintf(t, "%s\t%d\t%d\t%.1f %%\t-\t-\t-\t-\t%s\n", m.Metric, m.Sessions, m.Days, m.CVPct, m.Note)
				continue
			}
			fmt.Fprintf(t, "%s\t%d\t%d\t%.1f %%\t%d v %d\t%.1f %%\t%d of %d\t%.2f %%\t%s\n", m.Metric, m.Sessions, m.Days, m.CVPct, m.Base, m.Confirm,
				m.SlowPct, m.Alarms, m.Splits, m.AlarmMaxPct, m.Note)
		}
		if err := t.Flush(); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(w, h.Text); err != nil {
			return err
		}
	}
	return nil
}
