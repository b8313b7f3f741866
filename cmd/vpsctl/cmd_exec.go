package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/remote"
)

// execHost is what a command came to on one host.
type execHost struct {
	Host        string      `json:"host"`
	Status      wire.Status `json:"status"`
	ExitCode    int         `json:"exit_code"`
	RC          *int        `json:"rc"` // null: it was not run, or nobody knows how it ended
	Stdout      string      `json:"stdout"`
	Stderr      string      `json:"stderr"`
	StdoutCut   int64       `json:"stdout_cut,omitempty"` // bytes out of its middle
	StderrCut   int64       `json:"stderr_cut,omitempty"`
	DurationSec float64     `json:"duration_sec"`
	Error       *hostError  `json:"error"`

	out, err capture
	problem  error
}

// rcError is a command that did not end with 0.
type rcError struct {
	host string
	rc   int
}

func (e rcError) Error() string { return fmt.Sprintf("%s: exit %d", e.host, e.rc) }

func execAll(k *call) error {
	script := k.Args().First()
	switch k.NArg() {
	case 0:
		return usageError{"exec: there is no command", "write it behind the flags: vpsctl exec -- uptime"}
	case 1:
	default:
		script = remote.ShellLine(k.Args().Slice())
	}
	if k.json() && k.Bool("fold") {
		return usageError{"--fold and -o json exclude each other", "the JSON has every host's output"}
	}
	stdin, end, err := k.input()
	if err != nil {
		return err
	}
	defer end()
	ctx, stop := k.interruptible()
	defer stop()
	x := &execution{call: k, script: script, stdin: stdin, out: &shared{w: k.ui.out}, err: &shared{w: k.ui.err}}
	hosts, results, err := each(k, ctx, nil, x.host)
	if err != nil {
		return err
	}
	return x.conclude(ctx, hosts, results)
}

// execution is one command on many hosts.
type execution struct {
	*call
	script   string
	stdin    func() io.ReadCloser
	out, err *shared
}

// host runs the command on one host and shows its output, or keeps it.
func (x *execution) host(ctx context.Context, s *remote.Session, h inventory.Host, r *execHost) error {
	stdout, stderr, done := x.outputs(h.Name, r)
	in := x.stdin()
	var input io.Reader
	if in != nil {
		defer in.Close()
		input = in
	}
	rc, err := s.Exec(ctx, x.script, input, stdout, stderr)
	if err := errors.Join(err, done()); err != nil {
		return err
	}
	r.RC = &rc
	if rc != 0 {
		return exitError{exitFailed, rcError{h.Name, rc}}
	}
	return nil
}

// outputs are where a host's streams go: live, line by line, or into memory.
func (x *execution) outputs(host string, r *execHost) (stdout, stderr io.Writer, done func() error) {
	if x.json() || x.Bool("fold") {
		r.out.most, r.err.most = kept(x.Int("forks")), kept(x.Int("forks"))
		return &r.out, &r.err, func() error { return nil }
	}
	out := &lineWriter{w: x.out, prefix: host + " | "}
	errs := &lineWriter{w: x.err, prefix: host + " | "}
	return out, errs, func() error { return errors.Join(out.close(), errs.close()) }
}

// conclude says what came of it and gives the exit code.
func (x *execution) conclude(ctx context.Context, hosts []inventory.Host, results []*outcome[execHost]) error {
	list := make([]*execHost, len(hosts))
	var codes []int
	for i, h := range hosts {
		r := &execHost{}
		if o := results[i]; o != nil {
			r = &o.got
			r.DurationSec, r.problem, r.ExitCode = o.took.Seconds(), o.err, exitCode(o.err)
			codes = append(codes, r.ExitCode)
		}
		r.Host, r.Status = h.Name, statusWord(r.problem, results[i] != nil)
		r.Stdout, r.Stderr, r.StdoutCut, r.StderrCut = r.out.text(), r.err.text(), r.out.cut(), r.err.cut()
		if r.RC == nil {
			r.Error = newHostError(r.problem)
		}
		list[i] = r
	}
	code := fleetCode(codes)
	err := x.ui.result(x.json(), map[string]any{"schema": 1, "exit_code": codeOr(ctx, code), "hosts": list}, func(io.Writer) error {
		if !x.Bool("fold") {
			return nil
		}
		return fold(x.out, x.err, list)
	})
	x.sayProblems(ctx, list)
	if err != nil {
		return err
	}
	return ended(ctx, code)
}

func (x *execution) sayProblems(ctx context.Context, list []*execHost) {
	for _, h := range list {
		switch {
		case h.Status == wire.NotReached:
			x.ui.say("[WARN]", "%s: not begun: --max-fail", h.Host)
		case h.RC != nil && *h.RC != 0:
			x.ui.say("[ERR]", "%s: exit %d", h.Host, *h.RC)
		case h.Status == wire.Cancelled:
			x.ui.say("[WARN]", "%s: %v; the command was ended there", h.Host, context.Cause(ctx))
		case h.problem != nil:
			x.ui.explain(h.problem)
		}
	}
}
