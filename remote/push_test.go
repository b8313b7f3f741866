package remote

import (
	"bytes"
	"crypto/rand"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/remote/sshtest"
)

// source makes what is copied; names with a slash at the end are folders.
func source(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "src")
	for name, text := range files {
		path := filepath.Join(dir, name)
		if strings.HasSuffix(name, "/") {
			text, path = "", filepath.Join(path, ".keep")
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "/") {
			continue
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func openSource(t *testing.T, path string) *Source {
	t.Helper()
	src, err := OpenSource(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}

// tree is what a folder holds: mode and content by name.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		st, err := d.Info()
		if err != nil {
			return err
		}
		text := ""
		if st.Mode().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text = " " + string(b)
		}
		got[name] = st.Mode().String() + text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// The ways a copy can go: by SFTP, through the shell, and both as root.
var ways = map[string]struct {
	opt    sshtest.Options
	become bool
	via    string
}{
	"sftp":            {sshtest.Options{}, false, "sftp"},
	"sftp, noise":     {sshtest.Options{Noise: "hello\n"}, false, "sftp"},
	"sftp, become":    {sshtest.Options{Sudo: true}, true, "sftp"},
	"no sftp":         {sshtest.Options{NoSFTP: true}, false, "shell"},
	"no sftp, become": {sshtest.Options{NoSFTP: true, Sudo: true}, true, "shell"},
}

func eachWay(t *testing.T, f func(t *testing.T, r *rig, via string)) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, way.opt)
			r.host.Become = way.become
			f(t, r, way.via)
			left, _ := filepath.Glob(filepath.Join(r.Home, ".vpsctl-*"))
			if len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestPushFile(t *testing.T) {
	eachWay(t, func(t *testing.T, r *rig, via string) {
		dir := source(t, map[string]string{"tool": "first"})
		file := filepath.Join(dir, "tool")
		if err := os.Chmod(file, 0o750|fs.ModeSetuid); err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(r.Home, "new folder", "it's")
		got, err := r.session(t).Push(testContext(t), openSource(t, file), to, nil)
		if want := (Pushed{Path: to, Files: 1, Bytes: 5, Via: via}); err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
		if got := tree(t, filepath.Dir(to)); len(got) != 1 || got["it's"] != "-rwxr-x--- first" {
			t.Errorf("got %v", got)
		}
		got, err = r.session(t).Push(testContext(t), openSource(t, file), to, nil)
		if want := (Pushed{Path: to, Files: 1, Same: 1}); err != nil || got != want {
			t.Errorf("again: got %+v, %v, want %+v", got, err, want)
		}
		if err := os.WriteFile(file, []byte("second"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err = r.session(t).Push(testContext(t), openSource(t, file), "new folder/", nil); err != nil {
			t.Error(err)
		}
		if got := tree(t, filepath.Dir(to)); got["tool"] != "-rwxr-x--- second" {
			t.Errorf("got %v", got)
		}
		empty := filepath.Join(source(t, map[string]string{"empty": ""}), "empty")
		if got, err = r.session(t).Push(testContext(t), openSource(t, empty), "~/empty", nil); err != nil || got.Path != "empty" {
			t.Errorf("got %+v, %v", got, err)
		}
		if st, err := os.Stat(filepath.Join(r.Home, "empty")); err != nil || st.Size() != 0 {
			t.Errorf("%v, %v", st, err)
		}
	})
}

func TestPushTree(t *testing.T) {
	files := map[string]string{"a": "A", "sub/b c ": "B", "sub/deep/ü\\n": "C", "none/": "", "x.sh": "#!/bin/sh\n", strings.Repeat("long/", 30) + "file": "D", "block": strings.Repeat("x", 512)}
	eachWay(t, func(t *testing.T, r *rig, via string) {
		dir := source(t, files)
		if err := os.Chmod(filepath.Join(dir, "x.sh"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/etc/shadow", filepath.Join(dir, "sub", "link")); err != nil {
			t.Fatal(err)
		}
		src := openSource(t, dir)
		if len(src.Left) != 1 || src.Left[0] != "sub/link is a link" {
			t.Errorf("left %v", src.Left)
		}
		r.put(t, "site", "")
		if err := os.Remove(filepath.Join(r.Home, "site")); err != nil {
			t.Fatal(err)
		}
		got, err := r.session(t).Push(testContext(t), src, "site", nil)
		if err != nil || got.Files != 6 || got.Same != 0 || got.Via != via {
			t.Fatalf("got %+v, %v", got, err)
		}
		want := tree(t, dir)
		delete(want, "sub/link")
		have := tree(t, filepath.Join(r.Home, "site"))
		for name := range want {
			if have[name] != want[name] {
				t.Errorf("%s: got %q, want %q", name, have[name], want[name])
			}
		}
		if len(have) != len(want) {
			t.Errorf("got %v", have)
		}
		if err := os.WriteFile(filepath.Join(dir, "a"), []byte("A2"), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err = r.session(t).Push(testContext(t), openSource(t, dir), "site", nil)
		if err != nil || got.Files != 6 || got.Same != 5 {
			t.Errorf("got %+v, %v", got, err)
		}
		if have := tree(t, filepath.Join(r.Home, "site")); have["a"] != "-rw-r--r-- A2" {
			t.Errorf("got %v", have["a"])
		}
	})
}

// What an earlier copy has left is continued when it is right, and replaced when
// it is not.
func TestPushContinues(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	body := make([]byte, 9<<20)
	rand.Read(body)
	for name, spoil := range map[string]bool{"right": false, "wrong": true} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, r *rig, via string) {
				file := filepath.Join(source(t, map[string]string{"big": string(body)}), "big")
				src := openSource(t, file)
				pk, err := src.pack(nil)
				if err != nil {
					t.Fatal(err)
				}
				part := bytes.Clone(body[:8<<20])
				part[3] ^= map[bool]byte{true: 1}[spoil]
				made, _, rc := do(t, &rig{Server: r.Server, host: withoutBecome(r), opt: r.opt}, "mkdir -m 700 .vpsctl-push-"+pk.id+"; cat >.vpsctl-push-"+pk.id+"/blob", string(part))
				if rc != 0 {
					t.Fatal(made)
				}
				got, err := r.session(t).Push(testContext(t), src, "big", nil)
				wantSent, wantResumed := int64(len(body)-len(part)), int64(len(part))
				if via == "sftp" {
					wantSent, wantResumed = wantSent+back, wantResumed-back
				}
				if spoil {
					wantSent, wantResumed = wantSent+int64(len(body)), 0
				}
				if err != nil || got.Bytes != wantSent || got.Resumed != wantResumed {
					t.Errorf("got %+v, %v, want %d sent, %d not sent", got, err, wantSent, wantResumed)
				}
				if b, err := os.ReadFile(filepath.Join(r.Home, "big")); err != nil || !bytes.Equal(b, body) {
					t.Errorf("%d bytes, %v", len(b), err)
				}
			})
		})
	}
}

