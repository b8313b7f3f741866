//go:build linux

package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/e2e/lab"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/phases"
)

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	if len(d) == 0 {
		return 0
	}
	return (d[len(d)/2] + d[(len(d)-1)/2]) / 2
}

// report is the section's text.
func (b *bench) report(rounds int) string {
	var s strings.Builder
	fmt.Fprintf(&s, "Taken on %s, %d cores, %s, on fresh lab hosts of 4 GB and 2 CPUs on the same machine; %d packages; medians of %d interleaved rounds, single runs where n is 1.\n\n",
		time.Now().UTC().Format("2 January 2006"), runtime.NumCPU(), runtime.Version(), len(strings.Fields(b.names)), rounds)
	s.WriteString("| what | median | least to most | n |\n|---|---|---|---|\n")
	row := func(what, name string) {
		if d := b.got[name]; len(d) > 0 {
			fmt.Fprintf(&s, "| %s | %.1f s | %.1f to %.1f | %d |\n", what, median(d).Seconds(), slices.Min(d).Seconds(), slices.Max(d).Seconds(), len(d))
		}
	}
	row("one plain `apt-get install` of the same packages, downloaded before", plain)
	row("the same, with `polkitd` installed by a call of its own before", unhindered)
	row("`provision`: all phases, lean, with connection, downloads, configuration and verification", lean)
	row("the first usable RDP desktop, from the run's start on the host", lean+": RDP")
	row("a second run, which changes nothing (goal: 3 s)", lean+": again")
	for _, line := range []string{"direct", "100 Mbit/s"} {
		row("plain apt: lists, downloads, installation; "+line, "apt, "+line)
		row("`provision`; "+line, "ahead, "+line)
		row("`provision --sequential`; "+line, "--sequential, "+line)
	}
	row("`provision -e desktop=full` (another choice of packages)", "full")
	s.WriteString(b.ratios())
	s.WriteString(b.details.String())
	return s.String()
}

// ratios sets the phases against both plain installations.
func (b *bench) ratios() string {
	if len(b.got[lean]) == 0 || len(b.got[plain]) == 0 || len(b.got[unhindered]) == 0 {
		return "\n"
	}
	ratio := func(to string) float64 { return float64(median(b.got[lean])) / float64(median(b.got[to])) }
	reached := map[bool]string{true: "reached", false: "**not reached**"}[ratio(plain) <= goal]
	return fmt.Sprintf("\n`provision` to the first line: %.2f; goal at most %.2f: %s. To the second: %.2f.\n\n", ratio(plain), goal, reached, ratio(unhindered))
}

// table adds the times of each phase that was measured since the last one, beside its own target for a host of that size.
func (b *bench) table(name string, size lab.Limits) error {
	cat, err := phases.Load("")
	if err != nil {
		return err
	}
	fmt.Fprintf(&b.details, "Phases (%s; those that overlap count twice)", name)
	if all := b.got[name]; len(all) > 0 {
		fmt.Fprintf(&b.details, ", %.1f s in all", median(all).Seconds())
	}
	b.details.WriteString(":\n\n| phase | seconds | target |\n|---|---|---|\n")
	for _, ph := range cat.Phases() {
		if took, ran := b.phases[ph.ID]; ran {
			target := ph.Target.For(wire.Facts{MemoryMB: size.MemoryMB, Cores: size.CPUs})
			fmt.Fprintf(&b.details, "| %s | %.1f | %.0f |\n", ph.ID, median(took).Seconds(), target.Seconds())
		}
	}
	b.details.WriteString("\n")
	return nil
}
