package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// maxChannels of one connection: sshd allows ten sessions.
const maxChannels = 8

// conn is an authenticated connection. A line that is silent for too long is
// closed; errors of what used it are then explained by its cause.
type conn struct {
	d       *Dialer
	host    string
	client  *ssh.Client
	line    *line
	via     *conn // the way to the host; closed with it
	watch   *watch
	slots   chan struct{} // open channels
	done    chan struct{} // closed when the connection has ended
	key     string        // authorized_keys line that authenticated it
	hostKey ssh.PublicKey
	dialled time.Duration
	authed  time.Duration

	mu    sync.Mutex
	cause error // why we closed it

	up      atomic.Bool
	probing atomic.Bool
	seen    int64         // of line.reads; watch's goroutine only
	quiet   time.Duration // how long nothing has come; watch's goroutine only
	told    time.Duration // of quiet, that Status was told; watch's goroutine only
}

func newConn(d *Dialer, host string, w *watch, via *conn) *conn {
	return &conn{d: d, host: host, watch: w, via: via, slots: make(chan struct{}, maxChannels), done: make(chan struct{})}
}

// live begins the connection's life after authentication.
func (c *conn) live(hostKey ssh.PublicKey) {
	c.hostKey = hostKey
	go func() {
		c.client.Wait()
		close(c.done)
	}()
	c.up.Store(true)
}

func (c *conn) alive() bool {
	select {
	case <-c.done:
		return false
	default:
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.cause == nil
	}
}

// abort closes the line; the first cause is kept.
func (c *conn) abort(cause error) {
	c.mu.Lock()
	if c.cause == nil {
		c.cause = cause
	}
	c.mu.Unlock()
	if c.via != nil {
		c.via.abort(cause) // first: closing a channel needs a line that moves
	}
	c.line.Conn.Close()
}

// close ends the connection and waits until nothing of it is left.
func (c *conn) close(cause error) {
	c.abort(cause)
	<-c.done
	c.watch.stop()
	if c.via != nil {
		c.via.close(cause)
	}
}

// broken is the error of whatever the end of the connection has cut off.
func (c *conn) broken(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return fmt.Errorf("%w: %w", errLost, c.cause)
	}
	if err == nil || closedByPeer(err) {
		return errLost
	}
	return fmt.Errorf("%w: %w", errLost, err)
}

// tick looks for life. Any byte received is life; from a line that is silent
// for a while an answer is asked for, and one that gives none is closed.
func (c *conn) tick(spent time.Duration, slept bool) {
	if !c.up.Load() {
		return
	}
	lim := &c.d.lim
	if n := c.line.reads.Load(); n != c.seen {
		if c.told > 0 {
			c.d.status(c.host, Status{State: Running})
		}
		c.seen, c.quiet, c.told = n, 0, 0
	} else {
		c.quiet += spent
	}
	if slept {
		c.d.status(c.host, Status{State: Woke, Text: "this machine slept; testing the line"})
		c.quiet = max(lim.silent-lim.proof, c.quiet)
	}
	if c.quiet >= lim.probe {
		c.probe()
	}
	if c.quiet >= lim.quiet && c.quiet-c.told >= lim.probe {
		c.told = c.quiet
		c.d.status(c.host, Status{State: Silent, For: c.quiet})
	}
	if c.quiet >= lim.silent {
		c.abort(fmt.Errorf("nothing came from the host for %v, not even an answer to a sign of life", c.quiet.Round(100*time.Millisecond)))
	}
}

// probe asks for a sign of life, once at a time. It ends with the connection.
func (c *conn) probe() {
	if !c.probing.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer c.probing.Store(false)
		c.client.SendRequest("keepalive@openssh.com", true, nil)
	}()
}

// within closes the connection when f takes longer than d, or than ctx lives.
// The error then says what was waited for.
func (c *conn) within(ctx context.Context, d time.Duration, what string, f func() error) error {
	begin := time.Now()
	disarm := c.watch.arm(d, func() { c.abort(&stageLimit{time.Since(begin), what}) })
	defer disarm()
	stop := context.AfterFunc(ctx, func() { c.abort(context.Cause(ctx)) })
	defer stop()
	return f()
}

// open opens a channel of this kind.
func (c *conn) open(ctx context.Context, kind string) (ssh.Channel, <-chan *ssh.Request, error) {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	case <-c.done:
		return nil, nil, c.broken(nil)
	}
	var ch ssh.Channel
	var reqs <-chan *ssh.Request
	err := c.within(ctx, c.d.lim.channel, "the host to open a channel", func() (err error) {
		ch, reqs, err = c.client.OpenChannel(kind, nil)
		return err
	})
	if err == nil {
		return ch, reqs, nil
	}
	<-c.slots
	var refused *ssh.OpenChannelError
	if errors.As(err, &refused) && c.alive() {
		return nil, nil, err
	}
	return nil, nil, c.broken(err)
}

// release gives back the place of a channel that is closed.
func (c *conn) release() { <-c.slots }

// subsystem opens a channel for a subsystem. The caller releases its place.
func (c *conn) subsystem(ctx context.Context, name string) (ssh.Channel, error) {
	ch, reqs, err := c.open(ctx, "session")
	if err != nil {
		return nil, err
	}
	go ssh.DiscardRequests(reqs)
	go io.Copy(io.Discard, ch.Stderr())
	ok := false
	err = c.within(ctx, c.d.lim.channel, "the host to start its "+name+" subsystem", func() (err error) {
		ok, err = ch.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{name}))
		return err
	})
	if err == nil && ok {
		return ch, nil
	}
	ch.Close()
	c.release()
	if err != nil {
		return nil, c.broken(err)
	}
	return nil, fmt.Errorf("the host's sshd has no %s subsystem", name)
}
