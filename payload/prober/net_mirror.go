//go:build linux

package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

const netConnects = 20

// netMirror connects to the mirror that apt is told to use, and downloads a real
// index from it by one stream and by eight.
func netMirror(ctx context.Context, p *printer, args []string) error {
	b, err := netFlags("net-mirror", args, func(*flag.FlagSet) {})
	if err != nil {
		return err
	}
	from, err := findMirror("/etc/apt", runtime.GOARCH)
	if err != nil {
		return p.skip("mirror", err.Error())
	}
	by, client := "", ""
	if from.Scheme == "https" {
		path, _, err := tlsClient()
		if err != nil {
			return p.skip("mirror", from.Host+": "+err.Error())
		}
		client = filepath.Base(path)
		by = ", by https through " + client
	}
	proxy, err := aptProxy(ctx, from.Scheme, from.Hostname())
	if err != nil {
		return p.skip("mirror", err.Error())
	}
	name, note, reached := mirrorName(from, client, proxy), "path to mirror "+from.Host, ""
	if proxy != nil {
		by, reached = by+" through the proxy "+proxy.Host, ", to the proxy "+proxy.Host+" alone"
	}
	rtt, err := connects(ctx, mirrorAddr(from, proxy))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return p.skip("mirror", from.Host+": "+err.Error())
	}
	rtt.Metric, rtt.Note = name+"/rtt", fmt.Sprintf("%s: %d times connecting by TCP%s", note, netConnects, reached)
	if err := p.line(wire.ProbeLine{Got: rtt}); err != nil {
		return err
	}
	tests := []netTest{{name + "/1", netDown, 1}, {name + "/8", netDown, 8}}
	return b.run(ctx, p, tests, func(test netTest) (*wire.ProbeSample, error) {
		got, err := download(ctx, from, proxy, test.streams, b.share(tests), b.each)
		if err != nil {
			return nil, fmt.Errorf("%s/%d: %w", from.Host, test.streams, err)
		}
		got.Note = note + by
		return got, nil
	})
}

// mirrorName is what the metrics of a mirror begin with. Figures are compared by
// their names, so whatever is not plain http from the mirror itself is in it: who
// speaks https, and the proxy.
func mirrorName(from *url.URL, client string, proxy *url.URL) string {
	name := "mirror/" + strings.ToLower(from.Hostname())
	if client != "" {
		name += "/https-" + client
	}
	if proxy != nil {
		name += "/via-" + cutTo(strings.ToLower(proxy.Hostname()), 40)
	}
	return name
}

// mirrorAddr is where a mirror's file is asked for: the proxy, if there is one.
func mirrorAddr(from, proxy *url.URL) string {
	at := cmp.Or(proxy, from)
	port := cmp.Or(at.Port(), map[string]string{"http": "80", "https": "443"}[at.Scheme])
	return net.JoinHostPort(at.Hostname(), port)
}

// connects is how long one packet takes to a place and back: connecting waits
// for that and no more.
func connects(ctx context.Context, to string) (*wire.ProbeSample, error) {
	began, took := time.Now(), make([]float64, 0, netConnects+1)
	for range netConnects + 1 {
		at := time.Now()
		c, err := (&net.Dialer{Timeout: 4 * time.Second}).DialContext(ctx, "tcp", to)
		if err != nil {
			return nil, err
		}
		took = append(took, float64(time.Since(at).Nanoseconds())/1e3)
		to = c.RemoteAddr().String() // the name is looked up once
		_ = c.Close()
	}
	got := roundTrips(took[1:])
	got.Seconds = time.Since(began).Seconds()
	return got, nil
}

// findMirror is the package index of the first source of apt that has one.
func findMirror(dir, arch string) (*url.URL, error) {
	files := []string{filepath.Join(dir, "sources.list")}
	for _, pattern := range []string{"*.sources", "*.list"} {
		more, _ := filepath.Glob(filepath.Join(dir, "sources.list.d", pattern))
		files = append(files, more...)
	}
	for _, name := range files {
		b, err := readBounded(name, 1<<20)
		if err != nil {
			continue
		}
		for _, s := range aptSources(string(b)) {
			u, err := url.Parse(s.uri)
			if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https"}, u.Scheme) {
				continue
			}
			return u.JoinPath("dists", s.suite, s.component, "binary-"+arch, "Packages.xz"), nil
		}
	}
	return nil, errors.New("apt has no mirror on the network")
}

func readBounded(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

// An aptSource is one place of packages.
type aptSource struct{ uri, suite, component string }

// aptSources reads both formats of sources.list(5): lines, and paragraphs of
// fields.
func aptSources(text string) (out []aptSource) {
	fields, disabled := map[string]string{}, false
	flush := func() {
		uri, suite, component := strings.Fields(fields["uris"]), strings.Fields(fields["suites"]), strings.Fields(fields["components"])
		if !disabled && slices.Contains(strings.Fields(fields["types"]), "deb") && len(uri) > 0 && len(suite) > 0 && len(component) > 0 {
			out = append(out, aptSource{uri[0], suite[0], component[0]})
		}
		fields, disabled = map[string]string{}, false
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch key, value, isField := strings.Cut(line, ":"); {
		case strings.TrimSpace(line) == "":
			flush()
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "deb "):
			rest := strings.TrimSpace(line[4:])
			if strings.HasPrefix(rest, "[") {
				_, rest, _ = strings.Cut(rest, "]")
			}
			if w := strings.Fields(rest); len(w) >= 3 {
				out = append(out, aptSource{w[0], w[1], w[2]})
			}
		case isField && !strings.ContainsAny(key, " \t"):
			fields[strings.ToLower(key)] = value
			disabled = disabled || strings.EqualFold(key, "enabled") && strings.EqualFold(strings.TrimSpace(value), "no")
		}
	}
	flush()
	return out
}

