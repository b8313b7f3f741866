package report

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// tryLock takes the lock on f, shared or exclusive, without waiting. The lock
// ends with the file's handle, so a killed process holds none. It covers one
// byte far behind the content: on Windows a locked byte cannot be read.
func tryLock(f *os.File, exclusive bool) (bool, error) {
	flags := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if exclusive {
		flags |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	at := &windows.Overlapped{OffsetHigh: 1 << 30}
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, at)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING):
		return false, nil
	}
	return false, err
}

// What a full disk is called besides ENOSPC.
const (
	errQuota    = windows.ERROR_DISK_QUOTA_EXCEEDED
	errTooLarge = windows.ERROR_FILE_TOO_LARGE
	errFull     = windows.ERROR_DISK_FULL
)
