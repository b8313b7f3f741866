package remote

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// Kind sorts errors by what has to be done about them.
type Kind int

// The kinds.
const (
	Unreachable Kind = iota + 1 // try again, or fix the way to the host
	AuthRefused                 // fix user or key
	HostKey                     // find out whose key that is
	Rights                      // the user may not do what is needed: sudo, another user, an expired password
	Locked                      // another run holds the host; Error.Lock says which
	Refused                     // the host did not do it: no such run, no space, a verb that failed
	Unsupported                 // no collector for such a host
	Hostile                     // the host breaks the protocol; it is not listened to any further
	TimedOut                    // the command's own time limit passed
	Local                       // this machine's fault: a sink, a key file, known_hosts
)

var kindNames = [...]string{"", "unreachable", "auth_refused", "host_key", "rights", "locked", "refused", "unsupported", "hostile", "timed_out", "local"}

// String is the kind's name in records.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("kind %d", int(k))
	}
	return kindNames[k]
}

// ErrNoRun marks the answer that a host knows no such run.
var ErrNoRun = errors.New("there is no such run on this host")

// errLost marks a connection that broke; what ran on the host may go on.
var errLost = errors.New("the line was lost")

// errClosed is why a connection ends that nobody needs any more.
var errClosed = errors.New("closed")

// Error is why a host could not be used. Its text is "host: stage: why".
type Error struct {
	Host  string
	Stage string // what was tried, e.g. "dial 203.0.113.7:22", "authentication", "upload"
	Kind  Kind
	Err   error
	RC    int        // exit status of what ran on the host, when Kind is Refused or Locked
	Lock  *wire.Lock // who holds the host, when Kind is Locked and the host said it

	hint   string
	again  wait // whether and how soon trying again may help
	atJump bool // it is about the jump host
}

// wait is how an attempt to connect may be repeated.
type wait int

const (
	never     wait = iota
	soon           // what refused may pass in a moment
	penalised      // sshd counts against us: stay away for a while
)

func (e *Error) Error() string { return fmt.Sprintf("%s: %s: %v", e.Host, e.Stage, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// Hint is the next thing to type, or "".
func (e *Error) Hint() string {
	if e.hint != "" {
		return e.hint
	}
	var h interface{ Hint() string }
	if errors.As(e.Err, &h) {
		return h.Hint()
	}
	return ""
}

// fail makes an Error about this session's host.
func (s *Session) fail(stage string, kind Kind, hint, format string, args ...any) *Error {
	return &Error{Host: s.h.Name, Stage: stage, Kind: kind, Err: fmt.Errorf(format, args...), hint: hint}
}

// ended is the error of a context that is over. A time limit that passed says
// what was waited for; a cancelled context keeps its cause.
func (s *Session) ended(ctx context.Context, stage string) error {
	return ended(ctx, s.h.Name, stage, "")
}

func ended(ctx context.Context, host, stage, what string) error {
	cause := context.Cause(ctx)
	if !errors.Is(cause, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %s: %w", host, stage, cause)
	}
	if what != "" {
		what = "; " + what
	}
	return &Error{Host: host, Stage: stage, Kind: TimedOut, Err: fmt.Errorf("the command's time limit passed%s: %w", what, cause),
		hint: "give it more time with --timeout"}
}

// stageLimit is the error of a stage that took longer than it may.
type stageLimit struct {
	waited time.Duration
	what   string // what was waited for
}

func (e *stageLimit) Error() string {
	return fmt.Sprintf("waited %v for %s", e.waited.Round(100*time.Millisecond), e.what)
}

func isLost(err error) bool { return errors.Is(err, errLost) }
