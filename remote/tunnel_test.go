package remote

import (
	"io"
	"net"
	"testing"

	"github.com/vpsctl/vpsctl/remote/sshtest"
)

// TestTunnel: bytes go both ways, closing gives the channel's place back, and a
// refusal names its cause.
func TestTunnel(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			io.Copy(nc, nc)
			nc.Close()
		}
	}()
	s := newRig(t, sshtest.Options{}).session(t)
	for range maxChannels + 1 { // more than fit at once
		nc, err := s.Tunnel(testContext(t), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 4)
		if _, err := nc.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(nc, got); err != nil || string(got) != "ping" {
			t.Fatalf("got %q, %v", got, err)
		}
		nc.Close()
		nc.Close() // as tls does
	}
	_, err = newRig(t, sshtest.Options{NoForward: true}).session(t).Tunnel(testContext(t), l.Addr().String())
	wantError(t, err, Refused, "forbids forwarding")
	l.Close()
	_, err = s.Tunnel(testContext(t), l.Addr().String())
	wantError(t, err, Refused, "nothing answers")
}
