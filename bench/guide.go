package bench

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// A Grader puts a degradation in percent into the guide's classes, all of which
// are kept in one place elsewhere. shown is it rounded so that it stays in its class.
type Grader func(worsePct float64) (shown float64, class string, regressed bool)

// A GuideLine is one line of the guide's comparison: CPU, disk, network, total.
type GuideLine struct {
	Name      string      `json:"name"`
	Parts     []GuidePart `json:"parts"`
	Class     string      `json:"class"` // the worst part's: improved, acceptable, warning, critical; empty: not compared
	Regressed bool        `json:"regressed"`
	Note      string      `json:"note,omitempty"`
}

// GuidePart is one number of a line.
type GuidePart struct {
	Name      string   `json:"name,omitempty"` // read, write
	Unit      string   `json:"unit"`
	Current   *float64 `json:"current"`
	Baseline  *float64 `json:"baseline"`
	ChangePct *float64 `json:"change_pct"` // with the sign of the numbers: a rate that fell is negative; null: not comparable
	Class     string   `json:"class"`
	Regressed bool     `json:"regressed"`
	Note      string   `json:"note,omitempty"`
}

// GuideLines sets one result against another by the guide's classes. It looks
// at the guide's keys alone, so that it also compares files without metrics.
func GuideLines(now, base Results, grade Grader) []GuideLine {
	g := func(name, unit, metric string, a, b *float64) GuidePart {
		p := NewGuidePart(name, unit, Higher, a, b, grade)
		p.spread(metric, now, base)
		return p
	}
	network := NewGuideLine("Network", g("", "Mbit/s", "", now.Network.Download, base.Network.Download))
	if a, b := networkPaths(now, base); a != b && network.Class != "" {
		network = NewGuideLine("Network", GuidePart{Unit: "Mbit/s", Current: now.Network.Download, Baseline: base.Network.Download,
			Note: fmt.Sprintf("not comparable: measured on %q, before on %q", cmp.Or(a, "an unnamed path"), cmp.Or(b, "an unnamed path"))})
	}
	return []GuideLine{
		NewGuideLine("CPU Performance", g("", "SHA-256 blocks/s", "cpu/sha256/1", now.CPU.Ops, base.CPU.Ops)),
		NewGuideLine("Disk I/O", g("read", "MB/s", "disk/read-1m/qd8", now.Disk.Read, base.Disk.Read), g("write", "MB/s", "disk/write-1m/qd8", now.Disk.Write, base.Disk.Write)),
		network,
	}
}

// networkPaths are what the downloads of two results were measured on: other
// streams to the same mirror are another path.
func networkPaths(now, base Results) (a, b string) {
	x, y := mirrorRate(now.Metrics), mirrorRate(base.Metrics)
	if x != nil && y != nil && x.Name != y.Name {
		return x.Name, y.Name
	}
	return now.Network.Path, base.Network.Path
}

// NewGuidePart compares two numbers. A missing or zero one is not comparable.
func NewGuidePart(name, unit string, better Direction, now, base *float64, grade Grader) GuidePart {
	p := GuidePart{Name: name, Unit: unit, Current: now, Baseline: base}
	switch usable := func(v *float64) bool { return v != nil && *v > 0 && !math.IsInf(*v, 0) }; {
	case now == nil && base == nil:
		p.Note = "not measured"
	case now == nil:
		p.Note = "not comparable: not measured now"
	case base == nil || *base == 0:
		p.Note = "not comparable: the baseline has none"
	case !usable(now) || !usable(base):
		p.Note = "not comparable: no such value can be measured"
	default:
		change := 100 * (*now - *base) / *base
		sign := 1.0
		if better == Higher {
			sign = -1
		}
		shown, class, regressed := grade(sign * change)
		shown *= sign
		if shown == 0 {
			shown = 0 // never -0
		}
		p.ChangePct, p.Class, p.Regressed = &shown, class, regressed
	}
	return p
}

