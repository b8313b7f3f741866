package bench

import (
	"os"

	"golang.org/x/sys/windows"
)

// lock waits for the lock on f. It ends with the file's handle, so a killed
// process holds none. It covers one byte far behind the content: on Windows a
// locked byte cannot be read.
func lock(f *os.File) error {
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK, 0, 1, 0, &windows.Overlapped{OffsetHigh: 1 << 30})
}
