//go:build linux

package main

import (
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/e2e/lab"
)

// TestTable: each phase that was measured stands beside its target for a host of that size, in the plan's order.
func TestTable(t *testing.T) {
	b := &bench{got: map[string][]time.Duration{"small": {9 * time.Second}}, phases: map[string][]time.Duration{
		"user-creation": {time.Second, 3 * time.Second}, "system-prep": {5 * time.Second}}}
	const head = ":\n\n| phase | seconds | target |\n|---|---|---|\n"
	for _, c := range []struct {
		name string
		size lab.Limits
		want string
	}{
		{"small", lab.Limits{MemoryMB: 2048, CPUs: 1}, "Phases (small; those that overlap count twice), 9.0 s in all" + head + "| system-prep | 5.0 | 160 |\n| user-creation | 2.0 | 40 |\n\n"},
		{"standard", lab.Limits{MemoryMB: 4096, CPUs: 2}, "Phases (standard; those that overlap count twice)" + head + "| system-prep | 5.0 | 120 |\n| user-creation | 2.0 | 30 |\n\n"},
	} {
		b.details.Reset()
		if err := b.table(c.name, c.size); err != nil {
			t.Fatal(err)
		}
		if got := b.details.String(); got != c.want {
			t.Errorf("got %s\nwant %s", got, c.want)
		}
	}
}
