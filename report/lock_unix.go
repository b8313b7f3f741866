//go:build !windows

package report

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// tryLock takes the lock on f, shared or exclusive, without waiting. The lock
// ends with the file's descriptor, so a killed process holds none.
func tryLock(f *os.File, exclusive bool) (bool, error) {
	how := unix.LOCK_SH
	if exclusive {
		how = unix.LOCK_EX
	}
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		default:
			return false, err
		}
	}
}

// What a full disk is called besides ENOSPC.
const (
	errQuota    = unix.EDQUOT
	errTooLarge = unix.EFBIG
	errFull     = unix.ENOSPC
)
