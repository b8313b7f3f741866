package main

import (
	"os"
	"strings"
	"testing"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// A new password is only forgotten where the host surely goes by the old one.
func TestRotationKnows(t *testing.T) {
	start := &wire.Event{Kind: wire.KindStart, Start: &wire.Start{}}
	step := &wire.Event{Kind: wire.KindStep}
	done := func(s wire.Status) *wire.Event {
		return &wire.Event{Kind: wire.KindStepEnd, StepEnd: &wire.StepEnd{Status: s}}
	}
	end := &wire.Event{Kind: wire.KindEnd, End: &wire.End{Status: wire.Failed}}
	for name, c := range map[string]struct {
		heard []*wire.Event
		want  wire.Status
	}{
		"never reached":             {nil, ""},
		"lost at once":              {[]*wire.Event{start}, wire.Cancelled},
		"lost in the step":          {[]*wire.Event{start, step}, wire.Cancelled},
		"died in the step":          {[]*wire.Event{start, step, end}, wire.Cancelled},
		"ended before the step":     {[]*wire.Event{start, end}, wire.NotReached},
		"failed":                    {[]*wire.Event{start, step, done(wire.Failed), end}, wire.Failed},
		"took too long":             {[]*wire.Event{start, step, {Kind: wire.KindStepEnd, StepEnd: &wire.StepEnd{Status: wire.Failed, TimedOut: true}}, end}, wire.Cancelled},
		"done, and the line is cut": {[]*wire.Event{start, step, done(wire.Changed)}, wire.Changed},
	} {
		t.Run(name, func(t *testing.T) {
			r := rotation{begun: map[string]bool{}, state: map[string]wire.Status{}}
			for _, e := range c.heard {
				r.heard("web1", e)
			}
			if r.state["web1"] != c.want {
				t.Errorf("%q, want %q", r.state["web1"], c.want)
			}
		})
	}
}

func TestWhoHasADesktop(t *testing.T) {
	for name, c := range map[string]struct {
		given bool
		only  []string
		skip  []string
		want  bool
	}{
		"everything":     {want: true},
		"a jump host":    {given: true},
		"only the rest":  {given: true, only: []string{"system-prep"}},
		"named":          {given: true, only: []string{"rdp-config"}, want: true},
		"without it":     {skip: []string{"rdp-config"}},
		"without others": {skip: []string{"ide-cursor"}, want: true},
	} {
		if got := hasRDP(inventory.PhaseFilter{OnlyGiven: c.given, Only: c.only, Skip: c.skip}); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestArgvKeepsNoSecrets(t *testing.T) {
	was := os.Args
	defer func() { os.Args = was }()
	for _, flag := range []string{"--notify", "-notify"} {
		for _, line := range [][]string{{"vpsctl", "provision", flag, "https://x/s3cret"}, {"vpsctl", "provision", flag + "=https://x/s3cret"}} {
			os.Args = line
			if got := strings.Join((&call{}).argv(), " "); strings.Contains(got, "s3cret") || !strings.Contains(got, "***") {
				t.Errorf("%q", got)
			}
		}
	}
	for _, line := range [][]string{{"vpsctl", "-e", "a=s3cret"}, {"vpsctl", "-extra-var", "a=s3cret"}, {"vpsctl", "-e=a=s3cret"}, {"vpsctl", "--extra-var=a=s3cret"}} {
		os.Args = line
		if got := strings.Join((&call{}).argv(), " "); strings.Contains(got, "s3cret") || !strings.HasSuffix(got, "a") {
			t.Errorf("%q", got)
		}
	}
}
