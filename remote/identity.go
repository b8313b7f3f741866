package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/vpsctl/vpsctl/inventory"
)

// maxAgentKeys are offered: every key that is refused counts against us, and
// sshd closes at six.
const maxAgentKeys = 3

// identities are the keys of a Dialer: files, read once each, and the agent.
type identities struct {
	opt Options

	asking chan struct{} // held while a person is asked
	mu     sync.Mutex
	files  map[string]*keyFile

	agentOnce sync.Once
	agentLine io.Closer
	agentKeys []ssh.Signer
}

// keyFile is an identity file. Turn is held while it is read.
type keyFile struct {
	turn    chan struct{}
	done    bool
	signers []ssh.Signer // the certificate's first, where there is one
	err     error
}

func newIdentities(opt Options) *identities {
	return &identities{opt: opt, asking: make(chan struct{}, 1), files: map[string]*keyFile{}}
}

func (id *identities) close() {
	if id.agentLine != nil {
		id.agentLine.Close()
	}
}

// signers are the keys to offer to h, in order: the configured ones (or ssh's
// default files), then a few of the agent's. Notes say which could not be used.
func (id *identities) signers(ctx context.Context, h *inventory.Host) (signers []ssh.Signer, notes []string, err error) {
	files, given := h.IdentityFiles, true
	if len(files) == 0 {
		files, given = defaultFiles(), false
	}
	for _, f := range files {
		keys, err := id.file(ctx, f)
		if ctx.Err() != nil {
			return nil, nil, ended(ctx, h.Name, "read key "+f, "")
		}
		if err == nil {
			signers = append(signers, keys...)
		} else if given || !errors.Is(err, fs.ErrNotExist) {
			notes = append(notes, err.Error())
		}
	}
	if !h.IdentitiesOnly {
		most := maxAgentKeys
		for _, s := range id.agent() {
			if most > 0 && find(signers, s.PublicKey()) == nil {
				signers, most = append(signers, s), most-1
			}
		}
	}
	return signers, notes, nil
}

func defaultFiles() (files []string) {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil
	}
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		files = append(files, filepath.Join(home, ".ssh", name))
	}
	return files
}

func find(signers []ssh.Signer, key ssh.PublicKey) ssh.Signer {
	for _, s := range signers {
		if bytes.Equal(s.PublicKey().Marshal(), key.Marshal()) {
			return s
		}
	}
	return nil
}

// file reads an identity file, once for all hosts.
func (id *identities) file(ctx context.Context, name string) ([]ssh.Signer, error) {
	id.mu.Lock()
	k := id.files[name]
	if k == nil {
		k = &keyFile{turn: make(chan struct{}, 1)}
		id.files[name] = k
	}
	id.mu.Unlock()
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if !k.done {
		signer, err := id.read(ctx, name)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx) // the next host asks again
		}
		k.done, k.err = true, err
		if err == nil {
			k.signers = append(certified(signer, name+"-cert.pub"), signer)
		}
	}
	return k.signers, k.err
}

func (id *identities) read(ctx context.Context, name string) (ssh.Signer, error) {
	data, err := readBounded(name)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", name, unwrapPath(err))
	}
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	signer, err := ssh.ParsePrivateKey(data)
	if err == nil {
		return signer, nil
	}
	var locked *ssh.PassphraseMissingError
	if !errors.As(err, &locked) {
		if pub, _, _, _, perr := ssh.ParseAuthorizedKey(data); perr == nil {
			return id.fromAgent(name, pub)
		}
		return nil, fmt.Errorf("key %s: %w", name, err)
	}
	pub := locked.PublicKey
	if pub == nil {
		if data, err := readBounded(name + ".pub"); err == nil {
			pub, _, _, _, _ = ssh.ParseAuthorizedKey(data)
		}
	}
	if pub != nil {
		if s := find(id.agent(), pub); s != nil {
			return s, nil
		}
	}
	return id.unlock(ctx, name, data)
}

