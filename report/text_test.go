package report

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/rivo/uniseg"
)

func TestTextGolden(t *testing.T) {
	r := testReport(t)
	for _, c := range []struct {
		name string
		o    TextOptions
	}{
		{"report-80.txt", TextOptions{}},
		{"report-120.txt", TextOptions{Width: 120, Zone: time.FixedZone("CET", 3600)}},
		{"report-80-color.txt", TextOptions{Color: true}},
	} {
		var b bytes.Buffer
		if err := Text(&b, r, c.o); err != nil {
			t.Fatal(err)
		}
		golden(t, c.name, b.Bytes())
	}
}

func TestTextOfAComparedRun(t *testing.T) {
	r := comparedReport(t)
	r.Hosts = r.Hosts[:1]
	var b bytes.Buffer
	if err := Text(&b, r, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	golden(t, "report-compared-80.txt", b.Bytes())
}

// The report fits the width it was given; only paths and what to type are never
// cut, so that they can be copied.
func TestTextWidth(t *testing.T) {
	r := comparedReport(t)
	for _, width := range []int{50, 60, 80, 100, 120, 200} {
		var b bytes.Buffer
		if err := Text(&b, r, TextOptions{Width: width}); err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(b.String(), "\n") {
			if uniseg.StringWidth(line) > width && !strings.HasPrefix(line, "  /home/") && !strings.HasPrefix(line, "  > ") {
				t.Errorf("width %d: %q", width, line)
			}
		}
	}
}

// Colour repeats what words say: without it nothing is missing.
func TestColourIsNeverAlone(t *testing.T) {
	r := testReport(t)
	var plain, colour bytes.Buffer
	if err := Text(&plain, r, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := Text(&colour, r, TextOptions{Color: true}); err != nil {
		t.Fatal(err)
	}
	if Clean(colour.String()) != plain.String() || colour.String() == plain.String() {
		t.Error("colour changes more than colour")
	}
	if s := plain.String(); s != Clean(s) {
		t.Error("escapes got through to the plain report")
	}
}

func TestDocumentsGolden(t *testing.T) {
	r := testReport(t)
	show := func(name string, v any) {
		t.Helper()
		b, err := marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, b)
	}
	show("performance-report-web1.json", Performance(r.Hosts[0].Record))
	show("performance-report-web2.json", Performance(r.Hosts[1].Record))
	show("provision.json", Provision(r, codes))
	timings, err := Timings(r, "")
	if err != nil {
		t.Fatal(err)
	}
	show("timings.json", timings)
	var b bytes.Buffer
	if err := timings.Text(&b, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	golden(t, "timings.txt", b.Bytes())
	b.Reset()
	if err := CSV(&b, r); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.csv", b.Bytes())
	var back any
	doc, _ := Provision(r, codes).JSON()
	if err := json.Unmarshal(doc, &back); err != nil {
		t.Error(err)
	}
}
