package remote

import (
	"bytes"
	"net"
	"strings"
	"sync"
	"sync/atomic"
)

// line is a net.Conn that notices life, which is any byte received, and keeps
// what came before the SSH banner.
type line struct {
	net.Conn
	reads   atomic.Int64 // reads that brought something
	greeted atomic.Bool  // the peer's SSH banner has come
	onGreet func()

	mu   sync.Mutex
	head []byte
}

// Read notes what it brought.
func (l *line) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if n > 0 {
		l.reads.Add(1)
		if !l.greeted.Load() {
			l.greet(p[:n])
		}
	}
	return n, err
}

func (l *line) greet(p []byte) {
	const most = 512
	l.mu.Lock()
	l.head = append(l.head, p[:min(len(p), most-min(len(l.head), most))]...)
	hello := bytes.HasPrefix(l.head, []byte("SSH-")) || bytes.Contains(l.head, []byte("\nSSH-"))
	l.mu.Unlock()
	if hello && l.greeted.CompareAndSwap(false, true) && l.onGreet != nil {
		l.onGreet()
	}
}

// said is what came instead of a banner.
func (l *line) said() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(string(l.head))
}
