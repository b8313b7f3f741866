//go:build linux

package lab

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// AptCache is an HTTP proxy for apt that keeps what never changes under its name: packages, and indexes that are named
// by their hash. All else goes through to the mirror every time, the Release files above all. It need not be trusted:
// apt checks all that it gets against the signed Release file.
//
// Several processes may share a folder. Whoever uses a cache ends it by Close.
type AptCache struct {
	Dir     string
	Max     int64    // bytes kept, 4 GiB if zero; what was not used for the longest time goes first
	Mirrors []string // host[:port] that may be asked; there are no others

	once    sync.Once
	end     context.CancelFunc
	ctx     context.Context
	fetches sync.WaitGroup
	through *httputil.ReverseProxy

	mu      sync.Mutex
	flights map[string]*flight

	pending atomic.Int64 // bytes added since the last look at the limit

	stats struct{ hits, misses, fetched atomic.Int64 }
}

// AptStats count requests for what can be kept.
type AptStats struct {
	Hits, Misses int64
	Fetched      int64 // bytes that came from mirrors for misses
}

// Stats counts since the cache began.
func (c *AptCache) Stats() AptStats {
	return AptStats{Hits: c.stats.hits.Load(), Misses: c.stats.misses.Load(), Fetched: c.stats.fetched.Load()}
}

func (c *AptCache) begin() {
	c.once.Do(func() {
		c.ctx, c.end = context.WithCancel(context.Background())
		c.flights = make(map[string]*flight)
		c.through = &httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) {}, ErrorLog: silent()}
		c.through.Transport = transport()
	})
}

// Close ends all downloads and waits for them.
func (c *AptCache) Close() {
	c.begin()
	c.end()
	c.fetches.Wait()
	c.through.Transport.(*http.Transport).CloseIdleConnections()
}

func (c *AptCache) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.begin()
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		http.Error(w, "lab: only GET goes through the apt cache", http.StatusMethodNotAllowed)
	case r.URL.Scheme != "http" || !slices.Contains(c.Mirrors, r.URL.Host):
		http.Error(w, "lab: not a mirror of this lab: "+r.URL.Host, http.StatusForbidden)
	case !keeps(r.URL.Path):
		c.through.ServeHTTP(w, r)
	case c.fromDisk(w, r):
		c.stats.hits.Add(1)
	case r.Method == http.MethodHead || r.Header.Get("Range") != "":
		c.through.ServeHTTP(w, r)
	default:
		c.fromMirror(w, r)
	}
}

// keeps tells whether what a URL names can never become something else.
func keeps(urlPath string) bool {
	if strings.Contains(urlPath, "/by-hash/SHA256/") {
		return len(path.Base(urlPath)) == 2*sha256.Size
	}
	return strings.HasSuffix(urlPath, ".deb") || strings.HasSuffix(urlPath, ".udeb")
}

