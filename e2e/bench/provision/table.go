//go:build linux

package main

import (
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	if len(d) == 0 {
		return 0
	}
	return (d[len(d)/2] + d[(len(d)-1)/2]) / 2
}

func (b *bench) row(what, name string) {
	d := b.got[name]
	if len(d) == 0 {
		return
	}
	fmt.Printf("| %s | %.1f s | %.1f to %.1f | %d |\n", what, median(d).Seconds(), slices.Min(d).Seconds(), slices.Max(d).Seconds(), len(d))
}

func (b *bench) print(rounds int) {
	fmt.Printf("## The whole provision\n\nTaken on %s, %d cores, %s, on fresh lab hosts of 4 GB and 2 CPUs on the same machine; %d packages; medians of %d interleaved rounds, single runs where n is 1.\n\n",
		time.Now().UTC().Format("2 January 2006"), runtime.NumCPU(), runtime.Version(), len(strings.Fields(b.names)), rounds)
	fmt.Print("| what | median | least to most | n |\n|---|---|---|---|\n")
	b.row("one plain `apt-get install` of the same packages, downloaded before", "plain apt")
	b.row("`provision`: all phases, lean, with connection, downloads, configuration and verification", "lean")
	b.row("the first usable RDP desktop, from the run's start", "lean: RDP")
	for _, line := range []string{"direct", "100 Mbit/s"} {
		b.row("plain apt: lists, downloads, installation; "+line, "apt, "+line)
		b.row("`provision`; "+line, "ahead, "+line)
		b.row("`provision --sequential`; "+line, "--sequential, "+line)
	}
	b.row("`provision -e desktop=full` (another choice of packages)", "full")
	ratio := float64(median(b.got["lean"])) / float64(max(1, median(b.got["plain apt"])))
	fmt.Printf("\nRatio of the first two: %.2f; goal at most %.2f: %s.\n\n", ratio, goal, map[bool]string{true: "reached", false: "**not reached**"}[ratio <= goal])
	b.table("lean, medians of the rounds")
	_, _ = os.Stdout.WriteString(b.details.String())
}

// table adds the times of each phase that was measured since the last one.
func (b *bench) table(name string) {
	fmt.Fprintf(&b.details, "Phases (%s; those that overlap count twice)", name)
	if all := b.got[name]; len(all) > 0 {
		fmt.Fprintf(&b.details, ", %.1f s in all", median(all).Seconds())
	}
	b.details.WriteString(":\n\n| phase | seconds |\n|---|---|\n")
	for _, id := range slices.Sorted(maps.Keys(b.phases)) {
		fmt.Fprintf(&b.details, "| %s | %.1f |\n", id, median(b.phases[id]).Seconds())
	}
	b.details.WriteString("\n")
}