func TestPushRefuses(t *testing.T) {
	r := newRig(t, sshtest.Options{})
	do(t, r, "mkdir dir; ln -s dir link; ln -s /etc/passwd file; echo x >plain; mkdir locked; chmod 500 locked; mkdir -p tree; ln -s ../dir tree/sub; mkdir tree2 tree2/a", "")
	file := openSource(t, filepath.Join(source(t, map[string]string{"f": "x"}), "f"))
	for dst, words := range map[string][]string{
		"dir": {"dir is a folder", "write dir/"}, "file": {"is a link"}, "link": {"is a link"}, "plain/x": {"plain"},
		"locked/x": {"permission denied", "become: true"}, "/proc/x": {"/proc"},
	} {
		_, err := r.session(t).Push(testContext(t), file, dst, nil)
		wantError(t, err, Refused, words...)
	}
	for _, dst := range []string{"", "~", "a\nb", "..", "/"} {
		_, err := r.session(t).Push(testContext(t), file, dst, nil)
		if dst != "/" { // there it is put into the folder
			wantError(t, err, Local)
		} else if err == nil {
			t.Error("nobody may write to /")
		}
	}
	folder := openSource(t, source(t, map[string]string{"sub/f": "x"}))
	_, err := r.session(t).Push(testContext(t), folder, "tree", nil)
	wantError(t, err, Refused, "./sub is a folder or a link")
	other := openSource(t, source(t, map[string]string{"a": "x"}))
	_, err = r.session(t).Push(testContext(t), other, "tree2", nil)
	wantError(t, err, Refused, "./a is a folder")
	if out, _, _ := do(t, r, "ls dir locked; cat plain", ""); out != "dir:\n\nlocked:\nx\n" {
		t.Errorf("something was written: %q", out)
	}
}

func withoutBecome(r *rig) inventory.Host {
	h := r.host
	h.Become = false
	return h
}
