//go:build linux

package steps

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// A script that changes packages keeps Debian's own updates out while it runs,
// and ends by itself though the run was cancelled in its middle.
func TestAptScriptIsAloneAndWhole(t *testing.T) {
	r := newRig(t)
	daily := r.file("root/var/lib/apt/daily_lock", "")
	begun, release := r.path("begun"), r.path("go-on")
	for _, fifo := range []string{begun, release} {
		if err := unix.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	step := wire.Step{Name: "upgrade", Run: &wire.Run{Apt: true, Script: "echo begun >" + begun + "; read x <" + release + "; echo whole >" + r.path("done")}}
	end := make(chan Result, 1)
	go func() { end <- Do(ctx, r.Env, &step) }()

	if _, err := os.ReadFile(begun); err != nil { // waits for the script
		t.Fatal(err)
	}
	f, err := os.Open(daily)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
		t.Errorf("the daily lock is free while the script runs: %v", err)
	}
	cancel()
	if err := os.WriteFile(release, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := <-end
	if b, _ := os.ReadFile(filepath.Join(r.dir, "done")); string(b) != "whole\n" {
		t.Errorf("the script was cut: %q, step %s: %s", b, got.Status, got.Reason)
	}
	if got.Status != wire.Changed {
		t.Errorf("step is %s: %s", got.Status, got.Reason)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Errorf("the daily lock is still held: %v", err)
	}
	if !strings.Contains(strings.Join(r.notes, "\n"), "not killed in the middle") {
		t.Errorf("nobody was told why it takes longer: %q", r.notes)
	}
}

// Without the lock a script does not begin.
func TestAptScriptDoesNotBegin(t *testing.T) {
	r := newRig(t)
	daily, err := os.Open(r.file("root/var/lib/apt/daily_lock", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer daily.Close()
	if err := unix.Flock(int(daily.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.Env.Wait = func(wire.Wait) { cancel() }
	got := Do(ctx, r.Env, &wire.Step{Name: "upgrade", Run: &wire.Run{Apt: true, Script: "echo ran >" + r.path("ran")}})
	if _, err := os.Stat(r.path("ran")); err == nil || got.Status != wire.Cancelled {
		t.Errorf("step is %s: %s", got.Status, got.Reason)
	}
}
