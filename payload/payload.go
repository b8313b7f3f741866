// Package payload is what travels to a host: the collector, built for each
// architecture, embedded or built when it is missing.
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

// Archs are the architectures collectors are built for.
var Archs = []string{"amd64", "arm64"}

// Binary is a collector for one architecture.
type Binary struct {
	Arch   string
	SHA256 string // hex, of the uncompressed program
	Size   int    // bytes, uncompressed
	Gzip   []byte // the compressed program; not to be changed
}

// ErrArch marks an architecture no collector exists for.
var ErrArch = errors.New("no collector for this architecture")

var atRunTime = struct {
	sync.Mutex
	built map[string]Binary
}{built: map[string]Binary{}}

// Collector returns the collector for a Linux host of this architecture (amd64,
// arm64). Where none is embedded, it is built with the Go toolchain, once per
// process; without one the error has a hint.
func Collector(arch string) (Binary, error) {
	if !slices.Contains(Archs, arch) {
		return Binary{}, fmt.Errorf("payload: %w: %q (there are: %s)", ErrArch, arch, strings.Join(Archs, ", "))
	}
	b, err := embedded(bin, arch)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	atRunTime.Lock()
	defer atRunTime.Unlock()
	if b, ok := atRunTime.built[arch]; ok {
		return b, nil
	}
	b, err = buildHere(arch)
	if err != nil {
		return Binary{}, &missing{arch: arch, err: err}
	}
	atRunTime.built[arch] = b
	return b, nil
}

// missing is the error of a vpsctl without collectors.
type missing struct {
	arch string
	err  error
}

func (m *missing) Error() string {
	return fmt.Sprintf("payload: this vpsctl was built without the collector for %s, and building it now failed: %v", m.arch, m.err)
}
func (m *missing) Unwrap() error { return m.err }
func (m *missing) Hint() string {
	return "build vpsctl with `make build`, or run `go run ./payload/build` in its source folder and build again"
}

// fileName carries the hash, so that nothing has to be unpacked to know it.
func fileName(arch, sha string) string { return prefix(arch) + sha + ".gz" }
func prefix(arch string) string        { return "collector-linux-" + arch + "-" }

func embedded(fsys fs.FS, arch string) (Binary, error) {
	names, err := fs.Glob(fsys, "bin/"+fileName(arch, "*"))
	if err != nil || len(names) == 0 {
		return Binary{}, fmt.Errorf("payload: collector for %s: %w", arch, fs.ErrNotExist)
	}
	name := names[len(names)-1]
	sha := strings.TrimSuffix(strings.TrimPrefix(name, "bin/"+prefix(arch)), ".gz")
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
	return Binary{Arch: arch, SHA256: sha, Size: int(size), Gzip: data}, nil
}
