package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// client is an RDP client of this machine. One that hands over to another
// program and ends at once is not waited for. One that asks takes the password
// from its terminal: it passes through no hands of ours, and stands in no argv.
type client struct {
	argv  []string
	hands bool
	asks  []string // further arguments, where there is a terminal
	ends  []int    // exit codes with which sessions end that went well
}

// freeRDPEnds are FreeRDP's exit codes for an end that somebody wanted (xfreerdp's
// manual): disconnected, logged off, idle too long, replaced by another client,
// and the first two once more when they were asked for here.
var freeRDPEnds = []int{1, 2, 3, 5, 11, 12}

// rdpClient finds the client to start; argv is empty when there is none.
func rdpClient(file string, port int, user, cert string) client {
	switch runtime.GOOS {
	case "darwin":
		return client{argv: []string{"open", file}, hands: true}
	case "windows":
		return client{argv: []string{"mstsc", file}}
	}
	if os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
		return client{}
	}
	for _, name := range []string{"xfreerdp3", "xfreerdp", "sdl-freerdp3", "wlfreerdp3", "wlfreerdp"} {
		if path, err := exec.LookPath(name); err == nil {
			return client{asks: []string{"/from-stdin:force"}, ends: freeRDPEnds, argv: []string{path, fmt.Sprintf("/v:127.0.0.1:%d", port), "/u:" + user, "/sec:tls", "/bpp:32",
				"/cert:fingerprint:sha256:" + colons(cert), "/dynamic-resolution", "+clipboard", "/log-level:WARN"}}
		}
	}
	if path, err := exec.LookPath("remmina"); err == nil {
		return client{argv: []string{path, "-c", file}, hands: true}
	}
	return client{}
}

// colons writes hex bytes as clients compare them: aa:bb:cc.
func colons(hex string) string {
	var parts []string
	for i := 0; i+2 <= len(hex); i += 2 {
		parts = append(parts, hex[i:i+2])
	}
	return strings.Join(parts, ":")
}

// serve starts the client and keeps the tunnel open: until the client ends, or
// until ^C where there is none to wait for.
func (d *desktop) serve(ctx context.Context, c client) error {
	if d.Bool("print") || len(c.argv) == 0 {
		if !d.Bool("print") {
			d.ui.say("[INFO]", "no RDP client was found here: open the file with yours")
		}
		return d.linger(ctx)
	}
	argv := c.argv
	if len(c.asks) > 0 && d.atTerminal() {
		d.ui.say("[INFO]", "%s asks for the password of %s", filepath.Base(argv[0]), d.user)
		argv = slices.Concat(argv, c.asks)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = d.ui.in, d.ui.err, d.ui.err
	if err := cmd.Run(); err != nil && ctx.Err() == nil && !slices.Contains(c.ends, cmd.ProcessState.ExitCode()) {
		return exitError{exitLocal, fmt.Errorf("%s: %w", c.argv[0], err)}
	}
	if c.hands && ctx.Err() == nil {
		return d.linger(ctx)
	}
	return context.Cause(ctx)
}

// linger waits for ^C, which is how this is meant to end.
func (d *desktop) linger(ctx context.Context) error {
	d.ui.say("[INFO]", "the tunnel is open until ^C")
	<-ctx.Done()
	if exitCode(context.Cause(ctx)) == exitInterrupted {
		return nil
	}
	return context.Cause(ctx)
}

// maxClients of one tunnel at a time; each takes a channel of the connection.
const maxClients = 4

// tunnel passes connections to a local port on to the host.
type tunnel struct {
	l      net.Listener
	dial   dialFunc
	failed func(error)
	work   sync.WaitGroup
	slots  chan struct{}
}

func newTunnel(l net.Listener, dial dialFunc, failed func(error)) *tunnel {
	return &tunnel{l: l, dial: dial, failed: failed, slots: make(chan struct{}, maxClients)}
}

// start accepts clients until ctx ends.
func (t *tunnel) start(ctx context.Context) {
	t.work.Go(func() {
		defer context.AfterFunc(ctx, func() { t.l.Close() })()
		for {
			near, err := t.l.Accept()
			if err != nil {
				return
			}
			t.work.Go(func() { t.pass(ctx, near) })
		}
	})
}

// wait returns once nothing of the tunnel is left.
func (t *tunnel) wait() {
	t.l.Close()
	t.work.Wait()
}

// pass connects one client with the host until one of them has enough.
func (t *tunnel) pass(ctx context.Context, near net.Conn) {
	defer near.Close()
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	default:
		return
	}
	far, err := t.dial(ctx)
	if err != nil {
		if ctx.Err() == nil {
			t.failed(err)
		}
		return
	}
	defer far.Close()
	end := func() { near.Close(); far.Close() }
	defer context.AfterFunc(ctx, end)()
	var up sync.WaitGroup
	up.Go(func() {
		defer end()
		io.Copy(far, near)
	})
	io.Copy(near, far)
	end()
	up.Wait()
}
