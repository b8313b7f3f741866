package report

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// live is a run that is shown while its record grows.
type live struct {
	store Store
	id    string
	token string
	hosts []string // what a browser may call this server

	mu    sync.Mutex
	seen  string        // what the record looked like
	grown chan struct{} // closed when it has grown
	page  rendered
	body  rendered
	cost  time.Duration // of the last rendering
	users int
}

// rendered is a page made of a certain state of the record.
type rendered struct {
	of   string
	text []byte
}

const (
	maxListeners = 32
	lookEvery    = 500 * time.Millisecond
	sayAlive     = 15 * time.Second
)

// Serve shows a run in a browser on this machine until ctx ends: ready is told
// the address. Only this machine can reach it, and only who knows the address:
// a random token is part of it. Requests under another name are refused, so
// that no page elsewhere can have its own name point here.
func (s Store) Serve(ctx context.Context, id string, ready func(url string)) error {
	dir, err := s.Open(id)
	if err != nil {
		return err
	}
	id = dir.ID()
	if err := dir.Close(); err != nil {
		return err
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	v := &live{store: s, id: id, token: rand.Text(), grown: make(chan struct{}),
		hosts: []string{fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("localhost:%d", port)}}
	server := &http.Server{Handler: v, ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10, BaseContext: func(net.Listener) context.Context { return ctx }}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() { v.watch(ctx) })
	all.Go(func() { <-ctx.Done(); server.Close() })
	ready(fmt.Sprintf("http://%s/%s/", v.hosts[0], v.token))
	err = server.Serve(l)
	ended := ctx.Err() != nil
	cancel()
	all.Wait()
	if !ended {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// watch looks at the record and tells when it has grown.
func (v *live) watch(ctx context.Context) {
	for {
		if now := v.state(); now != "" {
			v.mu.Lock()
			if now != v.seen {
				v.seen = now
				close(v.grown)
				v.grown = make(chan struct{})
			}
			v.mu.Unlock()
		}
		v.mu.Lock()
		pause := max(lookEvery, 4*v.cost)
		v.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// state is what the files of the record look like; empty when they cannot be
// looked at.
func (v *live) state() string {
	dir, err := v.store.Open(v.id)
	if err != nil {
		return ""
	}
	defer dir.Close()
	run := dir.Run()
	var b strings.Builder
	if st, err := dir.root.Stat(runFile); err == nil {
		fmt.Fprintln(&b, st.Size(), st.ModTime().UnixNano())
	}
	for _, h := range run.Hosts {
		if st, err := dir.root.Stat(h.Host + "/" + eventsFile); err == nil && checkHost(h.Host) == nil {
			fmt.Fprintln(&b, h.Host, st.Size())
		}
	}
	fmt.Fprintln(&b, run.Finished.UnixNano(), isLocked(dir.root))
	return b.String()
}

// ServeHTTP answers GET below the token, and nothing else.
func (v *live) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("Cache-Control", "no-store")
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "no-referrer")
	head.Set("X-Frame-Options", "DENY")
	head.Set("Cross-Origin-Resource-Policy", "same-origin")
	head.Set("Content-Security-Policy", "frame-ancestors 'none'")
	if r.Host != v.hosts[0] && r.Host != v.hosts[1] {
		http.Error(w, "this is not the name of this server", http.StatusMisdirectedRequest)
		return
	}
	token, what, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if subtle.ConstantTimeCompare([]byte(token), []byte(v.token)) != 1 {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet {
		http.Error(w, "only GET", http.StatusMethodNotAllowed)
		return
	}
	switch what {
	case "":
		v.send(w, &v.page, func(b *bytes.Buffer, rep *Report) error { return writeTemplate(b, rep, "page", true) })
	case "body":
		v.send(w, &v.body, func(b *bytes.Buffer, rep *Report) error { return writeTemplate(b, rep, "body", true) })
	case "events":
		v.events(w, r)
	default:
		http.NotFound(w, r)
	}
}

// send answers with a page of the record as it is; one rendering serves all who
// ask for the same state.
func (v *live) send(w http.ResponseWriter, have *rendered, write func(*bytes.Buffer, *Report) error) {
	text, err := v.rendered(have, write)
	if err != nil {
		http.Error(w, "the report cannot be made: the record cannot be read", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(text) // without the lock: whoever reads slowly holds up nobody
}

func (v *live) rendered(have *rendered, write func(*bytes.Buffer, *Report) error) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if now := v.state(); have.of != now || have.text == nil {
		began := time.Now()
		dir, err := v.store.Open(v.id)
		if err != nil {
			return nil, err
		}
		rep := dir.Load()
		var b bytes.Buffer
		if err := errors.Join(write(&b, rep), dir.Close()); err != nil {
			return nil, err
		}
		*have, v.cost = rendered{now, b.Bytes()}, time.Since(began)
	}
	return have.text, nil
}

// events tells a browser whenever the record has grown.
func (v *live) events(w http.ResponseWriter, r *http.Request) {
	if !v.join(1) {
		http.Error(w, "too many pages are open", http.StatusTooManyRequests)
		return
	}
	defer v.join(-1)
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w).Flush
	v.mu.Lock()
	grown := v.grown
	v.mu.Unlock()
	word := "grown" // since the page was made
	for {
		if _, err := fmt.Fprintf(w, "event: %s\ndata: 1\n\n", word); err != nil || flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(sayAlive):
			word = "alive"
			continue
		case <-grown:
		}
		v.mu.Lock()
		grown = v.grown
		v.mu.Unlock()
		word = "grown"
	}
}

func (v *live) join(n int) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if n > 0 && v.users >= maxListeners {
		return false
	}
	v.users += n
	return true
}