// fromAgent is the key of a public key file; only the agent can use it.
func (id *identities) fromAgent(name string, pub ssh.PublicKey) (ssh.Signer, error) {
	if s := find(id.agent(), pub); s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("key %s: it is a public key, and the agent does not have the other half", name)
}

// unlock asks for the passphrase, three times at most, one person at a time.
func (id *identities) unlock(ctx context.Context, name string, data []byte) (ssh.Signer, error) {
	if id.opt.Prompt == nil {
		return nil, fmt.Errorf("key %s: it has a passphrase, and there is no terminal to ask for it (ssh-add %s)", name, name)
	}
	select {
	case id.asking <- struct{}{}:
		defer func() { <-id.asking }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	for range 3 {
		pass, err := id.opt.Prompt(ctx, "Passphrase for "+name+": ")
		if err != nil {
			return nil, fmt.Errorf("key %s: ask for its passphrase: %w", name, err)
		}
		signer, err := ssh.ParsePrivateKeyWithPassphrase(data, pass)
		clear(pass)
		if err == nil {
			return signer, nil
		}
	}
	return nil, fmt.Errorf("key %s: the passphrase was wrong", name)
}

// agent are the keys of the agent; none when there is no agent.
func (id *identities) agent() []ssh.Signer {
	id.agentOnce.Do(func() {
		if id.opt.Agent == "" || id.opt.Agent == "none" {
			return
		}
		line, err := dialAgent(id.opt.Agent)
		if err != nil {
			return
		}
		id.agentLine = line
		id.agentKeys, _ = agent.NewClient(line).Signers()
		if d, ok := line.(interface{ SetDeadline(time.Time) error }); ok {
			d.SetDeadline(time.Time{})
		}
	})
	return id.agentKeys
}

// dialAgent opens the agent's socket, or on Windows its pipe. It has some
// seconds to list its keys; signing may take longer, a person may have to
// touch something.
func dialAgent(name string) (io.ReadWriteCloser, error) {
	if strings.HasPrefix(name, `\\.\pipe\`) {
		return os.OpenFile(name, os.O_RDWR, 0)
	}
	c, err := net.DialTimeout("unix", name, 5*time.Second)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(5 * time.Second))
	return c, nil
}

// certified is the key with the certificate that lies beside it, if any.
func certified(s ssh.Signer, name string) []ssh.Signer {
	data, err := readBounded(name)
	if err != nil {
		return nil
	}
	pub, _, _, _, err := ssh.ParseAuthorizedKey(data)
	if err != nil {
		return nil
	}
	cert, ok := pub.(*ssh.Certificate)
	if !ok {
		return nil
	}
	if cs, err := ssh.NewCertSigner(cert, s); err == nil {
		return []ssh.Signer{cs}
	}
	return nil
}

func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 1<<20))
}

// unwrapPath leaves out the path that the message has already.
func unwrapPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// usedKey remembers which key has signed last: the one that authenticated.
type usedKey struct{ key ssh.PublicKey }

// wrap makes signers that tell u when they sign.
func (u *usedKey) wrap(signers []ssh.Signer) []ssh.Signer {
	out := make([]ssh.Signer, len(signers))
	for i, s := range signers {
		out[i] = s
		if as, ok := s.(ssh.AlgorithmSigner); ok {
			out[i] = &tellingSigner{as, u}
		}
	}
	return out
}

// line is the authorized_keys line of the key that was used.
func (u *usedKey) line() string {
	if u.key == nil {
		return ""
	}
	key := u.key
	if cert, ok := key.(*ssh.Certificate); ok {
		key = cert.Key
	}
	return keyText(key)
}

type tellingSigner struct {
	ssh.AlgorithmSigner
	used *usedKey
}

// SignWithAlgorithm is called for a key that the server has agreed to.
func (t *tellingSigner) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	t.used.key = t.PublicKey()
	return t.AlgorithmSigner.SignWithAlgorithm(rand, data, algorithm)
}
