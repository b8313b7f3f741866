package remote

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// maxFiles bounds the files and folders of one copy.
const maxFiles = 100_000

// Source is what Push copies: a file, or a folder with what is in it. It may be
// used by many sessions at once.
type Source struct {
	Name  string // of the file or folder itself
	Tree  bool
	Files int
	Size  int64    // of all files
	Left  []string // what is not copied, and why: links, devices, names with control characters

	root    *os.Root
	entries []entry

	mu   sync.Mutex
	sums map[string]string // of what was packed, by id
}

// entry is a file or folder of a copy; name has forward slashes.
type entry struct {
	name string
	mode fs.FileMode // permissions only: no setuid, setgid, sticky
	size int64
	sum  string // hex SHA-256; "" of a folder
}

func (e entry) dir() bool { return e.sum == "" }

// landed is its mode here: the owner's own rights stay, so that another pull goes
// on in it, and nobody may write what everybody may write to there.
func (e entry) landed() fs.FileMode {
	if e.dir() {
		return e.mode&^0o002 | 0o700
	}
	return e.mode&^0o002 | 0o600
}

// OpenSource reads the names, and hashes the content, of a file or folder.
func OpenSource(name string) (*Source, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	st, err := os.Stat(abs)
	if err != nil {
		return nil, err
	}
	s := &Source{Name: filepath.Base(abs), Tree: st.IsDir(), sums: map[string]string{}}
	folder := filepath.Dir(abs)
	if s.Tree {
		folder = abs
	}
	if s.root, err = os.OpenRoot(folder); err != nil {
		return nil, err
	}
	if s.Tree {
		err = fs.WalkDir(s.root.FS(), ".", s.walk)
	} else {
		err = s.add(s.Name, st)
	}
	if err == nil && !s.Tree && len(s.entries) == 0 {
		err = fmt.Errorf("%s: neither a file nor a folder", name)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close ends its use.
func (s *Source) Close() error { return s.root.Close() }

func (s *Source) walk(name string, d fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	if name == "." {
		return nil
	}
	st, err := d.Info()
	if err != nil {
		return err
	}
	return s.add(name, st)
}

// add takes a file or folder; whatever else there is gets a line in Left.
func (s *Source) add(name string, st fs.FileInfo) error {
	if len(s.entries) >= maxFiles {
		return fmt.Errorf("over %d files and folders", maxFiles)
	}
	e := entry{name: name, mode: st.Mode().Perm(), size: st.Size()}
	switch {
	case strings.ContainsFunc(name, unicode.IsControl):
		s.Left = append(s.Left, fmt.Sprintf("%q has a control character in its name", name))
		return nil
	case st.IsDir():
		e.mode, e.size = e.mode|0o700, 0
	case st.Mode().IsRegular():
		var err error
		if e.sum, err = s.hash(name, e.size); err != nil {
			return err
		}
		s.Files++
		s.Size += e.size
	default:
		s.Left = append(s.Left, name+" is "+kindOf(st.Mode()))
		return nil
	}
	s.entries = append(s.entries, e)
	return nil
}

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "a link"
	case m&fs.ModeDevice != 0:
		return "a device"
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	}
	return "neither a file nor a folder"
}

