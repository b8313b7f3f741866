//go:build e2e

package e2e

import (
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/e2e/lab"
)

const labAptConf = "/etc/apt/apt.conf.d/zz-lab-apt-cache"

// emptyCache serves an apt cache of its own to the lab's hosts; flags have apt use it.
func emptyCache(t *testing.T, l *lab.Lab) (cache *lab.AptCache, flags string) {
	t.Helper()
	conf, err := os.ReadFile(l.Hosts[0].Root() + labAptConf)
	try(t, err)
	listener, err := net.Listen("tcp", l.Gateway()+":0")
	try(t, err)
	cache = &lab.AptCache{Dir: t.TempDir()}
	for _, m := range regexp.MustCompile(`Proxy::(\S+)`).FindAllSubmatch(conf, -1) {
		cache.Mirrors = append(cache.Mirrors, string(m[1]))
		flags += " -o Acquire::http::Proxy::" + string(m[1]) + "=http://" + listener.Addr().String()
	}
	server := &http.Server{Handler: cache}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Close()
		cache.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return cache, flags
}

func TestLabAptCache(t *testing.T) {
	l := ownLab(t, lab.Options{N: 2, AptCache: true})
	cache, flags := emptyCache(t, l)
	var runs []lab.AptStats
	for _, h := range l.Hosts {
		before, began := cache.Stats(), time.Now()
		_, err := h.Exec(t.Context(), "apt-get"+flags+" -q update && apt-get"+flags+" -q -y --download-only install build-essential")
		try(t, err)
		now := cache.Stats()
		got := lab.AptStats{Hits: now.Hits - before.Hits, Misses: now.Misses - before.Misses, Fetched: now.Fetched - before.Fetched}
		t.Logf("%s: update and download of build-essential took %v: %d files from the cache, %d from the mirror with %.1f MB",
			h.Name, time.Since(began).Round(10*time.Millisecond), got.Hits, got.Misses, float64(got.Fetched)/1e6)
		runs = append(runs, got)
	}
	if runs[0].Misses < 20 || runs[0].Hits > runs[0].Misses/2 || runs[1].Misses != 0 || runs[1].Hits < runs[0].Misses {
		t.Errorf("first and second host: %+v, want all that the first one fetched from the cache for the second", runs)
	}
}

func TestLabAptTrustsNoCache(t *testing.T) {
	l := ownLab(t, lab.Options{AptCache: true})
	h := l.Hosts[0]
	cache, flags := emptyCache(t, l)
	fetch := "apt-get clean && apt-get" + flags + " -q -y --download-only install jq"
	_, err := h.Exec(t.Context(), "apt-get"+flags+" -q update && "+fetch)
	try(t, err)
	blobs, err := filepath.Glob(filepath.Join(cache.Dir, "blobs", "*"))
	try(t, err)
	for _, path := range blobs {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		try(t, err)
		_, err = f.WriteAt([]byte("evil"), 100)
		try(t, errors.Join(err, f.Close()))
	}
	hits := cache.Stats().Hits
	_, err = h.Exec(t.Context(), fetch)
	if err == nil || !strings.Contains(err.Error(), "Hash Sum mismatch") {
		t.Errorf("apt took a forged package: %v", err)
	}
	if cache.Stats().Hits == hits {
		t.Error("it was not asked for: this test proves nothing")
	}
}

func TestLabHostsUseTheCache(t *testing.T) {
	l := ownLab(t, lab.Options{AptCache: true})
	before := l.AptStats()
	_, err := l.Hosts[0].Exec(t.Context(), "apt-get -q update")
	try(t, err)
	if now := l.AptStats(); now.Hits+now.Misses == before.Hits+before.Misses {
		t.Errorf("apt went past the cache: %+v", now)
	}
	if out, err := l.Hosts[0].Exec(t.Context(), "grep -c 'not vpsctl' "+labAptConf); out != "1\n" {
		t.Errorf("%s does not say whose it is: %q, %v", labAptConf, out, err)
	}
	without := ownLab(t, lab.Options{})
	if out, _ := without.Hosts[0].Exec(t.Context(), "ls "+labAptConf); out != "" {
		t.Errorf("a lab that did not ask for it: %s", out)
	}
}
