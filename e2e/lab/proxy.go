//go:build linux

package lab

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Proxy is a long line to a TCP server, for kernels that cannot delay packets: what goes in at one end comes out at the
// other half a Delay later, in order, however much is under way (up to 16 MiB and more). One thing differs from a long
// line: connect succeeds at once; what the client then sends takes the round trip longer that connect would have taken.
//
// Set the fields, Start it, Close it.
type Proxy struct {
	To     string        // host:port
	Listen string        // host:port, a free port of 127.0.0.1 if empty
	Delay  time.Duration // of a round trip
	Jitter time.Duration // what comes may be late by up to this, each way

	listener net.Listener
	ctx      context.Context
	end      context.CancelFunc
	wait     sync.WaitGroup
}

// window is how much may be under way in one direction.
const window = 16 << 20

// Proxy is a long line to the host's ssh, not started.
func (h *Host) Proxy(delay, jitter time.Duration) *Proxy {
	return &Proxy{To: net.JoinHostPort(h.Addr, "22"), Delay: delay, Jitter: jitter}
}

// Start begins to accept connections.
func (p *Proxy) Start() (err error) {
	if p.Listen == "" {
		p.Listen = "127.0.0.1:0"
	}
	if p.listener, err = net.Listen("tcp", p.Listen); err != nil {
		return fmt.Errorf("lab: proxy to %s: %w", p.To, err)
	}
	p.ctx, p.end = context.WithCancel(context.Background())
	p.wait.Go(p.accept)
	return nil
}

// Addr is the host:port that stands for To.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Close ends all connections at once and waits until they are gone.
func (p *Proxy) Close() {
	p.end()
	p.listener.Close()
	p.wait.Wait()
}

func (p *Proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wait.Go(func() { p.carry(near.(*net.TCPConn), time.Now()) })
	}
}

// carry brings one connection over. On a real line the client would know of it a round trip after its first packet, and
// the server half a round trip later.
func (p *Proxy) carry(near *net.TCPConn, began time.Time) {
	defer near.Close()
	ctx, end := context.WithCancel(p.ctx)
	defer end()
	up, down := newPipe(p.Jitter, p.Delay/2), newPipe(p.Jitter, p.Delay/2)
	up.notBefore = began.Add(p.Delay)
	var wait sync.WaitGroup
	defer wait.Wait()
	wait.Go(func() { up.fill(ctx, near) })
	if !sleepUntil(ctx, began.Add(p.Delay+p.Delay/2)) {
		_ = near.SetLinger(0) // a line that breaks is no orderly end, whether its bytes were read or not
		near.Close()
		return
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.To)
	if err != nil {
		sleepUntil(ctx, time.Now().Add(p.Delay/2))
		_ = near.SetLinger(0) // the client sees a reset, as from a port that nobody has
		near.Close()
		end()
		return
	}
	far := conn.(*net.TCPConn)
	defer far.Close()
	stop := context.AfterFunc(ctx, func() { near.Close(); far.Close() })
	defer stop()
	wait.Go(func() { down.fill(ctx, far) })
	var both sync.WaitGroup
	both.Go(func() { up.empty(ctx, far, end) })
	both.Go(func() { down.empty(ctx, near, end) })
	both.Wait()
	end()
}

// pipe is one direction.
type pipe struct {
	delay, jitter time.Duration
	notBefore     time.Time // nothing enters before
	queue         chan parcel
}

type parcel struct {
	due  time.Time
	data []byte
	end  error // io.EOF, or how the connection broke
}

const chunk = 32 << 10

func newPipe(jitter, delay time.Duration) *pipe {
	return &pipe{delay: delay, jitter: jitter, queue: make(chan parcel, window/chunk)}
}

// fill reads until the connection ends. A chunk never overtakes another one.
func (p *pipe) fill(ctx context.Context, from net.Conn) {
	var last time.Time
	buf := make([]byte, chunk)
	for {
		n, err := from.Read(buf)
		due := time.Now()
		if due.Before(p.notBefore) {
			due = p.notBefore
		}
		due = due.Add(p.delay)
		if p.jitter > 0 {
			due = due.Add(rand.N(p.jitter))
		}
		if due.Before(last) {
			due = last
		}
		last = due
		select {
		case p.queue <- parcel{due, bytes.Clone(buf[:n]), err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// empty writes what is due, and the end of the connection when that is due; broken is called when it broke.
func (p *pipe) empty(ctx context.Context, to *net.TCPConn, broken func()) {
	for {
		var next parcel
		select {
		case next = <-p.queue:
		case <-ctx.Done():
			return
		}
		if !sleepUntil(ctx, next.due) {
			return
		}
		if _, err := to.Write(next.data); err != nil {
			broken()
			return
		}
		if next.end == io.EOF {
			_ = to.CloseWrite()
			return
		}
		if next.end != nil {
			_ = to.SetLinger(0)
			broken()
			return
		}
	}
}

func sleepUntil(ctx context.Context, due time.Time) bool {
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
