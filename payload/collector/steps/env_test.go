//go:build linux

package steps

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// strangerUID owns what a user could have planted; only root can make such.
const strangerUID = 31415

// rig is a runner for tests: a system root in a temp folder, and everything a
// step said.
type rig struct {
	*Env
	t   *testing.T
	dir string

	mu    sync.Mutex
	out   strings.Builder
	notes []string
	waits []wire.Wait
	undos []wire.Undo
	onRun func(cmd *exec.Cmd) // before a process starts
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // a user must be able to walk through
		t.Fatal(err)
	}
	r := &rig{t: t, dir: dir}
	for _, d := range []string{"undo", "run", "phase", "bin", "root/etc"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r.Env = &Env{
		Phase:    &wire.Phase{ID: "p", Env: map[string]string{"greeting": "hello"}},
		UndoDir:  filepath.Join(dir, "undo"),
		RunDir:   filepath.Join(dir, "run"),
		PhaseDir: filepath.Join(dir, "phase"),
		Root:     true,
		Out:      r.say,
		Wait:     func(w wire.Wait) { r.locked(func() { r.waits = append(r.waits, w) }) },
		Note:     func(level, text string) { r.locked(func() { r.notes = append(r.notes, level+": "+text) }) },
		Undo:     r.undo,
		Run:      r.run,
		root:     filepath.Join(dir, "root"),
		path:     filepath.Join(dir, "bin") + ":/usr/sbin:/usr/bin:/sbin:/bin",
		clock:    clock{sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }},
	}
	r.file("root/etc/passwd", fmt.Sprintf("root:x:0:0:root:/root:/bin/sh\nstranger:x:%d:%d::/:/bin/sh\n", strangerUID, strangerUID))
	r.file("root/etc/group", fmt.Sprintf("root:x:0:\nstranger:x:%d:\n", strangerUID))
	r.file("root/etc/shadow", "root:*:1::::::\n")
	return r
}

func (r *rig) locked(f func()) { r.mu.Lock(); defer r.mu.Unlock(); f() }

func (r *rig) say(_ string, b []byte) { r.locked(func() { r.out.Write(b) }) }

func (r *rig) undo(u wire.Undo, content []byte) error {
	if content != nil {
		sum := sha256.Sum256(content)
		u.Hash = hex.EncodeToString(sum[:])
		if err := os.WriteFile(filepath.Join(r.UndoDir, u.Hash), content, 0o600); err != nil {
			return err
		}
	}
	r.locked(func() { r.undos = append(r.undos, u) })
	return nil
}

// run is the contract of Env.Run in its smallest form.
func (r *rig) run(ctx context.Context, cmd *exec.Cmd, keep bool) error {
	if r.onRun != nil {
		r.onRun(cmd)
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.WaitDelay = 100 * time.Millisecond
	if err := cmd.Start(); err != nil {
		return err
	}
	if !keep {
		stop := context.AfterFunc(ctx, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		defer stop()
	}
	return cmd.Wait()
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

func (r *rig) file(name, content string) string {
	r.t.Helper()
	p := r.path(name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
		r.t.Fatal(err)
	}
	return p
}

// fake puts a shell script in the way of a program. $S is the rig's folder,
// where scripts keep their state; every call is a line in $S/calls.
func (r *rig) fake(name, body string) {
	r.t.Helper()
	p := r.file("bin/"+name, "#!/bin/sh\nS='"+r.dir+"'\nprintf '%s\\n' \""+name+" $*\" >>$S/calls\n"+body+"\n")
	if err := os.Chmod(p, 0o755); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) calls() string { return r.read("calls") }

func (r *rig) read(name string) string {
	r.t.Helper()
	b, err := os.ReadFile(r.path(name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.t.Fatal(err)
	}
	return string(b)
}

// do runs a step and wants its status.
func (r *rig) do(s wire.Step, want wire.Status) Result {
	r.t.Helper()
	got := Do(r.t.Context(), r.Env, &s)
	if got.Status != want {
		r.t.Fatalf("step is %s, want %s: %s\nstderr: %s\noutput: %s", got.Status, want, got.Reason, got.Stderr, r.out.String())
	}
	return got
}

// revert undoes all records, the last one first.
func (r *rig) revert() {
	r.t.Helper()
	for i := len(r.undos) - 1; i >= 0; i-- {
		if err := Revert(r.t.Context(), r.Env, r.undos[i]); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) has(what, text string) {
	r.t.Helper()
	if !strings.Contains(text, what) {
		r.t.Errorf("%q is not in %q", what, text)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make folders of others")
	}
}

// TestMain also is the process that holds a lock, for tests of waiting.
func TestMain(m *testing.M) {
	if name := os.Getenv("STEPS_TEST_LOCK"); name != "" {
		os.Exit(holdLock(name))
	}
	os.Exit(m.Run())
}

func holdLock(name string) int {
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CREAT, 0o600)
	if err == nil {
		err = unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	}
	if err != nil {
		return 1
	}
	fmt.Println("locked")
	_, _ = os.Stdin.Read(make([]byte, 1)) // until the test lets go
	return 0
}