func (s *Source) hash(name string, size int64) (string, error) {
	f, err := s.root.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if n, err := io.Copy(h, f); err != nil || n != size {
		return "", errors.Join(err, errChanged(name, n, size))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func errChanged(name string, have, want int64) error {
	if have == want {
		return nil
	}
	return fmt.Errorf("%s changes while it is read (%d bytes of %d)", name, have, want)
}

// hollow says that there are folders without any file.
func (s *Source) hollow() bool {
	full := map[string]bool{}
	for _, e := range s.entries {
		for n := path.Dir(e.name); !e.dir() && n != "."; n = path.Dir(n) {
			full[n] = true
		}
	}
	return slices.ContainsFunc(s.entries, func(e entry) bool { return e.dir() && !full[e.name] })
}

// manifest tells the host of every file: hash, mode, name. The slash at the end
// keeps a shell from taking spaces off the name.
func (s *Source) manifest() []byte {
	var b bytes.Buffer
	for _, e := range s.entries {
		if !e.dir() {
			fmt.Fprintf(&b, "%s %o ./%s/\n", e.sum, e.mode, e.name)
		}
	}
	return b.Bytes()
}

// pack is what is sent to one host: the file, or the folder as a tar archive
// without the files that are there already. It is always the same for the same
// files, so that a copy that was cut off can be continued.
type pack struct {
	src   *Source
	id    string
	sum   string // hex SHA-256; of an archive it is known once it was read
	size  int64
	parts []part
}

// part is a piece of a pack: bytes, or a file's content.
type part struct {
	text []byte
	file string
	size int64
}

// pack leaves out the files, counted from 0, that the host has.
func (s *Source) pack(same map[int]bool) (*pack, error) {
	p := &pack{src: s}
	if !s.Tree {
		e := s.entries[0]
		p.sum, p.size, p.parts = e.sum, e.size, []part{{file: e.name, size: e.size}}
		p.id = e.sum[:24]
		return p, nil
	}
	id, n := sha256.New(), -1
	for _, e := range s.entries {
		if !e.dir() {
			if n++; same[n] {
				continue
			}
		}
		fmt.Fprintf(id, "%s\x00%o\x00%d\x00%s\n", e.name, e.mode, e.size, e.sum)
		if err := p.add(e); err != nil {
			return nil, err
		}
	}
	p.text(make([]byte, 1024))
	p.id = hex.EncodeToString(id.Sum(nil))[:24]
	s.mu.Lock()
	defer s.mu.Unlock()
	p.sum = s.sums[p.id]
	return p, nil
}

func (p *pack) text(b []byte) {
	p.parts = append(p.parts, part{text: b, size: int64(len(b))})
	p.size += int64(len(b))
}

func (p *pack) add(e entry) error {
	h := &tar.Header{Name: "./" + e.name, Mode: int64(e.mode), Size: e.size, Typeflag: tar.TypeReg}
	if e.dir() {
		h.Name, h.Typeflag = h.Name+"/", tar.TypeDir
	}
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(h); err != nil {
		return fmt.Errorf("%s: %w", e.name, err)
	}
	p.text(b.Bytes())
	if e.size > 0 {
		p.parts = append(p.parts, part{file: e.name, size: e.size})
		p.size += e.size
		p.text(make([]byte, -e.size&511))
	}
	return nil
}

// learn reads it all, once per process, to know its hash.
func (p *pack) learn() error {
	if p.sum != "" {
		return nil
	}
	h := sha256.New()
	r := p.reader(0)
	defer r.Close()
	if _, err := io.Copy(h, r); err != nil {
		return err
	}
	p.sum = hex.EncodeToString(h.Sum(nil))
	p.src.mu.Lock()
	defer p.src.mu.Unlock()
	p.src.sums[p.id] = p.sum
	return nil
}

// reader gives the pack from a byte on.
func (p *pack) reader(from int64) *packReader {
	r := &packReader{src: p.src, parts: p.parts}
	for len(r.parts) > 0 && from >= r.parts[0].size {
		from -= r.parts[0].size
		r.parts = r.parts[1:]
	}
	r.at = from
	return r
}

type packReader struct {
	src   *Source
	parts []part
	at    int64 // in the first part
	file  *os.File
}

func (r *packReader) Read(b []byte) (int, error) {
	for len(r.parts) > 0 && r.at == r.parts[0].size {
		r.Close()
		r.parts, r.at = r.parts[1:], 0
	}
	if len(r.parts) == 0 {
		return 0, io.EOF
	}
	p := r.parts[0]
	if p.file == "" {
		n := copy(b, p.text[r.at:])
		r.at += int64(n)
		return n, nil
	}
	if r.file == nil {
		f, err := r.src.root.Open(p.file)
		if err != nil {
			return 0, err
		}
		r.file = f
	}
	n, err := r.file.ReadAt(b[:min(int64(len(b)), p.size-r.at)], r.at)
	r.at += int64(n)
	if n > 0 {
		return n, nil
	}
	if err == io.EOF {
		err = errChanged(p.file, r.at, p.size)
	}
	return 0, err
}

// Close may be called between any two reads.
func (r *packReader) Close() error {
	if r.file == nil {
		return nil
	}
	f := r.file
	r.file = nil
	return f.Close()
}
