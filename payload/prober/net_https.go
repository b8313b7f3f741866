//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// tlsClients are the host's programs that can get a file by https, with what
// makes them quiet, honest about redirects, and alike whoever configured them.
// The prober has no TLS of its own: it would make it half as large again, and
// apt's downloads come through a program of the host, too.
var tlsClients = []struct {
	name string
	args []string
}{
	{"curl", []string{"-q", "-fsSL", "--fail-early", "--proto", "=https", "--max-redirs", "0", "--connect-timeout", "4", "--"}},
	{"wget", []string{"--no-config", "-nv", "-O", "-", "--https-only", "--max-redirect=0", "--tries=1", "--timeout=4", "--"}},
}

// tlsClient is the first of them that the host has.
func tlsClient() (path string, args []string, err error) {
	for _, c := range tlsClients {
		if path, err := exec.LookPath(c.name); err == nil {
			return path, c.args, nil
		}
	}
	return "", nil, errors.New("it is reached by https, and the host has neither curl nor wget")
}

// filesEach is how often one of them gets the file: to start it and to shake hands
// takes as long as some megabytes do.
const filesEach = 16

// fetchTLS has a program of the host get the file some times over one connection,
// and counts what it prints.
func fetchTLS(ctx context.Context, from, proxy *url.URL, s *inflow) error {
	path, args, err := tlsClient()
	if err != nil {
		return err
	}
	// The kernel sends the signal when the thread that forked ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, append(slices.Clone(args), slices.Repeat([]string{from.String()}, filesEach)...)...)
	var errs head
	to := &counted{s: s, enough: cancel}
	cmd.Stdout, cmd.Stderr, cmd.Env, cmd.Dir = to, &errs, tlsEnv(os.Environ(), proxy), "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		return nil // the bytes or the time are over
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %.200s", path, err, strings.TrimSpace(errs.String()))
	}
	return nil
}

// tlsEnv is an environment with apt's proxy and no other: an argument, in which
// a proxy's password may stand, everybody on the host can read.
func tlsEnv(env []string, proxy *url.URL) []string {
	env = slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return strings.HasSuffix(strings.ToLower(name), "_proxy")
	})
	if proxy != nil {
		env = append(env, "https_proxy="+proxy.String())
	}
	return append(env, "LC_ALL=C")
}

// counted takes bytes until there were enough.
type counted struct {
	s      *inflow
	enough func()
}

func (c *counted) Write(p []byte) (int, error) {
	if !c.s.take(len(p)) {
		c.enough()
	}
	return len(p), nil
}
