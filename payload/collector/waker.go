//go:build linux

package main

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// waker waits until a file grows, or nobody reads our output any more.
type waker struct {
	notify int // inotify; -1 when there is none left, then the file is asked often
	out    int
	fds    []unix.PollFd
	buf    [4096]byte
}

// How long to wait before asking whether the run still lives, and how often to
// look at the file where the kernel does not tell, in milliseconds.
const (
	lifeCheck = 2000
	pollEvery = 20
)

func newWaker(path string, out *os.File) *waker {
	w := &waker{notify: -1, out: int(out.Fd())}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err == nil {
		if _, err = unix.InotifyAddWatch(fd, path, unix.IN_MODIFY); err == nil {
			w.notify = fd
		} else {
			unix.Close(fd)
		}
	}
	// Without POLLIN only errors and hang-ups of the output are told.
	w.fds = []unix.PollFd{{Fd: int32(w.out)}, {Fd: int32(w.notify), Events: unix.POLLIN}}
	return w
}

func (w *waker) close() {
	if w.notify >= 0 {
		unix.Close(w.notify)
	}
}

// wait returns when there is something to read, or with timedOut when it is
// time to ask whether the writer is alive. The error is the reader's end.
func (w *waker) wait() (timedOut bool, err error) {
	fds, timeout := w.fds, lifeCheck
	if w.notify < 0 {
		fds, timeout = fds[:1], pollEvery
	}
	n, err := unix.Poll(fds, timeout)
	switch {
	case errors.Is(err, unix.EINTR):
		return false, nil
	case err != nil:
		return false, err
	case n == 0:
		return true, nil
	case fds[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0:
		return false, errors.New("nobody reads the events any more")
	}
	for {
		if n, err := unix.Read(w.notify, w.buf[:]); n <= 0 || err != nil {
			return false, nil
		}
	}
}
