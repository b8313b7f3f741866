package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// A sudo that wants a password asks for it on stderr, with a prompt of ours
// that nobody can guess, and reads it from the command's own stdin. Only that
// prompt is answered, and once. What else is sent waits until the command has
// answered: where sudo does not ask, the command would take the password for
// input, and a sudo that logs input would keep it.

// order is a line for the host's shell, and the talk with sudo it begins with.
type order struct {
	text  string
	talk  *talk  // nil: nobody asks
	early string // the plan, ahead of stdin; "": not
}

// talk is what is said to one sudo.
type talk struct {
	prompt   string
	password inventory.Secret
	open     chan struct{} // closed once the command itself reads what is sent
	once     sync.Once
	asked    bool        // the stderr goroutine's only
	refused  atomic.Bool // it has asked again
}

// begin says that sudo has done its part.
func (t *talk) begin() {
	if t != nil {
		t.once.Do(func() { close(t.open) })
	}
}

func (t *talk) begun() bool {
	select {
	case <-t.open:
		return true
	default:
		return false
	}
}

// order makes a line of a script and its arguments: as root when the host's
// inventory says so.
func (s *Session) order(script string, args ...string) order {
	if !s.h.Become {
		return asUser(script, args...)
	}
	words, t := s.sudo()
	return order{text: command(append(words, "--"), script, args...), talk: t}
}

// orderPlain is an order of a user's script that is one line of ours, too.
func (s *Session) orderPlain(script string, args ...string) order {
	if !s.h.Become {
		return order{text: commandAs("/bin/sh", nil, script, args...)}
	}
	words, t := s.sudo()
	return order{text: commandAs("/bin/sh", append(words, "--"), script, args...), talk: t}
}

// asUser is an order that is not for root.
func asUser(script string, args ...string) order { return order{text: command(nil, script, args...)} }

// sudo is how sudo is called on this host.
func (s *Session) sudo() ([]string, *talk) {
	if !s.asks() {
		return []string{"sudo", "-n"}, nil
	}
	t := &talk{prompt: "[" + newMarker() + "] ", password: s.password, open: make(chan struct{})}
	return []string{"sudo", "-S", "-p", t.prompt}, t
}

// asks says that sudo may ask, and we have an answer.
func (s *Session) asks() bool { return s.h.Become && s.password.Reveal() != "" }

// learn has the password of the host's sudo looked up, once, before the host is
// dialled. A password that was refused is not tried again: hosts count that.
func (s *Session) learn(ctx context.Context) error {
	if !s.h.Become || s.d.opt.SudoPassword == nil {
		return nil
	}
	if s.wrong.Load() {
		return s.wrongPassword()
	}
	if s.asks() {
		return nil
	}
	p, err := s.d.opt.SudoPassword(ctx, s.h)
	if err == nil && strings.ContainsAny(p.Reveal(), "\n\x00") {
		err = errors.New("it has more than one line")
	}
	if err != nil {
		return s.fail("sudo", Local, "", "the password for sudo: %w", err)
	}
	if p.Reveal() == "" {
		return nil
	}
	if s.mask, err = wire.NewMasker(map[string]string{"become_password": p.Reveal()}); err != nil {
		return s.fail("sudo", Local, "", "the password for sudo: %w", err)
	}
	s.password = p
	return nil
}

func (s *Session) wrongPassword() *Error {
	hint := fmt.Sprintf("try it by hand: ssh -t -p %d %s@%s sudo -k true", s.h.Port, s.h.User, s.h.Address)
	if s.h.BecomePassword != nil {
		hint = "become_password is " + s.h.BecomePassword.String() + "; " + hint
	}
	return s.fail("sudo", Rights, hint, "sudo there does not take this password of %s", s.h.User)
}

// What sudo says to whom it does not let.
var (
	noTTY     = regexp.MustCompile(`(?i)must have a tty`)
	noSudoer  = regexp.MustCompile(`(?i)not in the sudoers|may not run sudo|not allowed to (run sudo|execute .* as )`)
	wantsWord = regexp.MustCompile(`(?i)password is required`)
)

