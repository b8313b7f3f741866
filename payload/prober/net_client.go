//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

const netRounds = 200 // round trips

// netExchange is all that is measured with one peer.
type netExchange struct {
	addr  string // of the peer's prober, with its port
	token string
	bytes int64         // of each rate
	each  time.Duration // of each rate
	noise []byte
}

// netTests are the rates, by their metric's end.
var netTests = []struct {
	name    string
	verb    string
	streams int
}{{"up/1", netUp, 1}, {"down/1", netDown, 1}, {"up/8", netUp, 8}, {"down/8", netDown, 8}}

// netClient measures the path to the first of the peer's addresses that answers.
func netClient(ctx context.Context, p *printer, args []string) error {
	var to string
	x := netExchange{noise: noise()}
	var repeats int
	f := flag.NewFlagSet("net-client", flag.ContinueOnError)
	f.StringVar(&to, "to", "", "")
	f.Int64Var(&x.bytes, "bytes", 0, "")
	f.DurationVar(&x.each, "each", 5*time.Second, "")
	f.IntVar(&repeats, "repeats", 1, "")
	if err := f.Parse(args); err != nil {
		return err
	}
	if x.bytes < 1 || x.each < 50*time.Millisecond || x.each > netMaxFor || repeats < 1 || repeats > 100 {
		return errors.New("net-client: without bounds")
	}
	var err error
	if x.token, err = readToken(os.Stdin); err != nil {
		return err
	}
	rtt, err := x.reach(ctx, strings.Split(to, ","))
	if err != nil {
		return p.skip("peer", "not reached: "+err.Error())
	}
	if err := p.line(wire.ProbeLine{Got: rtt}); err != nil {
		return err
	}
	for range repeats {
		for _, test := range netTests {
			before := readTicks()
			got, err := x.rate(ctx, test.verb, test.streams)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				err = p.skip(test.name, err.Error())
			} else {
				got.Metric, got.StealPct = test.name, before.stealPct(readTicks())
				err = p.line(wire.ProbeLine{Got: got})
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// reach finds the address that answers, and measures its round trips.
func (x *netExchange) reach(ctx context.Context, addrs []string) (got *wire.ProbeSample, err error) {
	for _, addr := range addrs {
		x.addr = addr
		if got, e := x.rounds(ctx); e == nil {
			return got, nil
		} else if err == nil {
			err = e
		}
	}
	return nil, err
}

func (x *netExchange) open(ctx context.Context, ask netAsk) (*net.TCPConn, error) {
	c, err := (&net.Dialer{Timeout: 4 * time.Second}).DialContext(ctx, "tcp", x.addr)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(ask.long + 2*time.Second))
	if _, err := io.WriteString(c, ask.String()); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

func (x *netExchange) rounds(ctx context.Context) (*wire.ProbeSample, error) {
	began := time.Now()
	c, err := x.open(ctx, netAsk{x.token, netEcho, 0, time.Minute})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	took := make([]float64, 0, netRounds)
	b := []byte{0}
	for i := range netRounds + 5 { // the first are not counted
		at := time.Now()
		if _, err := c.Write(b); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(c, b); err != nil {
			return nil, err
		}
		if i >= 5 {
			took = append(took, float64(time.Since(at).Nanoseconds())/1e3)
		}
	}
	slices.Sort(took)
	// The nearest rank: the smallest that so many percent are not above.
	at := func(pct float64) float64 { return took[int(math.Ceil(pct/100*netRounds))-1] }
	return &wire.ProbeSample{Metric: "rtt", Unit: "us", Better: "lower", Value: max(at(50), 0.001), Seconds: time.Since(began).Seconds(), Bytes: 2 * (netRounds + 5),
		Percentiles: map[string]float64{"p50_us": at(50), "p95_us": at(95), "p99_us": at(99)}, Note: "200 round trips of one byte over TCP"}, nil
}

// rate moves x.bytes over several streams, or as much as x.each allows, and
// counts what arrived: what was read here, or what the peer's kernel
// acknowledged.
func (x *netExchange) rate(ctx context.Context, verb string, streams int) (*wire.ProbeSample, error) {
	ctx, cancel := context.WithTimeout(ctx, x.each)
	defer cancel()
	conns := make([]*net.TCPConn, 0, streams)
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for range streams {
		c, err := x.open(ctx, netAsk{x.token, verb, x.bytes / int64(streams), x.each})
		if err != nil {
			return nil, err
		}
		conns = append(conns, c)
	}
	var moved atomic.Int64
	var work sync.WaitGroup
	for _, c := range conns {
		work.Go(func() {
			defer cancel() // from the first stream's end on it would not be all of them
			if verb == netUp {
				send(ctx, c, x.noise, x.bytes/int64(streams), &moved)
			} else {
				receive(ctx, c, &moved)
			}
		})
	}
	sent := make([]netInfo, streams)
	log := sample(ctx, func() int64 {
		if verb == netDown {
			return moved.Load()
		}
		sum := int64(0)
		for i, c := range conns {
			sent[i].ask(c)
			sum += sent[i].acked
		}
		return sum
	})
	for _, c := range conns {
		_ = c.SetDeadline(time.Now()) // ends reads and writes under way
	}
	work.Wait()
	got, err := log.rate()
	if err != nil {
		return nil, err
	}
	got.Bytes = moved.Load()
	if verb == netUp {
		again := int64(0)
		for _, s := range sent {
			again += s.again
		}
		got.Note += fmt.Sprintf("; %d segments sent again", again)
	}
	return got, nil
}

func send(ctx context.Context, c net.Conn, noise []byte, left int64, moved *atomic.Int64) {
	for left > 0 && ctx.Err() == nil {
		n, err := c.Write(noise[:min(int64(len(noise)), left)])
		moved.Add(int64(n))
		if left -= int64(n); err != nil {
			return
		}
	}
}

func receive(ctx context.Context, c net.Conn, moved *atomic.Int64) {
	buf := make([]byte, netBlock)
	for ctx.Err() == nil {
		n, err := c.Read(buf)
		moved.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// netInfo is what the kernel says of a stream.
type netInfo struct{ acked, again int64 }

// ask keeps the last answer where the stream is over.
func (i *netInfo) ask(c *net.TCPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			i.acked, i.again = int64(info.Bytes_acked), int64(info.Total_retrans)
		}
	})
}
