package payload

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

func unzip(t *testing.T, b Binary) []byte {
	t.Helper()
	zr, err := gzip.NewReader(bytes.NewReader(b.Gzip))
	if err != nil {
		t.Fatal(err)
	}
	program, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// The same sources give the same bytes from two folders, and they are what the
// name says, small enough, for the right machine and static.
func TestBuildIsReproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip(err)
	}
	src, err := Source()
	if err != nil {
		t.Skip(err)
	}
	elsewhere := copyModule(t, src)
	for _, arch := range Archs {
		a, err := Build(src, arch)
		if err != nil {
			t.Fatal(err)
		}
		b, err := Build(elsewhere, arch)
		if err != nil {
			t.Fatal(err)
		}
		if a.SHA256 != b.SHA256 || !bytes.Equal(a.Gzip, b.Gzip) {
			t.Errorf("%s: two folders, two collectors: %s %s", arch, a.SHA256, b.SHA256)
		}
		program := unzip(t, a)
		if sum := sha256.Sum256(program); hex.EncodeToString(sum[:]) != a.SHA256 || len(program) != a.Size {
			t.Errorf("%s: %d bytes are not what is said of them", arch, len(program))
		}
		machine := map[string]byte{"amd64": 0x3e, "arm64": 0xb7}[arch]
		if !bytes.HasPrefix(program, []byte("\x7fELF\x02\x01")) || program[18] != machine {
			t.Errorf("%s: not a program for it", arch)
		}
		if bytes.Contains(program, []byte("/ld-linux")) || bytes.Contains(program, []byte(src)) {
			t.Errorf("%s: not static, or it names the folder it was built in", arch)
		}
		t.Logf("%s: %d bytes, %d compressed", arch, a.Size, len(a.Gzip))
		if len(a.Gzip) > 1_500_000 {
			t.Errorf("%s: %d bytes compressed, at most 1500000", arch, len(a.Gzip))
		}
	}
}

// copyModule copies what the collector is built from to another folder.
func copyModule(t *testing.T, src string) string {
	t.Helper()
	dst := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum", "payload"} {
		from := filepath.Join(src, name)
		err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(src, path)
			if err != nil {
				return err
			}
			if d.IsDir() {
				return os.MkdirAll(filepath.Join(dst, rel), 0o755)
			}
			if strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, ".gz") {
				return nil
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dst, rel), b, 0o644)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return dst
}

func TestEmbedded(t *testing.T) {
	b, err := compress(CollectorProgram, "amd64", []byte("a program"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(bin, fileName(CollectorProgram, "amd64", strings.Repeat("0", 64)))
	other := filepath.Join(bin, fileName(CollectorProgram, "arm64", strings.Repeat("1", 64)))
	for _, name := range []string{old, other} {
		if err := os.WriteFile(name, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := Store(bin, b); err != nil {
		t.Fatal(err)
	}
	got, err := embedded(os.DirFS(dir), CollectorProgram, "amd64")
	if err != nil || got.SHA256 != b.SHA256 || got.Size != len("a program") || string(unzip(t, got)) != "a program" {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := os.Stat(old); err == nil {
		t.Error("the old collector is still there")
	}
	if _, err := os.Stat(other); err != nil {
		t.Error("the other architecture's is gone")
	}
	if _, err := embedded(os.DirFS(dir), CollectorProgram, "arm64"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is no gzip: %v", err)
	}
	if _, err := embedded(fstest.MapFS{"bin/README.md": {}}, CollectorProgram, "amd64"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty folder: %v", err)
	}
	if _, err := embedded(fstest.MapFS{"bin/collector-linux-amd64-beef.gz": {}}, CollectorProgram, "amd64"); err == nil {
		t.Error("a name without a hash was taken")
	}
}

func TestCollectorOfUnknownArch(t *testing.T) {
	for _, arch := range []string{"", "mips", "*", "../x"} {
		if _, err := Collector(arch); !errors.Is(err, ErrArch) {
			t.Errorf("%q: %v", arch, err)
		}
	}
}

func TestMissingHasHint(t *testing.T) {
	var err error = &missing{arch: "amd64", err: errors.New("no go")}
	var h interface{ Hint() string }
	if !errors.As(err, &h) || !strings.Contains(h.Hint(), "make build") || !strings.Contains(err.Error(), "amd64") {
		t.Errorf("%v", err)
	}
}
