package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// htmlHost is all that the page says about one host.
type htmlHost struct {
	Name, Anchor, Address, Status, Mark, Verdict, Hint, Problem, System string

	Open                   bool
	most                   int    // entries of a list
	Alarms                 string // a path of all alerts
	MoreMarks, MoreChanges int
	Figures                []htmlFact
	Score                  string
	Ticks                  []tick
	Bars                   []htmlBar
	Plots                  []htmlPlot
	Marks                  []htmlMark
	Lines                  []string // where phases begin
	Phases                 []htmlPhase
	Failed                 []htmlFailed
	Slow                   []htmlSlow
	Changes                []htmlStep
	Created                []string
	Undo                   int
	Packages               []htmlPackages
	Total                  int // of packages
	Compare                *htmlCompare
	Notes                  []htmlNote
	Files                  string
}

// htmlBar is a phase on the axis.
type htmlBar struct {
	Name, Title, Status, X, W, Time, Tip, Target string
	Alternate                                    bool
	Steps, Waits                                 []htmlSpan
}

type htmlSpan struct{ X, W, Tip string }

type htmlMark struct{ X, When, Text string }

type htmlPhase struct {
	Name, Title, Status, Mark, Class, Reason          string
	Time, Target, Variance, Changed, CPU, Memory      num
	DiskRead, DiskWrite, NetRx, NetTx, Wait           num
	HasCost                                           bool
	CPUMethod, MemoryMethod, DiskMethod, Shared, Slow string
}

type htmlFailed struct{ Name, What, Reason, Stderr, Hint string }

type htmlSlow struct{ Name, Time, W string }

type htmlStep struct{ Name, Reason string }

type htmlPackages struct {
	Step string
	List []Package
}

type htmlCompare struct {
	Against, At, Text string
	Detected          bool
	Rows              []htmlChange
}

type htmlChange struct {
	Name, Before, Now, Change, Class, Reason string
	Num                                      num
}

type htmlNote struct{ When, Level, Text, Hint string }

// What a page shows of long lists; the files have the rest.
const (
	pageSlow  = 10
	pageList  = 300   // of one host; less when there are many
	openHosts = 4     // more are folded, but for those that failed
	pageSlots = 16000 // slots of all hosts together
)

func newHTMLHost(r *Report, i int) *htmlHost {
	h := &r.Hosts[i]
	rec := h.Record
	v := &htmlHost{Name: h.Host.Host, Anchor: fmt.Sprintf("host-%d", i+1), Status: word(h.Verdict.Status), Verdict: h.Verdict.Text, Problem: h.Problem,
		Open: len(r.Hosts) <= openHosts || h.Verdict.Status == wire.Failed}
	v.Mark, v.most = markWord(v.Status), max(20, min(pageList, 3000/len(r.Hosts)))
	if a := cleanLine(h.Host.Address); a != h.Host.Host {
		v.Address = a
	}
	if h.Verdict.Error != nil {
		v.Hint = h.Verdict.Error.Hint
	}
	if rec.Start == nil {
		return v
	}
	doc := h.Performance()
	v.System = systemText(rec)
	v.figures(&doc)
	v.timeline(rec, len(r.Hosts))
	for j := range rec.Phases {
		v.Phases = append(v.Phases, newHTMLPhase(&rec.Phases[j], &doc.Phases[j], j))
	}
	v.steps(rec)
	v.packages(rec)
	v.compare(&doc)
	v.notes(h)
	return v
}

func systemText(rec *HostRecord) string {
	f := rec.Facts()
	list := []string{cmp.Or(f.OSName, f.OS, "unknown system"), plural(f.Cores, "CPU") + prefixed(" ", f.CPUModel),
		fmt.Sprintf("%s memory", mib(float64(f.MemoryMB))), fmt.Sprintf("%s disk", mib(float64(f.DiskMB))), "tier " + TierOf(f).Name}
	for _, s := range []string{prefixed("kernel ", f.Kernel), f.Arch, prefixed("virtualisation ", f.Virt)} {
		if s != "" {
			list = append(list, s)
		}
	}
	return strings.Join(list, " · ")
}

