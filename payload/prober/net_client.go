//go:build linux

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
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

type netTest struct {
	name    string
	verb    string
	streams int
}

// netTests are the rates with a peer, by their metric's end.
var netTests = []netTest{{"up/1", netUp, 1}, {"down/1", netDown, 1}, {"up/8", netUp, 8}, {"down/8", netDown, 8}}

// netTestsOf are those that are named, separated by commas; all, if none is.
func netTestsOf(names string) ([]netTest, error) {
	if names == "" {
		return netTests, nil
	}
	var out []netTest
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(netTests, func(t netTest) bool { return t.name == name })
		if i < 0 {
			return nil, fmt.Errorf("net-client: no such test: %q", name)
		}
		out = append(out, netTests[i])
	}
	return out, nil
}

// netBounds are what bounds the rates of a path: the bytes of all of them
// together, the time of each, how often each is measured, and the seed of their
// order.
type netBounds struct {
	bytes   int64
	each    time.Duration
	repeats int
	seed    uint64
}

// netFlags reads them, and whatever flags more adds.
func netFlags(verb string, args []string, more func(*flag.FlagSet)) (b netBounds, err error) {
	f := flag.NewFlagSet(verb, flag.ContinueOnError)
	f.Int64Var(&b.bytes, "bytes", 0, "")
	f.DurationVar(&b.each, "each", 5*time.Second, "")
	f.IntVar(&b.repeats, "repeats", 1, "")
	f.Uint64Var(&b.seed, "seed", 1, "")
	more(f)
	if err := f.Parse(args); err != nil {
		return b, err
	}
	if b.bytes < 1 || b.each < 50*time.Millisecond || b.each > netMaxFor || b.repeats < 1 || b.repeats > 100 {
		return b, fmt.Errorf("%s: without bounds", verb)
	}
	return b, nil
}

// share is what one repeat of one test may move.
func (b netBounds) share(tests []netTest) int64 { return b.bytes / int64(len(tests)*b.repeats) }

// order is each test once, in an order of its own, as often as it is repeated:
// what disturbs the path for a while then disturbs a bit of everything.
func (b netBounds) order(tests []netTest) (out []netTest) {
	r := rand.New(rand.NewPCG(b.seed, 9))
	for range b.repeats {
		turn := slices.Clone(tests)
		r.Shuffle(len(turn), func(i, j int) { turn[i], turn[j] = turn[j], turn[i] })
		out = append(out, turn...)
	}
	return out
}

// run takes every repeat of the tests. One that failed once is not tried again.
func (b netBounds) run(ctx context.Context, p *printer, tests []netTest, take func(netTest) (*wire.ProbeSample, error)) error {
	failed := map[string]bool{}
	for _, test := range b.order(tests) {
		if failed[test.name] {
			continue
		}
		before := readTicks()
		got, err := take(test)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			failed[test.name] = true
			err = p.skip(test.name, err.Error())
		} else {
			steal := before.stealPct(readTicks())
			got.Metric, got.StealPct = test.name, &steal
			err = p.line(wire.ProbeLine{Got: got})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// netClient measures the path to the first of the peer's addresses that answers.
func netClient(ctx context.Context, p *printer, args []string) error {
	var to, metrics string
	b, err := netFlags("net-client", args, func(f *flag.FlagSet) {
		f.StringVar(&to, "to", "", "")
		f.StringVar(&metrics, "metrics", "", "")
	})
	if err != nil {
		return err
	}
	tests, err := netTestsOf(metrics)
	if err != nil {
		return err
	}
	x := netExchange{noise: noise(), bytes: b.share(tests), each: b.each}
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
	return b.run(ctx, p, tests, func(test netTest) (*wire.ProbeSample, error) {
		got, err := x.rate(ctx, test.verb, test.streams)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", test.name, err)
		}
		return got, nil
	})
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
	got := roundTrips(took)
	got.Metric, got.Seconds, got.Bytes, got.Note = "rtt", time.Since(began).Seconds(), 2*(netRounds+5), "200 round trips of one byte over TCP"
	return got, nil
}

// roundTrips are times in microseconds, one at least, in one sample.
func roundTrips(took []float64) *wire.ProbeSample {
	slices.Sort(took)
	// The nearest rank: the smallest that so many percent are not above.
	at := func(pct float64) float64 { return took[int(math.Ceil(pct/100*float64(len(took))))-1] }
	return &wire.ProbeSample{Unit: "us", Better: "lower", Value: max(at(50), 0.001),
		Percentiles: map[string]float64{"p50_us": at(50), "p95_us": at(95), "p99_us": at(99)}}
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
