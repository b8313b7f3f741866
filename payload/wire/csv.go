package wire

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// TimingHeader is the first line of timing.csv, on the host and on the laptop.
var TimingHeader = []string{"Timestamp", "Phase", "DurationSec", "Status", "StartEpoch", "EndEpoch", "TargetSec", "VariancePct"}

// ResourcesHeader is the first line of resources.csv; the first seven columns
// are the guide's, the others follow it.
var ResourcesHeader = []string{"Timestamp", "MemUsedMB", "MemAvailMB", "CPUPercent", "DiskAvailMB", "LoadAvg1m", "ProcessCount",
	"Phases", "SwapUsedMB", "StealPercent", "PSICPU", "PSIMemory", "PSIIO", "DiskReadMBs", "DiskWriteMBs", "NetRxMBs", "NetTxMBs"}

// TimingRow is a finished phase as a row of timing.csv. start and end are wall
// times of the host; a zero target leaves the last two columns empty.
func TimingRow(phase string, status Status, start, end time.Time, target time.Duration) []string {
	dur := end.Sub(start)
	row := []string{stamp(end), phase, decimals(dur.Seconds(), 3), timingStatus(status),
		strconv.FormatInt(start.Unix(), 10), strconv.FormatInt(end.Unix(), 10), "", ""}
	if target > 0 && status != Skipped && status != NotReached {
		row[6] = decimals(target.Seconds(), 3)
		row[7] = strconv.FormatFloat(Variance(dur, target), 'f', 1, 64)
	}
	return row
}

// Variance is how far a duration is from its target, in percent of the target;
// positive is slower.
func Variance(actual, target time.Duration) float64 {
	return 100 * float64(actual-target) / float64(target)
}

func timingStatus(s Status) string {
	switch s {
	case OK, Changed:
		return "success"
	case Skipped, NotReached:
		return "skipped"
	}
	return "failure"
}

// ResourceRow is a sample as a row of resources.csv; at is the host's wall time.
func ResourceRow(at time.Time, s *Sample) []string {
	return []string{stamp(at), strconv.Itoa(s.MemUsedMB), strconv.Itoa(s.MemAvailMB),
		strconv.Itoa(int(math.Floor(s.CPUPct + 0.5))), strconv.Itoa(s.DiskAvailMB),
		strconv.FormatFloat(s.Load1, 'f', 2, 64), strconv.Itoa(s.Procs),
		strings.Join(s.Running, "+"), strconv.Itoa(s.SwapUsedMB), strconv.FormatFloat(s.StealPct, 'f', 1, 64),
		optional(s.PSICPU), optional(s.PSIMem), optional(s.PSIIO),
		optional(s.DiskReadMBs), optional(s.DiskWritMBs), optional(s.NetRxMBs), optional(s.NetTxMBs)}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// decimals writes at most n decimals and no trailing zeros.
func decimals(f float64, n int) string {
	s := strconv.FormatFloat(f, 'f', n, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

func optional(f *float64) string {
	if f == nil {
		return ""
	}
	return decimals(*f, 2)
}

// FormatDuration writes a duration the guide's way: "9s", "2m 0s", "1h 2m 3s".
// Under ten seconds one decimal is kept, because fast phases are the rule here.
func FormatDuration(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	s := int64(d.Round(time.Second) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm %ds", s/60, s%60)
	}
	return fmt.Sprintf("%dh %dm %ds", s/3600, s%3600/60, s%60)
}

// Tier of a host decides its targets: "standard" from 3.5 GiB of memory and two
// CPUs on (a "4 GB" server reports about 3.8 GiB), else "small".
func (f Facts) Tier() string {
	if f.MemoryMB >= 3584 && f.Cores >= 2 {
		return "standard"
	}
	return "small"
}

// For is the target on a host of these facts; zero when the phase has none.
func (t Target) For(f Facts) time.Duration {
	if f.Tier() == "standard" || t.Small == 0 {
		return t.Standard
	}
	return t.Small
}
