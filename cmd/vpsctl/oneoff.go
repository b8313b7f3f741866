package main

import (
	"context"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/remote"
)

// paceFlags say how many hosts work at a time and when no further one is begun.
var paceFlags = []cli.Flag{
	&cli.IntFlag{Name: "max-fail", EnvVars: env("max-fail"), Usage: "start no further host once `N` hosts have failed (0: no limit)"},
	&cli.StringFlag{Name: "serial", EnvVars: env("serial"), Usage: "`N` or P% of the hosts at a time"},
}

var sampleFlags = []cli.Flag{&cli.DurationFlag{Name: "sample-interval", EnvVars: env("sample-interval"), Value: 10 * time.Second, Usage: "`DUR` between resource samples (0: none)"}}

// oneOffCommands are the verbs of everyday work.
func oneOffCommands() []*cli.Command {
	return []*cli.Command{
		{Name: "exec", Usage: "run a command on every host, output live", ArgsUsage: "-- CMD [ARG…]", Flags: flags(hostFlags, paceFlags, []cli.Flag{
			&cli.BoolFlag{Name: "fold", Usage: "at the end, equal output of several hosts once"},
			&cli.StringFlag{Name: "stdin", Usage: "`FILE` that every host's command reads (default: standard input, unless a terminal)"}}), Action: with(execAll),
			Description: "One argument is a line for /bin/sh; several are a program and its arguments.\nFlags end at the first argument.", CustomHelpTemplate: help(
				"vpsctl exec -- uptime", "vpsctl exec -l eu --fold -- cat /etc/debian_version", "vpsctl exec -o json -- 'df -h / | tail -1'")},
		{Name: "run", Usage: "run a local script on every host: recorded, survives a lost line", ArgsUsage: "SCRIPT [ARG…]", Flags: flags(hostFlags, provisionFlags, sampleFlags), Action: with(runScript),
			Description: "SCRIPT - is standard input. Flags end at the script's name. The script gets the\nhost's variables in its environment, and host, address, groups, run_id.", CustomHelpTemplate: help(
				"vpsctl run fix.sh", "vpsctl run -l eu backup.sh --full", "vpsctl run - < fix.sh")},
	}
}

// ownsRest tells commands whose flags end at the first argument: what follows
// belongs to what they run.
func ownsRest(command string) bool { return command == "exec" || command == "run" }

// each does f on every selected host within the limits of the call. A slot
// stays nil where a host was not begun because of --max-fail.
func each[T any](k *call, ctx context.Context, status func(string, remote.Status), f func(context.Context, *remote.Session, inventory.Host, *T) error) ([]inventory.Host, []*outcome[T], error) {
	inv, hosts, err := k.hosts()
	if err != nil {
		return nil, nil, err
	}
	w, err := k.width(len(hosts))
	if err != nil {
		return nil, nil, err
	}
	if err := k.trusted(inv); err != nil {
		return nil, nil, err
	}
	d := k.dialer(status)
	defer d.Close()
	return hosts, fleet(ctx, hosts, w, func(ctx context.Context, h inventory.Host) (outcome[T], bool) {
		var o outcome[T]
		begin := time.Now()
		o.err = k.oneHost(ctx, d, h, func(ctx context.Context, s *remote.Session) error { return f(ctx, s, h, &o.got) })
		o.took = time.Since(begin)
		return o, o.err == nil
	}), nil
}

// outcome is what came of one host.
type outcome[T any] struct {
	got  T
	took time.Duration
	err  error
}

// statusWord is a host's outcome in a word.
func statusWord(err error, begun bool) wire.Status {
	switch {
	case !begun:
		return wire.NotReached
	case err == nil:
		return wire.OK
	case slices.Contains([]int{exitInterrupted, exitTerminated}, exitCode(err)):
		return wire.Cancelled
	}
	return wire.Failed
}

// ended is the exit of a command over hosts that came to this code, or of the
// signal that ended it.
func ended(ctx context.Context, code int) error {
	if code == exitDone {
		return nil
	}
	return exitError{code: codeOr(ctx, code)}
}

// codeOr is the exit code: of the signal that ended the call, or of its hosts.
func codeOr(ctx context.Context, code int) int {
	if cause := context.Cause(ctx); code != exitDone && cause != nil {
		return exitCode(cause)
	}
	return code
}