// proxyKeys are where apt looks for a proxy, in its order.
func proxyKeys(scheme, mirror string) (keys []string) {
	for _, s := range slices.Compact([]string{scheme, "http"}) {
		keys = append(keys, "Acquire::"+s+"::Proxy::"+mirror, "Acquire::"+s+"::Proxy")
	}
	return keys
}

// aptProxy is the proxy that apt would use for a mirror; nil for none.
func aptProxy(ctx context.Context, scheme, mirror string) (*url.URL, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, key := range proxyKeys(scheme, mirror) {
		out, err := exec.CommandContext(ctx, "apt-config", "shell", "P", key).Output()
		if err != nil {
			return nil, errors.New("apt-config does not say which proxy to use")
		}
		_, value, _ := strings.Cut(strings.TrimSpace(string(out)), "=")
		switch value = strings.Trim(value, "'"); value {
		case "":
			continue
		case "DIRECT":
			return nil, nil
		}
		u, err := url.Parse(value)
		if err != nil || u.Scheme != "http" || u.Host == "" {
			return nil, errors.New("apt's proxy is not one by http")
		}
		return u, nil
	}
	return nil, nil
}

// download gets a file again and again over some streams, until the bytes or
// the time are over.
func download(ctx context.Context, from, proxy *url.URL, streams int, bytes int64, each time.Duration) (*wire.ProbeSample, error) {
	ctx, cancel := context.WithTimeout(ctx, each)
	defer cancel()
	var in intake
	in.left.Store(bytes)
	in.begun.Add(streams)
	var work sync.WaitGroup
	get, errs := fetch, make([]error, streams)
	if from.Scheme == "https" {
		get = fetchTLS
	}
	for i := range streams {
		s := &inflow{&in, sync.OnceFunc(in.begun.Done)}
		work.Go(func() {
			defer cancel()
			defer s.first() // who has failed is waited for by nobody
			for ctx.Err() == nil && in.left.Load() > 0 {
				if errs[i] = get(ctx, from, proxy, s); errs[i] != nil {
					return
				}
			}
		})
	}
	in.begun.Wait()
	log := sample(ctx, in.moved.Load)
	work.Wait()
	got, err := log.rate()
	if err != nil {
		return nil, errors.Join(append(errs, err)...)
	}
	got.Bytes = in.moved.Load()
	return got, nil
}

// intake is what the streams of a download bring together.
type intake struct {
	left, moved atomic.Int64
	begun       sync.WaitGroup // each has brought something
}

// inflow is one of them.
type inflow struct {
	*intake
	first func()
}

// take counts bytes, and says whether more are wanted. The first ones wait for
// those of the other streams: else little may be left when a program of the host
// has been started for the last of them.
func (s *inflow) take(n int) (more bool) {
	s.first()
	s.begun.Wait()
	s.moved.Add(int64(n))
	return s.left.Add(-int64(n)) > 0
}

// fetch gets the file once, by http. What stands before the file counts, too.
func fetch(ctx context.Context, from, proxy *url.URL, s *inflow) error {
	what := "/" + strings.TrimPrefix(from.RequestURI(), "/")
	if proxy != nil {
		what = from.String()
	}
	c, err := (&net.Dialer{Timeout: 4 * time.Second}).DialContext(ctx, "tcp", mirrorAddr(from, proxy))
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now()) })()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: vpsctl\r\nConnection: close\r\n\r\n", what, from.Host); err != nil {
		return err
	}
	r := bufio.NewReaderSize(c, netBlock)
	if err := readHead(r); err != nil {
		return err
	}
	buf := make([]byte, netBlock)
	for {
		n, err := r.Read(buf)
		if !s.take(n) || ctx.Err() != nil || errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// readHead reads the head of an answer, which must be that of a file.
func readHead(r *bufio.Reader) error {
	const most = 64
	for i := range most {
		line, err := r.ReadSlice('\n') // a line that does not fit is an error
		if err != nil {
			return fmt.Errorf("no answer: %w", err)
		}
		words := strings.Fields(string(line))
		if i == 0 {
			if len(words) < 2 || !strings.HasPrefix(words[0], "HTTP/1.") {
				return errors.New("no answer of a mirror")
			}
			if code, err := strconv.Atoi(words[1]); err != nil || code != 200 {
				return fmt.Errorf("it answers %q", cutTo(words[1], 20))
			}
		}
		if len(words) == 0 {
			return nil
		}
	}
	return errors.New("an answer without an end")
}

func cutTo(s string, n int) string { return s[:min(len(s), n)] }
