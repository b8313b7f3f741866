// Package remote brings a host within reach: it dials, checks the host's key,
// authenticates, runs a plan there through the collector it pushes, and follows
// that run through lines that drop. Every wait has a limit and a name.
package remote

import (
	"context"
	"math/rand/v2"
	"os"
	"os/user"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// Options of a Dialer. The zero value checks ~/.ssh/known_hosts, accepts no
// new key, asks the agent at $SSH_AUTH_SOCK, and asks nobody for a passphrase.
// The functions are called from several goroutines.
type Options struct {
	KnownHosts     []string      // files; nil: ~/.ssh/known_hosts and known_hosts2
	AppendTo       string        // accepted keys; "": the first of KnownHosts
	AcceptNew      bool          // keys of hosts nobody knows; a changed key is never accepted
	ConnectTimeout time.Duration // of one attempt, dial to authenticated; 0: 10 s
	Agent          string        // its socket; "": $SSH_AUTH_SOCK, "none": no agent
	// Prompt asks a person; nil when none is there.
	Prompt func(ctx context.Context, question string) ([]byte, error)
	// SudoPassword gives what a host's sudo asks its user for; an empty one, or
	// nil: sudo is not to ask.
	SudoPassword func(ctx context.Context, h inventory.Host) (inventory.Secret, error)
	// Verbose gets what the host's shell and sshd print beside the answers, as
	// it came, and what is tried again and why.
	Verbose func(host, text string)
	// Status is told what a host's connection is doing.
	Status func(host string, s Status)
	// Collector gives the program for an architecture; nil: payload.Collector.
	Collector func(arch string) (payload.Binary, error)
}

// State is what a connection is doing.
type State string

// The states, in the order a good connection goes through the first four.
const (
	Dialing        State = "dialing"
	Authenticating State = "authenticating"
	Uploading      State = "uploading"
	Running        State = "running"
	Silent         State = "silent"     // no byte has come For this long
	Redialing      State = "redialling" // the line was lost, or the host could not be reached yet
	Woke           State = "woke"       // this machine slept; the line is being tested
)

// Status is a State with how long it has lasted and why, where that is known.
type Status struct {
	State State
	For   time.Duration
	Text  string
}

// Dialer is shared by all hosts of a command: it reads known_hosts and key
// files once, asks for a passphrase once, and limits how many handshakes a
// jump host sees at a time.
type Dialer struct {
	opt      Options
	lim      limits
	keys     *hostKeys
	identity *identities
	jumps    *jumpSlots
	programs *programs
	login    string // of this machine's user
}

// limits are the deadlines and bounds of a Dialer; tests shorten them.
type limits struct {
	connect   time.Duration // dial to authenticated
	channel   time.Duration // a channel opens
	firstByte time.Duration // the host's shell answers
	settle    time.Duration // the collector is put into its place, which may include its way through the line
	probe     time.Duration // of silence before the host is asked for a sign of life
	quiet     time.Duration // of silence before it is reported
	silent    time.Duration // of silence before the line is given up
	proof     time.Duration // a line has to answer after this machine slept
	tick      time.Duration
	tries     int           // connecting, before the first success
	backoff   time.Duration // after the first failed try; doubles
	penalty   time.Duration // after a close before the banner
	maxWait   time.Duration // between tries to get a lost line back
	giveUp    time.Duration // trying to get a lost line back
	grace     time.Duration // before an old guard is taken for a pending one
	farewell  time.Duration // for the end of a command nobody waits for any more
	total     int64         // bytes of events from one host
}

func newLimits(connect time.Duration) limits {
	if connect <= 0 {
		connect = 10 * time.Second
	}
	return limits{
		connect: connect, channel: 15 * time.Second, firstByte: 30 * time.Second, settle: 5 * time.Minute,
		probe: 5 * time.Second, quiet: 15 * time.Second, silent: time.Minute, proof: 10 * time.Second, tick: time.Second,
		tries: 3, backoff: 500 * time.Millisecond, penalty: 20 * time.Second, maxWait: 30 * time.Second, giveUp: 10 * time.Minute,
		grace: 300 * time.Millisecond, farewell: 3 * time.Second, total: 4 << 30,
	}
}

// perJump is how many handshakes a jump host sees at once: its sshd starts to
// drop unauthenticated connections at ten.
const perJump = 6

// NewDialer makes a Dialer. It touches neither files nor the network.
func NewDialer(opt Options) *Dialer {
	if opt.KnownHosts == nil {
		if home, err := os.UserHomeDir(); err == nil {
			opt.KnownHosts = []string{filepath.Join(home, ".ssh", "known_hosts"), filepath.Join(home, ".ssh", "known_hosts2")}
		}
	}
	if opt.AppendTo == "" && len(opt.KnownHosts) > 0 {
		opt.AppendTo = opt.KnownHosts[0]
	}
	if opt.Agent == "" {
		opt.Agent = os.Getenv("SSH_AUTH_SOCK")
	}
	if opt.Collector == nil {
		opt.Collector = payload.Collector
	}
	d := &Dialer{opt: opt, lim: newLimits(opt.ConnectTimeout), jumps: &jumpSlots{in: map[string]chan struct{}{}}}
	d.programs = &programs{get: opt.Collector, have: map[string]program{}}
	d.keys = &hostKeys{files: opt.KnownHosts, appendTo: opt.AppendTo, acceptNew: opt.AcceptNew}
	d.identity = newIdentities(opt)
	if u, err := user.Current(); err == nil {
		d.login = u.Username
	}
	return d
}

// Close ends what the Dialer shares between hosts: the line to the agent.
func (d *Dialer) Close() { d.identity.close() }

// Session makes a Session for h. Nothing is dialled before its first use.
func (d *Dialer) Session(h inventory.Host) *Session {
	return &Session{d: d, h: d.complete(h), turn: make(chan struct{}, 1)}
}

// complete fills in what ssh has a default for.
func (d *Dialer) complete(h inventory.Host) inventory.Host {
	if h.Address == "" {
		h.Address = h.Name
	}
	if h.Port == 0 {
		h.Port = 22
	}
	if h.User == "" {
		h.User = d.login
	}
	return h
}

func (d *Dialer) verbose(host, text string) {
	if d.opt.Verbose != nil {
		d.opt.Verbose(host, text)
	}
}

func (d *Dialer) status(host string, s Status) {
	if d.opt.Status != nil {
		d.opt.Status(host, s)
	}
}

// muted is a Dialer that shares everything but tells no status.
func (d *Dialer) muted() *Dialer {
	m := *d
	m.opt.Status = nil
	return &m
}

// jumpSlots are the handshakes in flight, by address of the jump host.
type jumpSlots struct {
	mu sync.Mutex
	in map[string]chan struct{}
}

func (j *jumpSlots) of(addr string) chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.in[addr] == nil {
		j.in[addr] = make(chan struct{}, perJump)
	}
	return j.in[addr]
}

