package main

import (
	"strings"
	"testing"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// TestBanner: where, who, the password, and a first thing to type that works:
// with a desktop or without, at another port, behind a jump host.
func TestBanner(t *testing.T) {
	keep := map[string]inventory.Var{"must_change": {Value: false}}
	jump := &inventory.Jump{Host: &inventory.Host{Name: "gate"}}
	plain, desktop := &wire.Plan{}, &wire.Plan{Phases: []wire.Phase{{ID: "user-creation"}, {ID: "rdp-config"}}}
	for _, test := range []struct {
		host  inventory.Host
		plan  *wire.Plan
		where string
		first string
	}{
		{inventory.Host{Address: "203.0.113.10"}, plain, "203.0.113.10\n  port 22", "ssh -t ada@203.0.113.10   (asks for one of your own)"},
		{inventory.Host{}, nil, "alpha\n  port 22", "ssh -t ada@alpha   (asks for one of your own)"},
		{inventory.Host{Address: "203.0.113.10", Port: 2222}, plain, "203.0.113.10\n  port 2222", "ssh -t -p 2222 ada@203.0.113.10   (asks for one of your own)"},
		{inventory.Host{Address: "203.0.113.10", Port: 2222}, desktop, "203.0.113.10\n  port 2222",
			"vpsctl rdp alpha   (asks for one of your own, then opens the desktop; without one: ssh -t -p 2222 ada@203.0.113.10)"},
		{inventory.Host{Address: "10.0.0.5", Jump: jump}, plain, "10.0.0.5\n  port 22", "vpsctl ssh alpha --user ada   (asks for one of your own)"},
		{inventory.Host{Address: "10.0.0.5", Jump: jump}, desktop, "10.0.0.5\n  port 22",
			"vpsctl rdp alpha   (asks for one of your own, then opens the desktop; without one: vpsctl ssh alpha --user ada)"},
		{inventory.Host{Address: "203.0.113.10", Vars: keep}, plain, "203.0.113.10\n  port 22", "ssh -t ada@203.0.113.10"},
		{inventory.Host{Address: "203.0.113.10", Vars: keep}, desktop, "203.0.113.10\n  port 22", "vpsctl rdp alpha   (opens the desktop; without one: ssh -t ada@203.0.113.10)"},
	} {
		test.host.Name = "alpha"
		var out strings.Builder
		if err := banner(&out, credential{Host: "alpha", User: "ada", Password: "pass-word-4711"}, test.host, test.plan); err != nil {
			t.Fatal(err)
		}
		if want := "\nalpha is ready\n  address " + test.where + "\n  user ada\n  password pass-word-4711\n  first: " + test.first + "\n"; out.String() != want {
			t.Errorf("got %s\nwant %s", out.String(), want)
		}
	}
}

// TestChangeHint: two ways to change a password where both lead there.
func TestChangeHint(t *testing.T) {
	d := desktop{h: inventory.Host{Name: "alpha", Address: "10.0.0.5"}, user: "ada"}
	if got := d.changeHint(); got != "vpsctl ssh alpha --user ada   (or ssh -t ada@10.0.0.5)" {
		t.Errorf("got %q", got)
	}
	d.h.Jump = &inventory.Jump{Host: &inventory.Host{Name: "gate"}}
	if got := d.changeHint(); got != "vpsctl ssh alpha --user ada" {
		t.Errorf("behind a jump host: %q", got)
	}
}
