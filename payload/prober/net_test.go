//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
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

func TestNetTestsByName(t *testing.T) {
	if all, err := netTestsOf(""); err != nil || len(all) != len(netTests) {
		t.Errorf("%v, %v", all, err)
	}
	two, err := netTestsOf("down/8,up/1")
	if err != nil || len(two) != 2 || two[0].name != "down/8" || two[1].name != "up/1" {
		t.Errorf("%v, %v", two, err)
	}
	if _, err := netTestsOf("up/1,up/9"); err == nil || !strings.Contains(err.Error(), "up/9") {
		t.Errorf("a test that there is not: %v", err)
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
		at := time.Duration(i) * 20 * time.Millisecond
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
	file := bytes.Repeat([]byte("packages"), 4<<20)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.RequestURI:
		default:
		}
		if strings.Contains(r.RequestURI, "missing") {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(file)
	}))
	defer s.Close()
	at, _ := url.Parse(s.URL)
	got, err := download(t.Context(), at.JoinPath("Packages.xz"), nil, 8, 256<<20, 10*time.Second)
	if err != nil || got.Bytes > 256<<20+8*netBlock || got.Value <= 0 {
		t.Errorf("%+v, %v", got, err)
	}
	far, _ := url.Parse("http://mirror.invalid/debian/Packages.xz")
	if _, err := download(t.Context(), far, at, 1, 64<<20, 10*time.Second); err != nil {
		t.Errorf("through the proxy: %v", err)
	}
	for uri := ""; uri != far.String(); { // what the eight asked for may come late
		select {
		case uri = <-asked:
		case <-time.After(10 * time.Second):
			t.Fatal("the proxy was not asked")
		}
	}
	if _, err := download(t.Context(), at.JoinPath("missing"), nil, 1, 1<<20, time.Second); err == nil || !strings.Contains(err.Error(), "404") {
		t.Error(err)
	}
}

// TestNetRepeats: every test comes once in each turn, the turns' order is the
// seed's, and all together move no more than was allowed. One that failed is not
// tried again.
func TestNetRepeats(t *testing.T) {
	orders := map[string]bool{}
	for seed := range uint64(8) {
		b := netBounds{bytes: 1200, repeats: 3, seed: seed}
		if b.share(netTests) != 100 {
			t.Errorf("each may move %d bytes", b.share(netTests))
		}
		order := b.order(netTests)
		for turn := range slices.Chunk(order, len(netTests)) {
			names := make([]string, len(turn))
			for i, test := range turn {
				names[i] = test.name
			}
			if slices.Sort(names); !slices.Equal(names, []string{"down/1", "down/8", "up/1", "up/8"}) {
				t.Errorf("seed %d: a turn of %q", seed, names)
			}
		}
		if len(order) != 12 || !slices.Equal(order, b.order(netTests)) {
			t.Errorf("seed %d: %v, then %v", seed, order, b.order(netTests))
		}
		orders[fmt.Sprint(order)] = true
	}
	if len(orders) < 7 {
		t.Errorf("8 seeds, %d orders", len(orders))
	}
	var out bytes.Buffer
	calls := map[string]int{}
	err := netBounds{bytes: 1, repeats: 3}.run(t.Context(), &printer{to: &out}, netTests, func(test netTest) (*wire.ProbeSample, error) {
		if calls[test.name]++; test.name == "up/8" {
			return nil, errors.New("no way up")
		}
		return &wire.ProbeSample{Unit: "Mbit/s", Better: "higher", Value: 1}, nil
	})
	if err != nil || calls["up/8"] != 1 || calls["up/1"] != 3 || calls["down/8"] != 3 {
		t.Errorf("%v, %v", calls, err)
	}
	if text := out.String(); strings.Count(text, `"got"`) != 9 || strings.Count(text, `"steal_pct"`) != 9 || strings.Count(text, "no way up") != 1 {
		t.Error(text)
	}
}

// TestConnects: connecting is timed without the name's lookup, and its time is no
// rate of stolen processors.
func TestConnects(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	from := make(chan string, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(from)
				return
			}
			from <- c.RemoteAddr().String()
			c.Close()
		}
	}()
	got, err := connects(t.Context(), l.Addr().String())
	if err != nil || got.Unit != "us" || got.Better != "lower" || got.Value != got.Percentiles["p50_us"] || got.Value <= 0 ||
		got.Percentiles["p99_us"] < got.Percentiles["p95_us"] || got.Percentiles["p95_us"] < got.Value || got.StealPct != nil {
		t.Errorf("%+v, %v", got, err)
	}
	for range netConnects + 1 { // who was not accepted before l is closed is nobody
		<-from
	}
	l.Close()
	for who := range from {
		t.Errorf("%s came, too", who)
	}
	if _, err := connects(t.Context(), l.Addr().String()); err == nil {
		t.Error("nobody listened, and it was connected to")
	}
	if got := roundTrips([]float64{5, 1, 3, 2, 4}); got.Value != 3 || got.Percentiles["p95_us"] != 5 {
		t.Errorf("%+v", got)
	}
}

func TestMirrorAddr(t *testing.T) {
	proxy, _ := url.Parse("http://proxy.example:3142")
	for from, want := range map[string]string{"http://mirror.example.net/debian": "mirror.example.net:80", "https://mirror.example.net/debian": "mirror.example.net:443",
		"https://mirror.example.net:8443/debian": "mirror.example.net:8443", "http://[2001:db8::1]/debian": "[2001:db8::1]:80"} {
		u, err := url.Parse(from)
		if err != nil {
			t.Fatal(err)
		}
		if got := mirrorAddr(u, nil); got != want {
			t.Errorf("%s: %s", from, got)
		}
		if got := mirrorAddr(u, proxy); got != "proxy.example:3142" {
			t.Errorf("%s through the proxy: %s", from, got)
		}
	}
}

// TestMirrorName: a figure's name tells the way it was measured, plain http from
// the mirror itself aside, and is one that the laptop takes.
func TestMirrorName(t *testing.T) {
	proxy, _ := url.Parse("http://User:pw@Apt-Cacher.example:3142")
	long, _ := url.Parse("http://" + strings.Repeat("long.", 30) + "example:3142")
	for _, c := range []struct {
		client string
		proxy  *url.URL
		want   string
	}{
		{"", nil, "mirror/deb.example.net"},
		{"curl", nil, "mirror/deb.example.net/https-curl"},
		{"", proxy, "mirror/deb.example.net/via-apt-cacher.example"},
		{"wget", proxy, "mirror/deb.example.net/https-wget/via-apt-cacher.example"},
		{"", long, "mirror/deb.example.net/via-" + strings.Repeat("long.", 8)},
	} {
		if got := mirrorName(&url.URL{Scheme: "http", Host: "Deb.example.net:8080"}, c.client, c.proxy); got != c.want {
			t.Errorf("%s through %v: %s, want %s", c.client, c.proxy, got, c.want)
		}
	}
}

// TestInflow: nothing counts before every stream has brought something or has
// failed.
func TestInflow(t *testing.T) {
	var in intake
	in.left.Store(100)
	in.begun.Add(2)
	one, two := &inflow{&in, sync.OnceFunc(in.begun.Done)}, &inflow{&in, sync.OnceFunc(in.begun.Done)}
	more := make(chan bool)
	go func() { more <- one.take(60) }()
	select {
	case <-more:
		t.Error("it did not wait for the other")
	case <-time.After(20 * time.Millisecond):
	}
	two.first()
	if !<-more || two.take(40) || in.moved.Load() != 100 {
		t.Errorf("%d bytes counted", in.moved.Load())
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
