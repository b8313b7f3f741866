package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/vpsctl/vpsctl/remote"
	"github.com/vpsctl/vpsctl/report"
)

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{usageError{"x", ""}, 5},
		{fmt.Errorf("around: %w", usageError{"x", ""}), 5},
		{&remote.Error{Kind: remote.Unreachable}, 7},
		{&remote.Error{Kind: remote.AuthRefused}, 7},
		{&remote.Error{Kind: remote.HostKey}, 7},
		{&remote.Error{Kind: remote.Rights}, 6},
		{&remote.Error{Kind: remote.Locked}, 9},
		{&remote.Error{Kind: remote.Hostile}, 2},
		{&remote.Error{Kind: remote.Unsupported}, 1},
		{exitError{code: 4}, 4},
		{context.Canceled, 130},
		{os.ErrPermission, 11},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("exitCode(%v) = %d, want %d", c.err, got, c.want)
		}
	}
}

// TestOutcomes: every outcome a record can have has a number.
func TestOutcomes(t *testing.T) {
	for _, o := range report.Outcomes {
		if _, ok := outcomes[o]; !ok {
			t.Errorf("outcome %s has no exit code", o)
		}
	}
}

func TestFleetCode(t *testing.T) {
	for _, c := range []struct {
		codes []int
		want  int
	}{
		{nil, 0}, {[]int{0, 0}, 0}, {[]int{0, 7, 0}, 7}, {[]int{7, 7}, 7}, {[]int{2, 7}, 10}, {[]int{0, 2, 0, 9}, 10},
	} {
		if got := fleetCode(c.codes); got != c.want {
			t.Errorf("fleetCode(%v) = %d, want %d", c.codes, got, c.want)
		}
	}
}

// TestExitTable holds the help and the constants together: every code the
// program can return is explained once, in order.
func TestExitTable(t *testing.T) {
	last := -1
	for _, e := range exitTable {
		if e.Code <= last || e.Means == "" {
			t.Errorf("exit code %d: out of order or without meaning", e.Code)
		}
		last = e.Code
		if !strings.Contains(exitHelp(), e.Means) {
			t.Errorf("the help does not explain exit code %d", e.Code)
		}
	}
}