func (c *AptCache) fromDisk(w http.ResponseWriter, r *http.Request) bool {
	f, modified := c.lookup(r.URL.String())
	if f == nil {
		return false
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", modified, f)
	return true
}

// fromMirror sends a file while it comes in. Whoever wants it meanwhile gets it from the same download.
func (c *AptCache) fromMirror(w http.ResponseWriter, r *http.Request) {
	fl, first, err := c.join(r.URL.String())
	if err != nil {
		c.through.ServeHTTP(w, r) // the disk is full or read-only: apt need not suffer for it
		return
	}
	defer fl.readers.Done()
	if first {
		c.stats.misses.Add(1)
	} else {
		c.stats.hits.Add(1)
	}
	status, header := fl.head()
	for _, name := range []string{"Content-Type", "Content-Length", "Last-Modified"} {
		if v := header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	w.WriteHeader(status)
	if _, err := io.Copy(w, &flightReader{fl: fl}); err != nil {
		panic(http.ErrAbortHandler) // apt sees the connection end early and asks again
	}
}

// stallLimit is how long a mirror may be silent; apt itself waits for 30 s.
const stallLimit = 30 * time.Second

// flight is a download that is under way.
type flight struct {
	file    *os.File
	readers sync.WaitGroup
	stalled *time.Timer

	mu     sync.Mutex
	moved  *sync.Cond
	status int // 0 before the mirror has answered
	header http.Header
	size   int64 // so far
	done   bool
	err    error
}

func (c *AptCache) join(url string) (fl *flight, first bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if fl = c.flights[url]; fl != nil {
		fl.readers.Add(1)
		return fl, false, nil
	}
	file, err := c.temp()
	if err != nil {
		return nil, false, err
	}
	fl = &flight{file: file}
	fl.moved = sync.NewCond(&fl.mu)
	fl.readers.Add(1)
	c.flights[url] = fl
	c.fetches.Add(1)
	go c.fly(fl, url)
	return fl, true, nil
}

// fly downloads, keeps the file if all went well, and cleans up when the last reader is through.
func (c *AptCache) fly(fl *flight, url string) {
	defer c.fetches.Done()
	err := c.fetch(fl, url)
	c.mu.Lock()
	delete(c.flights, url)
	c.mu.Unlock()
	fl.tell(func() { fl.done, fl.err = true, err })
	fl.readers.Wait()
	fl.file.Close()
	_ = os.Remove(fl.file.Name()) // gone already where it was kept
}

func (c *AptCache) fetch(fl *flight, url string) error {
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	fl.stalled = time.AfterFunc(stallLimit, cancel)
	defer fl.stalled.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: c.through.Transport}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	fl.tell(func() { fl.status, fl.header = resp.StatusCode, resp.Header })
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(hash, fl), resp.Body)
	c.stats.fetched.Add(n)
	if err != nil || resp.StatusCode != http.StatusOK {
		return err
	}
	sum := fmt.Sprintf("%x", hash.Sum(nil))
	if strings.Contains(url, "/by-hash/SHA256/") && path.Base(url) != sum {
		return nil // apt will see it too
	}
	modified, err := http.ParseTime(resp.Header.Get("Last-Modified"))
	if err != nil {
		modified = time.Now()
	}
	// Failing to keep it is no failure to deliver it.
	if c.keep(fl.file.Name(), url, sum, modified) == nil {
		c.prune(n)
	}
	return nil
}

func (fl *flight) tell(change func()) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	change()
	fl.moved.Broadcast()
}

func (fl *flight) Write(b []byte) (int, error) {
	fl.stalled.Reset(stallLimit)
	n, err := fl.file.Write(b)
	fl.tell(func() { fl.size += int64(n) })
	return n, err
}

// head waits for the mirror's answer. One that cannot be had is 502.
func (fl *flight) head() (int, http.Header) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	for fl.status == 0 && !fl.done {
		fl.moved.Wait()
	}
	if fl.status == 0 {
		return http.StatusBadGateway, nil
	}
	return fl.status, fl.header
}

type flightReader struct {
	fl *flight
	at int64
}

func (r *flightReader) Read(b []byte) (int, error) {
	r.fl.mu.Lock()
	for r.fl.size == r.at && !r.fl.done {
		r.fl.moved.Wait()
	}
	left, err := r.fl.size-r.at, r.fl.err
	r.fl.mu.Unlock()
	if left == 0 {
		if err != nil {
			return 0, err
		}
		return 0, io.EOF
	}
	n, err := r.fl.file.ReadAt(b[:min(int64(len(b)), left)], r.at)
	r.at += int64(n)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

func (c *AptCache) temp() (*os.File, error) {
	for _, dir := range []string{"urls", "blobs", "tmp"} {
		if err := os.MkdirAll(filepath.Join(c.Dir, dir), 0o755); err != nil {
			return nil, err
		}
	}
	return os.CreateTemp(filepath.Join(c.Dir, "tmp"), "")
}
