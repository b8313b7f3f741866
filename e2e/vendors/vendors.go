//go:build linux

// Package vendors plays the makers of the IDEs for lab hosts: over HTTPS it serves signed apt repositories and an
// archive with stand-in packages that behave as the real ones do, and it can be slow, broken, tampered with or gone.
// Keys and certificates are made anew each time. Nothing on a host or in vpsctl knows that it is not the real thing:
// where things are is told by variables, and hosts trust its certificates as they trust any that an administrator adds.
package vendors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/vpsctl/vpsctl/e2e/lab"
)

// IDE is one of the programs, and its maker.
type IDE string

// The three.
const (
	VSCode      IDE = "vscode"
	Cursor      IDE = "cursor"
	Antigravity IDE = "antigravity"
)

// Options say how the vendors are served.
type Options struct {
	// Address is where hosts reach this machine, such as Lab.Gateway().
	Address string
	// Heavy makes VS Code a program of real weight: Debian's chromium in app mode, which its package depends on. The
	// others open a plain window, and need nothing.
	Heavy bool
	// Arch is that of the hosts; this machine's if empty.
	Arch string
}

// Vendors are being served until Close.
type Vendors struct {
	opt    Options
	dir    string // all that is served, and what it is made of
	ca     *authority
	key    *signer
	shops  map[IDE]*shop
	served sync.WaitGroup

	mu       sync.Mutex
	releases map[IDE][]Release
}

// Start makes first releases of everything and serves them.
func Start(ctx context.Context, opt Options) (*Vendors, error) {
	if opt.Arch == "" {
		opt.Arch = runtime.GOARCH
	}
	dir, err := os.MkdirTemp("", "vpsctl-vendors-")
	if err != nil {
		return nil, err
	}
	v := &Vendors{opt: opt, dir: dir, shops: map[IDE]*shop{}, releases: map[IDE][]Release{}}
	if err := v.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("vendors: %w", err), v.Close())
	}
	return v, nil
}

func (v *Vendors) start(ctx context.Context) (err error) {
	if v.ca, err = newAuthority(); err != nil {
		return err
	}
	if v.key, err = newSigner(); err != nil {
		return err
	}
	if err := buildWindow(ctx, v.window(), v.opt.Arch); err != nil {
		return err
	}
	for _, ide := range []IDE{VSCode, Cursor, Antigravity} {
		if err := v.open(ide); err != nil {
			return err
		}
	}
	if err := v.writeKeys(); err != nil {
		return err
	}
	for ide, p := range products {
		if err := v.Publish(ctx, Release{IDE: ide, Version: p.first}); err != nil {
			return err
		}
	}
	return nil
}

func (v *Vendors) window() string { return filepath.Join(v.dir, "window") }

// open begins to serve one vendor, at an address of its own.
func (v *Vendors) open(ide IDE) error {
	l, err := net.Listen("tcp", net.JoinHostPort(v.opt.Address, "0"))
	if err != nil {
		return err
	}
	root := filepath.Join(v.dir, string(ide))
	if err := os.Mkdir(root, 0o755); err != nil {
		l.Close()
		return err
	}
	s := &shop{base: "https://" + l.Addr().String(), root: root}
	tls, err := v.ca.config(v.opt.Address)
	if err != nil {
		l.Close()
		return err
	}
	s.server = &http.Server{Handler: s, TLSConfig: tls, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	v.shops[ide] = s
	v.served.Go(func() { _ = s.server.ServeTLS(&door{l, s}, "", "") })
	return nil
}

// Close stops serving and removes what was made.
func (v *Vendors) Close() error {
	for _, s := range v.shops {
		s.server.Close()
	}
	v.served.Wait()
	return os.RemoveAll(v.dir)
}

// Vars are the variables by which vpsctl finds these vendors and the newest releases.
func (v *Vendors) Vars() map[string]string {
	v.mu.Lock()
	defer v.mu.Unlock()
	vars := map[string]string{
		"vscode_repository":  v.shops[VSCode].base + products[VSCode].repository,
		"vscode_key":         v.shops[VSCode].base + products[VSCode].keyPath,
		"vscode_fingerprint": v.key.fingerprint(),
		"cursor_repository":  v.shops[Cursor].base + products[Cursor].repository,
		"cursor_key":         v.shops[Cursor].base + products[Cursor].keyPath,
		"cursor_fingerprint": v.key.fingerprint(),
		"antigravity_latest": v.shops[Antigravity].base + "/api/update",
	}
	list := v.releases[Antigravity]
	newest := list[len(list)-1]
	vars["antigravity_version"] = newest.Version
	for _, arch := range []string{"amd64", "arm64"} {
		vars["antigravity_url_"+arch] = v.shops[Antigravity].base + archiveURL(newest.Version, arch)
		vars["antigravity_sha256_"+arch] = newest.sha256
	}
	return vars
}

// Args are the variables as arguments of vpsctl.
func (v *Vendors) Args() []string {
	var args []string
	vars := v.Vars()
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		args = append(args, "-e", name+"="+quoted(vars[name]))
	}
	return args
}

// quoted keeps YAML from reading a version or a hash of digits as a number.
func quoted(s string) string { return "'" + s + "'" }

// Prepare makes a host trust the vendors' certificates, as an administrator would.
func (v *Vendors) Prepare(ctx context.Context, h *lab.Host) error {
	const path = "/usr/local/share/ca-certificates/lab-vendors.crt"
	_, err := h.Exec(ctx, fmt.Sprintf("mkdir -p %s && printf '%%s' '%s' >%s && update-ca-certificates >/dev/null", filepath.Dir(path), v.ca.pem, path))
	return err
}

// Break makes a vendor fail in that way from now on; the zero Fault heals it.
func (v *Vendors) Break(ide IDE, f Fault) {
	s := v.shops[ide]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.requests, s.cuts = f, nil, 0
}

// Requests are the paths that a vendor was asked for since Start or the last Break, with the code it answered.
func (v *Vendors) Requests(ide IDE) []string {
	s := v.shops[ide]
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}
