//go:build unix

package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/vpsctl/vpsctl/bench"
	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/remote"
	"github.com/vpsctl/vpsctl/remote/sshtest"
)

// TestRateOf: what fills buffers at first counts for nothing, neither does the
// time in which not all streams bring something.
func TestRateOf(t *testing.T) {
	began := time.Now()
	// stream brings so much at its first instant, then per second so much, told every so often.
	stream := func(from, long time.Duration, first, perSecond int64, every time.Duration) (a arrivals) {
		for at := time.Duration(0); at <= long; at += every {
			a = append(a, arrival{began.Add(from + at), first + int64(at.Seconds()*float64(perSecond))})
		}
		return a
	}
	burst := append(arrivals{{began, 0}}, stream(100*time.Millisecond, 900*time.Millisecond, 50e6, 1e6, 7*time.Millisecond)...)
	for name, c := range map[string]struct {
		streams       []arrivals
		mbit, seconds float64
	}{
		"one":                     {[]arrivals{stream(0, time.Second, 1e4, 1e6, 10*time.Millisecond)}, 8, 0.7},
		"long: three seconds":     {[]arrivals{stream(0, 20*time.Second, 0, 1e6, 10*time.Millisecond)}, 8, 17},
		"buffers that fill":       {[]arrivals{burst}, 8, 0.7},
		"seldom told":             {[]arrivals{stream(0, time.Second, 0, 1e6, 250*time.Millisecond)}, 8, 0.7},
		"two that begin and end":  {[]arrivals{stream(0, time.Second, 0, 1e6, 10*time.Millisecond), stream(200*time.Millisecond, 2*time.Second, 0, 2e6, 30*time.Millisecond)}, 24, 0.56},
		"over too soon":           {[]arrivals{stream(0, 5*time.Millisecond, 0, 1e9, time.Millisecond)}, 0, 0},
		"next to nothing":         {[]arrivals{stream(0, time.Second, 0, 1e3, 10*time.Millisecond)}, 0, 0},
		"one that brings nothing": {[]arrivals{stream(0, time.Second, 0, 1e6, 10*time.Millisecond), nil}, 0, 0},
		"never at the same time":  {[]arrivals{stream(0, time.Second, 0, 1e6, 10*time.Millisecond), stream(2*time.Second, time.Second, 0, 1e6, 10*time.Millisecond)}, 0, 0},
	} {
		got, err := rateOf(c.streams)
		if c.mbit == 0 {
			if err == nil {
				t.Errorf("%s: %+v", name, got)
			}
			continue
		}
		if err != nil || math.Abs(got.Value/c.mbit-1) > 0.02 || math.Abs(got.Seconds/c.seconds-1) > 0.02 {
			t.Errorf("%s: %+v, %v; want %g Mbit/s in %g s", name, got, err, c.mbit, c.seconds)
		}
	}
}

// TestMarks: each line says that a part has come; behind the end they say nothing.
func TestMarks(t *testing.T) {
	m := &marks{part: 100, most: 300}
	_, _ = m.Write([]byte("\n"))
	_, _ = m.Write(bytes.Repeat([]byte("\n"), 1000))
	if len(m.came) > 4 {
		t.Errorf("%d marks of 300 bytes", len(m.came))
	}
	var got []int64
	for _, a := range m.upTo(300) {
		got = append(got, a.bytes)
	}
	if len(got) != 2 || got[0] != 100 || got[1] != 225 {
		t.Errorf("%v, want 100 and 225 of 300 bytes", got)
	}
}

// TestTaker: a host that sends every byte by itself costs no more memory here
// than another one, and all that came is counted.
func TestTaker(t *testing.T) {
	k := &taker{left: 300_000}
	began := time.Now()
	for range 300_000 {
		if _, err := k.Write([]byte{0}); err != nil {
			t.Fatal(err)
		}
	}
	most := int(time.Since(began)/takerTick) + 3
	if n := len(k.came); n > most || k.came[0].bytes != 1 || k.came[n-1].bytes != 300_000 {
		t.Errorf("%d arrivals, at most %d: from %+v to %+v", n, most, k.came[0], k.came[n-1])
	}
	if _, err := k.Write([]byte{0}); !errors.Is(err, wire.ErrHostile) {
		t.Errorf("more than it was asked for: %v", err)
	}
}

