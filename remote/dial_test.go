package remote

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/remote/sshtest"
)

func ping(t *testing.T, r *rig) error {
	t.Helper()
	_, err := r.session(t).Ping(testContext(t))
	return err
}

func TestPing(t *testing.T) {
	r := newRig(t, sshtest.Options{})
	pong, err := r.session(t).Ping(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if pong.User != "dev" || pong.Fingerprint != ssh.FingerprintSHA256(r.HostKeys()[0]) || !strings.HasPrefix(pong.ServerVersion, "SSH-2.0-") ||
		pong.Dial <= 0 || pong.Auth <= 0 || pong.RTT <= 0 {
		t.Errorf("got %+v", pong)
	}
	if n := r.Counts(); n.Connections != 1 || n.Commands != 1 || n.KeysOffered != 1 && n.KeysOffered != 2 {
		t.Errorf("counts %+v: a ping is one connection, one key, one command", n)
	}
}

func TestUnreachable(t *testing.T) {
	r := newRig(t, sshtest.Options{})
	r.Down()
	wantError(t, ping(t, r), Unreachable, "web1: dial 127.0.0.1:", "connection refused")
	if n := strings.Count(r.verbose(), "trying again"); n != 2 {
		t.Errorf("tried again %d times, want 2: %s", n, r.verbose())
	}
}

func TestRefusedConnectionsPass(t *testing.T) {
	r := newRig(t, sshtest.Options{})
	r.Down()
	s := r.session(t)
	r.dialer.lim.tries = 100
	back := make(chan error, 1)
	go func() {
		time.Sleep(50 * time.Millisecond)
		back <- r.Up()
	}()
	if _, err := s.Ping(testContext(t)); err != nil {
		t.Error(err)
	}
	if err := <-back; err != nil {
		t.Fatal(err)
	}
}

func TestUnknownName(t *testing.T) {
	e := &Error{Stage: "dial x"}
	explainDial(e, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "nowhere.invalid", IsNotFound: true}})
	if e.again != never || !strings.Contains(e.Err.Error(), "look up nowhere.invalid: no such host") {
		t.Errorf("got %v, again %v", e.Err, e.again)
	}
}

func TestRefusedKeyIsTriedOnce(t *testing.T) {
	r := newRig(t, sshtest.Options{})
	r.RefuseKeys(true)
	wantError(t, ping(t, r), AuthRefused, "authentication as dev", "refused every key: ssh-ed25519 SHA256:", "identity_file")
	if n := r.Counts().Connections; n != 1 {
		t.Errorf("%d connections: a refused key must not be tried again", n)
	}
}

func TestWrongUserName(t *testing.T) {
	r := newRig(t, sshtest.Options{User: "admin"})
	wantError(t, ping(t, r), AuthRefused, "authentication as dev")
}

func TestClosedBeforeTheBanner(t *testing.T) {
	r := newRig(t, sshtest.Options{})
	r.DropBeforeBanner(1)
	s := r.session(t)
	r.dialer.lim.backoff, r.dialer.lim.penalty = 0, 200*time.Millisecond
	begin := time.Now()
	if _, err := s.Ping(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begin); d < 100*time.Millisecond {
		t.Errorf("tried again after %v: an sshd that punishes must be left alone for a while", d)
	}
	s.Close()
	r.DropBeforeBanner(3)
	_, err := s.Ping(testContext(t))
	wantError(t, err, Unreachable, "before the SSH banner")
}

// A stage that takes too long is named, with how long it took.
func TestStagesHaveNamesAndLimits(t *testing.T) {
	r := newRig(t, sshtest.Options{})
	r.Mute(true)
	r.opt.ConnectTimeout = 100 * time.Millisecond
	s := r.session(t)
	r.dialer.lim.tries = 1
	_, err := s.Ping(testContext(t))
	wantError(t, err, Unreachable, "banner of 127.0.0.1:", "waited 100ms for the SSH banner", "accepted")
	r.Mute(false)

	slow := newRig(t, sshtest.Options{Forced: "sleep 60"})
	s = slow.session(t)
	slow.dialer.lim.firstByte = 200 * time.Millisecond
	_, err = s.Ping(testContext(t))
	wantError(t, err, Unreachable, "the host's shell to run our command", "waited 200ms")

	ctx, cancel := context.WithTimeout(testContext(t), 100*time.Millisecond)
	defer cancel()
	_, err = newSlow(t, r).Ping(ctx)
	wantError(t, err, TimedOut, "banner of", "--timeout")
}

