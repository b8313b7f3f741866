package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/phases"
	"github.com/vpsctl/vpsctl/remote"
)

//go:embed hostside/rdp.sh
var rdpScript string

// rdpAtHost is where xrdp listens, seen from the host.
const rdpAtHost = "127.0.0.1:3389"

// rdpGreetTime is how long xrdp may take to show its certificate.
const rdpGreetTime = 20 * time.Second

func rdpCommand() *cli.Command {
	return &cli.Command{Name: "rdp", Usage: "log in to a host's desktop, through SSH", ArgsUsage: "HOST",
		Flags: flags(oneHostFlags, []cli.Flag{
			&cli.StringFlag{Name: "user", Usage: "log in as `NAME` (default: the variable username)"},
			&cli.IntFlag{Name: "port", Usage: "listen on this local `PORT` (default: any that is free)"},
			&cli.BoolFlag{Name: "print", Usage: "start no client: print where to connect, until ^C"}}),
		Description: "Opens a tunnel to the host's RDP server, compares its certificate with the one\non the host's disk, writes a .rdp file and starts the client there is. Where the\npassword has expired, it is changed first.", Action: with(rdpHost),
		CustomHelpTemplate: help("vpsctl rdp alpha", "vpsctl rdp alpha --print --port 13389", "vpsctl rdp alpha --user ada")}
}

// desktop is a host's RDP server as its user meets it.
type desktop struct {
	*call
	h       inventory.Host
	user    string
	session *remote.Session
	dialer  *remote.Dialer
}

func rdpHost(k *call) error {
	h, err := k.oneHostNamed()
	if err != nil {
		return err
	}
	if p := k.Int("port"); k.NArg() > 1 || p < 0 || p > 65535 {
		return usageError{"rdp: one host and, with --port, a port from 1 to 65535", "vpsctl rdp HOST --port 13389"}
	}
	ctx, stop := k.interruptible()
	defer stop()
	d := &desktop{call: k, h: h, dialer: k.dialer(nil)}
	defer d.dialer.Close()
	if d.user, err = d.developer(); err != nil {
		return err
	}
	d.session = d.dialer.Session(h)
	defer d.session.Close()
	cert, err := d.prepare(ctx)
	if err != nil {
		return err
	}
	return d.open(ctx, cert)
}

// developer is who logs in to the desktop.
func (d *desktop) developer() (string, error) {
	name := d.String("user")
	if name == "" {
		name = developerOf(d.h)
	}
	if !accountRule.MatchString(name) {
		return "", usageError{fmt.Sprintf("rdp: %q is no name of an account", name), "--user NAME"}
	}
	return name, nil
}

// developerOf is the user that a host's desktop is made for.
func developerOf(h inventory.Host) string {
	if v, ok := h.Vars["username"]; ok && v.Secret == nil {
		return fmt.Sprint(v.Value)
	}
	for _, v := range phases.Vars() {
		if v.Name == "username" {
			return fmt.Sprint(v.Default)
		}
	}
	return ""
}

var (
	accountRule     = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
	fingerprintRule = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// rdpState is what the host says of its RDP server.
type rdpState struct {
	account     string // ok, expired, missing
	open        bool
	certificate string // hex SHA-256 of its DER
}

// prepare makes sure that the user can log in, and gives the certificate's
// fingerprint.
func (d *desktop) prepare(ctx context.Context) (string, error) {
	st, err := d.ask(ctx)
	if err != nil {
		return "", err
	}
	if st.account == "expired" {
		if err := d.change(ctx); err != nil {
			return "", err
		}
		if st, err = d.ask(ctx); err != nil {
			return "", err
		}
	}
	const again = "provision the host with the phases rdp-config and user-creation"
	switch {
	case st.account == "missing":
		return "", d.no("there is no user "+d.user, "name it with --user, or "+again)
	case st.account == "expired":
		return "", d.no(fmt.Sprintf("the password of %s still has to be changed", d.user), d.changeHint())
	case !st.open:
		return "", d.no("nothing listens on port 3389", again)
	case !fingerprintRule.MatchString(st.certificate):
		return "", d.no("xrdp has no certificate of its own to compare with", again)
	}
	return st.certificate, nil
}

// no is why there is no desktop to log in to, and what to do about it.
func (d *desktop) no(text, hint string) error {
	return exitError{exitFailed, hintedError{d.h.Name + ": " + text, hint}}
}

type hintedError struct{ text, hint string }

func (e hintedError) Error() string { return e.text }
func (e hintedError) Hint() string  { return e.hint }

// ask asks the host. A login that is refused because of an expired password is
// an answer too.
func (d *desktop) ask(ctx context.Context) (rdpState, error) {
	var out, errs bytes.Buffer
	rc, err := d.session.Exec(ctx, "user="+remote.ShellLine([]string{d.user})+"\n"+rdpScript, nil, &bounded{w: &out, left: 4 << 10}, &bounded{w: &errs, left: 4 << 10})
	var e *remote.Error
	if errors.As(err, &e) && e.Kind == remote.Rights && d.h.User == d.user {
		return rdpState{account: "expired"}, nil
	}
	if err != nil {
		return rdpState{}, err
	}
	if rc != 0 {
		return rdpState{}, exitError{exitFailed, fmt.Errorf("%s: ask about its RDP server: status %d", d.h.Name, rc)}
	}
	var st rdpState
	for line := range strings.Lines(out.String()) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), " "); key {
		case "account":
			st.account = value
		case "port":
			st.open = value == "open"
		case "certificate":
			st.certificate = value
		}
	}
	return st, nil
}

