package main

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestDeepFindings: the script's lines come in any pieces, a host may say
// anything, and times are graded by the guide's targets.
func TestDeepFindings(t *testing.T) {
	said := "deep: certificate ok - abcd\nnoise\ndeep: authentication ok 0.400 taken\ndeep: session ok 11.500 all\ndeep: session ok 1.000 again\n" +
		"deep: vscode ok 15.001 window\ndeep: cursor err - no\x1b[31m window\ndeep: made-up ok 1.000 x\ndeep: removed ok - gone\ndeep: panel ok 99999999.000 far\n"
	for step := 1; step < len(said); step += 7 {
		d := &deepFindings{}
		for at := 0; at < len(said); at += step {
			d.take(said[at:min(at+step, len(said))])
		}
		var got []string
		for _, c := range d.checks {
			got = append(got, c.ID+" "+c.Status)
		}
		if want := "authentication PASS, session WARN, vscode FAIL, cursor FAIL, removed PASS"; strings.Join(got, ", ") != want || d.certificate != "abcd" {
			t.Fatalf("in pieces of %d: %q, certificate %q", step, got, d.certificate)
		}
		if d.failure().ID != "vscode" || strings.ContainsRune(d.checks[3].Message, 0x1b) {
			t.Errorf("%+v", d.checks)
		}
	}
}

func TestDeepGreeting(t *testing.T) {
	good := rdpGreeting{Certificate: "abcd", TLSOnly: true, Expires: time.Now().Add(time.Hour)}
	for want, change := range map[string]func(*rdpGreeting) error{
		"PASS":          func(*rdpGreeting) error { return nil },
		"FAIL refused":  func(*rdpGreeting) error { return errors.New("refused") },
		"FAIL the cert": func(g *rdpGreeting) error { g.Certificate = "other"; return nil },
		"FAIL it lets":  func(g *rdpGreeting) error { g.TLSOnly = false; return nil },
		"FAIL its cert": func(g *rdpGreeting) error { g.Expires = time.Now().Add(-time.Hour); return nil },
	} {
		g := good
		d := &deepFindings{certificate: "abcd"}
		err := change(&g)
		d.greeted(g, err)
		if c := d.checks[0]; !strings.HasPrefix(c.Status+" "+c.Message, want) {
			t.Errorf("%s: %+v", want, c)
		}
	}
}

// FuzzDeepFindings: whatever a host says, the table's names come at most once
// each, without control characters.
func FuzzDeepFindings(f *testing.F) {
	f.Add("deep: session ok 1.000 a\ndeep: removed ok - \x1b[0m\n")
	f.Fuzz(func(t *testing.T, s string) {
		d := &deepFindings{}
		d.take(s)
		seen := map[string]bool{}
		for _, c := range d.checks {
			if seen[c.ID] || strings.ContainsAny(c.Message, "\x1b\n\r") || c.Seconds < 0 || c.Seconds > 1e6 {
				t.Errorf("%+v", c)
			}
			seen[c.ID] = true
		}
		if len(d.checks) > len(deepTargets) {
			t.Errorf("%d checks", len(d.checks))
		}
	})
}