// explainSudo says why sudo did not run our command.
func (s *Session) explainSudo(e *noAnswer, text string) *Error {
	free := fmt.Sprintf("as root, put `%s ALL=(ALL) NOPASSWD: ALL` into /etc/sudoers.d/vpsctl, or set `user: root` for %s", s.h.User, s.h.Name)
	switch {
	case e.refused:
		s.wrong.Store(true)
		return s.wrongPassword()
	case noTTY.MatchString(text):
		return s.fail("sudo", Rights, fmt.Sprintf("as root, add to sudoers: Defaults:%s !requiretty", s.h.User), "%w", e)
	case noSudoer.MatchString(text):
		return s.fail("sudo", Rights, fmt.Sprintf("as root: adduser %s sudo; or set another `user` for %s", s.h.User, s.h.Name), "%w", e)
	case wantsWord.MatchString(text) && !s.asks():
		return s.fail("sudo", Rights, "set `become_password` for "+s.h.Name+", or type it: --ask-become-password; or, "+free, "%w", e)
	}
	return s.fail("sudo", Rights, free, "%w", e)
}

// prompts takes sudo's prompts out of a stream and has them answered, until the
// command has begun.
type prompts struct {
	r      io.Reader
	talk   *talk
	answer func()
	ready  []byte // to be given out
	held   []byte // may be the beginning of a prompt
	err    error
}

func (p *prompts) Read(b []byte) (int, error) {
	for len(p.ready) == 0 {
		if p.err != nil {
			return 0, p.err
		}
		part := make([]byte, 4<<10)
		n, err := p.r.Read(part)
		p.take(part[:n])
		if err != nil {
			p.ready, p.held, p.err = append(p.ready, p.held...), nil, err
		}
	}
	n := copy(b, p.ready)
	p.ready = p.ready[n:]
	return n, nil
}

func (p *prompts) take(part []byte) {
	text, prompt := append(p.held, part...), []byte(p.talk.prompt)
	p.held = nil
	if p.talk.begun() {
		p.ready = append(p.ready, text...)
		return
	}
	for {
		before, after, found := bytes.Cut(text, prompt)
		if !found {
			break
		}
		p.ready = append(p.ready, before...)
		text = after
		p.answer()
	}
	keep := 0
	for n := min(len(prompt)-1, len(text)); n > 0 && keep == 0; n-- {
		if bytes.HasSuffix(text, prompt[:n]) {
			keep = n
		}
	}
	p.ready = append(p.ready, text[:len(text)-keep]...)
	p.held = bytes.Clone(text[len(text)-keep:])
}

// reply answers sudo. A second question means that the answer was wrong; the
// end of what it reads makes sudo give up.
func (p *process) reply() {
	if !p.talk.asked {
		p.talk.asked = true
		io.WriteString(p.ch, p.talk.password.Reveal()+"\n")
		return
	}
	p.talk.refused.Store(true)
	p.ch.CloseWrite()
}

// reached waits until what is sent goes to the command, and not to sudo. False:
// it never will.
func (p *process) reached() bool {
	if p.talk == nil {
		return true
	}
	select {
	case <-p.talk.open:
		return true
	case <-p.done:
		return false
	}
}

// veil masks what is written through it. Close gives out what is held back.
type veil struct {
	mu sync.Mutex
	w  io.Writer
	st wire.Masking
}

func (v *veil) Write(b []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if out := v.st.Write(nil, b); len(out) > 0 {
		if _, err := v.w.Write(out); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

func (v *veil) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if out := v.st.Close(nil); len(out) > 0 {
		_, err := v.w.Write(out)
		return err
	}
	return nil
}

// veiled hides the password of sudo in what a command prints.
func (s *Session) veiled(w io.Writer) (io.Writer, func() error) {
	if w == nil || s.mask == nil {
		return w, func() error { return nil }
	}
	v := &veil{w: w, st: wire.Masking{Masker: s.mask}}
	return v, v.Close
}
