//go:build linux

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// undoFolder keeps how to undo what a run did: records.jsonl in the order of
// the acts, unmasked, and old content by its hash.
type undoFolder struct {
	mu  sync.Mutex
	dir string
}

// undoRecord is a line of records.jsonl.
type undoRecord struct {
	Phase string    `json:"phase"`
	Step  string    `json:"step"`
	Undo  wire.Undo `json:"undo"`
	// Handlers have to run once more when the step is undone.
	Handlers []wire.Handler `json:"handlers,omitempty"`
}

// keep has record and content on the disk when it returns nil, and sets u.Hash.
func (f *undoFolder) keep(phase, step string, u *wire.Undo, content []byte, handlers []wire.Handler) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if content != nil {
		sum := sha256.Sum256(content)
		u.Hash = hex.EncodeToString(sum[:])
		err := writeSynced(filepath.Join(f.dir, u.Hash), os.O_CREATE|os.O_EXCL|os.O_WRONLY, content)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return full(err)
		}
	}
	line, err := json.Marshal(undoRecord{phase, step, *u, handlers})
	if err != nil {
		return err
	}
	if err := writeSynced(filepath.Join(f.dir, "records.jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, append(line, '\n')); err != nil {
		return full(err)
	}
	return syncFolder(f.dir)
}

// writeSynced writes all of b or leaves no new file.
func writeSynced(path string, flags int, b []byte) error {
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil && flags&os.O_EXCL != 0 {
		_ = os.Remove(path)
	}
	return err
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
