package report

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
)

// writeAtomic puts content at name in root so that a reader finds the old or
// the new content, never half of one, also after a power cut. It works through
// root alone, which is why it is the same on every system.
func writeAtomic(root *os.Root, dir, name string, content []byte) error {
	temp := "." + name + "." + rand.Text()
	f, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fault("write", filepath.Join(dir, name), err)
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
		return errors.Join(fault("write", filepath.Join(dir, name), err), root.Remove(temp))
	}
	syncFolder(root)
	return nil
}

// syncFolder makes a rename last; systems that cannot sync a folder do so by
// themselves.
func syncFolder(root *os.Root) {
	if d, err := root.Open("."); err == nil {
		_ = d.Sync()
		d.Close()
	}
}