// TestBarrier: nobody is sent anything before all are ready or have failed; the
// sign itself is no part of what came.
func TestBarrier(t *testing.T) {
	var all sync.WaitGroup
	all.Add(2)
	one, two := &barrier{&all, sync.OnceFunc(all.Done)}, &barrier{&all, sync.OnceFunc(all.Done)}
	sent := make(chan string)
	go func() {
		b, _ := io.ReadAll(one.from(strings.NewReader("go")))
		sent <- string(b)
	}()
	var came bytes.Buffer
	said := one.to(&came)
	for _, part := range []string{"\n", "\nab", "c"} {
		if n, err := io.WriteString(said, part); n != len(part) || err != nil {
			t.Errorf("%q: %d, %v", part, n, err)
		}
	}
	if came.String() != "\nabc" {
		t.Errorf("%q came", came.String())
	}
	select {
	case got := <-sent:
		t.Errorf("%q was sent before all were ready", got)
	case <-time.After(20 * time.Millisecond):
	}
	two.here()
	two.here()
	if got := <-sent; got != "go" {
		t.Errorf("%q was sent", got)
	}
}

// realHost is a host, and the dialer that gets there.
func realHost(t *testing.T) (*sshtest.Server, *remote.Dialer, inventory.Host) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	srv, err := sshtest.New(sshtest.Options{Keys: []ssh.PublicKey{signed}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	known, id := filepath.Join(dir, "known_hosts"), filepath.Join(dir, "id")
	if err := os.WriteFile(known, []byte(srv.KnownHosts()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(id, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	d := remote.NewDialer(remote.Options{KnownHosts: []string{known}, Agent: "none"})
	t.Cleanup(d.Close)
	return srv, d, inventory.Host{Name: "alpha", Address: srv.Host, Port: srv.Port, User: "dev", IdentityFiles: []string{id}, IdentitiesOnly: true}
}

// overSSH are the paths through ssh of a session with a host.
func overSSH(t *testing.T, dialer *remote.Dialer, h inventory.Host, each, margin time.Duration, before func(), paths func(*networking)) bench.Session {
	t.Helper()
	u := &ui{streams: streams{nil, &bytes.Buffer{}, &bytes.Buffer{}}, width: 80}
	m := &measuring{drive: &drive{dialer: dialer, screen: newScreen(u, []wire.Plan{{Host: h.Name}})}}
	defer m.screen.close()
	s := dialer.Session(h)
	defer s.Close()
	if _, err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	before()
	fold := bench.NewFold(bench.Session{Host: h.Name, Depth: bench.Default})
	paths(&networking{m: m, h: h, s: s, fold: fold, each: each, margin: margin, forgets: time.Millisecond, most: netBudget{ssh: 16 << 30}}) // the time bounds them: however busy this machine is, there are rates
	if _, err := fold.Take(`{"host":{"method":3,"cores":2,"memory_mb":4096}}` + "\n" + `{"end":{"seconds":1}}` + "\n"); err != nil {
		t.Fatal(err)
	}
	out, err := fold.Session(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestThroughSSH: round trips, one connection and eight, both ways; where a
// further one is refused, that is the reason, and none is asked for again.
func TestThroughSSH(t *testing.T) {
	srv, dialer, h := realHost(t)
	measure := func(before func()) bench.Session {
		t.Helper()
		return overSSH(t, dialer, h, time.Second, time.Minute, before, func(n *networking) {
			n.throughSSH(t.Context())
			n.throughEightSSH(t.Context())
		})
	}
	names := func(s bench.Session) string {
		var out []string
		for _, m := range s.Metrics {
			out = append(out, strings.TrimPrefix(m.Name, "net/ssh/"))
			if m.Bytes <= 0 || m.Seconds <= 0 || m.Median <= 0 || m.Steal != nil || !strings.Contains(m.Note, "through ssh") {
				t.Errorf("%+v", m)
			}
			if p := m.Percentiles; m.Unit == "us" && (p["p50_us"] != m.Median || p["p95_us"] < p["p50_us"] || p["p99_us"] < p["p95_us"] || m.Bytes < 10 || m.Bytes > 2*sshRounds) {
				t.Errorf("%+v", m)
			}
		}
		return strings.Join(out, " ")
	}
	before := srv.Counts().Connections
	s := measure(func() {})
	if got := names(s); got != "from-host from-host/8 rtt to-host to-host/8" {
		t.Errorf("%s; %q", got, s.Skipped)
	}
	if n := srv.Counts().Connections - before; n != sshStreams {
		t.Errorf("%d connections, want %d", n, sshStreams)
	}
	before = srv.Counts().Connections
	s = measure(func() { srv.DropBeforeBanner(100) })
	got, why := names(s), strings.Join(s.Skipped, "\n")
	if got != "from-host rtt to-host" || !strings.Contains(why, "net/ssh/from-host/8: connection 2 of 8: ") || !strings.Contains(why, "net/ssh/to-host/8: connection 2 of 8: ") {
		t.Errorf("%s; %q", got, why)
	}
	if n := srv.Counts().Connections - before; n != 2 {
		t.Errorf("%d connections, want the session's and the one that was refused", n)
	}
}

// TestSilentOverSSH: a host whose line is alive and that does nothing of what it
// is asked for costs the paths through ssh, and no more time than they may take.
func TestSilentOverSSH(t *testing.T) {
	srv, dialer, h := realHost(t)
	for _, name := range []string{"cat", "head", "timeout"} {
		if err := os.WriteFile(filepath.Join(srv.Home, "../bin", name), []byte("#!/bin/sh\nexec sleep 600\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	s := overSSH(t, dialer, h, 100*time.Millisecond, time.Second, func() {}, func(n *networking) { n.throughSSH(t.Context()) })
	if took := time.Since(began); len(s.Metrics) > 0 || took > time.Minute {
		t.Errorf("after %s: %+v", took, s.Metrics)
	}
	for _, path := range []string{"rtt", "from-host", "to-host"} {
		if why := strings.Join(s.Skipped, "\n"); !strings.Contains(why, "net/ssh/"+path+": alpha: exec: not over after 1.1s") {
			t.Errorf("%s: %q", path, why)
		}
	}
}

// TestDisturbed: what a host says of its last provision is a reason for an hour,
// whoever began it, root included; nothing else that it ran is.
func TestDisturbed(t *testing.T) {
	srv, dialer, h := realHost(t)
	s := dialer.Session(h)
	defer s.Close()
	ran := func(verb string, ago time.Duration) {
		t.Helper()
		dir := filepath.Join(srv.Home, ".local/state/vpsctl/runs", verb+ago.String())
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "journal.jsonl")
		text := `{"n":1,"t":0,"k":"start","start":{"wire":1,"run_id":"x","verb":"` + verb + `","phases":[]}}` + "\n" + `{"n":2,"t":9,"k":"end","end":{"status":"ok"}}` + "\n"
		at := time.Now().Add(-ago)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	wants := func(want string) {
		t.Helper()
		if got, err := disturbed(t.Context(), s, filepath.Join(srv.Home, "log")); err != nil || got != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	wants("")
	ran("bench", 2*time.Minute)
	ran("provision", 2*time.Hour)
	wants("")
	log := filepath.Join(srv.Home, "log/timing.csv") // of root, whose journals this user cannot see
	if err := errors.Join(os.Mkdir(filepath.Dir(log), 0o755), os.WriteFile(log, nil, 0o644), os.Chtimes(log, time.Time{}, time.Now().Add(-61*time.Minute))); err != nil {
		t.Fatal(err)
	}
	wants("")
	if err := os.Chtimes(log, time.Time{}, time.Now().Add(-45*time.Minute-30*time.Second)); err != nil {
		t.Fatal(err)
	}
	wants("45 min after a provision")
	ran("provision", 38*time.Minute+30*time.Second)
	ran("provision", 50*time.Minute)
	wants("38 min after a provision")
}
