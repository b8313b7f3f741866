//go:build linux

package main

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
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

var errNobodyReads = errors.New("nobody reads the events any more")

func newWaker(path string, out *os.File, told *told) *waker {
	w := &waker{notify: -1, out: int(out.Fd())}
	if told != nil {
		return w
	}
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
		return false, errNobodyReads
	}
	for {
		if n, err := unix.Read(w.notify, w.buf[:]); n <= 0 || err != nil {
			return false, nil
		}
	}
}

// told is how a journal wakes who follows it in the same process.
type told struct {
	grew chan struct{} // has one in it: there is more
	last chan struct{} // closed: nothing comes any more
	gone chan struct{} // closed: nobody reads any more
	once sync.Once

	at   time.Time // when wait last returned; this and late are the follower's only
	late bool
}

// pace is how long a follower lets events gather. The first after a silence
// goes at once, and so does the last.
const pace = 10 * time.Millisecond

func newTold(out *os.File) *told {
	t := &told{grew: make(chan struct{}, 1), last: make(chan struct{}), gone: make(chan struct{}), at: time.Now()}
	fds := []unix.PollFd{{Fd: int32(out.Fd())}} // only errors and hang-ups are told
	go func() {                                 // ends with the process at the latest
		for {
			if n, err := unix.Poll(fds, -1); n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
				close(t.gone)
				return
			}
		}
	}()
	return t
}

// grown says that an event was written. Nil is told nothing.
func (t *told) grown(e *wire.Event) {
	switch {
	case t == nil:
	case e.Kind == wire.KindEnd:
		t.over()
	default:
		select {
		case t.grew <- struct{}{}:
		default:
		}
	}
}

func (t *told) over() {
	if t != nil {
		t.once.Do(func() { close(t.last) })
	}
}

// wait returns when there may be something to read, or with false when nothing
// comes any more.
func (t *told) wait() (more bool, err error) {
	select {
	case <-t.grew:
		gather := time.NewTimer(pace - time.Since(t.at))
		defer gather.Stop()
		select {
		case <-gather.C:
		case <-t.last:
		case <-t.gone:
		}
	case <-t.last:
		if t.late { // what came before the last was looked at
			return false, nil
		}
		t.late = true
	case <-t.gone:
		return false, errNobodyReads
	}
	t.at = time.Now()
	return true, nil
}
