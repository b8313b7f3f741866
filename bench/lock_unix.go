//go:build !windows

package bench

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lock waits for the lock on f. It ends with the file's descriptor, so a killed
// process holds none.
func lock(f *os.File) error {
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
