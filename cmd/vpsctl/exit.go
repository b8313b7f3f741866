package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/phases"
	"github.com/vpsctl/vpsctl/remote"
	"github.com/vpsctl/vpsctl/report"
)

// The exit codes, once. exitTable says them to people, in this order.
const (
	exitDone        = 0
	exitPreflight   = 1
	exitFailed      = 2
	exitRollback    = 3
	exitVerify      = 4
	exitUsage       = 5
	exitRights      = 6
	exitUnreachable = 7
	exitRegression  = 8
	exitLocked      = 9
	exitMixed       = 10
	exitLocal       = 11
	exitInterrupted = 130
	exitTerminated  = 143
)

var exitTable = []struct {
	Code  int
	Means string
}{
	{exitDone, "done"},
	{exitPreflight, "a host does not meet what the plan requires"},
	{exitFailed, "a phase or command failed on a host, or the host died"},
	{exitRollback, "a rollback failed too"},
	{exitVerify, "verification failed"},
	{exitUsage, "the inventory, the plan or the command line is wrong"},
	{exitRights, "no sufficient rights on the host"},
	{exitUnreachable, "host unreachable, login or host key refused"},
	{exitRegression, "regression or drift found"},
	{exitLocked, "another run holds the host"},
	{exitMixed, "hosts failed in different ways"},
	{exitLocal, "failed on this machine: state folder, disk, or a fault of vpsctl"},
	{exitInterrupted, "interrupted"},
	{exitTerminated, "terminated"},
}

// exitHelp is the table as the help shows it.
func exitHelp() string {
	var b strings.Builder
	for _, e := range exitTable {
		fmt.Fprintf(&b, "  %3d  %s\n", e.Code, e.Means)
	}
	return b.String()
}

// usageError is a mistake in the command line.
type usageError struct{ text, hint string }

func (e usageError) Error() string { return e.text }
func (e usageError) Hint() string  { return e.hint }

// exitError carries a code that was already explained to the user, or whose
// explanation is err.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}
func (e exitError) Unwrap() error { return e.err }

// exitCode is the one place where an error becomes a number.
func exitCode(err error) int {
	var exit exitError
	var usage usageError
	var inv *inventory.Problems
	var plan *phases.Problems
	var host *remote.Error
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &usage), errors.As(err, &inv), errors.As(err, &plan):
		return exitUsage
	case errors.As(err, &host):
		return outcomes[outcomeOf(host)]
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return exitLocal
}

// outcomes makes the outcomes of hosts and runs into numbers.
var outcomes = map[report.Outcome]int{
	report.Done: exitDone, report.PreflightFailed: exitPreflight, report.PhaseFailed: exitFailed, report.RollbackFailed: exitRollback,
	report.VerificationFailed: exitVerify, report.BadUsage: exitUsage, report.NoRights: exitRights, report.Unreachable: exitUnreachable,
	report.Drift: exitRegression, report.Locked: exitLocked, report.Mixed: exitMixed, report.LocalFault: exitLocal,
	report.Cancelled: exitInterrupted, report.NotReached: exitDone, report.Running: exitDone,
}

// outcomeOf is the outcome a host's connection error amounts to.
func outcomeOf(e *remote.Error) report.Outcome {
	switch e.Kind {
	case remote.Unreachable, remote.AuthRefused, remote.HostKey:
		return report.Unreachable
	case remote.Rights:
		return report.NoRights
	case remote.Locked:
		return report.Locked
	case remote.Unsupported:
		return report.PreflightFailed
	case remote.Local:
		return report.LocalFault
	}
	return report.PhaseFailed
}

// fleetCode joins the codes of hosts: 0 only if all are 0, the one code all
// failures share, else exitMixed.
func fleetCode(codes []int) int {
	code := exitDone
	for _, c := range codes {
		switch {
		case c == exitDone:
		case code == exitDone:
			code = c
		case code != c:
			return exitMixed
		}
	}
	return code
}
