package sshtest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/crypto/ssh"
)

// conn is a connection that can be frozen.
type conn struct {
	net.Conn
	once   sync.Once
	frozen chan struct{} // closed: no byte passes any more
	gone   chan struct{} // closed: the connection is
	end    sync.Once
}

func (c *conn) freeze() { c.once.Do(func() { close(c.frozen) }) }

// Close also ends whoever waits in a frozen connection.
func (c *conn) Close() error {
	c.end.Do(func() { close(c.gone) })
	return c.Conn.Close()
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return c.pass(n, err)
}

func (c *conn) Write(p []byte) (int, error) {
	if _, err := c.pass(0, nil); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *conn) pass(n int, err error) (int, error) {
	select {
	case <-c.frozen:
		<-c.gone
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (s *Server) serve(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listener = l
	s.config = s.newConfig()
	s.wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			s.accept(nc)
		}
	})
}

func (s *Server) accept(nc net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Connections++
	if s.drop > 0 || s.closed {
		s.drop--
		nc.Close()
		return
	}
	c := &conn{Conn: nc, frozen: make(chan struct{}), gone: make(chan struct{})}
	s.conns[c] = true
	mute, config := s.mute, s.config
	s.wg.Go(func() {
		if mute {
			<-c.gone
		} else {
			s.handle(c, config)
		}
		c.Close()
		s.set(func() { delete(s.conns, c) })
	})
}

var errNo = errors.New("no")

// newConfig is made with s.mu held.
func (s *Server) newConfig() *ssh.ServerConfig {
	config := &ssh.ServerConfig{PublicKeyCallback: func(m ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.counts.KeysOffered++
		if s.booting {
			return nil, &ssh.BannerError{Err: errNo, Message: "\"System is booting up. Unprivileged users are not permitted to log in yet.\"\n"}
		}
		if s.refuse || s.opt.User != "" && m.User() != s.opt.User {
			return nil, errNo
		}
		for _, k := range s.opt.Keys {
			if bytes.Equal(k.Marshal(), key.Marshal()) {
				return nil, nil
			}
		}
		return nil, errNo
	}}
	for _, k := range s.hostKeys {
		config.AddHostKey(k)
	}
	return config
}

func (s *Server) handle(c *conn, config *ssh.ServerConfig) {
	sc, chans, reqs, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	defer sc.Close()
	s.set(func() { s.counts.Logins++ })
	s.wg.Go(func() { ssh.DiscardRequests(reqs) })
	for nch := range chans {
		switch nch.ChannelType() {
		case "session":
			ch, reqs, err := nch.Accept()
			if err == nil {
				s.wg.Go(func() { s.session(c, ch, reqs, sc.User()) })
			}
		case "direct-tcpip":
			s.wg.Go(func() { s.forward(nch) })
		default:
			nch.Reject(ssh.UnknownChannelType, "not here")
		}
	}
}

// forward is what a jump host does.
func (s *Server) forward(nch ssh.NewChannel) {
	var to struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}
	if s.opt.NoForward || ssh.Unmarshal(nch.ExtraData(), &to) != nil {
		nch.Reject(ssh.Prohibited, "administratively prohibited")
		return
	}
	nc, err := net.Dial("tcp", net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port))))
	if err != nil {
		nch.Reject(ssh.ConnectionFailed, "Connection refused")
		return
	}
	defer nc.Close()
	ch, reqs, err := nch.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	go ssh.DiscardRequests(reqs)
	s.wg.Go(func() {
		io.Copy(nc, ch)
		nc.Close()
	})
	io.Copy(ch, nc)
}

func (s *Server) session(c *conn, ch ssh.Channel, reqs <-chan *ssh.Request, user string) {
	started, env := false, []string(nil)
	for req := range reqs {
		ok := false
		var text struct{ S string }
		if !started && ssh.Unmarshal(req.Payload, &text) == nil {
			switch {
			case req.Type == "exec":
				ok = s.start(c, ch, s.command(text.S), user, text.S, env) == nil
				started = ok
			case req.Type == "subsystem" && text.S == "sftp" && !s.opt.NoSFTP:
				ok = s.startSFTP(c, ch, user) == nil
				started = ok
			}
		}
		var v struct{ Name, Value string }
		if req.Type == "env" && ssh.Unmarshal(req.Payload, &v) == nil && slices.Contains(s.opt.AcceptEnv, v.Name) {
			env, ok = append(env, v.Name+"="+v.Value), true
		}
		if req.WantReply {
			req.Reply(ok, nil)
		}
	}
	ch.Close()
}

// sprung counts the events that were passed on through c, this one included
// when passed is set, and springs the trap when it is its turn.
func (s *Server) sprung(c *conn, passed bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if passed {
		s.events++
	}
	if !s.armed || s.events != s.trap {
		return false
	}
	s.armed = false
	if s.freeze {
		c.freeze()
	} else {
		c.Close()
	}
	return true
}
