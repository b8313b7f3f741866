package payload

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/klauspost/compress/gzip" // makes 4 KB less of a collector than compress/gzip
)

// flagsOf is how a program is compiled: inlining is for speed the collector does
// not need, the runtime included, and a seventh of its compressed size. The
// prober is nothing but speed.
var flagsOf = map[Program][]string{CollectorProgram: {"-gcflags=all=-l"}, ProberProgram: nil}

// Build makes the collector for arch from the module in folder src. The same
// sources and toolchain give the same bytes, whatever the folder.
func Build(src, arch string) (Binary, error) { return BuildProgram(src, CollectorProgram, arch) }

// BuildProgram makes a program as Build does the collector.
func BuildProgram(src string, p Program, arch string) (Binary, error) {
	tmp, err := os.MkdirTemp("", "vpsctl-build-")
	if err != nil {
		return Binary{}, fmt.Errorf("payload: build for %s: %w", arch, err)
	}
	defer os.RemoveAll(tmp)
	out := filepath.Join(tmp, string(p))
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid="}, flagsOf[p]...)
	cmd := exec.Command("go", append(args, "-o", out, "./payload/"+string(p))...)
	cmd.Dir = src
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOAMD64=v1", "GOARM64=v8.0",
		"GOFLAGS=", "GOEXPERIMENT=", "GOWORK=off", "GOFIPS140=off")
	if text, err := cmd.CombinedOutput(); err != nil {
		return Binary{}, fmt.Errorf("payload: build for %s in %s: %w: %s", arch, src, err, lastLines(text))
	}
	program, err := os.ReadFile(out)
	if err != nil {
		return Binary{}, fmt.Errorf("payload: build for %s: %w", arch, err)
	}
	return compress(p, arch, program)
}

func compress(p Program, arch string, program []byte) (Binary, error) {
	var b bytes.Buffer
	zw, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return Binary{}, fmt.Errorf("payload: compress for %s: %w", arch, err)
	}
	if _, err := zw.Write(program); err != nil {
		return Binary{}, fmt.Errorf("payload: compress for %s: %w", arch, err)
	}
	if err := zw.Close(); err != nil {
		return Binary{}, fmt.Errorf("payload: compress for %s: %w", arch, err)
	}
	sum := sha256.Sum256(program)
	return Binary{Program: p, Arch: arch, SHA256: hex.EncodeToString(sum[:]), Size: len(program), Gzip: b.Bytes()}, nil
}

// Store writes b into folder dir, which vpsctl embeds, and removes the
// ones of the same architecture that were there before.
func Store(dir string, b Binary) error {
	path := filepath.Join(dir, fileName(b.Program, b.Arch, b.SHA256))
	tmp := path + ".new"
	if err := os.WriteFile(tmp, b.Gzip, 0o644); err != nil {
		return fmt.Errorf("payload: store %s for %s: %w", b.Program, b.Arch, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("payload: store %s for %s: %w", b.Program, b.Arch, err)
	}
	old, err := filepath.Glob(filepath.Join(dir, fileName(b.Program, b.Arch, "*")))
	for _, name := range old {
		if name != path {
			err = errors.Join(err, os.Remove(name))
		}
	}
	return err
}

// Source finds the folder of the module these sources were compiled in. Where a
// command happens to be run is not asked: what is built runs as root on hosts.
func Source() (string, error) {
	_, file, _, _ := runtime.Caller(0)
	if root := filepath.Dir(filepath.Dir(file)); filepath.IsAbs(file) && isModule(root) {
		return root, nil
	}
	return "", errors.New("payload: the sources of vpsctl are not on this machine")
}

func isModule(dir string) bool {
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	return err == nil && strings.Contains(string(mod), "module github.com/vpsctl/vpsctl\n")
}

func buildHere(p Program, arch string) (Binary, error) {
	if _, err := exec.LookPath("go"); err != nil {
		return Binary{}, errors.New("there is no Go toolchain in PATH")
	}
	src, err := Source()
	if err != nil {
		return Binary{}, err
	}
	return BuildProgram(src, p, arch)
}

func lastLines(b []byte) string {
	b = bytes.TrimSpace(b)
	if len(b) > 2000 {
		b = b[len(b)-2000:]
	}
	return string(b)
}
