package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// rdpServer answers connection requests on a listener of its own: with these
// bytes, and with TLS behind them where the request offered it.
func rdpServer(t *testing.T, answer func(offered uint32) []byte) (dial dialFunc, fingerprint string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-served })
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	go func() {
		defer close(served)
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			request := make([]byte, 19)
			if _, err := io.ReadFull(nc, request); err == nil {
				offered := binary.LittleEndian.Uint32(request[15:])
				if reply := answer(offered); reply != nil {
					nc.Write(reply)
					if offered != rdpStandard && len(reply) == 19 {
						tls.Server(nc, config).Handshake()
					}
				} else {
					io.Copy(io.Discard, nc) // says nothing until the client leaves
				}
			}
			nc.Close()
		}
	}()
	sum := sha256.Sum256(der)
	return func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
	}, hex.EncodeToString(sum[:])
}

// confirm is a connection confirm with a negotiation of this type and value.
func confirmRDP(kind byte, value uint32) []byte {
	return binary.LittleEndian.AppendUint32([]byte{3, 0, 0, 19, 14, 0xd0, 0, 0, 0x12, 0x34, 0, kind, 0, 8, 0}, value)
}

func TestGreetRDP(t *testing.T) {
	dial, fingerprint := rdpServer(t, func(offered uint32) []byte {
		if offered == rdpStandard {
			return confirmRDP(3, rdpTLSRequired)
		}
		return confirmRDP(2, rdpTLS)
	})
	g, err := greetRDP(t.Context(), dial)
	if err != nil || g.Certificate != fingerprint || !g.TLSOnly || g.Version != "TLS 1.3" || g.Handshake <= 0 || time.Until(g.Expires) <= 0 {
		t.Errorf("%+v, %v", g, err)
	}
	dial, _ = rdpServer(t, func(offered uint32) []byte { return confirmRDP(2, offered&rdpTLS) })
	if g, err := greetRDP(t.Context(), dial); err != nil || g.TLSOnly {
		t.Errorf("a server that takes everything: %+v, %v", g, err)
	}
}

func TestGreetRDPRefuses(t *testing.T) {
	for want, reply := range map[string][]byte{
		"without TLS":       confirmRDP(2, rdpStandard),
		"refused 2":         confirmRDP(3, 2),
		"no RDP server":     []byte("SSH-2.0-OpenSSH_10.0\r\n"),
		"cut off":           {3, 0, 0, 19, 14, 0xd0},
		"selected 0":        {3, 0, 0, 11, 6, 0xd0, 0, 0, 0, 0, 0},
		"connection confir": {3, 0, 0, 11, 6, 0xe0, 0, 0, 0, 0, 0},
		"unknown form":      confirmRDP(9, 1),
	} {
		dial, _ := rdpServer(t, func(uint32) []byte { return reply })
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if _, err := greetRDP(ctx, dial); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("% x: %v, want %q", reply, err, want)
		}
	}
}

// TestGreetRDPEnds: a server that says nothing holds nobody longer than ctx.
func TestGreetRDPEnds(t *testing.T) {
	dial, _ := rdpServer(t, func(uint32) []byte { return nil })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := greetRDP(ctx, dial); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// FuzzRDPAnswer: whatever a server sends, one packet is read at most, and what
// is read as an answer can be said again in the same bytes, but for those that
// carry nothing.
func FuzzRDPAnswer(f *testing.F) {
	f.Add(confirmRDP(2, 1))
	f.Add(confirmRDP(3, 1))
	f.Add([]byte{3, 0, 0, 11, 6, 0xd0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		a, err := readRDPAnswer(r)
		if used := len(b) - r.Len(); used > maxRDPAnswer {
			t.Errorf("read %d bytes", used)
		}
		if err != nil {
			return
		}
		if a.Refused != 0 && a.Selected != 0 {
			t.Errorf("refused and selected: %+v", a)
		}
		if size := int(binary.BigEndian.Uint16(b[2:])); size == 19 && binary.LittleEndian.Uint32(b[15:]) != a.Refused|a.Selected {
			t.Errorf("% x is read as %+v", b[:size], a)
		}
	})
}