// bounded takes so many bytes and forgets the rest.
type bounded struct {
	w    io.Writer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	n := min(len(p), b.left)
	b.left -= n
	_, err := b.w.Write(p[:n])
	return len(p), err
}

// change has the user change an expired password: sshd asks for it at a login
// with a terminal and ends the connection. xrdp can only refuse.
func (d *desktop) change(ctx context.Context) error {
	if !d.atTerminal() {
		return d.no(fmt.Sprintf("the password of %s has to be changed before the first login by RDP", d.user), d.changeHint())
	}
	d.ui.say("[INFO]", "%s: %s has to change the password first; then the desktop opens", d.h.Name, d.user)
	as := d.h
	as.User = d.user
	_, err := d.shell(ctx, d.dialer, as, "")
	return err
}

// atTerminal tells whether somebody is there to type a password.
func (d *desktop) atTerminal() bool {
	f, ok := d.ui.in.(*os.File)
	return ok && !d.ui.never && term.IsTerminal(int(f.Fd()))
}

func (d *desktop) changeHint() string {
	hint := fmt.Sprintf("vpsctl ssh %s --user %s", d.h.Name, d.user)
	if login := loginLine(d.h, d.user); login != hint {
		hint += "   (or " + login + ")"
	}
	return hint
}

// loginLine is what somebody types to log in with a terminal. Behind a jump
// host ssh does not know the way; vpsctl does.
func loginLine(h inventory.Host, user string) string {
	if h.Jump != nil {
		return fmt.Sprintf("vpsctl ssh %s --user %s", h.Name, user)
	}
	return "ssh -t " + sshTarget(h, user)
}

// sshTarget is a host as the arguments of ssh.
func sshTarget(h inventory.Host, user string) string {
	addr := h.Address
	if addr == "" {
		addr = h.Name
	}
	if h.Port != 0 && h.Port != 22 {
		return fmt.Sprintf("-p %d %s@%s", h.Port, user, addr)
	}
	return user + "@" + addr
}

// open checks the server and lets a client through to it.
func (d *desktop) open(ctx context.Context, cert string) error {
	if err := d.compare(ctx, cert); err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", d.Int("port")))
	if err != nil {
		return exitError{exitLocal, fmt.Errorf("listen for the RDP client: %w", err)}
	}
	t := newTunnel(l, func(ctx context.Context) (net.Conn, error) { return d.session.Tunnel(ctx, rdpAtHost) },
		func(err error) { d.ui.explain(err) })
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t.start(ctx)
	defer t.wait()
	defer cancel(nil)
	port := l.Addr().(*net.TCPAddr).Port
	file, err := d.writeFile(port)
	if err != nil {
		return exitError{exitLocal, err}
	}
	defer os.Remove(file)
	if err := d.announce(port, file, cert); err != nil {
		return err
	}
	return d.serve(ctx, rdpClient(file, port, d.user, cert))
}

// compare wants TLS and nothing less, with the certificate of the host's disk.
func (d *desktop) compare(ctx context.Context, cert string) error {
	ctx, cancel := context.WithTimeout(ctx, rdpGreetTime)
	defer cancel()
	g, err := greetRDP(ctx, func(ctx context.Context) (net.Conn, error) { return d.session.Tunnel(ctx, rdpAtHost) })
	switch {
	case err != nil:
		return exitError{exitFailed, fmt.Errorf("%s: RDP: %w", d.h.Name, err)}
	case g.Certificate != cert:
		return d.no(fmt.Sprintf("what answers on port 3389 shows another certificate than xrdp's: sha256 %s, on the disk %s", g.Certificate, cert), "on the host: ss -ltnp 'sport = :3389'; systemctl restart xrdp")
	case !g.TLSOnly:
		d.ui.warn(d.h.Name+": its RDP server would also do without TLS", "provision the phase rdp-config")
	}
	return nil
}

// writeFile writes what clients of every system open.
func (d *desktop) writeFile(port int) (string, error) {
	dir := filepath.Join(d.stateDir(), "rdp")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	file := filepath.Join(dir, fmt.Sprintf("%s-%d.rdp", d.h.Name, port))
	return file, os.WriteFile(file, []byte(rdpFile(port, d.user)), 0o600)
}

// rdpFile is a connection as .rdp files have it. The certificate is nobody's
// but the host's own: it was compared already, so clients need not ask.
func rdpFile(port int, user string) string {
	lines := []string{
		fmt.Sprintf("full address:s:127.0.0.1:%d", port), "username:s:" + user, "prompt for credentials:i:1",
		"authentication level:i:0", "enablecredsspsupport:i:0", "negotiate security layer:i:1",
		"session bpp:i:32", "screen mode id:i:1", "dynamic resolution:i:1", "smart sizing:i:1",
		"redirectclipboard:i:1", "redirectprinters:i:0", "redirectsmartcards:i:0", "audiomode:i:2", "autoreconnection enabled:i:1",
	}
	return strings.Join(lines, "\r\n") + "\r\n"
}

// announce says where to connect.
func (d *desktop) announce(port int, file, cert string) error {
	doc := map[string]any{"schema": 1, "host": d.h.Name, "address": "127.0.0.1", "port": port, "user": d.user, "file": file, "certificate_sha256": cert}
	return d.ui.result(d.json(), doc, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s: desktop at 127.0.0.1:%d, user %s\n  file         %s\n  certificate  sha256 %s\n", d.h.Name, port, d.user, file, cert)
		return err
	})
}
