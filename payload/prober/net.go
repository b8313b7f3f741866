//go:build linux

package main

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// What one end of a stream asks of the other, as the first line of each stream.
const (
	netUp   = "up"   // the asking end sends
	netDown = "down" // the asked end sends
	netEcho = "echo" // each byte comes back
)

const (
	netBlock     = 128 << 10       // of one write, as iperf3's
	netMaxFor    = 5 * time.Minute // of one stream, whatever the peer asks
	netMaxAsk    = 128             // of the first line, in bytes
	netMaxStream = 32              // at once
)

// netAsk is the first line of a stream: "TOKEN VERB BYTES MILLISECONDS\n".
type netAsk struct {
	token string
	verb  string
	bytes int64
	long  time.Duration
}

func (a netAsk) String() string {
	return fmt.Sprintf("%s %s %d %d\n", a.token, a.verb, a.bytes, a.long.Milliseconds())
}

// readAsk reads a first line byte by byte: what follows it is the stream's.
func readAsk(r io.Reader) (netAsk, error) {
	var line strings.Builder
	for b := make([]byte, 1); line.Len() < netMaxAsk; {
		if _, err := io.ReadFull(r, b); err != nil {
			return netAsk{}, err
		}
		if b[0] == '\n' {
			return parseAsk(line.String())
		}
		line.WriteByte(b[0])
	}
	return netAsk{}, errors.New("no first line")
}

func parseAsk(line string) (a netAsk, err error) {
	var ms int64
	if n, err := fmt.Sscanf(line, "%s %s %d %d", &a.token, &a.verb, &a.bytes, &ms); err != nil || n != 4 {
		return netAsk{}, errors.New("no question")
	}
	if a.verb != netUp && a.verb != netDown && a.verb != netEcho {
		return netAsk{}, errors.New("no such question")
	}
	if a.bytes < 0 || ms < 1 || ms > netMaxFor.Milliseconds() {
		return netAsk{}, errors.New("a question without bounds")
	}
	a.long = time.Duration(ms) * time.Millisecond
	return a, nil
}

// readToken reads the secret, which comes by stdin and never as an argument.
func readToken(stdin io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(stdin, wire.NetTokenBytes+1)).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	line = strings.TrimSuffix(line, "\n")
	if b, err := hex.DecodeString(line); err != nil || len(b) != wire.NetTokenBytes/2 {
		return "", errors.New("no token")
	}
	return line, nil
}

// noise cannot be compressed on the way.
func noise() []byte {
	b := make([]byte, netBlock)
	_, _ = rand.Read(b)
	return b
}

// peerOf is who is at the other end, an IPv4 address always as such.
func peerOf(c net.Conn) netip.Addr {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}
