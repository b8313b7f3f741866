package report

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// serve shows the latest run of a store until stop.
func serve(t *testing.T, s Store) (url string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() { done <- s.Serve(ctx, "", func(url string) { ready <- url }) }()
	select {
	case url = <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	return url, func() {
		cancel()
		if done != nil {
			if err := <-done; err != nil {
				t.Error(err)
			}
			done = nil
		}
	}
}

// Only who knows the token gets anything, only under the server's own name, and
// only by GET; nothing is left behind.
func TestServeRefusesStrangers(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := Store{Dir: t.TempDir()}
	d := create(t, s, testReport(t).Run)
	closed(t, d)
	url, stop := serve(t, s)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	if !strings.HasPrefix(url, "http://127.0.0.1:") {
		t.Errorf("it listens at %s", url)
	}
	base := url[:strings.LastIndex(strings.TrimSuffix(url, "/"), "/")+1]
	for _, c := range []struct {
		method, url, host string
		want              int
	}{
		{"GET", url, "", 200}, {"GET", url + "body", "", 200}, {"GET", strings.Replace(url, "127.0.0.1", "localhost", 1), "", 200},
		{"GET", url, "evil.example.net", 421}, {"GET", url, "127.0.0.1", 421}, {"GET", url, "127.0.0.1.evil.example.net:80", 421},
		{"GET", base, "", 404}, {"GET", base + "x/", "", 404}, {"GET", base + "favicon.ico", "", 404}, {"GET", url + "run.json", "", 404}, {"GET", url + "../latest", "", 404},
		{"POST", url, "", 405}, {"DELETE", url, "", 405},
	} {
		req, err := http.NewRequest(c.method, c.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = c.host
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != c.want || c.want != 200 && strings.Contains(string(body), testRun) {
			t.Errorf("%s %s as %q: %d, want %d", c.method, c.url, c.host, res.StatusCode, c.want)
		}
		if res.Header.Get("X-Content-Type-Options") != "nosniff" || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", c.url, res.Header)
		}
	}
	stop()
}

// A listener hears that the record has grown.
func TestServeTellsOfGrowth(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	d := create(t, s, Run{ID: testRun, Verb: "provision", Hosts: []HostRun{{Host: "web1"}}})
	url, stop := serve(t, s)
	defer stop()
	res, err := http.Get(url + "events")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	next := func() {
		t.Helper()
		for lines.Scan() {
			if lines.Text() == "event: grown" {
				return
			}
		}
		t.Fatal("the stream ended")
	}
	next()
	if err := d.Update(func(r *Run) { r.Version = "2" }); err != nil {
		t.Fatal(err)
	}
	next()
	closed(t, d)
}