// mib prints MiB, larger numbers as GiB.
func mib(v float64) string {
	if v >= 1024 {
		return fmt.Sprintf("%.1f GiB", v/1024)
	}
	return fmt.Sprintf("%.0f MiB", v)
}

func rate(v float64) string {
	if v < 10 {
		return fmt.Sprintf("%.1f MiB/s", v)
	}
	return fmt.Sprintf("%.0f MiB/s", v)
}

func (v *htmlHost) figures(doc *PerformanceReport) {
	s := &doc.Summary
	total := htmlFact{Name: "Total time", Num: jsonNum("summary.total_duration_sec", s.TotalDurationSec, secText(s.TotalDurationSec))}
	if s.TargetDurationSec > 0 {
		total.Note = fmt.Sprintf("target %s, %s run", secText(s.TargetDurationSec), s.TargetRule)
	}
	if s.ParallelSavedSec > 0 {
		total.Note += ", " + secText(s.ParallelSavedSec) + " saved side by side"
	}
	score := htmlFact{Name: "Score", Num: jsonNum("summary.performance_score", s.PerformanceScore, "none"), Note: s.ScoreReason}
	if s.PerformanceScore != nil {
		score.Num.Text, score.Note = scoreCell(s.PerformanceScore)+"%", ScoreText(s.ScoreClass)
	}
	v.Figures = []htmlFact{total, score,
		{Name: "Steps changed", Num: jsonNum("summary.changed", s.Changed, itoa(s.Changed)), Note: fmt.Sprintf("%d as they should be, %d skipped, %d failed", s.OK, s.Skipped, s.Failed)}}
	if u := doc.ResourceUsage; u != nil {
		v.Figures = append(v.Figures,
			htmlFact{"CPU, 95th percentile", jsonNum("resource_usage.cpu_p95_percent", u.CPUP95, pct(u.CPUP95)), fmt.Sprintf("average %s, peak %s", pct(u.CPUAvg), pct(u.CPUPeak)), u.CPUClass},
			htmlFact{"Memory used, peak", jsonNum("resource_usage.memory_peak_mb", u.MemoryPeakMB, fmt.Sprintf("%d MiB", u.MemoryPeakMB)), fmt.Sprintf("average %.0f MiB", u.MemoryAvgMB), u.MemoryClass},
			htmlFact{"Disk available, least", jsonNum("resource_usage.disk_min_avail_mb", u.DiskMinAvailMB, mib(float64(u.DiskMinAvailMB))), fmt.Sprintf("%d MiB", u.DiskMinAvailMB), u.DiskClass},
			htmlFact{"Load, peak", jsonNum("resource_usage.load_peak", u.LoadPeak, fmt.Sprintf("%.2f", u.LoadPeak)), plural(u.Samples, "sample"), ""})
	}
}

// timeline lays phases, curves and alerts over one axis.
// The more hosts a page has, the less fine is what it shows of each.
func (v *htmlHost) timeline(rec *HostRecord, hosts int) {
	a, least := axis{0, rec.Duration()}, 0.4
	if hosts > 20 {
		least = 2
	}
	v.Ticks = a.ticks()
	for i := range rec.Phases {
		if p := &rec.Phases[i]; p.Begun {
			v.Bars = append(v.Bars, phaseBar(rec, p, a, least))
			v.Lines = append(v.Lines, a.x(p.Begin))
		}
	}
	last := -10
	for _, al := range rec.Alerts {
		if x := int(10 * a.at(al.At)); x >= last+4 {
			v.Alarms += fmt.Sprintf("M%d 0V100", x)
			last = x
		}
		if len(v.Marks) == v.most {
			v.MoreMarks++
			continue
		}
		text := al.Message
		if al.Samples > 1 {
			text += fmt.Sprintf(" (%d samples)", al.Samples)
		}
		v.Marks = append(v.Marks, htmlMark{X: a.x(al.At), When: took(al.At), Text: text})
	}
	c := rec.Curves.thin(min(maxSlots, max(60, pageSlots/hosts)))
	memory := float64(rec.Facts().MemoryMB)
	every := rec.Start.Interval
	show := func(title string, top float64, say func(float64) string, lines ...lineOf) {
		if p, ok := a.plot(&c, every, title, top, say, lines...); ok {
			v.Plots = append(v.Plots, p)
		}
	}
	cpu := []lineOf{{"", "one", figCPU}}
	if peak, _ := c.peak(figSteal); peak > 0 {
		cpu = []lineOf{{"used", "one", figCPU}, {"stolen", "two", figSteal}}
	}
	mem := []lineOf{{"", "one", figMemory}}
	if peak, _ := c.peak(figSwap); peak > 0 {
		mem = []lineOf{{"used", "one", figMemory}, {"swap", "two", figSwap}}
	}
	show("CPU", 100, func(f float64) string { return fmt.Sprintf("%.0f%%", f) }, cpu...)
	show("Memory", memory, mib, mem...)
	show("Disk", 0, rate, lineOf{"write", "one", figWrite}, lineOf{"read", "two", figRead})
	show("Network", 0, rate, lineOf{"in", "one", figRx}, lineOf{"out", "two", figTx})
}