// spread takes a regression back whose difference is no larger than that of the
// repeats: the worst one then is no better than the best one now.
func (p *GuidePart) spread(metric string, now, base Results) {
	a, b := now.repeats(metric, p.Current), base.repeats(metric, p.Baseline)
	if p.Regressed && len(a) > 1 && len(b) > 1 && slices.Max(a) >= slices.Min(b) {
		p.Class, p.Regressed, p.Note = "acceptable", false, "within the spread of the repeats"
	}
}

// repeats are the values behind a headline figure, nil if they are not there.
func (r *Results) repeats(metric string, headline *float64) []float64 {
	for _, m := range r.Metrics {
		if m.Name == metric && headline != nil && m.Median == *headline {
			return m.Values
		}
	}
	return nil
}

var classOrder = []string{"", "improved", "acceptable", "warning", "critical"}

// NewGuideLine is as bad as its worst part.
func NewGuideLine(name string, parts ...GuidePart) GuideLine {
	l := GuideLine{Name: name, Parts: parts}
	var notes []string
	for _, p := range parts {
		if slices.Index(classOrder, p.Class) > slices.Index(classOrder, l.Class) {
			l.Class = p.Class
		}
		l.Regressed = l.Regressed || p.Regressed
		if note := strings.TrimSpace(p.Name + " " + p.Note); p.Note != "" {
			notes = append(notes, note)
		}
	}
	if len(notes) > 1 && !slices.ContainsFunc(parts, func(p GuidePart) bool { return p.Note != parts[0].Note }) {
		notes = []string{parts[0].Note} // the same of all
	}
	l.Note = strings.Join(notes, "; ")
	return l
}

// Text is the line as the guide writes it: "Disk I/O: read +5%, write -3%
// variance (acceptable)".
func (l GuideLine) Text() string {
	var changes, numbers []string
	for _, p := range l.Parts {
		if p.ChangePct == nil {
			continue
		}
		sign := ""
		if *p.ChangePct >= 0 {
			sign = "+"
		}
		changes = append(changes, strings.TrimSpace(fmt.Sprintf("%s %s%v%%", p.Name, sign, *p.ChangePct)))
		numbers = append(numbers, fmt.Sprintf("%s against %s %s", Figure(*p.Current), Figure(*p.Baseline), p.Unit))
	}
	if len(changes) == 0 {
		return l.Name + ": " + l.Note
	}
	word := l.Class
	if l.Regressed {
		word = "REGRESSION DETECTED!"
	}
	text := fmt.Sprintf("%s: %s variance (%s), %s", l.Name, strings.Join(changes, ", "), word, strings.Join(numbers, ", "))
	if l.Note != "" {
		text += "; " + l.Note
	}
	return text
}

// Figure is a number as people read it: four digits that count, no exponent.
func Figure(v float64) string {
	switch a := math.Abs(v); {
	case a >= 1000:
		return fmt.Sprintf("%.0f", v)
	case a >= 100:
		return fmt.Sprintf("%.1f", v)
	case a >= 10:
		return fmt.Sprintf("%.2f", v)
	case a >= 0.001 || a == 0:
		return fmt.Sprintf("%.3f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// memoryAlike is how far two machines' memory may be apart, as a share: kernels
// keep a little more or less.
const memoryAlike = 0.05

// Differs says what makes r's machine, or way of measuring, another one than
// o's. Files that only have the guide's keys are known by cores and memory.
func (r Results) Differs(o Results) []string {
	if r.Schema != "" && o.Schema != "" {
		out := r.Epoch.Differs(o.Epoch)
		if r.Method.Depth != o.Method.Depth && r.Method.Depth != "" && o.Method.Depth != "" {
			out = append(out, fmt.Sprintf("depth was %q, is %q", o.Method.Depth, r.Method.Depth))
		}
		return out
	}
	var out []string
	if r.System.Cores != o.System.Cores {
		out = append(out, fmt.Sprintf("cores was %d, is %d", o.System.Cores, r.System.Cores))
	}
	if a, b := float64(r.System.RAMMB), float64(o.System.RAMMB); math.Abs(a-b) > memoryAlike*max(a, b) {
		out = append(out, fmt.Sprintf("memory in MB was %d, is %d", o.System.RAMMB, r.System.RAMMB))
	}
	return out
}
