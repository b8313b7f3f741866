//go:build linux

package steps

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// saved reads the content that belongs to u and checks it against its hash.
func (e *Env) saved(u wire.Undo) ([]byte, error) {
	if h, err := hex.DecodeString(u.Hash); err != nil || len(h) != sha256.Size {
		return nil, fmt.Errorf("the record has no content")
	}
	b, err := os.ReadFile(filepath.Join(e.UndoDir, u.Hash))
	if err != nil {
		return nil, fmt.Errorf("read what was kept: %w", err)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != u.Hash {
		return nil, fmt.Errorf("what was kept as %s is damaged", u.Hash)
	}
	return b, nil
}

// siblings lays a phase's files into a new folder that every user may read, as
// the runner's PhaseDir is. The caller removes it.
func (e *Env) siblings(files map[string][]byte) (string, error) {
	base := ""
	if e.Root {
		base = e.at("/run") // in memory, and nobody else can write there
	}
	dir, err := os.MkdirTemp(base, "vpsctl-undo-")
	if err != nil {
		return "", err
	}
	if err := layOut(dir, files); err != nil {
		os.RemoveAll(dir)
		return "", err
	}
	return dir, nil
}

func layOut(dir string, files map[string][]byte) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for name, b := range files {
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := root.WriteFile(name, b, 0o755); err != nil {
			return err
		}
	}
	return nil
}
