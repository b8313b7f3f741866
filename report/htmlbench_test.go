package report

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// benchPage has two hosts with seven metrics each, and words that try to be
// more than words.
func benchPage() BenchPage {
	r := rand.New(rand.NewPCG(2, 2))
	p := BenchPage{Title: "Something is more than 20 % worse", Status: "failed", Mark: "REGRESSION DETECTED", Meta: []string{"one session against one"}}
	for _, host := range []string{"web1", `<script>alert(1)</script>`} {
		s := BenchSection{Name: host, Status: "failed", Mark: "REGRESSION DETECTED", Verdict: "now against then",
			Lines: []BenchLine{{"CPU Performance: -15% variance (acceptable)", "acceptable"}, {`Disk I/O: <img src=x onerror=alert(1)>`, "warning"}}}
		for i := range 7 {
			plot := BenchPlot{Name: fmt.Sprintf("disk/read-%d/qd8", i), Unit: "MB/s", Better: "higher", Delta: "-16.46% (p=0.029 n=4)", Class: "slower"}
			for _, label := range []string{"sessions", "baseline, repeats", "now, repeats"} {
				strip := BenchStrip{Label: label, Now: strings.HasPrefix(label, "now")}
				for range 12 {
					strip.Values = append(strip.Values, 600*math.Exp(0.1*r.NormFloat64()))
				}
				strip.Middle = 600
				plot.Strips = append(plot.Strips, strip)
			}
			plot.Low, plot.High = 560, 640
			s.Plots = append(s.Plots, plot)
		}
		p.Sections = append(p.Sections, s)
	}
	return p
}

func writeBenchPage(t *testing.T, p BenchPage) string {
	t.Helper()
	var b bytes.Buffer
	if err := BenchHTML(&b, p); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "bench.html")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return "file://" + filepath.ToSlash(path)
}

// Every value is a dot inside its picture, at its place on the scale; the page
// asks for nothing, runs nothing, and is no wider than the screen.
func TestBenchPageInABrowser(t *testing.T) {
	b := newBrowser(t)
	p := benchPage()
	url := writeBenchPage(t, p)
	type dot struct{ At, Left, Right, Value float64 }
	var dots []dot
	var wide [2]float64
	var scripts int
	b.do(t, chromedp.Navigate(url), chromedp.Evaluate(`[...document.querySelectorAll("#s0 .strip:first-child circle")].map(c => {
		const own = c.getBoundingClientRect(), room = c.closest("svg").getBoundingClientRect();
		return {At: own.left + own.width / 2, Left: room.left, Right: room.right, Value: parseFloat(c.textContent)}})`, &dots),
		chromedp.Evaluate(`document.querySelectorAll("script,iframe,img,object,[onclick],[onerror]").length`, &scripts))
	if scripts != 0 {
		t.Errorf("%d elements that nobody wrote", scripts)
	}
	if len(dots) != 36 {
		t.Fatalf("%d dots, want 36", len(dots))
	}
	least, most := dots[0], dots[0]
	for _, d := range dots {
		if d.At < d.Left || d.At > d.Right {
			t.Errorf("the dot of %v lies outside of its picture", d.Value)
		}
		if d.Value < least.Value {
			least = d
		}
		if d.Value > most.Value {
			most = d
		}
	}
	for _, d := range dots { // titles are rounded to whole MB/s
		want := least.At + (most.At-least.At)*(d.Value-least.Value)/(most.Value-least.Value)
		if pixel := (most.At - least.At) / (most.Value - least.Value); math.Abs(d.At-want) > 2*pixel+1 {
			t.Errorf("the dot of %v is at %.1f, want %.1f", d.Value, d.At, want)
		}
	}
	for i, width := range []int64{400, 1280} {
		b.do(t, chromedp.EmulateViewport(width, 900), chromedp.Evaluate(`document.documentElement.scrollWidth`, &wide[i]))
		if wide[i] > float64(width) {
			t.Errorf("at a width of %d the page is %.0f wide", width, wide[i])
		}
	}
	b.quiet(t, url)
}

// With scripts off it is whole, and every picture and section has its words.
func TestBenchPageWithoutScripts(t *testing.T) {
	b := newBrowser(t)
	var nodes []*accessibility.Node
	b.do(t, emulation.SetScriptExecutionDisabled(true), chromedp.Navigate(writeBenchPage(t, benchPage())), chromedp.ActionFunc(func(ctx context.Context) (err error) {
		nodes, err = accessibility.GetFullAXTree().Do(ctx)
		return err
	}))
	roles, names := map[string]int{}, ""
	for _, n := range nodes {
		if n.Ignored || n.Role == nil {
			continue
		}
		var role, name string
		_ = json.Unmarshal(n.Role.Value, &role)
		if n.Name != nil {
			_ = json.Unmarshal(n.Name.Value, &name)
		}
		roles[role]++
		if role == "image" && name == "" {
			t.Error("a picture without words")
		}
		names += name + "\n"
	}
	for role, least := range map[string]int{"main": 1, "banner": 1, "contentinfo": 1, "heading": 17, "region": 2, "image": 42} {
		if roles[role] < least {
			t.Errorf("%d of role %s, want %d: %v", roles[role], role, least, roles)
		}
	}
	for _, word := range []string{"now, repeats: 12 values, ", "median 600", "-16.46%", "<script>alert(1)</script>"} {
		if !strings.Contains(names, word) {
			t.Errorf("%q is not to be heard", word)
		}
	}
	b.quiet(t, "file://")
}

// Numbers that are none, and plots without any, make no broken page.
func TestBenchPageOfNothing(t *testing.T) {
	var b bytes.Buffer
	p := BenchPage{Title: "nothing", Sections: []BenchSection{{Name: "web1", Plots: []BenchPlot{{Name: "cpu/none", Strips: []BenchStrip{{Label: "now"}}},
		{Name: "cpu/odd", Strips: []BenchStrip{{Values: []float64{math.NaN(), math.Inf(1), -1, 5}}, {Values: []float64{5}}}}}}}}
	if err := BenchHTML(&b, p); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") || strings.Contains(text, "cpu/none") || strings.Count(text, "<circle") != 2 {
		t.Error(text)
	}
}
