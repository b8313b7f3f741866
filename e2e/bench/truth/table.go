//go:build linux

package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/bench/stat"
)

// A row is one metric, and how the other side is asked for it.
type row struct {
	kind, metric string
	other        string  // a metric of the prober's session, or what iperf3 is told
	within       float64 // the goal; 0: none
}

// net is a row's name among the prober's tests with a peer.
func (r row) net() string { return strings.TrimPrefix(r.metric, "net/") }

var rows = []row{
	{"disk", "disk/read-1m/qd8", "against/fio/read-1m/qd8", 0.10},
	{"disk", "disk/write-1m/qd8", "against/fio/write-1m/qd8", 0.10},
	{"disk", "disk/randread-4k/qd1", "against/fio/randread-4k/qd1", 0.10},
	{"disk", "disk/randread-4k/qd32", "against/fio/randread-4k/qd32", 0.10},
	{"disk", "disk/randwrite-4k/qd1", "against/fio/randwrite-4k/qd1", 0.10},
	{"disk", "disk/randwrite-4k/qd32", "against/fio/randwrite-4k/qd32", 0.10},
	{"disk", "disk/fdatasync-4k/qd1", "against/fio/fdatasync-4k/qd1", 0.10},
	{"net", "net/up/1", "", 0.05},
	{"net", "net/down/1", "--reverse", 0.05},
	{"net", "net/up/8", "--parallel 8", 0.05},
	{"net", "net/down/8", "--parallel 8 --reverse", 0.05},
	{"cpu", "cpu/sha256/1", "against/openssl/sha256/1", 0},
	{"cpu", "cpu/sha256/all", "against/openssl/sha256/all", 0},
}

func rowsOf(only string) []row {
	return slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return !strings.HasPrefix(r.metric, only) })
}

func (t *truth) table(versions string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Taken on %s on two lab hosts, %s. Disk and CPU: pairs of %.1f s, a fifth of which does not count, on one file of %d MiB past the page cache. Network: pairs of %.1f s for the prober and %d s for iperf3, of which the first %d s do not count, on lines of %d Mbit/s.\n\n",
		time.Now().Format("2 January 2006"), versions, each.Seconds(), fileMB, netEach.Seconds(), omit+counted, omit, lineMbit)
	b.WriteString("| metric | pairs | prober | reference | prober / reference | 95 % of it | goal | reached |\n|---|---|---|---|---|---|---|---|\n")
	for _, r := range t.rows {
		b.WriteString(r.line(t.pairs[r.metric]))
	}
	return b.String()
}

// line has the median of the pairs' ratios: what slows the machine for a while slows both sides of a pair.
func (r row) line(pairs []pair) string {
	var ours, other, ratios []float64
	for _, p := range pairs {
		ours, other, ratios = append(ours, p.ours), append(other, p.other), append(ratios, p.ours/p.other)
	}
	slices.Sort(ratios)
	ratio := stat.Median(ratios)
	low, high := around(ratios)
	goal, reached := "stated", ""
	if r.within > 0 {
		goal, reached = fmt.Sprintf("within %.0f %%", 100*r.within), "yes"
		switch {
		case math.Abs(ratio-1) <= r.within:
		case high < 1-r.within || low > 1+r.within:
			reached = "**no**"
		default:
			reached = "**no**, but within noise"
		}
	}
	return fmt.Sprintf("| %s | %d | %.4g | %.4g | %.3f | %.2f to %.2f | %s | %s |\n",
		r.metric, len(ratios), stat.Median(ours), stat.Median(other), ratio, low, high, goal, reached)
}

// around is where the median of all pairs there could be lies with 95 %, by the order of those there are; with fewer
// than six it is all of them, which is less sure.
func around(sorted []float64) (low, high float64) {
	n := len(sorted)
	k, tail, one := 0, 0.0, math.Pow(0.5, float64(n))
	for tail += one; tail <= 0.025; tail += one {
		k++
		one *= float64(n-k+1) / float64(k) // of k heads in n throws
	}
	k = max(k, 1)
	return sorted[k-1], sorted[n-k]
}
