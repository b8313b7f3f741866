package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/vpsctl/vpsctl/inventory"
)

// dial makes an authenticated connection in at most so many tries. What cannot
// pass by waiting, a refused key above all, is tried once.
func (d *Dialer) dial(ctx context.Context, h inventory.Host, tries int) (*conn, error) {
	backoff := d.lim.backoff
	for try := 1; ; try++ {
		d.status(h.Name, Status{State: Dialing})
		c, err := d.once(ctx, h)
		if err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			return nil, ended(ctx, h.Name, "connect", err.Error())
		}
		pause := jitter(backoff)
		switch retryable(err) {
		case never:
			return nil, err
		case penalised:
			pause = jitter(d.lim.penalty)
		}
		if try >= tries {
			return nil, err
		}
		backoff *= 2
		text := fmt.Sprintf("%v; trying again in %v", err, pause.Round(100*time.Millisecond))
		d.status(h.Name, Status{State: Redialing, Text: text})
		d.verbose(h.Name, text)
		if sleep(ctx, pause) != nil {
			return nil, ended(ctx, h.Name, "connect", err.Error())
		}
	}
}

// once tries to connect one time. It needs more than one dial only where the
// kind of the host's key has to be found out.
func (d *Dialer) once(ctx context.Context, h inventory.Host) (*conn, error) {
	leg, err := d.leg(ctx, h)
	if err != nil {
		return nil, err
	}
	var jump *route
	if h.Jump != nil && h.Jump.Host != nil {
		if jump, err = d.leg(ctx, d.complete(*h.Jump.Host)); err != nil {
			return nil, err
		}
	}
	for {
		c, err := d.attempt(ctx, leg, jump)
		if err == nil {
			return c, nil
		}
		asked := leg
		if e := (*Error)(nil); errors.As(err, &e) && e.atJump {
			asked = jump
		}
		if again, final := asked.keys.next(err); !again {
			return nil, final
		}
	}
}

// route is what one handshake needs to know, read before anything is dialled.
type route struct {
	host    inventory.Host
	addr    string
	signers []ssh.Signer
	notes   []string // keys that could not be used, and why
	keys    *keyCheck
}

func (d *Dialer) leg(ctx context.Context, h inventory.Host) (*route, error) {
	l := &route{host: h, addr: joinHostPort(h)}
	var err error
	if l.keys, err = d.keys.checkFor(&h, l.addr); err != nil {
		return nil, err
	}
	if l.signers, l.notes, err = d.identity.signers(ctx, &h); err != nil {
		return nil, err
	}
	return l, nil
}

// attempt goes from nothing to an authenticated connection, through jump when
// there is one, within the connect limit.
func (d *Dialer) attempt(ctx context.Context, to, jump *route) (*conn, error) {
	a := &attempt{d: d, limit: d.lim.connect, watch: newWatch(d.lim.tick)}
	if jump == nil {
		return a.run(ctx, to, nil)
	}
	via, err := a.through(ctx, to, jump)
	if err != nil {
		return nil, err
	}
	b := &attempt{d: d, limit: d.lim.connect - a.spent, watch: newWatch(d.lim.tick)}
	c, err := b.run(ctx, to, via)
	if err != nil {
		via.close(errClosed)
		return nil, err
	}
	return c, nil
}

// through connects to the jump host; its slot is taken while its handshake is
// in flight, and waiting for the slot is charged to nobody.
func (a *attempt) through(ctx context.Context, to, jump *route) (*conn, error) {
	slot := a.d.jumps.of(jump.addr)
	select {
	case slot <- struct{}{}:
		defer func() { <-slot }()
	case <-ctx.Done():
		return nil, ended(ctx, to.host.Name, "wait for jump host "+jump.addr, "")
	}
	begin := time.Now()
	via, err := a.run(ctx, jump, nil)
	a.spent = min(time.Since(begin), a.limit)
	if err != nil {
		return nil, forHost(to.host.Name, jump.host.Name, err)
	}
	return via, nil
}

// attempt is one handshake on its way. Its stage says what is waited for.
type attempt struct {
	d      *Dialer
	limit  time.Duration
	watch  *watch
	spent  time.Duration
	banner string // what sshd says before the login

	mu    sync.Mutex
	stage stage
	since time.Time
	late  *stageLimit // the limit passed in stage
}

// stage is a part of connecting.
type stage struct{ name, what string }

func (a *attempt) enter(s stage) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stage, a.since = s, time.Now()
}

func (a *attempt) now() (stage, *stageLimit) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stage, a.late
}

// expire notes which stage used up the limit.
func (a *attempt) expire() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.late = &stageLimit{time.Since(a.since), a.stage.what}
}

// run dials and authenticates. The watch it starts goes on with the connection.
func (a *attempt) run(ctx context.Context, to *route, via *conn) (*conn, error) {
	dctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := newConn(a.d, to.host.Name, a.watch, via)
	a.watch.onTick = c.tick
	a.enter(stage{"dial " + to.addr, "an answer to the connection request"})
	a.watch.start()
	disarm := a.watch.arm(a.limit, func() { a.expire(); cancel() })
	begin := time.Now()
	nc, err := dialVia(dctx, to.addr, via)
	if err == nil {
		c.dialled = time.Since(begin)
		err = a.handshake(dctx, c, to, nc)
		c.authed = time.Since(begin) - c.dialled
	}
	disarm()
	if err != nil {
		a.watch.stop()
		return nil, a.explain(ctx, to, c.line, err)
	}
	c.live(to.keys.offered)
	return c, nil
}

func dialVia(ctx context.Context, addr string, via *conn) (net.Conn, error) {
	if via != nil {
		return via.client.DialContext(ctx, "tcp", addr)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
}

func (a *attempt) handshake(ctx context.Context, c *conn, to *route, nc net.Conn) error {
	a.enter(stage{"banner of " + to.addr, "the SSH banner; the connection was accepted"})
	c.line = &line{Conn: nc, onGreet: func() {
		a.enter(stage{"handshake with " + to.addr, "the key exchange"})
	}}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	used := &usedKey{}
	sc, chans, reqs, err := ssh.NewClientConn(c.line, to.addr, &ssh.ClientConfig{
		User:              to.host.User,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(used.wrap(to.signers)...)},
		HostKeyAlgorithms: to.keys.algorithms(),
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			if err := to.keys.check(key); err != nil {
				return err
			}
			a.enter(stage{"authentication as " + to.host.User, "the answer to the login"})
			a.d.status(c.host, Status{State: Authenticating})
			return nil
		},
		BannerCallback: func(text string) error {
			a.banner = clip(a.banner+" "+text, 2000)
			a.d.verbose(c.host, text)
			return nil
		},
		ClientVersion: "SSH-2.0-vpsctl",
	})
	if err != nil {
		nc.Close()
		return err
	}
	if !stop() { // the context ended and the line is closed
		sc.Close()
		return context.Cause(ctx)
	}
	c.client = ssh.NewClient(sc, chans, reqs)
	c.key = used.line()
	return nil
}
