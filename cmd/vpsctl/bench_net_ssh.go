package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/remote"
	"github.com/vpsctl/vpsctl/report"
)

//go:embed hostside/bench/marks.sh
var marksScript string

const (
	sshRounds  = 20       // round trips
	sshStreams = 8        // connections side by side
	firstMark  = 32 << 10 // bytes, see marks.sh
)

// throughSSH is the path between the host and this machine as its user has it:
// through the one encrypted line that is there, not through a port of its own.
func (n *networking) throughSSH(ctx context.Context) {
	bounded, cancel := n.within(ctx, n.each)
	rtt, err := roundsOverSSH(bounded, n.s, n.each)
	cancel()
	n.took("rtt", rtt, err)
	for _, way := range sshWays {
		got, err := n.rateOverSSH(ctx, way, []*remote.Session{n.s})
		n.took(way.name, got, err)
	}
}

// throughEightSSH is what the path itself could carry. A firewall that limits how
// often somebody may connect counts those that it refuses, too, and shuts out the
// next host's measurement with this one: it is not asked again, and this host is
// held until it has forgotten.
func (n *networking) throughEightSSH(ctx context.Context) {
	lines := []*remote.Session{n.s}
	var err error
	for len(lines) < sshStreams && err == nil { // one after the other: sshd drops who comes in a crowd
		s := n.m.dialer.Session(n.h)
		s.Once = true
		defer s.Close()
		if _, e := s.Ping(ctx); e != nil {
			err = fmt.Errorf("connection %d of %d: %w", len(lines)+1, sshStreams, e)
		}
		lines = append(lines, s)
	}
	refused := err != nil
	for _, way := range sshWays {
		var got *wire.ProbeSample
		if err == nil {
			got, err = n.rateOverSSH(ctx, way, lines)
		}
		n.took(fmt.Sprintf("%s/%d", way.name, sshStreams), got, err)
		if errors.Is(err, errTooSoon) { // its lines are as they were
			err = nil
		}
	}
	if refused && !n.m.isStopping() {
		n.m.screen.status(n.h.Name, "network: waits until the host has forgotten the connections that it refused")
		select {
		case <-ctx.Done():
		case <-time.After(n.forgets):
		}
	}
}

type sshWay struct {
	name string
	move func(ctx context.Context, s *remote.Session, start *barrier, most int64, each time.Duration) (arrivals, error)
}

var sshWays = []sshWay{{"from-host", fromHost}, {"to-host", toHost}}

// rateOverSSH measures one way over all lines at once, each with a share of the
// bytes of one rate.
func (n *networking) rateOverSSH(ctx context.Context, way sshWay, lines []*remote.Session) (*wire.ProbeSample, error) {
	ctx, cancel := n.within(ctx, n.each)
	defer cancel()
	came, errs := make([]arrivals, len(lines)), make([]error, len(lines))
	var ready, work sync.WaitGroup
	ready.Add(len(lines))
	for i, s := range lines {
		work.Go(func() {
			start := &barrier{all: &ready, here: sync.OnceFunc(ready.Done)}
			defer start.here() // who has failed is waited for by nobody
			came[i], errs[i] = way.move(ctx, s, start, n.most.ssh/4/int64(len(lines)), n.each)
		})
	}
	work.Wait()
	if err := cmp.Or(errs...); err != nil { // the others' are the same, or follow
		return nil, err
	}
	return rateOf(came)
}

// A barrier has streams begin together: of a fast line's share of the bytes nothing
// is left by the time that the last channel is open.
type barrier struct {
	all  *sync.WaitGroup
	here func() // this stream could begin
}

// from holds back what a host is sent until all can begin.
func (b *barrier) from(r io.Reader) io.Reader { return &held{b, r} }

// to takes the first byte that a host says for the sign that it is ready.
func (b *barrier) to(w io.Writer) io.Writer { return &greeted{at: b, to: w} }

type held struct {
	at   *barrier
	from io.Reader
}

func (h *held) Read(p []byte) (int, error) {
	h.at.all.Wait()
	return h.from.Read(p)
}

type greeted struct {
	at   *barrier
	to   io.Writer
	past bool
}

