//go:build e2e

package e2e

import (
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
)

// proxy is a line to a host that can be cut, in this process.
type proxy struct {
	t    *testing.T
	to   string
	l    net.Listener
	port string

	mu    sync.Mutex
	left  int64 // bytes from the host until the line is cut; negative: no limit
	down  int64 // bytes that came from the host, all connections together
	count int
	open  map[net.Conn]bool
	wait  sync.WaitGroup
}

func newProxy(t *testing.T, addr string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	try(t, err)
	p := &proxy{t: t, to: addr, l: l, left: -1, open: map[net.Conn]bool{}}
	p.port = strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	p.wait.Add(1)
	go p.serve()
	t.Cleanup(func() {
		l.Close()
		p.cut()
		p.wait.Wait()
	})
	return p
}

func (p *proxy) serve() {
	defer p.wait.Done()
	for {
		near, err := p.l.Accept()
		if err != nil {
			return
		}
		p.wait.Add(1)
		go p.carry(near)
	}
}

func (p *proxy) carry(near net.Conn) {
	defer p.wait.Done()
	defer near.Close()
	far, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer far.Close()
	if !p.register(near, far) {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(far, near)
		far.Close()
	}()
	_, _ = io.Copy(&counted{p, near}, far)
	near.Close()
	<-done
	p.mu.Lock()
	delete(p.open, near)
	delete(p.open, far)
	p.mu.Unlock()
}

func (p *proxy) register(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count++
	for _, c := range conns {
		p.open[c] = true
	}
	return true
}

var errCut = errors.New("cut")

// counted is the way from the host; it cuts the line when its time has come.
type counted struct {
	p  *proxy
	to net.Conn
}

func (c *counted) Write(b []byte) (int, error) {
	c.p.mu.Lock()
	over := c.p.left >= 0 && int64(len(b)) >= c.p.left
	if over {
		b = b[:c.p.left]
	}
	if c.p.left >= 0 {
		c.p.left -= int64(len(b))
	}
	c.p.down += int64(len(b))
	if over {
		c.p.left = -1 // the next line is a good one
	}
	c.p.mu.Unlock()
	n, err := c.to.Write(b)
	if over {
		return n, errCut
	}
	return n, err
}

// cutAfter cuts the line once n more bytes have come from the host.
func (p *proxy) cutAfter(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left, p.down, p.count = n, 0, 0
}

// cut ends every connection at once.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		c.Close()
	}
}

func (p *proxy) stats() (down int64, connections int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.down, p.count
}
