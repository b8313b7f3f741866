package main

import (
	"context"
	"errors"

	"github.com/vpsctl/vpsctl/remote"
	"github.com/vpsctl/vpsctl/report"
)

// seenError is what this machine saw go wrong with a host.
func seenError(err error) *report.HostError {
	e := &report.HostError{Kind: report.LocalFault, Stage: "vpsctl", Message: report.Clean(err.Error()), Hint: hintOf(err)}
	var host *remote.Error
	var exit exitError
	var secret hostSecretError
	var late timeoutError
	switch {
	case errors.Is(err, errStopped), errors.As(err, &exit), errors.Is(err, context.Canceled):
		e.Kind = report.Cancelled
	case errors.As(err, &late):
		e.Kind = report.PhaseFailed
	case errors.As(err, &host):
		e.Kind, e.Stage = outcomeOf(host), host.Stage
	case errors.As(err, &secret):
		e.Kind, e.Stage = report.BadUsage, "secrets"
	}
	return e
}
