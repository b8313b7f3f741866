package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// What a client may ask of an RDP server's security ([MS-RDPBCGR] 2.2.1.1.1).
const (
	rdpStandard = 0 // RDP's own encryption, which is none worth the name
	rdpTLS      = 1
	rdpHybrid   = 2 // TLS, then CredSSP

	rdpTLSRequired = 1 // why a server refuses rdpStandard
)

// rdpAnswer is an RDP server's answer to a connection request.
type rdpAnswer struct {
	Selected uint32 // protocol; rdpStandard also when the server does not negotiate
	Refused  uint32 // failure code, 0 = none
}

// rdpRequest is a connection request that offers these protocols: TPKT header,
// X.224 connection request, RDP negotiation request.
func rdpRequest(protocols uint32) []byte {
	return binary.LittleEndian.AppendUint32([]byte{3, 0, 0, 19, 14, 0xe0, 0, 0, 0, 0, 0, 1, 0, 8, 0}, protocols)
}

// maxRDPAnswer is more than a connection confirm can have, in bytes.
const maxRDPAnswer = 64

// readRDPAnswer reads one packet and no byte more.
func readRDPAnswer(r io.Reader) (rdpAnswer, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil {
		return rdpAnswer{}, fmt.Errorf("no answer to the connection request: %w", err)
	}
	size := int(binary.BigEndian.Uint16(head[2:]))
	if head[0] != 3 || size < 11 || size > maxRDPAnswer {
		return rdpAnswer{}, fmt.Errorf("no RDP server: it answers with % x", head)
	}
	body := make([]byte, size-len(head))
	if _, err := io.ReadFull(r, body); err != nil {
		return rdpAnswer{}, fmt.Errorf("the answer to the connection request is cut off: %w", err)
	}
	return parseRDPConfirm(body)
}

// parseRDPConfirm reads an X.224 connection confirm. Servers before RDP 5.2
// send no more than its seven bytes.
func parseRDPConfirm(b []byte) (rdpAnswer, error) {
	if len(b) < 7 || int(b[0]) != len(b)-1 || b[1]&0xf0 != 0xd0 {
		return rdpAnswer{}, fmt.Errorf("no RDP server: no X.224 connection confirm but % x", b)
	}
	if len(b) == 7 {
		return rdpAnswer{}, nil
	}
	neg := b[7:]
	if len(neg) != 8 || binary.LittleEndian.Uint16(neg[2:]) != 8 {
		return rdpAnswer{}, fmt.Errorf("a negotiation of unknown form: % x", neg)
	}
	value := binary.LittleEndian.Uint32(neg[4:])
	switch {
	case neg[0] == 2:
		return rdpAnswer{Selected: value}, nil
	case neg[0] == 3 && value != 0:
		return rdpAnswer{Refused: value}, nil
	}
	return rdpAnswer{}, fmt.Errorf("a negotiation of unknown form: % x", neg)
}

// rdpGreeting is what was seen of an RDP server before any login.
type rdpGreeting struct {
	Connect, Negotiate, Handshake time.Duration
	Version                       string // of TLS
	Certificate                   string // hex SHA-256 of its DER
	Expires                       time.Time
	TLSOnly                       bool // what offers less is refused
}

// dialFunc opens a new connection to the server.
type dialFunc func(context.Context) (net.Conn, error)

// greetRDP connects as a client does that can TLS, up to the end of the
// handshake, then as one that cannot. The certificate is not judged here: it
// is compared with the one that the host has on its disk.
func greetRDP(ctx context.Context, dial dialFunc) (g rdpGreeting, err error) {
	begin := time.Now()
	err = withRDP(ctx, dial, rdpTLS|rdpHybrid, func(nc net.Conn, a rdpAnswer, connected time.Time) error {
		g.Connect, g.Negotiate = connected.Sub(begin), time.Since(connected)
		if a.Refused != 0 || a.Selected != rdpTLS && a.Selected != rdpHybrid {
			return fmt.Errorf("the server does without TLS (selected %d, refused %d)", a.Selected, a.Refused)
		}
		begin := time.Now()
		// Any certificate will do for the handshake; its fingerprint is the proof.
		c := tls.Client(nc, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
		if err := c.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("TLS handshake: %w", err)
		}
		g.Handshake = time.Since(begin)
		state := c.ConnectionState()
		cert := state.PeerCertificates[0]
		sum := sha256.Sum256(cert.Raw)
		g.Version, g.Certificate, g.Expires = tls.VersionName(state.Version), hex.EncodeToString(sum[:]), cert.NotAfter
		return nil
	})
	if err != nil {
		return g, err
	}
	err = withRDP(ctx, dial, rdpStandard, func(_ net.Conn, a rdpAnswer, _ time.Time) error {
		g.TLSOnly = a.Refused == rdpTLSRequired
		return nil
	})
	return g, err
}

// withRDP sends one connection request and hands over its answer. The
// connection ends with ctx.
func withRDP(ctx context.Context, dial dialFunc, protocols uint32, f func(net.Conn, rdpAnswer, time.Time) error) error {
	nc, err := dial(ctx)
	if err != nil {
		return err
	}
	defer nc.Close()
	connected := time.Now()
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	if _, err = nc.Write(rdpRequest(protocols)); err == nil {
		var a rdpAnswer
		if a, err = readRDPAnswer(nc); err == nil {
			err = f(nc, a, connected)
		}
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return errors.Join(cause, err)
	}
	return err
}
