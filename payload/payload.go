// Package payload is what travels to a host: the collector and the prober,
// built for each architecture, embedded or built when they are missing.
package payload

import (
	"embed"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
)

//go:embed bin
var bin embed.FS

// A Program is one that travels.
type Program string

// The programs. The collector goes to every host; the prober, which measures
// hosts, only along with a benchmark: it may be large, the collector may not.
const (
	CollectorProgram Program = "collector"
	ProberProgram    Program = "prober"
)

// Programs are all there are.
var Programs = []Program{CollectorProgram, ProberProgram}

// Archs are the architectures programs are built for.
var Archs = []string{"amd64", "arm64"}

// Binary is a program for one architecture.
type Binary struct {
	Program Program
	Arch    string
	SHA256  string // hex, of the uncompressed program
	Size    int    // bytes, uncompressed
	Gzip    []byte // the compressed program; not to be changed
}

// ErrArch marks an architecture no collector exists for.
var ErrArch = errors.New("no collector for this architecture")

var atRunTime = struct {
	sync.Mutex
	built map[string]Binary // by the beginning of the file's name
}{built: map[string]Binary{}}

// Collector returns the collector for a Linux host of this architecture (amd64,
// arm64). Where none is embedded, it is built with the Go toolchain, once per
// process; without one the error has a hint.
func Collector(arch string) (Binary, error) { return find(CollectorProgram, arch) }

// Prober returns the prober, as Collector does the collector.
func Prober(arch string) (Binary, error) { return find(ProberProgram, arch) }

func find(p Program, arch string) (Binary, error) {
	if !slices.Contains(Archs, arch) {
		return Binary{}, fmt.Errorf("payload: %w: %q (there are: %s)", ErrArch, arch, strings.Join(Archs, ", "))
	}
	b, err := embedded(bin, p, arch)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	atRunTime.Lock()
	defer atRunTime.Unlock()
	if b, ok := atRunTime.built[prefix(p, arch)]; ok {
		return b, nil
	}
	b, err = buildHere(p, arch)
	if err != nil {
		return Binary{}, &missing{program: p, arch: arch, err: err}
	}
	atRunTime.built[prefix(p, arch)] = b
	return b, nil
}

// missing is the error of a vpsctl without its programs.
type missing struct {
	program Program
	arch    string
	err     error
}

func (m *missing) Error() string {
	return fmt.Sprintf("payload: this vpsctl was built without the %s for %s, and building it now failed: %v", m.program, m.arch, m.err)
}
func (m *missing) Unwrap() error { return m.err }
func (m *missing) Hint() string {
	return "build vpsctl with `make build`, or run `go run ./payload/build` in its source folder and build again"
}

// fileName carries the hash, so that nothing has to be unpacked to know it.
func fileName(p Program, arch, sha string) string { return prefix(p, arch) + sha + ".gz" }
func prefix(p Program, arch string) string        { return string(p) + "-linux-" + arch + "-" }

func embedded(fsys fs.FS, p Program, arch string) (Binary, error) {
	names, err := fs.Glob(fsys, "bin/"+fileName(p, arch, "*"))
	if err != nil || len(names) == 0 {
		return Binary{}, fmt.Errorf("payload: %s for %s: %w", p, arch, fs.ErrNotExist)
	}
	name := names[len(names)-1]
	sha := strings.TrimSuffix(strings.TrimPrefix(name, "bin/"+prefix(p, arch)), ".gz")
	if raw, err := hex.DecodeString(sha); err != nil || len(raw) != 32 {
		return Binary{}, fmt.Errorf("payload: embedded file %s: its name has no hash", name)
	}
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		return Binary{}, fmt.Errorf("payload: read embedded %s: %w", name, err)
	}
	if len(data) < 18 || data[0] != 0x1f || data[1] != 0x8b {
		return Binary{}, fmt.Errorf("payload: embedded file %s is not gzip", name)
	}
	size := binary.LittleEndian.Uint32(data[len(data)-4:]) // gzip ends with the size
	return Binary{Program: p, Arch: arch, SHA256: sha, Size: int(size), Gzip: data}, nil
}