// jitter spreads d over its upper half and beyond, so that hosts that failed
// together do not come back together.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.75 + 0.5*rand.Float64()))
}

// sleep waits for d or for ctx, whose error it then returns.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// Session is one host within reach. Its methods may be used side by side: they
// share one connection, which is made by the first of them and made anew when
// it broke.
type Session struct {
	// Report gives the run's performance-report.json, which is left on the host;
	// Run and Follow ask for it once the run's end has come. Nil: none.
	Report func() []byte
	// Once has a connection be tried one time: whoever is refused does not ask
	// again.
	Once bool

	d    *Dialer
	h    inventory.Host
	turn chan struct{} // held while connecting and while c changes
	c    *conn

	password inventory.Secret // for sudo
	mask     *wire.Masker     // of the password
	wrong    atomic.Bool      // the host has refused the password
}

// Close ends the connection. What runs on the host goes on.
func (s *Session) Close() {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.c != nil {
		s.c.close(errClosed)
		s.c = nil
	}
}

// connect gives the live connection, or makes one in at most so many tries.
func (s *Session) connect(ctx context.Context, tries int) (*conn, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, s.ended(ctx, "connect")
	}
	if err := s.learn(ctx); err != nil {
		return nil, err
	}
	if s.c != nil && s.c.alive() {
		return s.c, nil
	}
	if s.c != nil {
		s.c.close(errClosed)
		s.c = nil
	}
	if s.Once {
		tries = 1
	}
	c, err := s.d.dial(ctx, s.h, tries)
	if err != nil {
		return nil, err
	}
	s.c = c
	return c, nil
}
