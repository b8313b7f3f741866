//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// smallDisk is this test program in a mount namespace of its own: it mounts a
// small file system over a home and becomes the collector.
func smallDisk(dir string) {
	err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	if err == nil {
		err = unix.Mount("tmpfs", dir, "tmpfs", 0, "size=6m,mode=0777")
	}
	if os.Geteuid() == 0 {
		err = errors.Join(err, syscall.Setgroups(nil), syscall.Setgid(nobodyID), syscall.Setuid(nobodyID))
	}
	if err == nil {
		path := os.Getenv("VPSCTL_TEST_COLLECTOR")
		err = unix.Exec(path, []string{path, "start"}, []string{"HOME=" + dir, "PATH=/usr/bin:/bin"})
	}
	fmt.Fprintln(os.Stderr, "small disk:", err)
	os.Exit(1)
}

func (h *testHost) beginOnSmallDisk(plan *wire.Plan) *stream {
	b, err := json.Marshal(plan)
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Stdin = bytes.NewReader(b)
	cmd.Env = []string{"VPSCTL_TEST_SMALL_DISK=" + h.home, "VPSCTL_TEST_COLLECTOR=" + collectorPath}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	if uid := os.Geteuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		gid := os.Getegid() // a group that is not mapped can make no file
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
		cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN}
	}
	if err := exec.Command("unshare", "-Urm", "true").Run(); err != nil && os.Geteuid() != 0 {
		h.t.Skipf("no mount namespaces for this user: %v", err)
	}
	return h.follow(cmd)
}

// A run whose journal fills the disk is told to the end: the step that filled
// it, the end, and why; and no further step begins.
func TestFullDisk(t *testing.T) {
	const flood = "yes 'a line of output that goes into the journal' | head -c 8000000"
	for name, fill := range map[string]string{
		"by output":          flood,
		"by file and output": "head -c 2400000 /dev/zero > $DIR/fill; " + flood,
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			s := h.beginOnSmallDisk(planOf("r1", "DIR="+h.home+"; "+fill, "echo after"))
			events := s.rest()
			end := endOf(t, events)
			if end.Status != wire.Failed || end.Stage != "journal" || !strings.Contains(end.Reason, "disk of the host is full") || end.Hint == "" {
				t.Errorf("end %+v", end)
			}
			if e := stepEndOf(t, events, "p/s0"); e.Status != wire.Changed {
				t.Errorf("the step that filled the disk: %+v", e)
			}
			for _, e := range events {
				if e.Step == "p/s1" {
					t.Error("a step began on a full disk")
				}
			}
		})
	}
}

// A step that fills the disk with files does not silence the run; a step whose
// way back cannot be kept is not done.
func TestFullDiskKeepsNoUndo(t *testing.T) {
	h := newHost(t)
	plan := planOf("r1", "cat /dev/zero > "+h.home+"/fill 2>/dev/null; echo filled", "touch /dev/shm/never-"+filepath.Base(h.home))
	plan.Phases[0].Steps[1].Run.Check, plan.Phases[0].Steps[1].Run.Undo = "exit 1", "true"
	events := h.beginOnSmallDisk(plan).rest()
	find(t, events, "output on a full disk", func(e *wire.Event) bool { return e.IsOutput() && e.Output.Text == "filled\n" })
	if e := stepEndOf(t, events, "p/s1"); e.Status != wire.Failed || !strings.Contains(e.Reason, "nothing was changed") {
		t.Errorf("p/s1: %+v", e)
	}
	if fileExists("/dev/shm/never-" + filepath.Base(h.home)) {
		os.Remove("/dev/shm/never-" + filepath.Base(h.home))
		t.Error("it was done all the same")
	}
	if end := endOf(t, events); end.Status != wire.Failed {
		t.Errorf("end %+v", end)
	}
}

// Without any room no run is begun, and that is said.
func TestJournalOnAFullDevice(t *testing.T) {
	f, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	j := &journal{f: f}
	err = j.append(&wire.Event{Kind: wire.KindNote, Note: &wire.Note{Text: "x"}})
	if !errors.Is(j.broken(), errFull) && err == nil {
		t.Errorf("append: %v, broken: %v", err, j.broken())
	}
}
