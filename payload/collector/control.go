//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// cancelVerb asks a run to stop.
func cancelVerb(p place, args []string) error {
	now := slices.Contains(args[1:], "--now")
	if len(args) == 2 && !now {
		return fail(exitUsage, "%s", usageText)
	}
	d, err := p.run(args[0])
	if err != nil {
		return err
	}
	if !runs(d) {
		return closeDied(d)
	}
	names := []string{"cancel"}
	if now {
		names = append(names, "now")
	}
	for _, name := range names {
		f, err := os.OpenFile(filepath.Join(d.control(), name), os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return fail(exitRefused, "cancel run %s: %w", d.id(), err)
		}
		f.Close()
	}
	return nil
}

// runs tells whether the run's runner lives: it holds the journal's lock.
func runs(d runDir) bool {
	f, err := os.Open(d.journal())
	if err != nil {
		return false
	}
	defer f.Close()
	free, err := flock(f, unix.LOCK_SH)
	return err == nil && !free
}

// onControl acts on what lies in the control folder. It may see the same names
// again and again.
func (r *runner) onControl(names []string) {
	for _, name := range names {
		token, confirmed := strings.CutSuffix(name, ".confirmed")
		switch {
		case name == "cancel":
			r.endEarly(&wire.End{Status: wire.Cancelled, Stage: "cancel", Reason: "somebody cancelled the run"})
		case name == "now":
			r.hurry()
		case confirmed:
			r.mu.Lock()
			if answer := r.confirms[token]; answer != nil {
				close(answer)
				delete(r.confirms, token)
			}
			r.mu.Unlock()
		}
	}
}

// hurry stops waiting for package transactions.
func (r *runner) hurry() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.now:
	default:
		close(r.now)
	}
}

// folderWatch tells of the names in a folder whenever they change.
type folderWatch struct {
	f    *os.File // inotify
	stop chan struct{}
	done chan struct{}
}

// watchFolder calls changed with the folder's names, one call at a time, at
// first and whenever something was made or renamed in it.
func watchFolder(dir string, changed func(names []string)) *folderWatch {
	w := &folderWatch{stop: make(chan struct{}), done: make(chan struct{})}
	if fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err == nil {
		if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_MOVED_TO); err == nil {
			w.f = os.NewFile(uintptr(fd), "inotify")
		} else {
			unix.Close(fd)
		}
	}
	go func() {
		defer close(w.done)
		for {
			if entries, err := os.ReadDir(dir); err == nil {
				names := make([]string, len(entries))
				for i, e := range entries {
					names[i] = e.Name()
				}
				changed(names)
			}
			if !w.wait() {
				return
			}
		}
	}()
	return w
}

// wait returns true when it is time to look again.
func (w *folderWatch) wait() bool {
	if w.f != nil {
		var buf [4096]byte
		_, err := w.f.Read(buf[:])
		return err == nil
	}
	select { // no inotify left on this host
	case <-time.After(200 * time.Millisecond):
		return true
	case <-w.stop:
		return false
	}
}

func (w *folderWatch) close() {
	close(w.stop)
	if w.f != nil {
		_ = w.f.Close()
	}
	<-w.done
}

// runInfo is a line of `runs`.
type runInfo struct {
	RunID     string      `json:"run_id"`
	Verb      string      `json:"verb"`
	Host      string      `json:"host"`
	Status    wire.Status `json:"status"`
	Running   bool        `json:"running"`
	Started   time.Time   `json:"started"`
	Collector string      `json:"collector"`
}

// inspect reads the first and the last event of a run.
func inspect(d runDir) (runInfo, error) {
	f, err := os.Open(d.journal())
	if err != nil {
		return runInfo{}, err
	}
	defer f.Close()
	_, e, err := wire.NewReader(f).Next()
	if err != nil || e.Start == nil {
		return runInfo{}, errors.Join(fmt.Errorf("run %s: its journal does not begin with a start", d.id()), err)
	}
	info := runInfo{RunID: d.id(), Verb: e.Start.Verb, Host: e.Start.Facts.Hostname, Started: e.Start.Wall, Collector: e.Start.Collector, Running: runs(d)}
	if info.Running {
		return info, nil
	}
	info.Status = wire.Failed // without an end it died
	st, err := f.Stat()
	if err != nil {
		return info, err
	}
	tail := make([]byte, min(st.Size(), 64<<10))
	if _, err := f.ReadAt(tail, st.Size()-int64(len(tail))); err != nil {
		return info, err
	}
	lines := strings.Split(strings.TrimSpace(string(tail)), "\n")
	if last, err := wire.Decode([]byte(lines[len(lines)-1])); err == nil && last.End != nil {
		info.Status = last.End.Status
	}
	return info, nil
}
