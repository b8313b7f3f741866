//go:build linux

package main

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// A netServer answers one peer until its time or its bytes are over.
type netServer struct {
	token string
	peers []netip.Addr
	left  atomic.Int64 // bytes of all streams, both ways
	noise []byte
}

// netServe listens on one port until its stdin ends (then whoever asked is
// gone) or its time is over.
func netServe(ctx context.Context, p *printer, args []string) error {
	var peers string
	var bytes int64
	var long time.Duration
	f := flag.NewFlagSet("net-serve", flag.ContinueOnError)
	f.StringVar(&peers, "peers", "", "")
	f.Int64Var(&bytes, "bytes", 0, "")
	f.DurationVar(&long, "for", time.Minute, "")
	if err := f.Parse(args); err != nil {
		return err
	}
	if long <= 0 || long > 10*time.Minute || bytes < 1 {
		return errors.New("net-serve: without bounds")
	}
	s := &netServer{noise: noise()}
	s.left.Store(bytes)
	for word := range strings.SplitSeq(peers, ",") {
		a, err := netip.ParseAddr(word)
		if err != nil {
			return fmt.Errorf("net-serve: peer: %w", err)
		}
		s.peers = append(s.peers, a.Unmap().WithZone(""))
	}
	var err error
	if s.token, err = readToken(os.Stdin); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	go func() { // ends with the process at the latest
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", ":0")
	if err != nil {
		return err
	}
	line, err := json.Marshal(wire.NetListening{Port: l.Addr().(*net.TCPAddr).Port})
	if err != nil {
		return err
	}
	if _, err := p.to.Write(append(line, '\n')); err != nil {
		return errors.Join(err, l.Close())
	}
	return s.serve(ctx, l)
}

// serve takes l, and ends all streams with ctx.
func (s *netServer) serve(ctx context.Context, l net.Listener) error {
	var streams sync.WaitGroup
	defer streams.Wait()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	room := make(chan struct{}, netMaxStream)
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if !slices.Contains(s.peers, peerOf(c)) {
			_ = c.Close()
			continue
		}
		select {
		case room <- struct{}{}:
		default:
			_ = c.Close()
			continue
		}
		streams.Go(func() {
			defer func() { <-room }()
			end := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer end()
			defer c.Close()
			s.stream(c)
		})
	}
}

func (s *netServer) stream(c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	ask, err := readAsk(c)
	if err != nil || subtle.ConstantTimeCompare([]byte(ask.token), []byte(s.token)) != 1 {
		return
	}
	_ = c.SetDeadline(time.Now().Add(ask.long + 2*time.Second))
	buf := make([]byte, netBlock)
	switch ask.verb {
	case netUp:
		for {
			n, err := c.Read(buf)
			if s.left.Add(-int64(n)) < 0 || err != nil {
				return
			}
		}
	case netDown:
		for end := time.Now().Add(ask.long); ask.bytes > 0 && time.Now().Before(end); {
			n := min(int64(len(s.noise)), ask.bytes)
			if s.left.Add(-n) < 0 {
				return
			}
			if _, err := c.Write(s.noise[:n]); err != nil {
				return
			}
			ask.bytes -= n
		}
	case netEcho:
		for {
			n, err := c.Read(buf[:1])
			if err != nil || s.left.Add(-2) < 0 {
				return
			}
			if _, err := c.Write(buf[:n]); err != nil {
				return
			}
		}
	}
}
