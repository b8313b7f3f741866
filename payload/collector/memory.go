//go:build linux

package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// inMemory is the run's folder on a file system that has no disk. Others may
// pass through it, not list it.
func (r *runner) inMemory() (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.memory != "" {
		return r.memory, nil
	}
	var problems []error
	if dir := r.place.fleet; dir != "" && isMemory(filepath.Dir(dir)) {
		own := filepath.Join(dir, r.plan.RunID)
		err := os.Mkdir(dir, 0o711)
		if err == nil || errors.Is(err, fs.ErrExist) {
			if err = os.Mkdir(own, 0o711); err == nil {
				r.memory = own
				return own, nil
			}
		}
		problems = append(problems, err)
	}
	if isMemory("/dev/shm") {
		own := filepath.Join("/dev/shm", "vpsctl-"+randomName())
		err := os.Mkdir(own, 0o711)
		if err == nil {
			r.memory = own
			return own, nil
		}
		problems = append(problems, err)
	}
	return "", fmt.Errorf("there is no folder in memory: %w", errors.Join(append(problems, errors.New("neither /run nor /dev/shm is one"))...))
}

// aptConfig is a file for scripts that call apt themselves: other programs may
// have its lock, phases beside theirs among them. "" where there can be none.
func (r *runner) aptConfig() string {
	if !r.place.root {
		return ""
	}
	base, err := r.inMemory()
	if err != nil {
		return ""
	}
	file := filepath.Join(base, "apt.conf")
	if !fileExists(file) {
		err = os.WriteFile(file, []byte("DPkg::Lock::Timeout \"600\";\n"), 0o644)
	}
	if err != nil {
		return ""
	}
	return file
}

func isMemory(dir string) bool {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return false
	}
	return st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC
}

func randomName() string {
	var b [16]byte
	for n := 0; n < len(b); { // asked without crypto/rand, which is 100 KB more
		m, err := unix.Getrandom(b[n:], 0)
		if err != nil && err != unix.EINTR {
			panic("the kernel has no random bytes: " + err.Error())
		}
		n += max(m, 0)
	}
	return hex.EncodeToString(b[:])
}

// forget removes what was only in memory.
func (r *runner) forget() {
	if r.memory != "" {
		_ = os.RemoveAll(r.memory)
	}
}

// secretsDir makes a folder in memory with one file per secret, readable by uid
// alone.
func (p *phaseRun) secretsDir(names []string, uid, gid int) (string, func(), error) {
	base, err := p.inMemory()
	if err != nil {
		return "", nil, err
	}
	dir := filepath.Join(base, "secrets-"+randomName())
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", nil, err
	}
	cleanup := func() { _ = os.RemoveAll(dir) }
	for _, name := range names {
		if err := p.putSecret(dir, name, uid, gid); err != nil {
			cleanup()
			return "", nil, err
		}
	}
	if os.Geteuid() != uid {
		if err := os.Chown(dir, uid, gid); err != nil {
			cleanup()
			return "", nil, err
		}
	}
	return dir, cleanup, nil
}

func (p *phaseRun) putSecret(dir, name string, uid, gid int) error {
	value, ok := p.plan.Secrets[name]
	if !ok || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("the plan has no secret %q", name)
	}
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(value), 0o400); err != nil {
		return err
	}
	if os.Geteuid() != uid {
		return os.Chown(file, uid, gid)
	}
	return nil
}
