//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

// waitReady waits until logins are allowed and root gets in by ssh with the host's own key. sshd charges time for
// connections that end without a login, so nobody knocks before it listens.
func (h *Host) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	err := poll(ctx, func() (bool, error) {
		if !h.Running() {
			return false, errors.New("it went off")
		}
		return h.listening(), nil
	})
	if err != nil {
		return fmt.Errorf("%s: wait for sshd to listen: %w: %s", h.Name, err, h.console())
	}
	client, err := h.Dial(ctx, "root")
	if err != nil {
		return err
	}
	return client.Close()
}

// listening tells whether a process in the host listens on port 22 and the host no longer turns users away.
func (h *Host) listening() bool {
	leader, err := h.leader()
	if err != nil {
		return false
	}
	proc := fmt.Sprintf("/proc/%d", leader)
	if _, err := os.Stat(filepath.Join(proc, "root/run/nologin")); err == nil {
		return false
	}
	v4, _ := os.ReadFile(filepath.Join(proc, "net/tcp"))
	v6, _ := os.ReadFile(filepath.Join(proc, "net/tcp6")) // Ubuntu's socket unit is on this one alone
	for line := range strings.Lines(string(v4) + string(v6)) {
		// Local address and state: port 22 is 0016, LISTEN is 0A.
		if f := strings.Fields(line); len(f) > 3 && strings.HasSuffix(f[1], ":0016") && f[3] == "0A" {
			return true
		}
	}
	return false
}

// Dial logs in by ssh as root, admin or plain with the lab's identity, and checks the host's key. The end of ctx ends
// the attempt, not the connection.
func (h *Host) Dial(ctx context.Context, user string) (*ssh.Client, error) {
	return h.DialAt(ctx, user, net.JoinHostPort(h.Addr, "22"))
}

// DialAt is Dial to another host:port that leads to the host, such as a Proxy's.
func (h *Host) DialAt(ctx context.Context, user, addr string) (*ssh.Client, error) {
	identity, _, err := ensureKey(h.lab.Identity(), "ed25519", "lab")
	if err != nil {
		return nil, err
	}
	key, _, err := h.hostKey(keyKinds[0])
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.Name, err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	c, channels, requests, err := ssh.NewClientConn(conn, addr, &ssh.ClientConfig{
		User:              user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(identity)},
		HostKeyCallback:   ssh.FixedHostKey(key.PublicKey()),
		HostKeyAlgorithms: []string{key.PublicKey().Type()},
	})
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("%s: log in as %s: %w", h.Name, user, err)
	}
	return ssh.NewClient(c, channels, requests), nil
}
