package remote

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vpsctl/vpsctl/payload/wire"
)

var (
	errTooMuch     = errors.New("there is too much")
	errHostileList = wire.ErrHostile
)

// listing is what a host says there is to copy, as far as it is taken.
type listing struct {
	base    string // first part of every name
	most    int64
	size    int64
	entries []entry
	left    []string
	refused int
	seen    int
	files   map[string]int    // index in entries
	names   map[string]string // every name and folder, by its lower case
}

func newListing(base string, most int64) *listing {
	return &listing{base: base, most: most, files: map[string]int{}, names: map[string]string{}}
}

// read takes the list and the hashes.
func (l *listing) read(r *bufio.Reader, marker string) error {
	if err := lines(r, marker, l.take); err != nil {
		return err
	}
	if err := lines(r, marker, l.sum); err != nil {
		return err
	}
	kept := l.entries[:0]
	for _, e := range l.entries {
		if e.sum == "?" {
			l.refuse(e.name, "could not be read")
			l.size -= e.size
			continue
		}
		kept = append(kept, e)
	}
	l.entries = kept
	return nil
}

func (l *listing) refuse(name, why string) {
	if l.refused++; l.refused <= 1000 {
		l.left = append(l.left, clip(name, 300)+" "+why)
	}
}

// take judges one line: kind, size, mode, name.
func (l *listing) take(line string) error {
	if l.seen++; l.seen > maxFiles {
		return fmt.Errorf("%w: over %d files and folders", errTooMuch, maxFiles)
	}
	kind, rest, ok := strings.Cut(line, " ")
	if !ok {
		return fmt.Errorf("%w: a list that cannot be read", errHostileList)
	}
	if kind != "file" && kind != "dir" {
		l.refuse(l.oddity(line))
		return nil
	}
	words := strings.SplitN(rest, " ", 3)
	if len(words) != 3 {
		return fmt.Errorf("%w: a list that cannot be read", errHostileList)
	}
	size, serr := strconv.ParseInt(words[0], 10, 64)
	mode, merr := strconv.ParseUint(words[1], 8, 32)
	name, ok := strings.CutPrefix(words[2], "./")
	switch {
	case serr != nil || merr != nil || size < 0 || !ok:
		return fmt.Errorf("%w: a list that cannot be read", errHostileList)
	case name != l.base && !strings.HasPrefix(name, l.base+"/") || !filepath.IsLocal(filepath.FromSlash(name)) || path.Clean(name) != name:
		l.refuse(name, "is a name that leads elsewhere")
		return nil
	case !l.unique(name):
		l.refuse(name, "differs from another name only in its case")
		return nil
	}
	e := entry{name: name, mode: fs.FileMode(mode) & 0o777, size: size}
	if kind == "file" {
		if l.size += size; l.size > l.most {
			return fmt.Errorf("%w: over %d MiB", errTooMuch, l.most>>20)
		}
		e.sum, l.files[name] = "?", len(l.entries)
	}
	l.entries = append(l.entries, e)
	return nil
}

// oddity is about what is neither file nor folder: "symbolic link: 0 0 ./name".
func (l *listing) oddity(line string) (name, why string) {
	kind, rest, ok := strings.Cut(line, ": 0 0 ./")
	if !ok {
		return "a name", "has control characters"
	}
	return rest, "is a " + clip(kind, 40)
}

// unique says that no other name, nor a folder of one, differs from this only
// in its case.
func (l *listing) unique(name string) bool {
	for n := name; n != "."; n = path.Dir(n) {
		low := strings.ToLower(n)
		if have, ok := l.names[low]; ok && have != n {
			return false
		}
		l.names[low] = n
	}
	_, twice := l.files[name]
	return !twice
}

// sum takes a line of sha256sum, which begins with a backslash when the name
// has one.
func (l *listing) sum(line string) error {
	line, escaped := strings.CutPrefix(line, `\`)
	sum, name, ok := strings.Cut(line, "  ./")
	if _, err := hex.DecodeString(sum); !ok || err != nil || len(sum) != 64 {
		return fmt.Errorf("%w: hashes that cannot be read", errHostileList)
	}
	if escaped {
		name = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r").Replace(name)
	}
	if i, ok := l.files[name]; ok {
		l.entries[i].sum = sum
	}
	return nil
}

// landing is a file on its way to its name here.
type landing struct {
	root  *os.Root
	e     entry
	name  string // with this system's separators
	count func(n int64)

	f   *os.File
	h   hash.Hash
	at  int64
	err error // of this machine
}

// here says whether the file is here already.
func (l *landing) here() bool {
	st, err := l.root.Lstat(l.name)
	if err != nil || !st.Mode().IsRegular() || st.Size() != l.e.size {
		return false
	}
	f, err := l.root.Open(l.name)
	if err != nil {
		return false
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil || hex.EncodeToString(h.Sum(nil)) != l.e.sum {
		return false
	}
	return l.root.Chmod(l.name, l.e.landed()) == nil
}

// part is the file's name until it is whole: of this content, so that another
// call goes on with it, and of this name, since its neighbour may hold the same.
func (l *landing) part() string {
	name := sha256.Sum256([]byte(l.e.name))
	return filepath.Join(filepath.Dir(l.name), ".vpsctl-pull-"+l.e.sum[:24]+"-"+hex.EncodeToString(name[:4]))
}

// open begins or continues the part, and gives how much of it is here.
func (l *landing) open(afresh bool) (at int64, err error) {
	if err := l.root.MkdirAll(filepath.Dir(l.name), 0o700); err != nil {
		return 0, err
	}
	if st, err := l.root.Lstat(l.part()); err == nil && (afresh || !st.Mode().IsRegular() || st.Size() > l.e.size) {
		if err := l.root.Remove(l.part()); err != nil {
			return 0, err
		}
	}
	if l.f, err = l.root.OpenFile(l.part(), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return 0, err
	}
	l.h, l.err = sha256.New(), nil
	l.at, err = io.Copy(l.h, l.f)
	return l.at, err
}

// Write takes no more than the file was said to have.
func (l *landing) Write(b []byte) (int, error) {
	if l.at+int64(len(b)) > l.e.size {
		return 0, fmt.Errorf("%s: %w: more than there was", l.e.name, errDamaged)
	}
	n, err := l.f.Write(b)
	l.h.Write(b[:n])
	l.at += int64(n)
	l.count(int64(n))
	l.err = err
	return n, err
}

func (l *landing) close() {
	if l.f != nil {
		l.f.Close()
		l.f = nil
	}
}

// settle gives the file its name, if it is what it should be.
func (l *landing) settle() error {
	if hex.EncodeToString(l.h.Sum(nil)) != l.e.sum {
		l.close()
		return errDamaged
	}
	l.err = errors.Join(l.f.Chmod(l.e.landed()), l.f.Close())
	l.f = nil
	if l.err == nil {
		l.err = l.root.Rename(l.part(), l.name)
	}
	return l.err
}
