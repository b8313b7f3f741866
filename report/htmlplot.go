package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// axis is the span of time that everything about one host is drawn over.
type axis struct{ from, to time.Duration }

// at is where a time stands, in percent of the width.
func (a axis) at(t time.Duration) float64 {
	if a.to <= a.from {
		return 0
	}
	return max(0, min(100, 100*float64(t-a.from)/float64(a.to-a.from)))
}

func (a axis) x(t time.Duration) string { return percentOf(a.at(t)) }

// width of a span; nothing is too short to be seen.
func (a axis) width(from, to time.Duration) string {
	return percentOf(max(0.25, a.at(to)-a.at(from)))
}

func percentOf(v float64) string {
	return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64) + "%"
}

// tick is a mark on the axis of time.
type tick struct{ X, Text, Anchor string }

var tickSteps = []time.Duration{time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour}

// ticks are at most seven marks at round times since the axis began.
func (a axis) ticks() []tick {
	span := a.to - a.from
	if span <= 0 {
		return nil
	}
	step := time.Duration(0)
	for _, s := range tickSteps {
		if step = s; span/s <= 6 {
			break
		}
	}
	for span/step > 6 { // longer than any step was made for
		step *= 2
	}
	var list []tick
	for t := time.Duration(0); t <= span; t += step {
		mark := tick{X: a.x(a.from + t), Text: shortTime(t), Anchor: "middle"}
		switch {
		case t == 0:
			mark.Anchor = "start"
		case a.at(a.from+t) > 96:
			mark.Anchor = "end"
		}
		list = append(list, mark)
	}
	return list
}

// shortTime is a round time as an axis says it: 0, 30s, 2m, 1h 30m.
func shortTime(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	if d < time.Second {
		return d.String()
	}
	s := d.Truncate(time.Second).String() // 1h30m0s
	s = strings.TrimSuffix(s, "0s")
	if s == "" || !strings.ContainsAny(s[len(s)-1:], "hms") {
		return d.String()
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// htmlPlot is one panel of curves, over the host's axis.
type htmlPlot struct {
	Title string
	Top   string // what the upper edge stands for
	Alt   string // the same in words
	Lines []htmlLine
}

// htmlLine is a curve in a field of 1000 by 100.
type htmlLine struct {
	Name, Class, Path, Fact string
}

// lineOf describes a curve that is wanted.
type lineOf struct {
	name, class string
	figure      figure
}

// plot makes a panel; top is the value of the upper edge, 0: the highest there is.
func (a axis) plot(c *Curves, every time.Duration, title string, top float64, say func(float64) string, lines ...lineOf) (htmlPlot, bool) {
	p := htmlPlot{Title: title}
	fixed := top > 0
	for _, l := range lines {
		if peak, ok := c.peak(l.figure); ok && peak > top {
			top, fixed = peak, false
		}
	}
	if !fixed {
		top = niceTop(top)
	}
	p.Top = say(top)
	var words []string
	for _, l := range lines {
		peak, ok := c.peak(l.figure)
		if !ok {
			continue
		}
		fact := "peak " + say(peak)
		if l.name != "" {
			fact = l.name + " " + fact
		}
		words = append(words, fact)
		p.Lines = append(p.Lines, htmlLine{Name: l.name, Class: l.class, Path: a.path(c, l.figure, top, every), Fact: fact})
	}
	p.Alt = title + " over time: " + strings.Join(words, ", ")
	return p, len(p.Lines) > 0
}

// niceTop is the next round number.
func niceTop(v float64) float64 {
	if v <= 0 {
		return 1
	}
	scale := math.Pow(10, math.Floor(math.Log10(v)))
	for _, n := range []float64{1, 1.5, 2, 3, 4, 5, 6, 8, 10} {
		if v <= n*scale {
			return n * scale
		}
	}
	return v
}

// path draws a figure: through the least and the most of every slot, broken
// where samples are missing, closed along the ground so that it can be filled.
func (a axis) path(c *Curves, f figure, top float64, every time.Duration) string {
	var b strings.Builder
	var x, y int
	open, last := false, 0
	gap := max(2, int(3*every/max(1, c.Width))+1)
	height := func(v float32) int { return 100 - int(math.Round(100*min(1, float64(v)/top))) }
	for i := range c.Slots {
		s := &c.Slots[i]
		r := s.Range[f]
		if r.None {
			continue
		}
		at := time.Duration(s.Index)*c.Width + c.Width/2
		nx, low, high := int(math.Round(10*a.at(at))), height(r.Min), height(r.Max)
		switch {
		case !open || s.Index-last > gap:
			if open {
				fmt.Fprintf(&b, "V100")
			}
			fmt.Fprintf(&b, "M%d 100V%d", nx, low)
		default:
			fmt.Fprintf(&b, "l%d %d", nx-x, low-y)
		}
		if x, y = nx, low; high != low {
			fmt.Fprintf(&b, "V%d", high)
			y = high
		}
		open, last = true, s.Index
	}
	if open {
		b.WriteString("V100")
	}
	return b.String()
}
