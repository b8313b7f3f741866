//go:build linux

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// place says where the collector keeps what on this host.
type place struct {
	dir   string // everything that lasts
	lock  string // the lock of exclusive runs
	logs  string // the guide's logs
	fleet string // folder in memory for what must not last
	root  bool
}

func findPlace() (place, error) {
	if os.Geteuid() == 0 {
		return place{dir: "/var/lib/vpsctl", lock: "/run/lock/vpsctl", logs: "/var/log/vps-provision", fleet: "/run/vpsctl", root: true}, nil
	}
	home := os.Getenv("HOME")
	if !filepath.IsAbs(home) {
		return place{}, fail(exitRefused, "find a folder for runs: HOME is %q", home)
	}
	p := place{dir: filepath.Join(home, ".local/state/vpsctl")}
	p.lock, p.logs = filepath.Join(p.dir, "lock"), filepath.Join(p.dir, "log/vps-provision")
	if r := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(r) {
		p.fleet = filepath.Join(r, "vpsctl")
	}
	return p, nil
}

// runDir is the folder of one run.
type runDir string

// isName tells names that may become file names: letters, digits, "._-" after
// the first, at most 63. (Package regexp would be a 20th of the collector.)
func isName(s string) bool {
	const alnum = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	return s != "" && len(s) <= 63 && strings.IndexByte(alnum, s[0]) >= 0 && strings.Trim(s, alnum+"._-") == ""
}

// isHex tells lower-case hex digits, so many of them.
func isHex(s string, digits int) bool {
	return len(s) == digits && strings.Trim(s, "0123456789abcdef") == ""
}

func (p place) runs() string { return filepath.Join(p.dir, "runs") }

// run finds the folder of a run that was begun.
func (p place) run(id string) (runDir, error) {
	if !isName(id) {
		return "", fail(exitUsage, "%q is not a run id", id)
	}
	d := runDir(filepath.Join(p.runs(), id))
	if _, err := os.Stat(d.journal()); errors.Is(err, fs.ErrNotExist) {
		return "", fail(exitNoRun, "run %s: there is no such run on this host", id)
	} else if err != nil {
		return "", fail(exitRefused, "run %s: %w", id, err)
	}
	return d, nil
}

func (d runDir) id() string           { return filepath.Base(string(d)) }
func (d runDir) journal() string      { return filepath.Join(string(d), "journal.jsonl") }
func (d runDir) attached() string     { return filepath.Join(string(d), "attached") }
func (d runDir) undo() string         { return filepath.Join(string(d), "undo") }
func (d runDir) control() string      { return filepath.Join(string(d), "control") }
func (d runDir) file(n string) string { return filepath.Join(string(d), n) }

// ownHash is the hex SHA-256 of the running program. A collector that lies
// under its hash is named by it, which its start has verified.
func ownHash() string {
	exe, err := os.Executable()
	if err != nil {
		return ""
	}
	if base := filepath.Base(exe); isHex(base, 64) {
		return base
	}
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// boottime is CLOCK_BOOTTIME: it goes on while the host sleeps and never jumps.
func boottime() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return ts.Nano()
}

func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// flock takes a lock on f without waiting. It reports false when another holds
// one that excludes it.
func flock(f *os.File, how int) (bool, error) {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		}
		return false, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
}
