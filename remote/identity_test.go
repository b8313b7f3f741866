package remote

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/vpsctl/vpsctl/remote/sshtest"
)

func TestPassphraseIsAskedForOncePerFile(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	pub, file := keyPair(t, "open sesame")
	var asked atomic.Int32
	answers := []string{"wrong", "open sesame"}
	opt := Options{Agent: "none", Prompt: func(_ context.Context, q string) ([]byte, error) {
		if !strings.Contains(q, file) {
			t.Errorf("asked %q", q)
		}
		return []byte(answers[min(int(asked.Add(1))-1, 1)]), nil
	}}
	var sessions []*Session
	d := NewDialer(opt)
	for range 3 {
		r := newRig(t, sshtest.Options{Keys: []ssh.PublicKey{pub}})
		r.host.IdentityFiles = []string{file}
		d.keys.files = append(d.keys.files, r.opt.KnownHosts...)
		sessions = append(sessions, d.Session(r.host))
	}
	var wg sync.WaitGroup
	for _, s := range sessions {
		wg.Go(func() {
			defer s.Close()
			if _, err := s.Ping(testContext(t)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := asked.Load(); n != 2 {
		t.Errorf("asked %d times: once wrong, once right is 2", n)
	}
}

func TestPassphraseWithoutATerminal(t *testing.T) {
	_, file := keyPair(t, "secret")
	r := newRig(t, sshtest.Options{})
	r.host.IdentityFiles = []string{file}
	wantError(t, ping(t, r), AuthRefused, "there is no key to offer", "has a passphrase, and there is no terminal", "ssh-add "+file)
}

func TestPassphraseThatNobodyGives(t *testing.T) {
	_, file := keyPair(t, "secret")
	r := newRig(t, sshtest.Options{})
	r.host.IdentityFiles = []string{file}
	r.opt.Prompt = func(context.Context, string) ([]byte, error) { return nil, errors.New("no tty") }
	wantError(t, ping(t, r), AuthRefused, "no tty")
	ctx, cancel := context.WithCancel(testContext(t))
	r.dialer, r.opt.Prompt = nil, func(ctx context.Context, _ string) ([]byte, error) { cancel(); return nil, ctx.Err() }
	if _, err := r.session(t).Ping(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestMissingIdentityFileIsNamed(t *testing.T) {
	r := newRig(t, sshtest.Options{})
	r.host.IdentityFiles = []string{"/nonexistent/id"}
	wantError(t, ping(t, r), AuthRefused, "/nonexistent/id", "no such file")
}

// agentWith serves so many new keys on a socket.
func agentWith(t *testing.T, n int, more ...ed25519.PrivateKey) (socket string, keys []ssh.PublicKey) {
	t.Helper()
	ring := agent.NewKeyring()
	for range n {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		more = append(more, key)
	}
	for _, key := range more {
		if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, signerOf(t, key).PublicKey())
	}
	socket = filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				agent.ServeAgent(ring, c)
			})
		}
	})
	return socket, keys
}

func TestAgent(t *testing.T) {
	socket, keys := agentWith(t, 5)
	r := newRig(t, sshtest.Options{Keys: keys[:1]})
	r.host.IdentityFiles, r.host.IdentitiesOnly, r.opt.Agent = []string{"/nonexistent"}, false, socket
	if err := ping(t, r); err != nil {
		t.Fatal(err)
	}
	r.dialer.Close()
	none := newRig(t, sshtest.Options{})
	_, stranger := keyPair(t, "")
	none.host.IdentityFiles, none.host.IdentitiesOnly, none.opt.Agent = []string{stranger}, false, socket
	wantError(t, ping(t, none), AuthRefused)
	if n := none.Counts().KeysOffered; n != 1+maxAgentKeys {
		t.Errorf("%d keys offered, want the configured one and %d of the agent's", n, maxAgentKeys)
	}
	none.dialer.Close()
	only := newRig(t, sshtest.Options{Keys: keys})
	only.host.IdentityFiles, only.opt.Agent = []string{stranger}, socket
	wantError(t, ping(t, only), AuthRefused)
	if n := only.Counts().KeysOffered; n != 1 {
		t.Errorf("%d keys offered although only the configured one may be", n)
	}
}

func TestAgentHoldsALockedFile(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	file := writeFile(t, "id", pemText(block))
	socket, keys := agentWith(t, 0, key)
	r := newRig(t, sshtest.Options{Keys: keys})
	r.host.IdentityFiles, r.opt.Agent = []string{file}, socket
	r.opt.Prompt = func(context.Context, string) ([]byte, error) {
		t.Error("asked for a passphrase although the agent has the key")
		return nil, errors.New("no")
	}
	if err := ping(t, r); err != nil {
		t.Error(err)
	}
}

func TestKeyFilesWithWindowsLineEnds(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, sshtest.Options{Keys: []ssh.PublicKey{signerOf(t, key).PublicKey()}})
	r.host.IdentityFiles = []string{writeFile(t, "id", strings.ReplaceAll(pemText(block), "\n", "\r\n"))}
	if err := ping(t, r); err != nil {
		t.Error(err)
	}
}

func TestRSAKeysAuthenticateAndAreNamed(t *testing.T) {
	key := rsaKey(t)
	used := &usedKey{}
	wrapped := used.wrap([]ssh.Signer{key})
	if _, err := wrapped[0].(ssh.AlgorithmSigner).SignWithAlgorithm(rand.Reader, []byte("x"), ssh.KeyAlgoRSASHA256); err != nil {
		t.Fatal(err)
	}
	if used.line() != keyText(key.PublicKey()) {
		t.Errorf("used %q", used.line())
	}
}
