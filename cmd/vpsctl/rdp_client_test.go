package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// startTunnel gives the address of a tunnel to dial.
func startTunnel(t *testing.T, ctx context.Context, dial dialFunc, failed func(error)) (*tunnel, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tn := newTunnel(l, dial, failed)
	tn.start(ctx)
	return tn, l.Addr().String()
}

// TestTunnelPasses: bytes go both ways, each side's end ends the other, and the
// end of the context ends all of it.
func TestTunnelPasses(t *testing.T) {
	far, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	ctx, cancel := context.WithCancel(t.Context())
	tn, addr := startTunnel(t, ctx, func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", far.Addr().String())
	}, func(err error) { t.Error(err) })
	near, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	end, err := far.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	sent := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	go near.Write(sent)
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(end, got); err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes did not come through: %v", len(sent), err)
	}
	if _, err := end.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 6)
	if _, err := io.ReadFull(near, answer); err != nil || string(answer) != "answer" {
		t.Fatalf("%q %v", answer, err)
	}
	cancel()
	tn.wait()
	near.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := near.Read(answer); err == nil {
		t.Error("the client is still connected")
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("the tunnel is still open")
	}
}

// TestTunnelSays: why a client was turned away is told, and the next may try.
func TestTunnelSays(t *testing.T) {
	said := make(chan error, 2)
	why := errors.New("nothing answers there")
	tn, addr := startTunnel(t, t.Context(), func(context.Context) (net.Conn, error) { return nil, why }, func(err error) { said <- err })
	defer tn.wait()
	for range 2 {
		near, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := near.Read(make([]byte, 1)); err == nil {
			t.Error("something came")
		}
		near.Close()
		if err := <-said; !errors.Is(err, why) {
			t.Error(err)
		}
	}
}

func TestRDPFile(t *testing.T) {
	text := rdpFile(13389, "ada")
	for _, line := range []string{"full address:s:127.0.0.1:13389\r\n", "username:s:ada\r\n", "enablecredsspsupport:i:0\r\n"} {
		if !strings.Contains(text, line) {
			t.Errorf("no %q in %q", line, text)
		}
	}
	if strings.Contains(text, "password") {
		t.Error("a password is none of its business")
	}
	if got := colons("0a1bff"); got != "0a:1b:ff" {
		t.Error(got)
	}
}
