//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
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
func detach(d runDir, h handoff, plan []byte, journal, lock *os.File) error {
	h.Locked = lock != nil
	doc, err := memory(h, plan)
	if err != nil {
		return fmt.Errorf("keep the plan in memory: %w", err)
	}
	defer doc.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	files := []*os.File{null, null, null, journal, doc}
	if lock != nil {
		files = append(files, lock)
	}
	proc, err := os.StartProcess("/proc/self/exe", []string{"collector", runnerVerb, d.id()}, &os.ProcAttr{
		Dir: "/", Env: append(os.Environ(), "GOMAXPROCS=1"), Files: files, Sys: &syscall.SysProcAttr{Setsid: true}})
	if err != nil {
		return err
	}
	return proc.Release()
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
