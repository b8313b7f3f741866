package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"sync"
)

//go:embed html/bench.tmpl
var benchText string

//go:embed html/bench.css
var benchStyle string

var benchPages = sync.OnceValue(func() *template.Template {
	return template.Must(template.Must(template.New("bench").Parse(pageText)).Parse(benchText))
})

// BenchPage is what the page of a comparison shows. Words come from elsewhere;
// everything is escaped here.
type BenchPage struct {
	Title    string
	Status   string // a mark's class: ok, failed, running
	Mark     string
	Meta     []string
	Sections []BenchSection
}

// BenchSection is a host, a group, or two sides.
type BenchSection struct {
	Name, Status, Mark, Verdict string
	Lines                       []BenchLine
	Notes                       []string
	Plots                       []BenchPlot
}

// BenchLine is a line of words with the class it is in.
type BenchLine struct{ Text, Class string }

// BenchPlot is the distribution of a metric: rows of dots on one scale.
type BenchPlot struct {
	Name, Unit, Better string
	Strips             []BenchStrip
	Low, High          float64 // of the baseline's band; both 0: none
	Delta, Class       string
}

// BenchStrip is a row of dots.
type BenchStrip struct {
	Label  string
	Values []float64
	Middle float64 // drawn as a line; 0: none
	Now    bool    // in the accent colour
	Note   string
}

// The views of the template. Positions are percent of the width.
type (
	benchView struct {
		BenchPage
		Style    template.CSS
		Policy   string
		Sections []benchSectionView
	}
	benchSectionView struct {
		BenchSection
		Anchor string
		Plots  []benchPlotView
	}
	benchPlotView struct {
		BenchPlot
		Ticks        []benchTick
		Band         bool
		BandX, BandW string
		Strips       []benchStripView
	}
	benchTick      struct{ X, Text, Anchor string }
	benchStripView struct {
		BenchStrip
		Dots []benchDot
		Line string
		Alt  string
	}
	benchDot struct{ X, Tip string }
)

// BenchHTML writes a comparison as one file that needs nothing else: no network,
// no scripts, no fonts.
func BenchHTML(w io.Writer, p BenchPage) error {
	style := pageStyle + benchStyle
	v := benchView{BenchPage: p, Style: template.CSS(style),
		Policy: "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; style-src '" + hashOf(style) + "'"}
	for i, s := range p.Sections {
		view := benchSectionView{BenchSection: s, Anchor: fmt.Sprintf("s%d", i)}
		for _, plot := range s.Plots {
			if pv, ok := plotView(plot); ok {
				view.Plots = append(view.Plots, pv)
			}
		}
		v.Sections = append(v.Sections, view)
	}
	return benchPages().ExecuteTemplate(w, "benchpage", v)
}

// leastSpan is how much of the largest value a scale shows at least, so that what
// hardly varies does not look as if it did.
const leastSpan = 0.2

// plotView places the dots of a plot; not ok when it has none.
func plotView(p BenchPlot) (benchPlotView, bool) {
	v := benchPlotView{BenchPlot: p}
	low, high := math.Inf(1), math.Inf(-1)
	span := func(x float64) {
		if x > 0 && !math.IsInf(x, 0) {
			low, high = min(low, x), max(high, x)
		}
	}
	for _, s := range p.Strips {
		for _, x := range s.Values {
			span(x)
		}
		span(s.Middle)
	}
	span(p.Low)
	span(p.High)
	if low > high {
		return v, false
	}
	pad := max((high-low)*0.04, high*0.01, (leastSpan*high-(high-low))/2)
	low, high = max(0, low-pad), high+pad
	at := func(x float64) string { return fmt.Sprintf("%.2f%%", min(100, max(0, 100*(x-low)/(high-low)))) }
	if p.High > p.Low {
		v.Band, v.BandX, v.BandW = true, at(p.Low), fmt.Sprintf("%.2f%%", 100*(p.High-p.Low)/(high-low))
	}
	for i, part := range []float64{0, 0.5, 1} {
		x := low + part*(high-low)
		v.Ticks = append(v.Ticks, benchTick{at(x), benchNumber(x), []string{"start", "middle", "end"}[i]})
	}
	for _, s := range p.Strips {
		v.Strips = append(v.Strips, stripView(s, p.Unit, at))
	}
	return v, true
}

func stripView(s BenchStrip, unit string, at func(float64) string) benchStripView {
	v := benchStripView{BenchStrip: s, Alt: fmt.Sprintf("%s: %s", s.Label, plural(len(s.Values), "value"))}
	least, most := math.Inf(1), math.Inf(-1)
	for _, x := range s.Values {
		if x > 0 && !math.IsInf(x, 0) {
			least, most = min(least, x), max(most, x)
			v.Dots = append(v.Dots, benchDot{at(x), benchNumber(x) + " " + unit})
		}
	}
	if len(v.Dots) > 0 {
		v.Alt += fmt.Sprintf(", %s to %s %s", benchNumber(least), benchNumber(most), unit)
	}
	if s.Middle > 0 {
		v.Line = at(s.Middle)
		v.Alt += ", median " + benchNumber(s.Middle)
	}
	return v
}

// benchNumber has three digits that count, and no exponent a person would stumble over.
func benchNumber(x float64) string {
	switch {
	case x >= 1e9:
		return fmt.Sprintf("%.3g G", x/1e9)
	case x >= 1e6:
		return fmt.Sprintf("%.3g M", x/1e6)
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.3g", x)
}
