//go:build unix

package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"math"
	"os"
	"path/filepath"
	"strings"
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

// TestThroughSSH: round trips, one connection and eight, both ways, within the
// bytes that are allowed; where there is no eighth, that is the reason.
func TestThroughSSH(t *testing.T) {
	srv, dialer, h := realHost(t)
	const most = 256 << 20
	measure := func(before func()) bench.Session {
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
		n := &networking{m: m, h: h, s: s, fold: fold, each: time.Second, most: netBudget{ssh: most}}
		n.throughSSH(t.Context())
		if _, err := fold.Take(`{"host":{"method":3,"cores":2,"memory_mb":4096}}` + "\n" + `{"end":{"seconds":1}}` + "\n"); err != nil {
			t.Fatal(err)
		}
		out, err := fold.Session(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	names := func(s bench.Session) string {
		var out []string
		for _, m := range s.Metrics {
			out = append(out, strings.TrimPrefix(m.Name, "net/ssh/"))
			if m.Bytes > most/4 || m.Bytes <= 0 || m.Seconds <= 0 || m.Median <= 0 || m.Steal != nil || !strings.Contains(m.Note, "through ssh") {
				t.Errorf("%+v", m)
			}
			if p := m.Percentiles; m.Unit == "us" && (p["p50_us"] != m.Median || p["p95_us"] < p["p50_us"] || p["p99_us"] < p["p95_us"] || m.Bytes != 2*sshRounds) {
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
	s = measure(func() { srv.RefuseKeys(true) })
	if got, why := names(s), strings.Join(s.Skipped, "\n"); got != "from-host rtt to-host" || !strings.Contains(why, "net/ssh/8: connection 2 of 8: ") {
		t.Errorf("%s; %q", got, why)
	}
}

// TestDisturbed: what a host says of its last provision is a reason for an hour,
// whoever began it; nothing else that it ran is.
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
		if got, err := disturbed(t.Context(), s); err != nil || got != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	wants("")
	ran("bench", 2*time.Minute)
	ran("provision", 2*time.Hour)
	wants("")
	ran("provision", 38*time.Minute+30*time.Second)
	ran("provision", 50*time.Minute)
	wants("38 min after a provision")
}
