package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"unicode"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// explain turns what ended an attempt into an Error: which stage it was in, of
// what kind, and whether trying again may help.
func (a *attempt) explain(ctx context.Context, to *route, l *line, err error) error {
	at, late := a.now()
	if ctx.Err() != nil {
		return ended(ctx, to.host.Name, at.name, "waiting for "+at.what)
	}
	e := &Error{Host: to.host.Name, Stage: at.name, Err: err, Kind: Unreachable}
	switch {
	case late != nil:
		e.Err, e.again = late, soon
		if strings.HasPrefix(at.name, "authentication") {
			e.again = never
		}
	case to.keys.verdict != nil:
		return to.keys.verdict
	case strings.HasPrefix(at.name, "authentication"):
		explainAuth(e, to, a.banner, err)
	case strings.HasPrefix(at.name, "dial"):
		explainDial(e, err)
	case strings.HasPrefix(at.name, "banner"):
		explainBanner(e, l.said(), err)
	default:
		explainHandshake(e, err)
	}
	if e.hint == "" && e.Kind == Unreachable && to.host.Name != "" {
		e.hint = fmt.Sprintf("are address and port right, and does sshd run there? for a host that still boots: vpsctl ping --wait 10m -l %s", to.host.Name)
	}
	return e
}

func explainDial(e *Error, err error) {
	var dns *net.DNSError
	var opened *ssh.OpenChannelError
	e.again = soon
	switch {
	case errors.As(err, &dns):
		if dns.IsNotFound {
			e.again = never
			e.hint = "check `address` in the inventory"
		}
		e.Err = fmt.Errorf("look up %s: %s", dns.Name, dns.Err)
	case errors.As(err, &opened):
		e.Err = fmt.Errorf("the jump host says: %s", opened.Message)
		if opened.Reason == ssh.Prohibited {
			e.again = never
			e.hint = "the jump host's sshd must have AllowTcpForwarding yes"
		}
	default:
		var op *net.OpError
		var sys *os.SyscallError
		if errors.As(err, &sys) {
			e.Err = sys.Err
		} else if errors.As(err, &op) {
			e.Err = op.Err
		}
	}
}

// explainBanner is about a connection that was accepted and then closed: sshd
// does that to an address it holds against something, or when it is too busy.
func explainBanner(e *Error, said string, err error) {
	e.again = penalised
	switch {
	case said != "" && !strings.HasPrefix(said, "Not allowed") && !strings.HasPrefix(said, "Exceeded"):
		e.again = never
		e.Err = fmt.Errorf("this is not an SSH server: it says %q", clip(said, 80))
		e.hint = "check `port` in the inventory"
	case said != "":
		e.Err = fmt.Errorf("closed before the SSH banner: it says %q", clip(said, 80))
	case closedByPeer(err): // also a reset: that is how a close looks to who has just written

		e.Err = errors.New("closed before the SSH banner: sshd is too busy, or punishes this address for failed logins")
	}
}

func explainHandshake(e *Error, err error) {
	if closedByPeer(err) {
		e.again = soon
		e.Err = errors.New("the line broke in the key exchange")
		return
	}
	var algos *ssh.AlgorithmNegotiationError
	if errors.As(err, &algos) {
		e.Kind = Unsupported
		e.Err = algos
	}
}

// closedForNow is what a host says that lets nobody in while it starts or stops.
var closedForNow = regexp.MustCompile(`(?i)system is (booting up|going down)|not permitted to log in yet`)

// explainAuth asks for another try only where the host says that it will be
// good: each one counts against us.
func explainAuth(e *Error, to *route, banner string, err error) {
	text := err.Error()
	switch {
	case closedForNow.MatchString(banner):
		e.again = soon
		e.Err = fmt.Errorf("the host lets nobody in for the moment: %s", clip(banner, 200))
	case strings.Contains(text, "unable to authenticate"), strings.Contains(text, "disconnect"):
		e.Kind = AuthRefused
		e.Err = fmt.Errorf("the host refused %s", offered(to))
		e.hint = fmt.Sprintf("put the right key into `identity_file` of %s, or its public part into ~%s/.ssh/authorized_keys there", to.host.Name, to.host.User)
		if strings.Contains(text, "disconnect") {
			e.Err = fmt.Errorf("%w (%s)", e.Err, text[strings.Index(text, "disconnect"):])
		}
	case closedByPeer(err):
		e.Err = errors.New("the line broke, or sshd closed it, in the login")
	default:
		e.Kind = AuthRefused
	}
}

// offered names the keys that were tried and those that could not be.
func offered(to *route) string {
	var parts []string
	for _, s := range to.signers {
		parts = append(parts, s.PublicKey().Type()+" "+ssh.FingerprintSHA256(s.PublicKey()))
	}
	text := "the login: there is no key to offer"
	if len(parts) > 0 {
		text = "every key: " + strings.Join(parts, ", ")
	}
	if len(to.notes) > 0 {
		text += " (" + strings.Join(to.notes, "; ") + ")"
	}
	return text
}

func closedByPeer(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, sftp.ErrSSHFxConnectionLost)
}

func retryable(err error) wait {
	var e *Error
	if errors.As(err, &e) {
		return e.again
	}
	return never
}

// forHost makes an error about a jump host one of the host behind it.
func forHost(host, jump string, err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	moved := *e
	moved.Host, moved.Stage = host, "jump host "+jump+": "+e.Stage
	moved.atJump = true
	return &moved
}

// clip bounds what a host said before it stands in a message, and leaves out
// what a terminal would obey.
func clip(s string, most int) string {
	s = strings.Join(strings.Fields(s), " ")
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, s)
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
