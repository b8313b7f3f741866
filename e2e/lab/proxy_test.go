//go:build linux

package lab

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// through starts a server and a proxy to it, and connects.
func through(t *testing.T, p *Proxy, serve func(*net.TCPConn)) *net.TCPConn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		serve(conn.(*net.TCPConn))
	}()
	p.To = l.Addr().String()
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		p.Close()
		l.Close()
		<-done
		goleak.VerifyNone(t)
	})
	return conn.(*net.TCPConn)
}

func echo(c *net.TCPConn) { _, _ = io.Copy(c, c); _ = c.CloseWrite() }

func TestProxyDelays(t *testing.T) {
	conn := through(t, &Proxy{Delay: 40 * time.Millisecond}, echo)
	var took []time.Duration
	buf := make([]byte, 1)
	// A busy machine can make any of them late, but none early.
	for len(took) < 3 || len(took) < 100 && slices.Min(took) > 45*time.Millisecond {
		began := time.Now()
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, buf); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	if took[0] < 80*time.Millisecond {
		t.Errorf("the first round trip took %v, want what connect would have taken as well", took[0])
	}
	if least := slices.Min(took[1:]); least < 40*time.Millisecond || least > 45*time.Millisecond {
		t.Errorf("round trips took %v, want 40 ms", took)
	}
}

func TestProxyKeepsOrderAndSpeed(t *testing.T) {
	conn := through(t, &Proxy{Delay: 100 * time.Millisecond, Jitter: 5 * time.Millisecond}, echo)
	sent := make([]byte, 8<<20)
	_, _ = rand.Read(sent)
	began := time.Now()
	go func() { _, _ = conn.Write(sent); _ = conn.CloseWrite() }()
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d of %d bytes came back unchanged, %v", len(got), len(sent), err)
	}
	// One chunk per round trip would take 25 s.
	if took := time.Since(began); took > 12*time.Second {
		t.Errorf("8 MiB there and back took %v", took)
	}
}

func TestProxyPassesResets(t *testing.T) {
	conn := through(t, &Proxy{Delay: 10 * time.Millisecond}, func(c *net.TCPConn) { _ = c.SetLinger(0) })
	if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want the server's reset", err)
	}
}

func TestProxyToNobody(t *testing.T) {
	p := &Proxy{To: "127.0.0.1:1", Delay: 10 * time.Millisecond}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
}

func TestProxyCloseEndsAll(t *testing.T) {
	p := &Proxy{Delay: time.Hour}
	conn := through(t, p, echo)
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	p.Close()
	if _, err := io.ReadAll(conn); err == nil {
		t.Error("the end looks orderly")
	}
}