func (g *greeted) Write(p []byte) (int, error) {
	if g.past {
		return g.to.Write(p)
	}
	g.past = true
	g.at.here()
	if len(p) == 1 {
		return 1, nil
	}
	n, err := g.to.Write(p[1:])
	return n + 1, err
}

// took keeps what came through.
func (n *networking) took(what string, got *wire.ProbeSample, err error) {
	if err == nil {
		got.Metric = "net/ssh/" + what
		err = n.fold.Add(*got)
	}
	if err != nil {
		n.skip("ssh/"+what, err)
	}
}

// fromHost has the host send what cannot be compressed, until the bytes or the
// time are over.
func fromHost(ctx context.Context, s *remote.Session, start *barrier, most int64, each time.Duration) (arrivals, error) {
	takes := &taker{left: most}
	var errs bytes.Buffer
	script := fmt.Sprintf("echo; read -r go; exec timeout %d head -c %d /dev/urandom", int(math.Ceil(each.Seconds())), most)
	rc, err := s.Exec(ctx, script, start.from(strings.NewReader("go\n")), start.to(takes), &limited{&errs, 300})
	if err == nil && rc != 0 && rc != 124 {
		err = fmt.Errorf("%s", report.Clean(strings.TrimSpace(errs.String())))
	}
	return takes.came, err
}

// toHost sends the same, and has the host say what has come: what buffers on
// the way have taken has not.
func toHost(ctx context.Context, s *remote.Session, start *barrier, most int64, each time.Duration) (arrivals, error) {
	gives, said := &noiseFor{most: most, each: each, block: make([]byte, 32<<10)}, &marks{part: firstMark, most: most}
	_, _ = rand.Read(gives.block)
	var errs bytes.Buffer
	rc, err := s.Exec(ctx, set(marksScript, nil, strconv.Itoa(firstMark), strconv.FormatInt(most, 10)), start.from(gives), start.to(said), &limited{&errs, 300})
	if err == nil && rc != 0 {
		err = fmt.Errorf("%s", report.Clean(strings.TrimSpace(errs.String())))
	}
	if err != nil {
		return nil, err
	}
	return said.upTo(gives.gave.Load()), nil
}

// arrivals are how many bytes of a stream had come at which time.
type arrivals []arrival

type arrival struct {
	at    time.Time
	bytes int64
}

// by is how many bytes had come at a time, in a straight line between two that
// are known.
func (a arrivals) by(t time.Time) float64 {
	i, found := slices.BinarySearchFunc(a, t, func(one arrival, t time.Time) int { return one.at.Compare(t) })
	switch {
	case found || i == 0:
		return float64(a[i].bytes)
	case i == len(a):
		return float64(a[i-1].bytes)
	}
	before, after := a[i-1], a[i]
	part := float64(t.Sub(before.at)) / float64(after.at.Sub(before.at))
	return float64(before.bytes) + part*float64(after.bytes-before.bytes)
}

// rateOf is the mean of streams together, as long as all of them brought
// something. As in the prober, the first three tenths of that time, and three
// seconds at most, count for nothing: TCP finds its pace, buffers fill.
func rateOf(streams []arrivals) (*wire.ProbeSample, error) {
	var from, to time.Time
	sum := int64(0)
	for i, a := range streams {
		if len(a) < 2 {
			return nil, errTooSoon
		}
		first, last := a[0], a[len(a)-1]
		if i == 0 || first.at.After(from) {
			from = first.at
		}
		if i == 0 || last.at.Before(to) {
			to = last.at
		}
		sum += last.bytes
	}
	omit := min(3*time.Second, to.Sub(from)*3/10)
	from = from.Add(omit)
	moved, took := 0.0, to.Sub(from)
	for _, a := range streams {
		moved += a.by(to) - a.by(from)
	}
	if moved < 64<<10 || took < 10*time.Millisecond {
		return nil, errTooSoon
	}
	return &wire.ProbeSample{Unit: "Mbit/s", Better: "higher", Value: 8e-6 * moved / took.Seconds(), Seconds: took.Seconds(), Bytes: sum,
		Note: fmt.Sprintf("to this machine, through ssh, connections: %d; the first %.1f s omitted", len(streams), omit.Seconds())}, nil
}

var errTooSoon = errors.New("over before a rate could be seen; --net-bytes allows more")

