package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/report"
)

// throughSSH is the path between the host and this machine as its user has it:
// through the one encrypted line that is there, not through a port of its own.
func (n *networking) throughSSH(ctx context.Context) {
	half := n.most.ssh / 2
	from := &arrivals{}
	var errs bytes.Buffer
	rc, err := n.s.Exec(ctx, fmt.Sprintf("exec timeout %d head -c %d /dev/urandom", int(n.each.Seconds())+1, half), nil, from, &limited{&errs, 300})
	if err == nil && rc != 0 && rc != 124 {
		err = fmt.Errorf("%s", report.Clean(errs.String()))
	}
	n.took("from-host", from.bytes, from.last.Sub(from.first), err)

	gives := &noiseFor{left: half, until: time.Now().Add(n.each), block: make([]byte, 32<<10)}
	_, _ = rand.Read(gives.block)
	began := time.Now()
	rc, err = n.s.Exec(ctx, "cat >/dev/null", gives, io.Discard, &limited{&errs, 300})
	if err == nil && rc != 0 {
		err = fmt.Errorf("%s", report.Clean(errs.String()))
	}
	n.took("to-host", half-gives.left, time.Since(began), err)
}

// took keeps what came through.
func (n *networking) took(way string, bytes int64, took time.Duration, err error) {
	if err == nil && (bytes < 64<<10 || took < 10*time.Millisecond) {
		err = fmt.Errorf("over before a rate could be seen")
	}
	if err == nil {
		err = n.fold.Add(wire.ProbeSample{Metric: "net/ssh/" + way, Unit: "Mbit/s", Better: "higher", Value: float64(bytes) * 8e-6 / took.Seconds(),
			Seconds: took.Seconds(), Bytes: bytes, Note: "to this machine, through ssh"})
	}
	if err != nil {
		n.skip("ssh/"+way, err)
	}
}

// arrivals counts what comes, from its first byte on.
type arrivals struct {
	bytes       int64
	first, last time.Time
}

func (a *arrivals) Write(p []byte) (int, error) {
	a.last = time.Now()
	if a.first.IsZero() { // what came with the first bytes was sent before
		a.first = a.last
		return len(p), nil
	}
	a.bytes += int64(len(p))
	return len(p), nil
}

// noiseFor gives bytes that cannot be compressed until they or the time are over.
type noiseFor struct {
	left  int64
	until time.Time
	block []byte
}

func (r *noiseFor) Read(p []byte) (int, error) {
	if r.left <= 0 || time.Now().After(r.until) {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), r.left)], r.block)
	r.left -= int64(n)
	return n, nil
}