func newSlow(t *testing.T, r *rig) *Session {
	r.Mute(true)
	r.dialer, r.opt.ConnectTimeout = nil, time.Minute
	return r.session(t)
}

func TestNotAnSSHServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			c.Close()
		}
	})
	r := newRig(t, sshtest.Options{})
	r.host.Port = l.Addr().(*net.TCPAddr).Port
	wantError(t, ping(t, r), Unreachable, "not an SSH server", "HTTP/1.1 400", "port")
	l.Close()
	wg.Wait()
}

func TestJumpHost(t *testing.T) {
	r, bastion := newRig(t, sshtest.Options{}), newRig(t, sshtest.Options{})
	r.host.Jump = &inventory.Jump{Host: &bastion.host}
	bastion.host.Name = "bastion"
	r.opt.KnownHosts = append(r.opt.KnownHosts, bastion.opt.KnownHosts...)
	if err := ping(t, r); err != nil {
		t.Fatal(err)
	}
	if n, b := r.Counts(), bastion.Counts(); n.Connections != 1 || b.Connections != 1 || b.Commands != 0 {
		t.Errorf("counts %+v, bastion %+v", n, b)
	}

	r.Down()
	s := r.session(t)
	r.dialer.lim.tries = 1
	_, err := s.Ping(testContext(t))
	wantError(t, err, Unreachable, "web1: dial 127.0.0.1", "the jump host says: Connection refused")
	if err := r.Up(); err != nil {
		t.Fatal(err)
	}

	bastion.RotateHostKey()
	wantError(t, ping(t, r), HostKey, "web1: jump host bastion: host key of", "CHANGED", "vpsctl hosts forget bastion")
	bastion.host.HostKeys = []string{ssh.FingerprintSHA256(bastion.HostKeys()[0])} // a pin beats known_hosts, here too
	if err := ping(t, r); err != nil {
		t.Error(err)
	}
	bastion.RefuseKeys(true)
	wantError(t, pingAnew(t, r), AuthRefused, "web1: jump host bastion: authentication as dev")
}

func pingAnew(t *testing.T, r *rig) error {
	r.dialer = nil
	return ping(t, r)
}

func TestJumpHostThatForwardsNothing(t *testing.T) {
	r, bastion := newRig(t, sshtest.Options{}), newRig(t, sshtest.Options{NoForward: true})
	r.host.Jump = &inventory.Jump{Host: &bastion.host}
	r.opt.KnownHosts = append(r.opt.KnownHosts, bastion.opt.KnownHosts...)
	wantError(t, ping(t, r), Unreachable, "prohibited", "AllowTcpForwarding")
	if n := bastion.Counts().Connections; n != 1 {
		t.Errorf("%d connections to a bastion that will not change its mind", n)
	}
}

func TestHandshakesInFlightPerJumpHostAreLimited(t *testing.T) {
	r, bastion := newRig(t, sshtest.Options{}), newRig(t, sshtest.Options{})
	bastion.Mute(true)
	r.host.Jump = &inventory.Jump{Host: &bastion.host}
	r.opt.KnownHosts = append(r.opt.KnownHosts, bastion.opt.KnownHosts...)
	r.session(t)
	ctx, cancel := context.WithCancel(testContext(t))
	var wg sync.WaitGroup
	for range 3 * perJump {
		s := r.session(t)
		wg.Go(func() { s.Ping(ctx) })
	}
	waitFor(t, func() bool { return bastion.Counts().Connections >= perJump })
	time.Sleep(50 * time.Millisecond)
	if n := bastion.Counts().Connections; n != perJump {
		t.Errorf("%d handshakes in flight, want %d", n, perJump)
	}
	cancel()
	wg.Wait()
}

func TestSilentJumpedHostIsLeft(t *testing.T) {
	r, bastion := runRig(t, sshtest.Options{}), newRig(t, sshtest.Options{})
	r.host.Jump = &inventory.Jump{Host: &bastion.host}
	r.opt.KnownHosts = append(r.opt.KnownHosts, bastion.opt.KnownHosts...)
	s := r.session(t)
	l := &r.dialer.lim
	l.tick, l.probe, l.quiet, l.silent = 20*time.Millisecond, 200*time.Millisecond, 400*time.Millisecond, 1500*time.Millisecond
	r.FreezeAfterEvent(2)
	var got []string
	if err := s.Run(testContext(t), testPlan(), collect(&got)); err != nil || len(got) != 11 {
		t.Errorf("%d events, %v", len(got), err)
	}
}
