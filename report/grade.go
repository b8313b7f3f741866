package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// This file holds every band, limit and target total. Numbers are classified
// as they are and rounded only for print, so that a print never stands on the
// other side of an edge than its class.

// Limits of alerts. The comparison is strict: a value on the limit is fine.
const (
	AlertMemoryMB = wire.AlertMemoryMB
	AlertDiskMB   = wire.AlertDiskMB
	AlertCPUPct   = wire.AlertCPUPct
	alertClean    = 3 // clean samples before the same alert is raised again

	// RegressionPct is the degradation that is still acceptable.
	RegressionPct = 20

	warnPct        = 150 // of a phase's target
	errorPct       = 200
	suspectFastPct = -80 // a phase that says it changed things this much under its target
)

// Score is how a duration did against its target.
type Score struct {
	Raw    float64 // target / actual in percent
	Capped float64 // at most 100
	Class  string  // met, acceptable, below_target, issues
}

// NewScore grades an actual duration. ok is false when there is nothing to
// grade: no target or no time spent.
func NewScore(target, actual time.Duration) (s Score, ok bool) {
	if target <= 0 || actual <= 0 {
		return Score{}, false
	}
	s.Raw = 100 * float64(target) / float64(actual)
	s.Capped = math.Min(100, s.Raw)
	switch {
	case target >= actual:
		s.Class = "met"
	case s.Raw >= 90:
		s.Class = "acceptable"
	case s.Raw >= 80:
		s.Class = "below_target"
	default:
		s.Class = "issues"
	}
	return s, true
}

// ScoreText says what a class of scores means.
func ScoreText(class string) string {
	switch class {
	case "met":
		return "met or exceeded target"
	case "acceptable":
		return "acceptable performance"
	case "below_target":
		return "below target but functional"
	case "issues":
		return "performance issues detected"
	}
	return "not graded"
}

// VarianceClass grades a deviation from a target in percent, positive = slower.
func VarianceClass(pct float64) string {
	switch {
	case pct <= 10:
		return "excellent"
	case pct <= 30:
		return "acceptable"
	case pct <= 50:
		return "warning"
	}
	return "critical"
}

// Slowdown is how much slower a duration is than an earlier one, in percent of
// the earlier one; ok is false where there is nothing to compare with.
func Slowdown(now, before time.Duration) (pct float64, ok bool) {
	if before <= 0 || now <= 0 {
		return 0, false
	}
	return 100 * float64(now-before) / float64(before), true
}

// RegressionClass grades a degradation in percent, positive = worse than before:
// improved, acceptable, warning, critical. More than RegressionPct is a regression.
func RegressionClass(pct float64) string {
	switch {
	case pct < 0:
		return "improved"
	case pct <= RegressionPct:
		return "acceptable"
	case pct <= 50:
		return "warning"
	}
	return "critical"
}

// Degradation grades how much worse something is than before, in percent, and
// rounds it so that it stays in its class.
func Degradation(pct float64) (shown float64, class string, regressed bool) {
	return print1(pct, RegressionClass), RegressionClass(pct), pct > RegressionPct
}

// MemoryClass grades MiB used by the guide's bands, which are meant for a host
// of 4 GB.
func MemoryClass(usedMB float64) string {
	return band(usedMB, 1536, 2560, 3584, "excellent", "normal", "high")
}

// ScaledMemoryClass is MemoryClass with the same edges as fractions of the
// host's own memory.
func ScaledMemoryClass(usedMB float64, totalMB int) string {
	t := float64(totalMB)
	return band(usedMB, 0.375*t, 0.625*t, 0.875*t, "excellent", "normal", "high")
}

// guideMemory tells whether the guide's memory bands fit a host: 3.5 to 4.5 GiB.
func guideMemory(totalMB int) bool { return totalMB >= 3584 && totalMB <= 4608 }

// CPUClass grades percent of all CPUs.
func CPUClass(pct float64) string { return band(pct, 50, 75, 90, "low", "normal", "high") }

func band(v, a, b, c float64, first, second, third string) string {
	switch {
	case v < a:
		return first
	case v < b:
		return second
	case v <= c:
		return third
	}
	return "critical"
}

// DiskClass grades MiB available on /.
func DiskClass(availMB int) string {
	switch {
	case availMB > 15360:
		return "excellent"
	case availMB > 10240:
		return "good"
	case availMB >= 5120:
		return "warning"
	}
	return "critical"
}

// Tier is a size of host with the total a full run is promised in.
type Tier struct {
	Name  string
	Total time.Duration
}

// The totals of a full run, by tier, and of a full run that finds nothing to
// change. A "4 GB" server reports about 3.8 GiB, hence the tolerance.
var (
	tierXLarge   = Tier{"xlarge", 600 * time.Second}   // 16 GB, 8 CPUs
	tierLarge    = Tier{"large", 720 * time.Second}    // 8 GB, 4 CPUs
	tierStandard = Tier{"standard", 900 * time.Second} // 4 GB, 2 CPUs
	tierSmall    = Tier{"small", 1200 * time.Second}   // less
)

