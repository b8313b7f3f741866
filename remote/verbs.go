package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// Collector's exit codes, as far as they mean something here.
const (
	rcUsage   = 2
	rcRefused = 3
	rcNoRun   = 4
	rcLocked  = 9
)

// maxAnswer bounds what a verb's answer may be, in bytes.
const maxAnswer = 16 << 20

// runID is what run ids look like; they become words of a command.
var runID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// Pong is what a ping found.
type Pong struct {
	RTT           time.Duration // of the line, about
	Dial          time.Duration // until the host accepted the connection
	Auth          time.Duration // from there until it accepted the login
	User          string
	Fingerprint   string // of the host's key
	ServerVersion string
}

// Ping connects and has the host's shell run an empty command, with become as
// everything else would be run.
func (s *Session) Ping(ctx context.Context) (Pong, error) {
	c, err := s.connect(ctx, s.d.lim.tries)
	if err != nil {
		return Pong{}, err
	}
	begin := time.Now()
	marker := newMarker()
	p, err := c.run(ctx, s.order(pingScript, marker, "ping"), nil)
	if err != nil {
		return Pong{}, s.problem(ctx, "ping", err)
	}
	rtt := min(time.Since(begin), c.dialled)
	defer p.close()
	p.send(nil)
	if err := s.greet(ctx, p, marker); err != nil {
		return Pong{}, s.problem(ctx, "ping", err)
	}
	pong := Pong{RTT: rtt, Dial: c.dialled, Auth: c.authed, User: s.h.User, ServerVersion: string(c.client.ServerVersion())}
	if c.hostKey != nil {
		pong.Fingerprint = ssh.FingerprintSHA256(c.hostKey)
	}
	return pong, nil
}

// greet waits for the answer of the host's shell and tells what it said before.
func (s *Session) greet(ctx context.Context, p *process, marker string) error {
	noise, err := p.answer(ctx, marker)
	if noise = strings.TrimSpace(noise); noise != "" {
		s.d.verbose(s.h.Name, s.mask.String(noise))
	}
	var none *noAnswer
	if errors.As(err, &none) {
		return s.explain(none)
	}
	return err
}

// problem turns what went wrong on a connection into an error of this package.
func (s *Session) problem(ctx context.Context, stage string, err error) error {
	var e *Error
	switch {
	case err == nil, errors.As(err, &e):
		return err
	case ctx.Err() != nil:
		return s.ended(ctx, stage)
	case isLost(err):
		return s.fail(stage, Unreachable, "", "%w", err)
	case errors.Is(err, wire.ErrHostile):
		return s.fail(stage, Hostile, "", "%w", err)
	}
	return s.fail(stage, Refused, "", "%w", err)
}

// Facts asks the host what it is.
func (s *Session) Facts(ctx context.Context) (wire.Facts, error) {
	out, err := s.Remote(ctx, "facts", nil, nil)
	if err != nil {
		return wire.Facts{}, err
	}
	var f wire.Facts
	if err := json.Unmarshal(out, &f); err != nil {
		return f, s.fail("facts", Hostile, "", "%w: the answer is not what was asked for: %v", wire.ErrHostile, err)
	}
	return f, nil
}

// Cancel asks the host to stop a run: after the package transaction that may be
// under way, or now.
func (s *Session) Cancel(ctx context.Context, run string, now bool) error {
	args := []string{run}
	if now {
		args = append(args, "--now")
	}
	_, err := s.ask(ctx, run, "cancel", args, nil)
	return err
}

// Remote has the collector do one of its other verbs (facts, runs, report,
// clean), pushing it first where it is missing, and gives what it printed, also
// with an error.
func (s *Session) Remote(ctx context.Context, verb string, args []string, stdin io.Reader) ([]byte, error) {
	var input []byte
	if stdin != nil {
		var err error
		if input, err = io.ReadAll(stdin); err != nil { // it may have to be sent twice
			return nil, s.fail(verb, Local, "", "read what to send: %w", err)
		}
	}
	return s.ask(ctx, "", verb, args, input)
}

// ask runs one verb of the collector, or of the one that began run.
func (s *Session) ask(ctx context.Context, run, verb string, args []string, input []byte) ([]byte, error) {
	if run != "" && !runID.MatchString(run) {
		return nil, s.fail(verb, Local, "see `vpsctl runs list`", "%q is not a run id", clip(run, 80))
	}
	c, err := s.connect(ctx, s.d.lim.tries)
	if err != nil {
		return nil, err
	}
	p, err := s.collector(ctx, c, ask{run: run, verb: verb, args: args, input: input})
	if err != nil {
		return nil, s.problem(ctx, verb, err)
	}
	defer p.close()
	stop := context.AfterFunc(ctx, func() { c.abort(context.Cause(ctx)) })
	defer stop()
	out, err := io.ReadAll(io.LimitReader(p.out, maxAnswer+1))
	if len(out) > maxAnswer {
		return nil, s.fail(verb, Hostile, "", "%w: an answer of over %d bytes", wire.ErrHostile, maxAnswer)
	}
	if err != nil {
		return out, s.problem(ctx, verb, c.broken(err))
	}
	rc, err := p.wait()
	if err != nil {
		return out, s.problem(ctx, verb, err)
	}
	return out, s.outcome(verb, rc, p.errs.String(), out)
}

// outcome is what a collector's exit status means.
func (s *Session) outcome(verb string, rc int, stderr string, out []byte) error {
	text := clip(strings.TrimPrefix(strings.TrimSpace(stderr), "collector: "), 500)
	if text == "" {
		text = fmt.Sprintf("it ended with status %d and said nothing", rc)
	}
	e := s.fail(verb, Refused, "", "%s", text)
	e.RC = rc
	switch rc {
	case 0:
		return nil
	case rcNoRun:
		e.Err, e.hint = ErrNoRun, "see `vpsctl runs list --remote`"
	case rcLocked:
		e.Kind = Locked
		if ev, err := wire.Decode(bytes.TrimSpace(out)); err == nil && ev.Refused != nil {
			e.Lock = ev.Refused.Holder
		}
	case rcUsage:
		e.Kind = Local
	case 126:
		e.hint = noexecHint
	}
	return e
}

const noexecHint = "the folder must not lie on a file system that is mounted noexec: /var/lib/vpsctl for root, ~/.local/state/vpsctl for others"
