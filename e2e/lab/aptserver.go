//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	aptPort     = "3143"
	aptConfPath = "etc/apt/apt.conf.d/zz-lab-apt-cache"
)

var plainSource = regexp.MustCompile(`http://([A-Za-z0-9.:\[\]-]+)/`)

// mirrors are the hosts that the base's apt asks without TLS, which a cache cannot look into.
func (l *Lab) mirrors() (hosts []string) {
	etc := filepath.Join(l.state.Base, "etc/apt")
	files, _ := filepath.Glob(filepath.Join(etc, "sources.list.d/*"))
	for _, file := range append(files, filepath.Join(etc, "sources.list")) {
		b, _ := os.ReadFile(file)
		for _, m := range plainSource.FindAllSubmatch(b, -1) {
			hosts = append(hosts, string(m[1]))
		}
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// aptConf is the host's file for apt when the lab has a cache. Other repositories are asked directly.
func (l *Lab) aptConf(h *Host) string {
	if !l.state.AptCache {
		return ""
	}
	gateway := l.Gateway()
	if h.Addr == h.Addr6 {
		gateway = l.Gateway6()
	}
	text := "// Written by the lab that this test host is part of; it is not vpsctl's.\n"
	for _, mirror := range l.mirrors() {
		name, _, _ := strings.Cut(mirror, ":")
		text += fmt.Sprintf("Acquire::http::Proxy::%s \"http://%s\";\n", name, net.JoinHostPort(gateway, aptPort))
	}
	return text
}

// aptServer is a cache that this process serves.
type aptServer struct {
	cache *AptCache
	end   context.CancelFunc
	done  chan struct{}
	once  sync.Once
}

func (s *aptServer) close() {
	if s == nil {
		return
	}
	s.once.Do(func() {
		s.end()
		<-s.done
	})
}

// AptStats counts what the hosts have asked of the cache, if this process serves it.
func (l *Lab) AptStats() AptStats {
	if l.apt == nil {
		return AptStats{}
	}
	return l.apt.cache.Stats()
}

// provideApt has the lab's cache served, if it is to have one.
func (l *Lab) provideApt(ctx context.Context, command []string) error {
	if !l.state.AptCache || l.aptAnswers() {
		return nil
	}
	if len(command) > 0 {
		if err := l.spawn("apt-cache", command...); err != nil {
			return err
		}
		return l.await(ctx, "apt-cache", l.aptAnswers)
	}
	listeners, err := l.aptListen()
	if err != nil {
		return err
	}
	// It serves until Down, or as long as the process lives: not only as long as the call that has begun it.
	ctx, end := context.WithCancel(context.WithoutCancel(ctx))
	l.apt = &aptServer{cache: l.aptCache(), end: end, done: make(chan struct{})}
	go func() {
		defer close(l.apt.done)
		if err := serveApt(ctx, l.apt.cache, listeners); err != nil {
			fmt.Fprintln(l.log, err)
		}
	}()
	return nil
}

// ServeApt serves the hosts' apt cache until ctx ends. It is for a process of its own, see Options.AptServer.
func (l *Lab) ServeApt(ctx context.Context) error {
	listeners, err := l.aptListen()
	if err != nil {
		return err
	}
	return serveApt(ctx, l.aptCache(), listeners)
}

func (l *Lab) aptCache() *AptCache {
	return &AptCache{Dir: filepath.Join(cacheDir(), "apt"), Mirrors: l.mirrors()}
}

// aptAnswers tells whether this lab's cache is served, by whichever process.
func (l *Lab) aptAnswers() bool {
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + net.JoinHostPort(l.Gateway(), aptPort) + "/")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusForbidden
}

// aptListen listens only where the hosts are.
func (l *Lab) aptListen() (listeners []net.Listener, err error) {
	gateways := []string{l.Gateway()}
	if hasIPv6() {
		gateways = append(gateways, l.Gateway6())
	}
	for _, gateway := range gateways {
		listener, e := net.Listen("tcp", net.JoinHostPort(gateway, aptPort))
		if e != nil {
			err = errors.Join(err, fmt.Errorf("lab: apt cache: %w", e))
			continue
		}
		listeners = append(listeners, listener)
	}
	if err != nil {
		for _, listener := range listeners {
			listener.Close()
		}
	}
	return listeners, err
}

func serveApt(ctx context.Context, cache *AptCache, listeners []net.Listener) error {
	defer cache.Close()
	server := &http.Server{Handler: cache, ReadHeaderTimeout: time.Minute, ErrorLog: silent()}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	errs := make(chan error)
	for _, listener := range listeners {
		go func() { errs <- server.Serve(listener) }()
	}
	var err error
	for range listeners {
		if e := <-errs; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, fmt.Errorf("lab: apt cache: %w", e))
			server.Close()
		}
	}
	return err
}

func silent() *log.Logger { return log.New(io.Discard, "", 0) }

// transport reaches the mirrors as this machine's own apt does, through a proxy where one is set.
func transport() *http.Transport {
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableCompression: true, MaxIdleConnsPerHost: 16,
		IdleConnTimeout: time.Minute, ResponseHeaderTimeout: time.Minute}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out, err := run(ctx, "", "apt-config", "dump", "--format", "%v%n", "Acquire::http::Proxy")
	if proxy, e := url.Parse(strings.TrimSpace(out)); err == nil && e == nil && proxy.Host != "" {
		t.Proxy = http.ProxyURL(proxy)
	}
	return t
}