const rerunTotal = 300 * time.Second

// TierOf is the tier of a host.
func TierOf(f wire.Facts) Tier {
	switch {
	case f.MemoryMB >= 14*1024 && f.Cores >= 8:
		return tierXLarge
	case f.MemoryMB >= 7*1024 && f.Cores >= 4:
		return tierLarge
	case f.Tier() == "standard":
		return tierStandard
	}
	return tierSmall
}

// ran is a phase that ran to its end, as runTarget wants it.
type ran struct {
	begin, end time.Duration
	target     wire.Target
	changed    int
}

// runTarget is what a run's wall clock is measured against, and which rule
// said so: "full" (the tier's total; recognised by the targets of the phases
// adding up to all ten of the guide), "rerun" (a full run that changed nothing)
// or "partial" (the sum of the targets of the phases that ran; of phases that
// overlapped only the longest chain counts). Phases of one's own come on top.
func runTarget(f wire.Facts, phases []ran) (target time.Duration, rule string) {
	all := tierStandard.Total
	if f.Tier() != "standard" {
		all = tierSmall.Total
	}
	var sum time.Duration
	changed := 0
	for _, p := range phases {
		sum += p.target.For(f)
		changed += p.changed
	}
	switch {
	case sum >= all && changed == 0:
		return rerunTotal, "rerun"
	case sum >= all:
		return TierOf(f).Total + sum - all, "full"
	case changed == 0:
		return min(rerunTotal, longestChain(phases, func(t wire.Target) time.Duration {
			if t.Rerun > 0 {
				return t.Rerun
			}
			return t.For(f)
		})), "rerun"
	}
	return longestChain(phases, func(t wire.Target) time.Duration { return t.For(f) }), "partial"
}

// longestChain is the largest sum of targets over phases of which each ended
// before the next began: with no overlap that is all of them.
func longestChain(phases []ran, target func(wire.Target) time.Duration) time.Duration {
	phases = slices.Clone(phases)
	slices.SortStableFunc(phases, func(a, b ran) int { return cmp.Compare(a.begin, b.begin) })
	upTo := make([]time.Duration, len(phases))
	var longest time.Duration
	for i, p := range phases {
		for j, q := range phases[:i] {
			if q.end <= p.begin {
				upTo[i] = max(upTo[i], upTo[j])
			}
		}
		upTo[i] += target(p.target)
		longest = max(longest, upTo[i])
	}
	return longest
}

// Rounding for print: scores down, slowness up.
func floor1(v float64) float64 { return math.Floor(v*10) / 10 }
func ceil1(v float64) float64  { return math.Ceil(v*10) / 10 }

// print1 rounds to one decimal, to the side that keeps the class.
func print1(v float64, class func(float64) string) float64 {
	want := class(v)
	for _, r := range []float64{math.Round(v*10) / 10, floor1(v), ceil1(v)} {
		if class(r) == want {
			return r
		}
	}
	return v
}

// The alert lines, without their mark.
func memoryAlert(mb, limit int) string {
	return fmt.Sprintf("ALERT: Available memory below threshold: %dMB < %dMB", mb, limit)
}

func diskAlert(mb, limit int) string {
	return fmt.Sprintf("ALERT: Available disk space below threshold: %dMB < %dMB", mb, limit)
}

func cpuAlert(pct, limit float64) string {
	return fmt.Sprintf("ALERT: CPU usage above threshold: %.0f%% > %s%%", math.Ceil(pct), strconv.FormatFloat(limit, 'f', -1, 64))
}

// overTarget tells whether a phase has taken so long that it is warned about.
func overTarget(actual, target time.Duration) bool {
	return target > 0 && 100*float64(actual)/float64(target) >= warnPct
}

// warnAfter is when it is warned.
func warnAfter(target time.Duration) time.Duration { return target * warnPct / 100 }

// farOverTarget tells whether that is more than a warning.
func farOverTarget(actual, target time.Duration) bool {
	return target > 0 && 100*float64(actual)/float64(target) >= errorPct
}

func phaseAlert(id string, actual, target time.Duration) string {
	return fmt.Sprintf("Phase '%s' exceeded expected duration: %s vs %s (%.0f%%)", id, seconds(actual), seconds(target),
		math.Floor(100*float64(actual)/float64(target)))
}

// seconds prints whole seconds, and below ten one decimal more, cut.
func seconds(d time.Duration) string {
	if d < 10*time.Second && d%time.Second != 0 {
		return strconv.FormatFloat(floor1(d.Seconds()), 'f', 1, 64) + "s"
	}
	return strconv.FormatInt(int64(d/time.Second), 10) + "s"
}