// phaseBar is a phase with its steps, but for those that are shorter than least
// percent of the axis.
func phaseBar(rec *HostRecord, p *PhaseRecord, a axis, least float64) htmlBar {
	end := p.End
	if !p.Ended {
		end = max(p.Begin, rec.Duration())
	}
	b := htmlBar{Name: p.ID, Title: p.Title, Status: p.word(), X: a.x(p.Begin), W: a.width(p.Begin, end), Time: took(end - p.Begin),
		Tip: fmt.Sprintf("%s: %s from %s to %s, %s", p.ID, strings.ReplaceAll(p.word(), "_", " "), took(p.Begin), took(end), took(end-p.Begin))}
	if t := p.Begin + p.Target; p.Target > 0 && t < a.to {
		b.Target = a.x(t)
	}
	for i := range p.Steps {
		if s := &p.Steps[i]; s.Begun && a.at(s.End)-a.at(s.Begin) > least {
			b.Steps = append(b.Steps, htmlSpan{a.x(s.Begin), a.width(s.Begin, s.End), s.ID + ": " + took(s.Duration())})
		}
	}
	for _, w := range rec.Waits {
		if strings.HasPrefix(w.Step, p.ID+"/") && w.End > w.Begin {
			b.Waits = append(b.Waits, htmlSpan{a.x(w.Begin), a.width(w.Begin, w.End), "waited " + took(w.End-w.Begin) + " for " + w.For})
		}
	}
	return b
}

func newHTMLPhase(p *PhaseRecord, doc *PerfPhase, i int) htmlPhase {
	key := func(name string) string { return fmt.Sprintf("phases.%d.%s", i, name) }
	v := htmlPhase{Name: p.ID, Title: p.Title, Status: p.word(), Mark: markWord(p.word()), Class: p.class(),
		Time:     jsonNum(key("duration_sec"), doc.DurationSec, dash(secText(doc.DurationSec))),
		Target:   jsonNum(key("target_sec"), doc.TargetSec, dash(secText(doc.TargetSec))),
		Variance: jsonNum(key("variance_pct"), doc.VariancePct, dash(percent(doc.VariancePct))),
		Changed:  jsonNum(key("changed"), doc.Changed, itoa(doc.Changed))}
	if !p.complete() {
		v.Reason = p.Reason
	}
	if doc.SuspectFast {
		v.Slow = "changed things in under a fifth of its target"
	}
	if c := doc.Cost; c != nil && p.Begun {
		n := func(name string, f float64, format string) num {
			return jsonNum(key("cost."+name), f, fmt.Sprintf(format, f))
		}
		v.HasCost = true
		v.CPU, v.Memory, v.Wait = n("cpu_sec", c.CPUSec, "%.1f s"), n("peak_memory_mb", c.PeakMemoryMB, "%.0f"), n("wait_sec", c.WaitSec, "%.1f s")
		v.DiskRead, v.DiskWrite = n("disk_read_mb", c.DiskReadMB, "%.0f"), n("disk_write_mb", c.DiskWriteMB, "%.0f")
		v.NetRx, v.NetTx = n("net_rx_mb", c.NetRxMB, "%.1f"), n("net_tx_mb", c.NetTxMB, "%.1f")
		v.CPUMethod, v.MemoryMethod, v.DiskMethod = c.CPUMethod, c.MemoryMethod, c.DiskMethod
		if c.NetShared {
			v.Shared = "shared"
		}
	}
	return v
}

