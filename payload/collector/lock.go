//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// takeLock takes the lock of exclusive runs, which the returned file holds
// until it and all its copies are closed. When another run has it, the refusal
// says which.
func takeLock(path string) (*os.File, error) {
	for range 10 {
		f, err := openLock(path)
		if err != nil {
			return nil, refuse("lock", "%v", err)
		}
		ok, err := flock(f, unix.LOCK_EX)
		switch {
		case err != nil:
			f.Close()
			return nil, refuse("lock", "%v", err)
		case !ok:
			holder := readLock(f)
			f.Close()
			return nil, held(holder)
		case sameFile(f, path):
			return f, nil
		}
		f.Close() // `clean` took it away between open and lock
	}
	return nil, refuse("lock", "%s does not stay where it is", path)
}

func held(holder *wire.Lock) error {
	r := &refusal{wire.Refused{Stage: "lock", Text: "another run holds this host", Holder: holder}, exitLocked}
	if holder != nil {
		r.Text = fmt.Sprintf("run %s (%s, pid %d) holds this host since %s", holder.RunID, holder.Verb, holder.PID, holder.Since.Format("2006-01-02 15:04:05Z"))
	}
	return r
}

// openLock opens or makes the lock's file. /run/lock may be written by
// everybody: what is there and is not ours is removed, never opened for long.
func openLock(path string) (*os.File, error) {
	for range 2 {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		if err == nil {
			var st unix.Stat_t
			if err = unix.Fstat(int(f.Fd()), &st); err == nil && int(st.Uid) == os.Geteuid() && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o077 == 0 {
				return f, nil
			}
			f.Close()
		} else if os.IsNotExist(err) {
			return nil, err
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("%s is not ours and cannot be removed: %w", path, err)
		}
	}
	return nil, fmt.Errorf("somebody keeps putting a file of their own at %s", path)
}

func sameFile(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b)
}

func readLock(f *os.File) *wire.Lock {
	b := make([]byte, 4096)
	n, _ := f.ReadAt(b, 0) // io.EOF tells the end, as it should
	l := new(wire.Lock)
	if json.Unmarshal(b[:n], l) != nil {
		return nil
	}
	return l
}

func writeLock(f *os.File, l wire.Lock) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(append(b, '\n'), 0)
	return errors.Join(err, f.Truncate(int64(len(b))+1))
}
