package remote

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/state"
)

// hostKeys are the known_hosts files of a Dialer, read once, and the keys it
// has accepted since.
type hostKeys struct {
	files     []string
	appendTo  string
	acceptNew bool

	once    sync.Once
	db      *knownhosts.HostKeyDB
	loadErr error

	mu       sync.Mutex
	accepted map[string]ssh.PublicKey // by address
}

func (s *hostKeys) load() error {
	s.once.Do(func() { s.db, s.loadErr = readKnownHosts(s.files) })
	return s.loadErr
}

// readKnownHosts reads the files that exist. A line that cannot be read, such
// as a key of a kind nobody knows here, is left out, as ssh does it.
func readKnownHosts(files []string) (*knownhosts.HostKeyDB, error) {
	var there []string
	for _, f := range files {
		if _, err := os.Stat(f); err == nil {
			there = append(there, f)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	db, err := knownhosts.NewDB(there...)
	if err == nil {
		return db, nil
	}
	dir, mkErr := os.MkdirTemp("", "vpsctl-known")
	if mkErr != nil {
		return nil, errors.Join(err, mkErr)
	}
	defer os.RemoveAll(dir)
	for i, f := range there {
		good, err := goodLines(f)
		if err != nil {
			return nil, err
		}
		there[i] = filepath.Join(dir, copyName(f))
		if err := os.WriteFile(there[i], good, 0o600); err != nil {
			return nil, err
		}
	}
	return knownhosts.NewDB(there...)
}

// goodLines is the file with the lines that cannot be read made empty, so that
// the numbers of the others stay.
func goodLines(name string) ([]byte, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	lines := bytes.Split(data, []byte("\n"))
	for i, l := range lines {
		l = bytes.TrimSpace(l)
		if len(l) == 0 || l[0] == '#' {
			continue
		}
		if _, _, _, _, _, err := ssh.ParseKnownHosts(l); err != nil {
			lines[i] = nil
		}
	}
	return bytes.Join(lines, []byte("\n")), nil
}

// known are the keys that are known for addr.
func (s *hostKeys) known(addr string) []knownhosts.PublicKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	if key := s.accepted[addr]; key != nil {
		return []knownhosts.PublicKey{{PublicKey: key}}
	}
	if s.db == nil {
		return nil
	}
	return s.db.HostKeys(addr)
}

// ask is the answer of known_hosts: nil, a *KeyError, a *RevokedError, or why a
// certificate does not hold.
func (s *hostKeys) ask(addr string, key ssh.PublicKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := s.accepted[addr]; have != nil && bytes.Equal(have.Marshal(), key.Marshal()) {
		return nil
	}
	if s.db == nil {
		return &xknownhosts.KeyError{}
	}
	return s.db.HostKeyCallback()(addr, nowhere, key)
}

// plain leaves out authorities: a host that shows a plain key has not changed
// because an authority could have vouched for another.
func plain(db *knownhosts.HostKeyDB, addr string, want []xknownhosts.KnownKey) (keys []xknownhosts.KnownKey) {
	authority := map[string]bool{}
	for _, k := range db.HostKeys(addr) {
		authority[keyText(k)] = k.Cert
	}
	for _, w := range want {
		if !authority[keyText(w.Key)] {
			keys = append(keys, w)
		}
	}
	return keys
}

// where names the line of a file that a key was read from.
func (s *hostKeys) where(k xknownhosts.KnownKey) string {
	name := k.Filename
	for _, f := range s.files {
		if strings.HasSuffix(name, copyName(f)) {
			name = f
		}
	}
	return fmt.Sprintf("%s:%d", name, k.Line)
}

// copyName is the base name of the copy of a file without its bad lines.
func copyName(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

// accept appends the key of addr, unless another process was faster. The error
// is a *KeyError when that one accepted another key.
func (s *hostKeys) accept(addr string, key ssh.PublicKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := s.accepted[addr]; have != nil {
		if bytes.Equal(have.Marshal(), key.Marshal()) {
			return nil
		}
		return &xknownhosts.KeyError{Want: []xknownhosts.KnownKey{{Key: have, Filename: s.appendTo}}}
	}
	f, err := openLocked(s.appendTo)
	if err != nil {
		return err
	}
	defer f.Close()
	now, err := readKnownHosts([]string{s.appendTo})
	if err != nil {
		return err
	}
	err = now.HostKeyCallback()(addr, nowhere, key)
	var mismatch *xknownhosts.KeyError
	if errors.As(err, &mismatch) && len(plain(now, addr, mismatch.Want)) > 0 {
		return err
	}
	if err != nil {
		if err := appendLine(f, knownhosts.Line([]string{addr}, key)); err != nil {
			return err
		}
	}
	if s.accepted == nil {
		s.accepted = map[string]ssh.PublicKey{}
	}
	s.accepted[addr] = key
	return nil
}

// appendLine writes one line at the end, after a newline where the last line
// has none.
func appendLine(f *os.File, line string) error {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if last := make([]byte, 1); size > 0 {
		if _, err := f.ReadAt(last, size-1); err != nil {
			return err
		}
		if last[0] != '\n' {
			line = "\n" + line
		}
	}
	if _, err := f.WriteString(line + "\n"); err != nil {
		return err
	}
	return f.Sync()
}

// openLocked opens the file for appending and holds its lock until it is
// closed. File and folder are made, for their owner alone, when missing.
func openLocked(name string) (*os.File, error) {
	if name == "" {
		return nil, errors.New("there is no known_hosts file to append to")
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, err
	}
	for {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := state.Lock(f); err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		mine, err1 := f.Stat()
		there, err2 := os.Stat(name)
		if err1 == nil && err2 == nil && os.SameFile(mine, there) {
			return f, nil
		}
		f.Close() // it was replaced while we waited
	}
}

// Forget removes what known_hosts says about a host that was rebuilt, and
// returns how many lines that were. Lines with wildcards and of authorities
// stay: they are about others too.
func (d *Dialer) Forget(h inventory.Host) (removed int, err error) {
	h = d.complete(h)
	addr := knownhosts.Normalize(joinHostPort(h))
	for _, name := range d.opt.KnownHosts {
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		n, err := forgetIn(name, addr)
		if err != nil {
			return removed, fmt.Errorf("%s: forget its key: %w", h.Name, err)
		}
		removed += n
	}
	return removed, nil
}

func forgetIn(name, addr string) (int, error) {
	f, err := openLocked(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return 0, err
	}
	lines := strings.SplitAfter(string(data), "\n")
	before := len(lines)
	lines = slices.DeleteFunc(lines, func(l string) bool { return isAbout(l, addr) })
	if len(lines) == before {
		return 0, nil
	}
	return before - len(lines), replaceFile(name, []byte(strings.Join(lines, "")))
}

// isAbout says whether a line of known_hosts names addr, openly or hashed.
func isAbout(line, addr string) bool {
	first, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	if strings.HasPrefix(first, "|1|") {
		return hashedAs(first, addr)
	}
	return slices.Contains(strings.Split(first, ","), addr)
}

// replaceFile puts data under name in one go, also when name is a link.
func replaceFile(name string, data []byte) error {
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(real), ".known_hosts-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err = tmp.Write(data); err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), real)
}
