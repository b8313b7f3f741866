//go:build linux

package vendors

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Fault is what is wrong with a vendor. Faults can be combined.
type Fault struct {
	Dead        bool   // every connection is reset
	Unavailable int    // so many first requests are answered 503
	Cut         int    // so many first downloads of packages or archives end in the middle
	BytesPerSec int    // how slow downloads of packages and archives are; 0: as fast as it goes
	Tampered    Tamper // what somebody has changed
}

// Tamper is what somebody in between has changed.
type Tamper string

// Ways to tamper.
const (
	Content   Tamper = "content"   // of packages and archives: the same size, other bytes
	Signature Tamper = "signature" // the repository's index is not what was signed
	Key       Tamper = "key"       // the key is another one
)

// shop serves one vendor.
type shop struct {
	base   string // https://address:port
	root   string
	server *http.Server

	mu       sync.Mutex
	fault    Fault
	requests []string
	cuts     int
}

// door is where connections come in.
type door struct {
	net.Listener
	shop *shop
}

func (d *door) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		d.shop.mu.Lock()
		dead := d.shop.fault.Dead
		d.shop.mu.Unlock()
		if !dead {
			return conn, nil
		}
		_ = conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
}

func (s *shop) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	big := strings.HasSuffix(q.URL.Path, ".deb") || strings.HasSuffix(q.URL.Path, ".tar.gz")
	f, cut := s.note(q, big)
	switch {
	case f.Dead: // a connection that was there before
		panic(http.ErrAbortHandler)
	case f.Unavailable > 0:
		http.Error(w, "try later", http.StatusServiceUnavailable)
		return
	}
	if big {
		w = &strained{ResponseWriter: w, rate: f.BytesPerSec, cut: cut, flip: f.Tampered == Content}
	}
	http.ServeFile(w, q, filepath.Join(s.root, filepath.FromSlash(s.path(q.URL.Path, f.Tampered))))
}

// note counts a request and tells which faults it meets.
func (s *shop) note(q *http.Request, big bool) (f Fault, cut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f = s.fault
	what := "200"
	switch {
	case f.Dead:
		what = "reset"
	case f.Unavailable > 0:
		s.fault.Unavailable--
		what = "503"
	case big && s.cuts < f.Cut:
		s.cuts++
		cut, what = true, "cut"
	}
	s.requests = append(s.requests, fmt.Sprintf("%s %s", what, q.URL.Path))
	return f, cut
}

// path is the file for a URL's path.
func (s *shop) path(path string, t Tamper) string {
	switch {
	case t == Key && strings.HasPrefix(path, "/keys/"):
		return path + ".wrong"
	case t == Signature && strings.HasSuffix(path, "/InRelease"):
		return path + ".wrong"
	}
	return path
}

// strained is an answer on a bad line.
type strained struct {
	http.ResponseWriter
	rate  int
	cut   bool
	flip  bool
	total int64 // announced
	sent  int64
}

func (s *strained) WriteHeader(code int) {
	_, _ = fmt.Sscan(s.Header().Get("Content-Length"), &s.total)
	s.ResponseWriter.WriteHeader(code)
}

func (s *strained) Write(b []byte) (int, error) {
	if s.flip && s.sent == 0 && len(b) > 0 {
		b = append([]byte{}, b...)
		b[len(b)-1] ^= 1
	}
	written := 0
	for len(b) > 0 {
		n := len(b)
		if s.rate > 0 {
			n = min(n, max(s.rate/10, 1))
		}
		if s.cut && s.sent+int64(n) > s.total/2 {
			_ = http.NewResponseController(s.ResponseWriter).Flush()
			panic(http.ErrAbortHandler)
		}
		m, err := s.ResponseWriter.Write(b[:n])
		s.sent, written, b = s.sent+int64(m), written+m, b[m:]
		if err != nil {
			return written, err
		}
		if s.rate > 0 {
			_ = http.NewResponseController(s.ResponseWriter).Flush()
			time.Sleep(time.Second / 10)
		}
	}
	return written, nil
}
