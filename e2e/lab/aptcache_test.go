//go:build linux

package lab

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// mirror serves files by path and counts what it is asked for.
type mirror struct {
	mu    sync.Mutex
	files map[string][]byte
	asked map[string]int
	gate  chan struct{} // when set, files come in two halves, the second after it is closed
	cut   atomic.Bool   // connections end after the first half
}

func (m *mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	m.asked[r.URL.Path]++
	body, ok := m.files[r.URL.Path]
	gate := m.gate
	m.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Last-Modified", "Mon, 02 Nov 2026 10:00:00 GMT")
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	_, _ = w.Write(body[:len(body)/2])
	w.(http.Flusher).Flush()
	if gate != nil {
		<-gate
	}
	if m.cut.Load() {
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(body[len(body)/2:])
}

func (m *mirror) count(path string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asked[path]
}

// cacheFor returns a mirror, a cache in front of it and a client that goes through the cache.
func cacheFor(t *testing.T) (*mirror, *AptCache, *http.Client, string) {
	t.Helper()
	t.Setenv("HTTP_PROXY", "")
	t.Setenv("http_proxy", "")
	m := &mirror{files: make(map[string][]byte), asked: make(map[string]int)}
	up := httptest.NewServer(m)
	t.Cleanup(up.Close)
	cache := &AptCache{Dir: t.TempDir(), Mirrors: []string{up.Listener.Addr().String()}}
	t.Cleanup(cache.Close)
	front := httptest.NewServer(cache)
	t.Cleanup(front.Close)
	proxy, _ := url.Parse(front.URL)
	transport := &http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return proxy, nil }}
	t.Cleanup(transport.CloseIdleConnections)
	return m, cache, &http.Client{Transport: transport}, up.URL
}

func get(client *http.Client, url string, header ...string) (int, []byte, error) {
	req, _ := http.NewRequest(http.MethodGet, url, nil)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, b, err
}

func TestAptCacheKeepsOnlyWhatNeverChanges(t *testing.T) {
	m, _, client, base := cacheFor(t)
	index := []byte("index")
	byHash := fmt.Sprintf("/d/by-hash/SHA256/%x", sha256.Sum256(index))
	lying := fmt.Sprintf("/d/by-hash/SHA256/%x", sha256.Sum256([]byte("other")))
	for path, want := range map[string]int{
		"/pool/a_1_amd64.deb": 1, byHash: 1, lying: 2, "/d/InRelease": 2, "/d/Release.gpg": 2, "/d/Packages.xz": 2, "/d/by-hash/MD5Sum/aa": 2,
	} {
		m.mu.Lock()
		m.files[path] = index
		m.mu.Unlock()
		for range 2 {
			if status, b, err := get(client, base+path); status != 200 || !bytes.Equal(b, index) || err != nil {
				t.Errorf("%s: %d %q %v", path, status, b, err)
			}
		}
		if got := m.count(path); got != want {
			t.Errorf("%s: the mirror was asked %d times, want %d", path, got, want)
		}
	}
}

func TestAptCacheRefuses(t *testing.T) {
	_, _, client, base := cacheFor(t)
	if status, _, _ := get(client, "http://127.0.0.1:1/pool/a.deb"); status != http.StatusForbidden {
		t.Errorf("a stranger's file: %d", status)
	}
	resp, err := client.Post(base+"/pool/a.deb", "text/plain", strings.NewReader("x"))
	if err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %v %v", resp, err)
	}
	resp.Body.Close()
	for range 2 {
		if status, _, _ := get(client, base+"/pool/none.deb"); status != http.StatusNotFound {
			t.Errorf("a missing file: %d", status)
		}
	}
}

func TestAptCacheSharesADownload(t *testing.T) {
	m, cache, client, base := cacheFor(t)
	big := make([]byte, 1<<20)
	_, _ = rand.Read(big)
	m.files["/pool/big.deb"], m.gate = big, make(chan struct{})
	var wait sync.WaitGroup
	for range 5 {
		wait.Go(func() {
			if status, b, err := get(client, base+"/pool/big.deb"); status != 200 || !bytes.Equal(b, big) || err != nil {
				t.Errorf("%d, %d bytes, %v", status, len(b), err)
			}
		})
	}
	for cache.Stats().Hits+cache.Stats().Misses < 5 && !t.Failed() {
		time.Sleep(time.Millisecond)
	}
	close(m.gate)
	wait.Wait()
	if n, s := m.count("/pool/big.deb"), cache.Stats(); n != 1 || s != (AptStats{Hits: 4, Misses: 1, Fetched: 1 << 20}) {
		t.Errorf("the mirror was asked %d times, %+v", n, s)
	}
	if status, b, err := get(client, base+"/pool/big.deb", "Range", "bytes=1000-1999"); status != 206 || !bytes.Equal(b, big[1000:2000]) || err != nil {
		t.Errorf("a part: %d, %d bytes, %v", status, len(b), err)
	}
}

func TestAptCacheKeepsNoBrokenDownload(t *testing.T) {
	m, cache, client, base := cacheFor(t)
	m.files["/pool/a.deb"] = bytes.Repeat([]byte("x"), 100_000)
	m.cut.Store(true)
	if status, b, err := get(client, base+"/pool/a.deb"); err == nil {
		t.Errorf("the mirror's broken connection looks whole: %d, %d bytes", status, len(b))
	}
	m.cut.Store(false)
	if status, b, err := get(client, base+"/pool/a.deb"); status != 200 || len(b) != 100_000 || err != nil {
		t.Errorf("the second time: %d, %d bytes, %v", status, len(b), err)
	}
	cache.Close()
	if left, _ := filepath.Glob(filepath.Join(cache.Dir, "tmp", "*")); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
}

func TestAptCacheTrustsNoDamagedBlob(t *testing.T) {
	m, cache, client, base := cacheFor(t)
	m.files["/pool/a.deb"] = []byte("content")
	_, _, _ = get(client, base+"/pool/a.deb")
	blobs, total := listFiles(filepath.Join(cache.Dir, "blobs"))
	if len(blobs) != 1 || total != 7 {
		t.Fatalf("kept: %v", blobs)
	}
	if err := os.Truncate(blobs[0].path, 3); err != nil {
		t.Fatal(err)
	}
	if _, b, err := get(client, base+"/pool/a.deb"); string(b) != "content" || err != nil {
		t.Errorf("after the damage: %q, %v", b, err)
	}
}

func TestAptCacheIsBounded(t *testing.T) {
	m, cache, client, base := cacheFor(t)
	cache.Max = 10_000
	for i := range 40 {
		path := fmt.Sprintf("/pool/%d.deb", i)
		m.mu.Lock()
		m.files[path] = fmt.Appendf(nil, "%01000d", i)
		m.mu.Unlock()
		_, _, _ = get(client, base+path)
		_, _, _ = get(client, base+"/pool/0.deb") // always the one that was used last
	}
	cache.Close()
	if blobs, total := listFiles(filepath.Join(cache.Dir, "blobs")); total > cache.Max || total < cache.Max/2 {
		t.Errorf("%d files of %d bytes kept, want at most %d", len(blobs), total, cache.Max)
	}
	if n := m.count("/pool/0.deb"); n != 1 {
		t.Errorf("what is used all the time was fetched %d times", n)
	}
}