// taker counts what a host sends, which is no more than it was asked for.
type taker struct {
	left, sum int64
	came      arrivals
}

// takerTick is how far apart the arrivals are that are kept: a host may send
// every byte by itself.
const takerTick = 2 * time.Millisecond

func (k *taker) Write(p []byte) (int, error) {
	if k.left -= int64(len(p)); k.left < 0 {
		return 0, fmt.Errorf("%w: it sends more than it was asked for", wire.ErrHostile)
	}
	k.sum += int64(len(p))
	now := arrival{time.Now(), k.sum}
	if n := len(k.came); n > 1 && now.at.Sub(k.came[n-2].at) < takerTick {
		k.came[n-1] = now
	} else {
		k.came = append(k.came, now)
	}
	return len(p), nil
}

// marks are what marks.sh says of its input: a line for every part of it.
type marks struct {
	part, sum, most int64
	came            arrivals
}

func (m *marks) Write(p []byte) (int, error) {
	for range bytes.Count(p, []byte("\n")) {
		if m.sum > m.most { // whatever else it says
			break
		}
		m.sum += m.part
		m.part += m.part / 4
		m.came = append(m.came, arrival{time.Now(), m.sum})
	}
	return len(p), nil
}

// upTo leaves out the marks behind the last byte that was sent: there the input
// had ended.
func (m *marks) upTo(sent int64) arrivals {
	return slices.DeleteFunc(m.came, func(a arrival) bool { return a.bytes > sent })
}

// noiseFor gives bytes that cannot be compressed until they or the time, which
// the first of them begins, are over.
type noiseFor struct {
	most  int64
	each  time.Duration
	block []byte
	gave  atomic.Int64
	until time.Time
}

func (r *noiseFor) Read(p []byte) (int, error) {
	if r.until.IsZero() {
		r.until = time.Now().Add(r.each)
	}
	left := r.most - r.gave.Load()
	if left <= 0 || time.Now().After(r.until) {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), left)], r.block)
	r.gave.Add(int64(n))
	return n, nil
}

// roundsOverSSH times bytes that go to the host and come back, as a key does
// that somebody presses, until they or the time are over.
func roundsOverSSH(ctx context.Context, s *remote.Session, each time.Duration) (*wire.ProbeSample, error) {
	const warm, least = 3, 5
	gives, to := io.Pipe()
	back, over := make(echoes, 1), make(chan error, 1)
	var errs bytes.Buffer
	go func() {
		rc, err := s.Exec(ctx, "exec cat", gives, back, &limited{&errs, 300})
		if err == nil { // it was to end with its input
			err = fmt.Errorf("the echo ended with %d: %s", rc, report.Clean(strings.TrimSpace(errs.String())))
		}
		_ = gives.CloseWithError(err)
		over <- err
	}()
	var took []float64
	began := time.Now()
	for i := 0; len(took) < sshRounds && (time.Since(began) < each || len(took) < least); i++ {
		at := time.Now()
		if _, err := to.Write([]byte("\n")); err != nil { // no part of a password: it is passed on at once
			return nil, <-over
		}
		select {
		case <-back:
		case err := <-over:
			return nil, err
		}
		if i == warm {
			began = at
		}
		if i >= warm {
			took = append(took, float64(time.Since(at).Nanoseconds())/1e3)
		}
	}
	seconds := time.Since(began).Seconds()
	_ = to.Close()
	<-over
	slices.Sort(took)
	// The nearest rank: the smallest that so many percent are not above.
	at := func(pct float64) float64 { return took[int(math.Ceil(pct/100*float64(len(took))))-1] }
	return &wire.ProbeSample{Unit: "us", Better: "lower", Value: max(at(50), 0.001), Seconds: seconds, Bytes: int64(2 * len(took)),
		Percentiles: map[string]float64{"p50_us": at(50), "p95_us": at(95), "p99_us": at(99)},
		Note:        fmt.Sprintf("%d round trips of one byte to this machine, through ssh", len(took))}, nil
}

// echoes tells of each byte that came back.
type echoes chan struct{}

func (e echoes) Write(p []byte) (int, error) {
	for range p {
		select {
		case e <- struct{}{}:
		default: // nobody asked for it
		}
	}
	return len(p), nil
}
