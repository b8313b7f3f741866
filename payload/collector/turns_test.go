//go:build linux

package main

import (
	"context"
	"testing"

	"github.com/vpsctl/vpsctl/payload/wire"
)

func TestTurnsGoByThePlan(t *testing.T) {
	q := newTurns()
	first, err := q.take(t.Context(), "a", 0, func(string) { t.Error("the first waited") })
	if err != nil {
		t.Fatal(err)
	}
	order := make(chan string, 2)
	begun := make(chan string)
	ended := make(chan struct{})
	for _, p := range []struct {
		id   string
		rank int
	}{{"tools", 7}, {"rdp", 2}} { // the one that comes later stands first in the plan
		go func() {
			release, err := q.take(t.Context(), p.id, p.rank, func(holder string) { begun <- holder })
			if err != nil {
				t.Error(err)
			}
			order <- p.id
			release()
			ended <- struct{}{}
		}()
		if holder := <-begun; holder != "a" {
			t.Errorf("%s waits for %q", p.id, holder)
		}
	}
	if n := q.queued(); n != 2 {
		t.Errorf("%d wait", n)
	}
	first()
	<-ended
	<-ended
	if a, b := <-order, <-order; a != "rdp" || b != "tools" {
		t.Errorf("%s came before %s", a, b)
	}
}

// Who gives up leaves no hole in the queue, also when the turn comes just then.
func TestTurnsOfWhoGivesUp(t *testing.T) {
	q := newTurns()
	for range 200 {
		held, _ := q.take(t.Context(), "a", 0, nil)
		ctx, cancel := context.WithCancel(t.Context())
		waits, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			if release, err := q.take(ctx, "b", 1, func(string) { close(waits) }); err == nil {
				release()
			}
		}()
		<-waits
		go cancel()
		held()
		<-done
		cancel()
	}
	release, err := q.take(t.Context(), "c", 2, func(holder string) { t.Errorf("c waits for %q", holder) })
	if err != nil || q.queued() != 0 {
		t.Fatal(err, q.queued())
	}
	release()
}

func TestYields(t *testing.T) {
	packages := wire.Step{Name: "p", Packages: &wire.Packages{Names: []string{"x"}}}
	file := wire.Step{Name: "f", File: &wire.File{Path: "/x"}}
	ask := wire.Step{Name: "ask", Assert: &wire.Assert{Check: "true"}}
	plan := wire.Plan{Phases: []wire.Phase{
		{ID: "desktop", Steps: []wire.Step{packages}},
		{ID: "rdp", Needs: []string{"desktop"}, Steps: []wire.Step{packages, file}},
		{ID: "user", Steps: []wire.Step{packages}},
		{ID: "ide", Needs: []string{"desktop", "user"}, Steps: []wire.Step{packages}},
		{ID: "terminal", Needs: []string{"user"}, Steps: []wire.Step{file}},
		{ID: "tools", Steps: []wire.Step{packages}},
		{ID: "verification", Needs: []string{"desktop", "rdp", "user", "ide", "terminal", "tools"}, Steps: []wire.Step{ask}},
	}}
	r := &runner{plan: plan, status: map[string]wire.Status{}, through: map[string]bool{}}
	yields := func() (s string) {
		for i := range plan.Phases {
			if ph := &plan.Phases[i]; r.status[ph.ID] == "" && r.yields(ph) {
				s += ph.ID + " "
			}
		}
		return s
	}
	for _, c := range []struct{ ends, through, want string }{
		// desktop and user are needed by others; what has no packages never yields
		{"", "", "rdp ide tools "},
		{"", "desktop", "ide tools "}, // rdp is next, and then behind it
		{"desktop", "", "ide tools "},
		{"user", "rdp", "tools "},
		{"rdp", "ide", ""},
	} {
		if c.ends != "" {
			r.status[c.ends] = wire.Changed
		}
		if c.through != "" {
			r.through[c.through] = true
		}
		if got := yields(); got != c.want {
			t.Errorf("after the end of %q, with %q through: %q yield, want %q", c.ends, c.through, got, c.want)
		}
	}
}
