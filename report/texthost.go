package report

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// How much of a list the text report shows; the files have the rest.
const (
	showSlow    = 5
	showChanged = 40
	showAlerts  = 20
	showNotes   = 20
	showStderr  = 20 // lines of one failed step
)

// host writes everything about one host.
func (p *page) host(h *HostReport, o TextOptions) {
	mark, color := markOf(word(h.Verdict.Status))
	p.line("")
	title := h.Host.Host
	if h.Host.Address != "" && h.Host.Address != h.Host.Host {
		title += " (" + cleanLine(h.Host.Address) + ")"
	}
	p.line("%s %s", p.paint(color, mark), p.paint(bold, fit(title, p.width-7)))
	p.wrapped("  ", h.Verdict.Text)
	if e := h.Verdict.Error; e != nil && e.Hint != "" {
		p.line("  > %s", e.Hint) // whole, so that it can be copied
	}
	if h.Problem != "" {
		p.wrapped("  "+p.paint(yellow, "[WARN]")+" ", h.Problem)
	}
	rec := h.Record
	if rec.Start != nil {
		p.hardware(rec)
		p.phases(rec)
		p.failed(rec)
		p.slowest(rec)
		p.changes(rec)
		p.alerts(rec, o)
		p.notes(h, o)
		p.downloads(rec)
		p.resources(rec)
		p.score(rec)
		p.compared(h.Regression)
	}
	if rec.Events > 0 {
		p.files(h)
	}
}

