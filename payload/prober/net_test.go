//go:build linux

package main

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

const testToken = "00112233445566778899aabbccddeeff"

func serveNet(t *testing.T, bytes int64, peer string) *netExchange {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &netServer{token: testToken, peers: []netip.Addr{netip.MustParseAddr(peer)}, noise: noise()}
	s.left.Store(bytes)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return &netExchange{addr: l.Addr().String(), token: testToken, bytes: 64 << 30, each: 400 * time.Millisecond, noise: noise()}
}

func TestNetExchange(t *testing.T) {
	x := serveNet(t, 1<<40, "127.0.0.1")
	got, err := x.rounds(t.Context())
	if err != nil || got.Percentiles["p50_us"] <= 0 || got.Percentiles["p99_us"] < got.Percentiles["p50_us"] {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, test := range netTests {
		got, err := x.rate(t.Context(), test.verb, test.streams)
		if err != nil || got.Value <= 0 || got.Bytes <= 0 || got.Bytes > x.bytes {
			t.Errorf("%s: %+v, %v", test.name, got, err)
		}
		if test.verb == netUp && err == nil && !strings.Contains(got.Note, "sent again") {
			t.Error(got.Note)
		}
	}
}

func TestNetServerAnswersItsPeerAlone(t *testing.T) {
	stranger := serveNet(t, 1<<30, "192.0.2.1")
	if _, err := stranger.rounds(t.Context()); err == nil {
		t.Error("another address was answered")
	}
	x := serveNet(t, 1<<30, "127.0.0.1")
	x.token = strings.Repeat("0", len(testToken))
	if _, err := x.rounds(t.Context()); err == nil {
		t.Error("another token was answered")
	}
	x.token = testToken
	if _, err := x.rounds(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNetServerKeepsToItsBytes(t *testing.T) {
	x := serveNet(t, 1<<20, "127.0.0.1")
	got, err := x.rate(t.Context(), netDown, 1)
	if err == nil && got.Bytes > 1<<20 {
		t.Errorf("%d bytes came of 1 MiB", got.Bytes)
	}
}

func TestNetLogOmitsItsStart(t *testing.T) {
	var log netLog
	for i := range 501 { // 10 s: ten times as fast in the first 3 s
		at := time.Duration(i) * netTick
		bytes := int64(min(i, 150))*10_000 + int64(max(i-150, 0))*1_000
		log = append(log, netMark{at, bytes})
	}
	got, err := log.rate()
	if err != nil || got.Value < 0.3999 || got.Value > 0.4001 || got.Seconds < 6.99 || got.Seconds > 7.01 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := log[:1].rate(); err == nil {
		t.Error("a rate of one moment")
	}
}

func TestAptSources(t *testing.T) {
	for text, want := range map[string][]aptSource{
		"# x\ndeb [arch=amd64 signed-by=/a] http://m/debian trixie main contrib\ndeb-src http://m s main\n": {{"http://m/debian", "trixie", "main"}},
		"Types: deb deb-src\nURIs: http://m/debian/\nSuites: trixie trixie-updates\nComponents: main\n\nEnabled: no\nTypes: deb\nURIs: http://n\nSuites: s\nComponents: c\n": {
			{"http://m/debian/", "trixie", "main"}},
		"deb http://m ./\n": nil,
	} {
		if got := aptSources(text); !slices.Equal(got, want) {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestDownload(t *testing.T) {
	asked := make(chan string, 1000)
	file := strings.Repeat("packages", 4<<20)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.RequestURI:
		default:
		}
		if strings.Contains(r.RequestURI, "missing") {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(file))
	}))
	defer s.Close()
	at, _ := url.Parse(s.URL)
	got, err := download(t.Context(), at.JoinPath("Packages.xz"), nil, 256<<20, 500*time.Millisecond)
	if err != nil || got.Bytes > 256<<20+netMirrorStreams*netBlock || got.Value <= 0 {
		t.Errorf("%+v, %v", got, err)
	}
	far, _ := url.Parse("http://mirror.invalid/debian/Packages.xz")
	for len(asked) > 0 {
		<-asked
	}
	if _, err := download(t.Context(), far, at, 256<<20, 300*time.Millisecond); err != nil || <-asked != far.String() {
		t.Errorf("through the proxy: %v", err)
	}
	if _, err := download(t.Context(), at.JoinPath("missing"), nil, 1<<20, time.Second); err == nil || !strings.Contains(err.Error(), "404") {
		t.Error(err)
	}
}

func FuzzNetAsk(f *testing.F) {
	f.Add(netAsk{testToken, netUp, 1, time.Second}.String())
	f.Fuzz(func(t *testing.T, line string) {
		a, err := readAsk(strings.NewReader(line))
		if err == nil && (a.bytes < 0 || a.long <= 0 || a.long > netMaxFor) {
			t.Errorf("%+v", a)
		}
	})
}

func FuzzMirrorAnswer(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\n\r\n", "deb http://m s c")
	f.Fuzz(func(t *testing.T, head, sources string) {
		if err := readHead(bufio.NewReader(strings.NewReader(head))); err == nil && !strings.Contains(head, "200") {
			t.Errorf("%q", head)
		}
		for _, s := range aptSources(sources) {
			if s.uri == "" || s.suite == "" || s.component == "" {
				t.Errorf("%q: %+v", sources, s)
			}
		}
	})
}
