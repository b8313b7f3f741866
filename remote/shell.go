package remote

import (
	"context"
	"errors"
	"io"
	"sync"

	"golang.org/x/crypto/ssh"
)

// Terminal is what a person types on and reads from.
type Terminal struct {
	In       io.Reader // read until it ends or the shell does, by a goroutine that a blocked Read keeps
	Out, Err io.Writer
	// Type is what TERM says there; "": no terminal, streams only.
	Type string
	// Columns and Rows, and their later values; Resize may be nil.
	Size   Size
	Resize <-chan Size
	// Ready is called once the host is reached and questions about keys are
	// answered; nil: nothing is to be done then.
	Ready func() error
}

// Size of a terminal in characters.
type Size struct{ Columns, Rows int }

// Shell runs the login shell of the session's user, or command when it is not
// "", on a terminal. It gives the exit status as Exec does. When ctx ends, the
// line is closed, and with it the host's side of the terminal.
func (s *Session) Shell(ctx context.Context, command string, t Terminal) (rc int, err error) {
	const stage = "shell"
	c, err := s.connect(ctx, s.d.lim.tries)
	if err != nil {
		return -1, err
	}
	if t.Ready != nil {
		if err := t.Ready(); err != nil {
			return -1, s.fail(stage, Local, "", "%w", err)
		}
	}
	ch, reqs, err := c.open(ctx, "session")
	if err != nil {
		return -1, s.problem(ctx, stage, err)
	}
	p := &process{c: c, ch: ch, errs: &tail{}, done: make(chan struct{})}
	defer p.close()
	defer context.AfterFunc(ctx, func() { c.abort(context.Cause(ctx)) })()
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(t.Err, ch.Stderr()) })
	wg.Go(func() { io.Copy(t.Out, ch) })
	wg.Go(func() { p.requests(reqs) })
	go func() {
		wg.Wait()
		close(p.done)
	}()
	if err := c.within(ctx, c.d.lim.channel, "the host to start the shell", func() error { return begin(ch, command, t) }); err != nil {
		return -1, s.problem(ctx, stage, c.brokenOr(err))
	}
	go func() {
		io.Copy(ch, t.In)
		ch.CloseWrite()
	}()
	go follow(ch, t.Resize, p.done)
	rc, err = p.wait()
	if ctx.Err() != nil {
		return -1, s.ended(ctx, stage)
	}
	return rc, s.problem(ctx, stage, err)
}

// brokenOr is err, or why the connection ended when it did.
func (c *conn) brokenOr(err error) error {
	if c.alive() {
		return err
	}
	return c.broken(err)
}

// begin asks for a terminal, if there is one here, and starts the shell.
func begin(ch ssh.Channel, command string, t Terminal) error {
	if t.Type != "" {
		msg := struct {
			Term                         string
			Columns, Rows, Width, Height uint32
			Modes                        string
		}{t.Type, uint32(t.Size.Columns), uint32(t.Size.Rows), 0, 0, "\x00"}
		if ok, err := ch.SendRequest("pty-req", true, ssh.Marshal(msg)); err != nil || !ok {
			return refusedOr(err, "the host gives no terminal")
		}
	}
	kind, body := "shell", []byte(nil)
	if command != "" {
		kind, body = "exec", ssh.Marshal(struct{ Command string }{command})
	}
	ok, err := ch.SendRequest(kind, true, body)
	if err != nil || !ok {
		return refusedOr(err, "the host starts no shell")
	}
	return nil
}

func refusedOr(err error, text string) error {
	if err == nil || errors.Is(err, io.EOF) {
		return errors.New(text)
	}
	return err
}

// follow tells the host of other sizes of the terminal.
func follow(ch ssh.Channel, sizes <-chan Size, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case z, ok := <-sizes:
			if !ok {
				return
			}
			ch.SendRequest("window-change", false, ssh.Marshal(struct{ Columns, Rows, Width, Height uint32 }{uint32(z.Columns), uint32(z.Rows), 0, 0}))
		}
	}
}