func (p *page) hardware(rec *HostRecord) {
	f := rec.Facts()
	text := []string{cmp.Or(f.OSName, f.OS, "unknown system")}
	for _, s := range []string{prefixed("kernel ", f.Kernel), f.Arch, prefixed("virtualisation ", f.Virt)} {
		if s != "" {
			text = append(text, s)
		}
	}
	p.wrapped("  ", strings.Join(text, ", "))
	cpu := plural(f.Cores, "CPU") + prefixed(" ", f.CPUModel)
	p.wrapped("  ", fmt.Sprintf("%s, %d MiB memory, %d MiB disk, tier %s", cpu, f.MemoryMB, f.DiskMB, TierOf(f).Name))
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func (p *page) phases(rec *HostRecord) {
	columns := []column{{head: ""}, {head: "PHASE", least: 12}, {head: "TIME", right: true}, {head: "TARGET", right: true, drop: 3},
		{head: "VARIANCE", right: true, drop: 2}, {head: "CLASS"}, {head: "CHG", right: true, drop: 1}, {head: "CPU", right: true, drop: 4},
		{head: "PEAK MB", right: true, drop: 5}, {head: "DISK MB", right: true, extra: true}, {head: "NET MB", right: true, extra: true},
		{head: "TITLE", extra: true}}
	var rows [][]cell
	for i := range rec.Phases {
		rows = append(rows, phaseCells(&rec.Phases[i]))
	}
	p.line("")
	p.table(columns, rows)
	for i := range rec.Phases {
		if ph := &rec.Phases[i]; ph.Reason != "" && ph.Status != wire.OK && ph.Status != wire.Changed {
			p.wrapped("  ", ph.ID+" "+ph.word()+": "+ph.Reason)
		}
	}
}

func phaseCells(ph *PhaseRecord) []cell {
	mark, color := markOf(ph.word())
	variance, class := "-", cmp.Or(ph.class(), ph.word())
	if v, ok := ph.Variance(); ok {
		shown := ceil1(v)
		variance = percent(&shown)
	}
	if class == "warning" || class == "critical" {
		mark, color = "[WARN]", yellow
	}
	changed, cpu, mem, disk, net := "-", "-", "-", "-", "-"
	if ph.Begun {
		changed = itoa(ph.Changed)
	}
	if c := ph.Cost; c != nil && ph.Begun {
		cpu, mem = fmt.Sprintf("%.1fs", c.CPUSec), fmt.Sprintf("%.0f", c.PeakMemoryMB)
		disk, net = fmt.Sprintf("%.0f", c.DiskReadMB+c.DiskWriteMB), fmt.Sprintf("%.0f", c.NetRxMB+c.NetTxMB)
	}
	lasted := "-"
	if ph.Begun && ph.Ended {
		lasted = took(ph.Duration())
	}
	return []cell{{mark, color}, {ph.ID, ""}, {lasted, ""}, {secText(ph.Target.Seconds()), ""}, {variance, ""},
		{class, cmp.Or(classColor(class), statusColor(class))}, {changed, ""}, {cpu, ""}, {mem, ""}, {disk, ""}, {net, ""}, {ph.Title, ""}}
}

// stepsWhere are the steps of all phases for which want is true.
func (r *HostRecord) stepsWhere(want func(*StepRecord) bool) []*StepRecord {
	var list []*StepRecord
	for i := range r.Phases {
		for j := range r.Phases[i].Steps {
			if s := &r.Phases[i].Steps[j]; want(s) {
				list = append(list, s)
			}
		}
	}
	return list
}

func (p *page) failed(rec *HostRecord) {
	for _, s := range rec.stepsWhere(func(s *StepRecord) bool { return s.Status == wire.Failed }) {
		mark, color, what := "[ERR]", red, failedWords(s)
		if s.Optional {
			mark, color = "[WARN]", yellow
		}
		p.line("")
		p.wrapped(p.paint(color, mark)+" ", s.ID+" "+what+prefixed(": ", s.Reason))
		lines := strings.Split(strings.TrimRight(s.Stderr, "\n"), "\n")
		if s.Stderr == "" {
			lines = nil
		}
		for _, l := range lines[max(0, len(lines)-showStderr):] {
			p.line("%s", fit("  ! "+strings.ReplaceAll(l, "\t", "    "), p.width))
		}
		if s.Hint != "" {
			p.line("  > %s", s.Hint)
		}
	}
}

// failedWords say how a step failed.
func failedWords(s *StepRecord) string {
	what := "failed"
	if s.Optional {
		what = "did not hold or failed, and may"
	}
	if s.TimedOut {
		what = "timed out"
	}
	if s.Attempts > 1 {
		what += fmt.Sprintf(" after %d attempts", s.Attempts)
	}
	return what
}

func (p *page) slowest(rec *HostRecord) {
	slow := rec.stepsWhere(func(s *StepRecord) bool { return s.Duration() > 0 })
	slices.SortStableFunc(slow, func(a, b *StepRecord) int { return cmp.Compare(b.Duration(), a.Duration()) })
	if len(slow) < 2 || slow[0].Duration() < time.Second {
		return
	}
	p.head("Slowest steps")
	for _, s := range slow[:min(showSlow, len(slow))] {
		p.line("%s", fit(fmt.Sprintf("  %8s  %s", took(s.Duration()), s.ID), p.width))
	}
}

func (p *page) changes(rec *HostRecord) {
	list := rec.stepsWhere(func(s *StepRecord) bool { return s.Status == wire.Changed })
	if len(list) == 0 {
		return
	}
	p.head("What changed")
	for _, s := range list[:min(showChanged, len(list))] {
		p.line("%s", fit("  "+s.ID+prefixed(": ", s.Reason), p.width))
	}
	p.more(len(list)-showChanged, eventsFile)
	for _, c := range rec.Created {
		p.line("%s", fit("  new: "+c, p.width))
	}
	if n := len(rec.Undo); n > 0 {
		p.wrapped("  ", fmt.Sprintf("the way back is kept on the host for %s", plural(n, "change")))
	}
}

// more says how many were left out, and where they are.
func (p *page) more(n int, where string) {
	if n > 0 {
		p.line("  and %d more, in %s", n, where)
	}
}

func (p *page) alerts(rec *HostRecord, o TextOptions) {
	if len(rec.Alerts) == 0 {
		return
	}
	p.head("Alerts")
	for _, a := range rec.Alerts[:min(showAlerts, len(rec.Alerts))] {
		more := ""
		if a.Samples > 1 {
			more = fmt.Sprintf(" (%d samples)", a.Samples)
		}
		p.wrapped("  "+p.when(rec, a.At, o)+p.paint(yellow, "[WARN]")+" ", a.Message+more)
	}
	p.more(len(rec.Alerts)-showAlerts, reportFile)
}

func (p *page) when(rec *HostRecord, at time.Duration, o TextOptions) string {
	if w := rec.Wall(at); !w.IsZero() {
		return o.clock(w) + " "
	}
	return ""
}

func (p *page) notes(h *HostReport, o TextOptions) {
	rec := h.Record
	offset := h.Host.ClockOffsetSec
	skewed := offset != nil && (*offset > 5 || *offset < -5)
	if len(rec.Notes)+len(rec.Waits)+len(rec.Guards) == 0 && rec.Cancel == nil && !skewed {
		return
	}
	p.head("Notes")
	if skewed {
		p.wrapped("  "+p.paint(yellow, "[WARN]")+" ", fmt.Sprintf("the host's clock is %.1f s off this machine's", *offset))
	}
	for _, n := range rec.Notes[:min(showNotes, len(rec.Notes))] {
		p.note(rec, n, o)
	}
	p.more(len(rec.Notes)-showNotes, eventsFile)
	if rec.Cancel != nil {
		p.wrapped("  "+p.when(rec, rec.Cancel.At, o)+p.paint(yellow, "[WARN]")+" ", "cancel was asked for"+prefixed(": ", rec.Cancel.Text))
	}
	for _, w := range rec.Waits[:min(showNotes, len(rec.Waits))] {
		p.wrapped("  "+p.when(rec, w.Begin, o), fmt.Sprintf("%s waited %s for %s%s", w.Step, took(w.End-w.Begin), w.For, prefixed(", held by ", w.Holder)))
	}
	for _, g := range rec.Guards[:min(showNotes, len(rec.Guards))] {
		p.guard(rec, g, o)
	}
}

func (p *page) note(rec *HostRecord, n Note, o TextOptions) {
	mark := "[INFO]"
	if n.Level == "warn" {
		mark = p.paint(yellow, "[WARN]")
	}
	p.wrapped("  "+p.when(rec, n.At, o)+mark+" ", n.Text)
	if n.Hint != "" {
		p.line("  > %s", n.Hint)
	}
}

func (p *page) guard(rec *HostRecord, g Guard, o TextOptions) {
	mark, color := "[WARN]", yellow
	if g.Outcome == "confirmed" {
		mark, color = "[OK]", green
	}
	text := g.Step + " " + cmp.Or(g.Outcome, "awaits confirmation") + prefixed(": ", g.Reason)
	if g.Login != "" && g.Outcome == "confirmed" {
		text += ", after a login as " + g.Login
	}
	p.wrapped("  "+p.when(rec, g.Begin, o)+p.paint(color, mark)+" ", text)
}

func (p *page) resources(rec *HostRecord) {
	u := rec.resources()
	if u == nil {
		return
	}
	p.head("Resources (%s)", plural(u.Samples, "sample"))
	columns := []column{{head: "  "}, {head: "AVERAGE", right: true, drop: 2}, {head: "P95", right: true, drop: 1}, {head: "WORST", right: true}, {head: "CLASS"}}
	class := func(s string) cell { return cell{s, classColor(s)} }
	memory := u.MemoryClass
	if u.MemoryClassBasis == "scaled" {
		memory += " (scaled)"
	}
	p.table(columns, [][]cell{
		{{"  CPU", ""}, {pct(u.CPUAvg), ""}, {pct(u.CPUP95), ""}, {pct(u.CPUPeak), ""}, class(u.CPUClass)},
		{{"  memory used", ""}, {fmt.Sprintf("%.0f MiB", u.MemoryAvgMB), ""}, {"-", ""}, {fmt.Sprintf("%d MiB", u.MemoryPeakMB), ""}, {memory, classColor(u.MemoryClass)}},
		{{"  disk available", ""}, {"-", ""}, {"-", ""}, {fmt.Sprintf("%d MiB", u.DiskMinAvailMB), ""}, class(u.DiskClass)},
		{{"  load", ""}, {"-", ""}, {"-", ""}, {fmt.Sprintf("%.2f", u.LoadPeak), ""}, {"", ""}},
	})
}

func pct(v float64) string { return fmt.Sprintf("%.1f%%", v) }

func (p *page) score(rec *HostRecord) {
	s := rec.summary()
	p.head("Score")
	if s.PerformanceScore == nil {
		p.wrapped("  ", "none: "+s.ScoreReason)
	} else {
		text := fmt.Sprintf("%.1f%%: %s", *s.PerformanceScore, ScoreText(s.ScoreClass))
		if *s.PerformanceScoreRaw > *s.PerformanceScore {
			text += fmt.Sprintf(" (%.1f%% uncapped)", *s.PerformanceScoreRaw)
		}
		p.wrapped("  ", text)
	}
	text := "total " + secText(s.TotalDurationSec)
	if s.TargetDurationSec > 0 && s.PerformanceScore != nil {
		text += fmt.Sprintf(", target %s (%s run)", secText(s.TargetDurationSec), s.TargetRule)
	}
	if s.ParallelSavedSec > 0 {
		text += fmt.Sprintf(", %s saved by phases side by side", secText(s.ParallelSavedSec))
	}
	p.wrapped("  ", text)
}

// compared sets the run against the one before.
func (p *page) compared(r *PerfRegression) {
	if r == nil {
		return
	}
	p.head("Compared with %s", r.Against)
	columns := []column{{head: "  PHASE"}, {head: "BEFORE", right: true}, {head: "NOW", right: true}, {head: "CHANGE", right: true}, {head: "CLASS"}, {head: "", least: 10, drop: 1}}
	var rows [][]cell
	for _, c := range append([]PerfChange{r.Total}, r.Phases...) {
		rows = append(rows, []cell{{"  " + c.Name, ""}, {secText(c.BeforeSec), ""}, {secText(c.NowSec), ""}, {percent(c.ChangePct), ""},
			{cmp.Or(c.Class, "-"), classColor(c.Class)}, {c.Reason, ""}})
	}
	p.table(columns, rows)
	if r.Detected {
		p.wrapped("  "+p.paint(yellow, "[WARN]")+" ", "REGRESSION DETECTED: something took over 20% longer than then")
	}
}

// files says where they are. A path is there to be copied, so it is not cut.
func (p *page) files(h *HostReport) {
	p.head("Files")
	p.line("  %s%c", h.Dir, filepath.Separator)
	p.wrapped("    ", strings.Join([]string{reportFile, timingFile, resourcesFile, outputFile, eventsFile}, "  "))
}
