// Package state keeps the files of this machine's state whole: locked while
// somebody works on them, and never seen half written.
package state

import (
	"crypto/rand"
	"errors"
	"os"
)

// Write puts content at name in root, with mode 0600, so that a reader finds the
// old or the new content, never half of one, also after a power cut. It works
// through root alone, which is why it is the same on every system.
func Write(root *os.Root, name string, content []byte) error {
	temp := "." + name + "." + rand.Text()
	f, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = root.Rename(temp, name)
	}
	if err != nil {
		return errors.Join(err, root.Remove(temp))
	}
	Sync(root)
	return nil
}

// Sync makes a rename in root last; systems that cannot sync a folder do so by
// themselves.
func Sync(root *os.Root) {
	if d, err := root.Open("."); err == nil {
		_ = d.Sync()
		d.Close()
	}
}
