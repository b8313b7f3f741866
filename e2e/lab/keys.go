//go:build linux

package lab

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

// keyKinds are the host keys that Debian's sshd makes, the one that inventories pin first.
var keyKinds = []string{"ed25519", "ecdsa", "rsa"}

func newKey(kind string) (crypto.Signer, error) {
	switch kind {
	case "ecdsa":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rsa":
		return rsa.GenerateKey(rand.Reader, 2048)
	default:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
}

// ensureKey returns the private key at path and its public line, both made when there is none yet.
func ensureKey(path, kind, comment string) (ssh.Signer, string, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		b, err = writeKey(path, kind, comment)
	}
	if err != nil {
		return nil, "", fmt.Errorf("lab: key %s: %w", path, err)
	}
	signer, err := ssh.ParsePrivateKey(b)
	if err != nil {
		return nil, "", fmt.Errorf("lab: key %s: %w", path, err)
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	return signer, line, nil
}

func writeKey(path, kind, comment string) ([]byte, error) {
	key, err := newKey(kind)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(key, comment)
	if err != nil {
		return nil, err
	}
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	private := pem.EncodeToMemory(block)
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public))) + " " + comment + "\n"
	return private, errors.Join(os.WriteFile(path, private, 0o600), os.WriteFile(path+".pub", []byte(line), 0o644))
}

// hostKey returns one of the host's keys. They outlive a reset, so that inventories and known_hosts stay right.
func (h *Host) hostKey(kind string) (ssh.Signer, string, error) {
	return ensureKey(filepath.Join(h.dir(), "ssh_host_"+kind+"_key"), kind, "root@"+h.Name)
}
