package remote

import (
	"context"
	"errors"
	"net"
	"sync"

	"golang.org/x/crypto/ssh"
)

// Tunnel connects to a TCP address as the host sees it, "127.0.0.1:3389",
// through the session's SSH connection. The connection has no deadlines: close
// it to end a Read. It takes one of the session's channels until it is closed.
func (s *Session) Tunnel(ctx context.Context, addr string) (net.Conn, error) {
	c, err := s.connect(ctx, s.d.lim.tries)
	if err != nil {
		return nil, err
	}
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, s.ended(ctx, "tunnel to "+addr)
	case <-c.done:
		return nil, s.problem(ctx, "tunnel to "+addr, c.broken(nil))
	}
	nc, err := c.client.DialContext(ctx, "tcp", addr)
	if err == nil {
		return &tunnel{Conn: nc, release: sync.OnceFunc(c.release)}, nil
	}
	c.release()
	var refused *ssh.OpenChannelError
	switch {
	case errors.As(err, &refused) && refused.Reason == ssh.Prohibited:
		return nil, s.fail("tunnel to "+addr, Refused, "allow it in the host's sshd_config: AllowTcpForwarding yes", "its sshd forbids forwarding: %s", refused.Message)
	case errors.As(err, &refused):
		return nil, s.fail("tunnel to "+addr, Refused, "", "nothing answers there: %s", refused.Message)
	}
	return nil, s.problem(ctx, "tunnel to "+addr, c.broken(err))
}

// tunnel gives back its channel's place once it is closed.
type tunnel struct {
	net.Conn
	release func()
}

func (t *tunnel) Close() error {
	defer t.release()
	return t.Conn.Close()
}
