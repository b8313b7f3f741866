package inventory

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// maxFile is the largest inventory in YAML, in bytes: some 30,000 hosts.
const maxFile = 4 << 20

// readFile reads the inventory, or says which program prints it, or adds why
// neither. It may be a pipe, so that `-i <(sops -d …)` works.
func readFile(path string, c *problems) ([]byte, *program) {
	f, err := os.Open(path)
	if err != nil {
		c.add(pos{}, missingHint(err), "%s", reason(err))
		return nil, nil
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		c.add(pos{}, "", "%s", reason(err))
		return nil, nil
	}
	if !acceptable(path, st, c) {
		return nil, nil
	}
	r := bufio.NewReader(f)
	if head, _ := r.Peek(4); isProgram(head) {
		return nil, examine(path, st, r, c)
	}
	data, err := io.ReadAll(io.LimitReader(r, maxJSON+1))
	switch {
	case err != nil:
		c.add(pos{}, "", "read: %s", reason(err))
	case len(data) > maxJSON:
		c.add(pos{}, "several smaller inventories are read faster, too", "larger than %d MiB", maxJSON>>20)
	}
	return data, nil
}

// acceptable refuses what others can change under our hands: an inventory
// decides which commands run here and who becomes root where.
func acceptable(path string, st fs.FileInfo, c *problems) bool {
	mode := st.Mode()
	if mode.IsDir() {
		c.add(pos{}, "name the file: -i "+filepath.Join(path, "inventory.yaml"), "is a folder")
		return false
	}
	if !mode.IsRegular() && mode&fs.ModeNamedPipe == 0 {
		c.add(pos{}, "", "is neither a file nor a pipe")
		return false
	}
	if runtime.GOOS == "windows" || !mode.IsRegular() {
		return true
	}
	if mode.Perm()&0o002 != 0 {
		c.add(pos{}, "chmod o-w "+path, "others can write it (mode %04o)", mode.Perm())
		return false
	}
	dir := filepath.Dir(path)
	if in, err := os.Stat(dir); err == nil && in.Mode().Perm()&0o002 != 0 && in.Mode()&fs.ModeSticky == 0 {
		c.add(pos{}, "chmod o-w "+dir, "others can replace it: they can write its folder (mode %04o)", in.Mode().Perm())
		return false
	}
	return true
}

func missingHint(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "name the inventory with -i FILE"
	}
	return ""
}

// reason is err without the path, which stands before it already.
func reason(err error) string {
	var p *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such file"
	case errors.Is(err, fs.ErrPermission):
		return "permission denied"
	case errors.As(err, &p):
		return p.Err.Error()
	}
	return err.Error()
}
