//go:build linux

package steps

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

func fileStep(f wire.File) wire.Step { return wire.Step{Name: "f", File: &f} }

// state describes a path in one line.
func state(t *testing.T, path string) string {
	t.Helper()
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "absent"
	case err != nil:
		t.Fatal(err)
	case st.Mode()&os.ModeSymlink != 0:
		target, _ := os.Readlink(path)
		return "link " + target
	case st.IsDir():
		return "directory " + st.Mode().Perm().String()
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return "file " + st.Mode().Perm().String() + " " + string(b)
}

func TestFileThereAndBack(t *testing.T) {
	for name, c := range map[string]struct {
		before func(path string) error
		want   wire.File
		after  string
		reason string
	}{
		"new":         {nil, wire.File{Content: []byte("new\n")}, "file -rw-r--r-- new\n", "was not there"},
		"new private": {nil, wire.File{Content: []byte("s"), Mode: "0600"}, "file -rw------- s", "was not there"},
		"empty":       {nil, wire.File{}, "file -rw-r--r-- ", "was not there"},
		"content":     {write("old content", 0o640), wire.File{Content: []byte("new")}, "file -rw-r----- new", "content (11 bytes, now 3)"},
		"same size":   {write("abc", 0o644), wire.File{Content: []byte("abd")}, "file -rw-r--r-- abd", "content (3 bytes, now 3)"},
		"mode":        {write("abc", 0o644), wire.File{Content: []byte("abc"), Mode: "0600"}, "file -rw------- abc", "mode 0644, now 0600"},
		"gone":        {write("abc", 0o604), wire.File{State: "absent"}, "absent", "is there (file)"},
		"gone link":   {symlink("/nowhere"), wire.File{State: "absent"}, "absent", "is there (link)"},
		"gone folder": {mkdir(0o750), wire.File{State: "absent"}, "absent", "is there (directory)"},
		"folder":      {nil, wire.File{State: "directory"}, "directory -rwxr-xr-x", "was not there"},
		"folder mode": {mkdir(0o755), wire.File{State: "directory", Mode: "0700"}, "directory -rwx------", "mode 0755, now 0700"},
		"link":        {nil, wire.File{State: "link", Target: "there"}, "link there", "was not there"},
		"other link":  {symlink("here"), wire.File{State: "link", Target: "there"}, "link there", "target here, not there"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			path := r.path("f")
			if c.before != nil {
				if err := c.before(path); err != nil {
					t.Fatal(err)
				}
			}
			was := state(t, path)
			c.want.Path = path
			got := r.do(fileStep(c.want), wire.Changed)
			if got.Reason != c.reason {
				t.Errorf("reason %q, want %q", got.Reason, c.reason)
			}
			if now := state(t, path); now != c.after {
				t.Errorf("is %q, want %q", now, c.after)
			}
			r.do(fileStep(c.want), wire.OK)
			r.revert()
			r.revert() // again: nothing left to do, no error
			if now := state(t, path); now != was {
				t.Errorf("after undo it is %q, was %q", now, was)
			}
			if left, _ := filepath.Glob(r.path(".vpsctl-*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func write(content string, mode os.FileMode) func(string) error {
	return func(p string) error {
		return errors.Join(os.WriteFile(p, []byte(content), 0o600), os.Chmod(p, mode))
	}
}

func symlink(target string) func(string) error {
	return func(p string) error { return os.Symlink(target, p) }
}

func mkdir(mode os.FileMode) func(string) error {
	return func(p string) error { return errors.Join(os.Mkdir(p, 0o700), os.Chmod(p, mode)) }
}

func TestFileRefusals(t *testing.T) {
	r := newRig(t)
	r.file("full/inside", "x")
	r.file("plain", "x")
	if err := unix.Mkfifo(r.path("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for reason, f := range map[string]wire.File{
		"not empty":            {Path: r.path("full"), State: "absent"},
		"is a directory":       {Path: r.path("full")},
		"is a file":            {Path: r.path("plain"), State: "directory"},
		"is a other":           {Path: r.path("pipe")},
		"device, socket":       {Path: r.path("pipe"), State: "absent"},
		"not a directory":      {Path: r.path("plain/sub/x")},
		"not a plain absolute": {Path: "relative"},
		"unknown state":        {Path: r.path("a"), State: "gone"},
		"not a file mode":      {Path: r.path("a"), Mode: "rw"},
		"no user":              {Path: r.path("a"), Owner: "no-such-user"},
		"no group":             {Path: r.path("a"), Owner: "root:no-such-group"},
		"without a target":     {Path: r.path("a"), State: "link"},
	} {
		got := r.do(fileStep(f), wire.Failed)
		r.has(reason, got.Reason)
	}
	for _, p := range []string{"/a/../b", "/a//b", "/", "/a/", "/a\x00b", ""} {
		r.has("not a plain absolute path", r.do(fileStep(wire.File{Path: p}), wire.Failed).Reason)
	}
	if state(t, r.path("full/inside")) != "file -rw-r--r-- x" || state(t, r.path("plain")) != "file -rw-r--r-- x" {
		t.Error("a refused step has changed something")
	}
}

func TestFoldersOnTheWay(t *testing.T) {
	r := newRig(t)
	old := unix.Umask(0o077) // a strict umask must not show
	r.do(fileStep(wire.File{Path: r.path("a/b/c/f"), Content: []byte("x")}), wire.Changed)
	unix.Umask(old)
	for _, d := range []string{"a", "a/b", "a/b/c"} {
		if got := state(t, r.path(d)); got != "directory -rwxr-xr-x" {
			t.Errorf("%s is %s", d, got)
		}
	}
	r.file("a/kept", "by somebody else")
	r.revert()
	if r.exists("a/b") || !r.exists("a/kept") {
		t.Error("undo must remove the folders it made, but not what else lies in them")
	}
}

func TestValidate(t *testing.T) {
	r := newRig(t)
	r.file("it's; a $(dir)/x", "")
	f := wire.File{Path: r.path("it's; a $(dir)/f"), Content: []byte("good\n"), Validate: "grep -q good %s"}
	r.do(fileStep(f), wire.Changed)
	f.Content = []byte("bad\n")
	f.Validate = "grep good %s || { echo line 1 is wrong >&2; exit 4; }"
	got := r.do(fileStep(f), wire.Failed)
	r.has("line 1 is wrong", got.Reason)
	if got.RC == nil || *got.RC != 4 || state(t, f.Path) != "file -rw-r--r-- good\n" {
		t.Errorf("%+v, file is %s", got, state(t, f.Path))
	}
	if left, _ := filepath.Glob(r.path("it's; a $(dir)/.vpsctl-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestContentNeverInEvents(t *testing.T) {
	r := newRig(t)
	r.file("f", "old-secret")
	got := r.do(fileStep(wire.File{Path: r.path("f"), Content: []byte("new-secret!")}), wire.Changed)
	for k, v := range r.undos[0].Data {
		if strings.Contains(v, "secret") {
			t.Errorf("the record's %s has content", k)
		}
	}
	if strings.Contains(got.Reason+r.undos[0].What, "secret") {
		t.Error("content in a reason")
	}
}

// A link of root's in root's folders is part of the system; elsewhere it may
// be a trap.
func TestLinkOnTheWay(t *testing.T) {
	r := newRig(t)
	r.file("real/keep", "x")
	if err := errors.Join(os.Mkdir(r.path("open"), 0o755), os.Chmod(r.path("open"), 0o777),
		os.Symlink(r.path("real"), r.path("open/trap"))); err != nil {
		t.Fatal(err)
	}
	got := r.do(fileStep(wire.File{Path: r.path("open/trap/f"), Content: []byte("x")}), wire.Failed)
	r.has("symbolic link", got.Reason)
	if r.exists("real/f") {
		t.Error("the link was followed")
	}
	if err := os.Symlink(r.path("real/keep"), r.path("open/file")); err != nil {
		t.Fatal(err)
	}
	r.has("symbolic link", r.do(fileStep(wire.File{Path: r.path("open/file"), Content: []byte("y")}), wire.Failed).Reason)
	if r.read("real/keep") != "x" {
		t.Error("the link's target was written")
	}
}

// own gives paths to the stranger.
func (r *rig) own(names ...string) {
	r.t.Helper()
	for _, n := range names {
		if err := os.Lchown(r.path(n), strangerUID, strangerUID); err != nil {
			r.t.Fatal(err)
		}
	}
}

func TestPlantedLinkOfAUser(t *testing.T) {
	needRoot(t)
	r := newRig(t)
	secret := r.file("shadow", "root's own")
	if err := os.Chmod(secret, 0o600); err != nil {
		t.Fatal(err)
	}
	r.file("home/x", "")
	for link, target := range map[string]string{".bashrc": "shadow", "dir": "protected"} {
		if err := os.Symlink(r.path(target), r.path("home/"+link)); err != nil {
			t.Fatal(err)
		}
		r.own("home/" + link)
	}
	r.own("home", "home/x")
	if err := os.Mkdir(r.path("protected"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, f := range []wire.File{{Path: r.path("home/.bashrc"), Content: []byte("x")}, {Path: r.path("home/dir/f"), Content: []byte("x")},
		{Path: r.path("home/dir/f"), State: "absent"}, {Path: r.path("home/dir/sub"), State: "directory"}} {
		r.has("symbolic link", r.do(fileStep(f), wire.Failed).Reason)
	}
	if r.read("shadow") != "root's own" || state(t, r.path("protected")) != "directory -rwx------" {
		t.Error("what the link points to has changed")
	}
	// The link itself may go: nothing is followed for that.
	r.do(fileStep(wire.File{Path: r.path("home/.bashrc"), State: "absent"}), wire.Changed)
	if r.read("shadow") != "root's own" {
		t.Error("removing the link removed its target")
	}
}

func TestBelowAUsersFolderActsAsTheUser(t *testing.T) {
	needRoot(t)
	r := newRig(t)
	if err := os.Mkdir(r.path("home"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.own("home")
	r.do(fileStep(wire.File{Path: r.path("home/.config/app/conf"), Content: []byte("x"), Validate: "test $(id -u) = 31415 && test -r %s"}), wire.Changed)
	for _, n := range []string{"home/.config", "home/.config/app", "home/.config/app/conf"} {
		var st unix.Stat_t
		if err := unix.Lstat(r.path(n), &st); err != nil || st.Uid != strangerUID || st.Gid != strangerUID {
			t.Errorf("%s: owner %d:%d %v", n, st.Uid, st.Gid, err)
		}
	}
	got := r.do(fileStep(wire.File{Path: r.path("home/rooted"), Owner: "root"}), wire.Failed)
	r.has("as stranger", got.Reason)
	if r.exists("home/rooted") || os.Geteuid() != 0 {
		t.Error("a file was left, or this process has lost its rights")
	}
	// A folder of root's inside is not the user's to write.
	if err := os.Mkdir(r.path("home/locked"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.has("permission denied", r.do(fileStep(wire.File{Path: r.path("home/locked/f")}), wire.Failed).Reason)
	r.revert()
	if r.exists("home/.config") {
		t.Error("undo left the folders")
	}
}

// A user who swaps a folder for a link, over and over, must not move root's
// writes elsewhere.
func TestSwappingFolders(t *testing.T) {
	needRoot(t)
	r := newRig(t)
	for _, d := range []string{"home", "home/d", "home/parked", "protected"} {
		if err := os.Mkdir(r.path(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(r.path("protected"), r.path("home/link")); err != nil {
		t.Fatal(err)
	}
	r.own("home", "home/d", "home/parked", "home/link")
	stop := make(chan struct{})
	var swapper sync.WaitGroup
	swapper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default: // d and link change places in one step
				_ = unix.Renameat2(unix.AT_FDCWD, r.path("home/d"), unix.AT_FDCWD, r.path("home/link"), unix.RENAME_EXCHANGE)
			}
		}
	})
	ends := map[wire.Status]int{}
	for range 150 {
		s := fileStep(wire.File{Path: r.path("home/d/f"), Content: []byte("x")})
		ends[Do(t.Context(), r.Env, &s).Status]++
		_ = os.Remove(r.path("home/d/f"))
	}
	close(stop)
	swapper.Wait()
	if left, _ := os.ReadDir(r.path("protected")); len(left) != 0 {
		t.Errorf("root wrote through the link: %v", left)
	}
	t.Log("steps ended", ends)
}

func TestDiskFull(t *testing.T) {
	got := failed(t.Context(), &os.PathError{Op: "write", Path: "/x", Err: unix.ENOSPC})
	if got.Hint == "" || got.Retryable {
		t.Errorf("%+v", got)
	}
}

func TestSetuidIsNotKeptForAnotherOwner(t *testing.T) {
	needRoot(t)
	r := newRig(t)
	r.file("home/tool", "old")
	if err := os.Chmod(r.path("home/tool"), 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	r.own("home")
	r.do(fileStep(wire.File{Path: r.path("home/tool"), Content: []byte("new")}), wire.Changed)
	if st, err := os.Stat(r.path("home/tool")); err != nil || st.Mode()&os.ModeSetuid != 0 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}
