package report

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestTimingsOfOnePhase(t *testing.T) {
	r := testReport(t)
	doc, err := Timings(r, "user-creation")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := doc.Plain(&b); err != nil {
		t.Fatal(err)
	}
	if want := "web1 1795428942 1795428989 46.7\nweb2 1795428909 1795428909 0.003\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
	r.Hosts = r.Hosts[:1]
	if doc, err = Timings(r, "dev-tools"); err != nil {
		t.Fatal(err)
	}
	b.Reset()
	if err := doc.Plain(&b); err != nil || b.String() != "1795428989 1795429021 32.799\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
}

func TestTimingsOfAnUnknownPhase(t *testing.T) {
	for phase, known := range map[string]string{"no-such": "system-prep, user-creation, dev-tools", "verification": "system-prep, user-creation, dev-tools"} {
		_, err := Timings(testReport(t), phase)
		var unknown *UnknownPhaseError
		if !errors.As(err, &unknown) || !strings.Contains(err.Error(), phase) || !strings.Contains(unknown.Hint(), known) {
			t.Errorf("%s: %v", phase, err)
		}
	}
}

// A phase that still runs has a start and nothing else.
func TestTimingsOfARunningPhase(t *testing.T) {
	rec := foldAll("web1", journal(t, "web1.jsonl")[:12])
	doc, err := Timings(NewReport(Run{ID: testRun, Hosts: []HostRun{{Host: "web1"}}}, "d", []*HostRecord{rec}), "")
	if err != nil {
		t.Fatal(err)
	}
	p := doc.Hosts[0].Phases
	if len(p) != 1 || p[0].Status != running || p[0].EndEpoch != nil || p[0].DurationSec != nil || p[0].Start == "" {
		t.Errorf("%+v", p)
	}
	var b bytes.Buffer
	if err := errors.Join(doc.Plain(&b), doc.Text(&b, TextOptions{})); err != nil || !strings.HasPrefix(b.String(), "1795428903 - -\n") {
		t.Errorf("%q, %v", b.String(), err)
	}
	validate(t, "timings", doc)
}

func TestTextCell(t *testing.T) {
	for in, want := range map[string]string{"": "", "plain": "plain", "=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@a": "'@a", "\tx": "' x", "\rx": "' x", "a=b": "a=b", "\x1b[1mx": "x"} {
		if got := textCell(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestWrapped(t *testing.T) {
	var b bytes.Buffer
	p := TextOptions{Width: 50, Color: true}.page(&b)
	p.wrapped(p.paint(red, "[ERR]")+" ", "one two "+strings.Repeat("x", 60)+" three "+strings.Repeat("three ", 10))
	want := "\x1b[31m[ERR]\x1b[0m one two\n      " + strings.Repeat("x", 44) + "\n      " + strings.Repeat("x", 16) +
		" three three three three\n      three three three three three three three\n"
	if b.String() != want {
		t.Errorf("%s\nwant\n%s", b.String(), want)
	}
}

func TestFit(t *testing.T) {
	for _, c := range []struct {
		in    string
		width int
		want  string
	}{{"abc", 3, "abc"}, {"abcd", 3, "a.."}, {"abcd", 2, ".."}, {"abcd", 0, ""}, {"日本語です", 6, "日本.."}, {"日", 1, "."}, {"日本語", 3, ".."}, {"日本語です", 7, "日本.."}, {"日本語", 6, "日本語"}} {
		if got := fit(c.in, c.width); got != c.want {
			t.Errorf("fit(%q, %d) = %q, want %q", c.in, c.width, got, c.want)
		}
	}
}
