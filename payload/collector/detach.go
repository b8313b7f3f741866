//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// runnerVerb is what the collector calls itself with; the journal, the plan and
// perhaps the host's lock are its descriptors 3, 4 and 5.
const runnerVerb = "_runner"

// handoff is what the runner goes on from.
type handoff struct {
	Base, N, Size, Held int64
	Locked              bool
	Wall                time.Time
	Facts               wire.Facts
	Resumes             *progress // of a run that goes on after a reboot
}

// detach starts the runner in a session of its own. It outlives this process
// and the line it hangs on. The plan goes over in memory, complete before the
// runner begins, so that no moment exists in which half of it is lost.
func (b *begun) detach() error {
	b.Locked = b.lock != nil
	doc, err := memory(b.handoff, b.raw)
	if err != nil {
		return fmt.Errorf("keep the plan in memory: %w", err)
	}
	defer doc.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	files := []*os.File{null, null, null, b.journal, doc}
	if b.lock != nil {
		files = append(files, b.lock)
	}
	proc, err := os.StartProcess("/proc/self/exe", []string{"collector", runnerVerb, b.dir.id()}, &os.ProcAttr{
		Dir: "/", Env: append(os.Environ(), "GOMAXPROCS=1"), Files: files, Sys: &syscall.SysProcAttr{Setsid: true}})
	if err != nil {
		return err
	}
	b.journal.Close() // its lock now is the runner's alone
	b.lock.Close()
	return proc.Release()
}

// outlivesLine tells whether this process is one that a lost line does not end:
// sshd has made it the leader of a session without a terminal, to which nobody
// sends a hang-up. Below sudo, and below servers that kill what they started,
// another one has to be made.
func outlivesLine() bool {
	stat := readSmall("/proc/self/stat")
	f := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(f) < 5 || f[3] != strconv.Itoa(os.Getpid()) || f[4] != "0" { // session, terminal
		return false
	}
	return strings.HasPrefix(readSmall("/proc/"+f[1]+"/comm"), "sshd")
}

// here carries out the run in this process, and tells of it as long as somebody
// listens. One process less costs a host a tenth less for a short run.
func (b *begun) here(p place, after wire.Cursor, in *inbox, stdout *os.File) error {
	hangup := make(chan os.Signal, 1) // caught and not ignored: steps would inherit that
	signal.Notify(hangup, syscall.SIGHUP)
	if err := os.Chdir("/"); err != nil {
		return err
	}
	r := newRunner(p, b)
	r.j.told = newTold(stdout)
	ended := make(chan error, 1)
	go func() { ended <- r.run(b.Wall) }()
	err := follow(b.dir, after, stdout, false, r.j.told)
	b.attached.Close()
	if err == nil {
		err = takeReport(p, in)
	}
	return errors.Join(<-ended, err)
}

func memory(h handoff, plan []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("plan", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "plan")
	head, err := json.Marshal(h)
	if err == nil {
		_, err = f.Write(append(append(head, '\n'), plan...))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// inherited takes what detach handed over.
func inherited() (h handoff, plan wire.Plan, journal, lock *os.File, err error) {
	unix.CloseOnExec(3)
	unix.CloseOnExec(4)
	journal, doc := os.NewFile(3, "journal"), os.NewFile(4, "plan")
	defer doc.Close()
	if _, err = doc.Seek(0, io.SeekStart); err != nil {
		return
	}
	dec := json.NewDecoder(doc)
	if err = dec.Decode(&h); err != nil {
		return
	}
	if h.Locked {
		unix.CloseOnExec(5)
		lock = os.NewFile(5, "lock")
	}
	err = dec.Decode(&plan)
	return
}