func dash(s string) string {
	if s == "-" {
		return "–"
	}
	return s
}

func (v *htmlHost) steps(rec *HostRecord) {
	for _, s := range rec.stepsWhere(func(s *StepRecord) bool { return s.Status == wire.Failed }) {
		if len(v.Failed) == v.most {
			break
		}
		v.Failed = append(v.Failed, htmlFailed{s.ID, failedWords(s), s.Reason, lastLines(s.Stderr), s.Hint})
	}
	slow := rec.stepsWhere(func(s *StepRecord) bool { return s.Duration() > 0 })
	slices.SortStableFunc(slow, func(a, b *StepRecord) int { return cmp.Compare(b.Duration(), a.Duration()) })
	for _, s := range slow[:min(pageSlow, len(slow))] {
		share := 100 * float64(s.Duration()) / float64(slow[0].Duration())
		v.Slow = append(v.Slow, htmlSlow{s.ID, took(s.Duration()), percentOf(max(0.5, share))})
	}
	changed := rec.stepsWhere(func(s *StepRecord) bool { return s.Status == wire.Changed })
	for _, s := range changed[:min(v.most, len(changed))] {
		v.Changes = append(v.Changes, htmlStep{s.ID, s.Reason})
	}
	v.MoreChanges = len(changed) - len(v.Changes)
	v.Created, v.Undo = rec.Created[:min(v.most, len(rec.Created))], len(rec.Undo)
}

func lastLines(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-showStderr):], "\n")
}

func (v *htmlHost) packages(rec *HostRecord) {
	v.Total = len(rec.Installed)
	for _, p := range rec.Installed {
		n := len(v.Packages)
		if n == 0 || v.Packages[n-1].Step != p.Step {
			v.Packages = append(v.Packages, htmlPackages{Step: p.Step})
			n++
		}
		v.Packages[n-1].List = append(v.Packages[n-1].List, p)
	}
}

func (v *htmlHost) compare(doc *PerformanceReport) {
	r := doc.Regression
	if r == nil {
		return
	}
	c := &htmlCompare{Against: r.Against, At: cleanLine(r.At), Detected: r.Detected}
	row := func(key string, p PerfChange) {
		text := dash(percent(p.ChangePct))
		c.Rows = append(c.Rows, htmlChange{Name: p.Name, Before: dash(secText(p.BeforeSec)), Now: dash(secText(p.NowSec)), Change: text, Class: p.Class, Reason: p.Reason,
			Num: jsonNum(key+".change_pct", p.ChangePct, text)})
	}
	row("regression.total", r.Total)
	for i, p := range r.Phases {
		row(fmt.Sprintf("regression.phases.%d", i), p)
	}
	v.Compare = c
}

func (v *htmlHost) notes(h *HostReport) {
	rec := h.Record
	add := func(at time.Duration, level, text, hint string) {
		if len(v.Notes) < v.most {
			v.Notes = append(v.Notes, htmlNote{took(at), level, text, hint})
		}
	}
	if off := h.Host.ClockOffsetSec; off != nil && (*off > 5 || *off < -5) {
		add(0, "warn", fmt.Sprintf("the host's clock is %.1f s off this machine's", *off), "")
	}
	for _, n := range rec.Notes {
		add(n.At, n.Level, n.Text, n.Hint)
	}
	if rec.Cancel != nil {
		add(rec.Cancel.At, "warn", "cancel was asked for"+prefixed(": ", rec.Cancel.Text), "")
	}
	for _, w := range rec.Waits {
		add(w.Begin, "info", fmt.Sprintf("%s waited %s for %s%s", w.Step, took(w.End-w.Begin), w.For, prefixed(", held by ", w.Holder)), "")
	}
	for _, g := range rec.Guards {
		level := "warn"
		if g.Outcome == "confirmed" {
			level = "info"
		}
		add(g.Begin, level, g.Step+" "+cmp.Or(g.Outcome, "awaits confirmation")+prefixed(": ", g.Reason), "")
	}
}
