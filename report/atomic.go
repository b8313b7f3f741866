package report

import (
	"os"
	"path/filepath"

	"github.com/vpsctl/vpsctl/state"
)

// writeAtomic writes a file of a record whole; dir is what users call its folder.
func writeAtomic(root *os.Root, dir, name string, content []byte) error {
	if err := state.Write(root, name, content); err != nil {
		return fault("write", filepath.Join(dir, name), err)
	}
	return nil
}
