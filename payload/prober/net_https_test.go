//go:build linux

package main

import (
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestDownloadTLS: a mirror by https is measured by the host's own program,
// which believes no certificate that it does not know and follows no redirect.
func TestDownloadTLS(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("there is no curl")
	}
	file := strings.Repeat("packages", 1<<20)
	var asked, connected atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.RequestURI, "elsewhere") {
			http.Redirect(w, r, "/Packages.xz", http.StatusFound)
			return
		}
		asked.Add(1)
		_, _ = w.Write([]byte(file))
	}))
	s.Config.ConnState = func(_ net.Conn, now http.ConnState) {
		if now == http.StateNew {
			connected.Add(1)
		}
	}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it is not believed at first
	s.StartTLS()
	defer s.Close()
	at, _ := url.Parse(s.URL)
	if _, err := download(t.Context(), at.JoinPath("Packages.xz"), nil, 4, 1<<30, 20*time.Second); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate: %v", err)
	}
	known := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(known, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CURL_CA_BUNDLE", known)
	connected.Store(0)
	got, err := download(t.Context(), at.JoinPath("Packages.xz"), nil, 4, 64<<20, 20*time.Second)
	if err != nil || got.Value <= 0 || got.Bytes < 8<<20 || got.Bytes > 64<<20+4<<20 {
		t.Errorf("%+v, %v", got, err)
	}
	if asked.Load() < 8 || connected.Load() != 4 {
		t.Errorf("%d files of 8 MB over %d connections, want 64 MB over 4", asked.Load(), connected.Load())
	}
	if _, err := download(t.Context(), at.JoinPath("elsewhere"), nil, 4, 1<<20, 20*time.Second); err == nil || !strings.Contains(err.Error(), "redirects") {
		t.Errorf("a redirect: %v", err)
	}
}

func TestTLSClient(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if _, _, err := tlsClient(); err == nil || !strings.Contains(err.Error(), "neither curl nor wget") {
		t.Errorf("%v", err)
	}
	for _, name := range []string{"wget", "curl"} { // curl goes first
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if path, args, err := tlsClient(); err != nil || filepath.Base(path) != name || args[len(args)-1] != "--" {
			t.Errorf("%s %q, %v", path, args, err)
		}
	}
}

func TestTLSEnv(t *testing.T) {
	proxy, _ := url.Parse("http://u:p@proxy.example:3128")
	env := []string{"PATH=/bin", "HTTPS_PROXY=http://other", "no_proxy=*", "all_proxy=x"}
	if got := tlsEnv(env, proxy); !slices.Equal(got, []string{"PATH=/bin", "https_proxy=http://u:p@proxy.example:3128", "LC_ALL=C"}) {
		t.Errorf("%q", got)
	}
	if got := tlsEnv(env, nil); !slices.Equal(got, []string{"PATH=/bin", "LC_ALL=C"}) {
		t.Errorf("%q", got)
	}
}

// TestAptProxyKeys: https has keys of its own, and else http's, as apt has it.
func TestAptProxyKeys(t *testing.T) {
	for scheme, want := range map[string]string{"http": "Acquire::http::Proxy::m Acquire::http::Proxy",
		"https": "Acquire::https::Proxy::m Acquire::https::Proxy Acquire::http::Proxy::m Acquire::http::Proxy"} {
		if got := strings.Join(proxyKeys(scheme, "m"), " "); got != want {
			t.Errorf("%s: %s", scheme, got)
		}
	}
}
