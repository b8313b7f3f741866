//go:build linux

package steps

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vpsctl/vpsctl/payload/wire"
)

type member struct {
	name, content string
	kind          byte
	link          string
	mode          int64
}

func tarOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		if m.kind == 0 {
			m.kind = tar.TypeReg
		}
		if m.mode == 0 {
			m.mode = 0o644
		}
		h := &tar.Header{Name: m.name, Typeflag: m.kind, Linkname: m.link, Mode: m.mode, Size: int64(len(m.content)), Uid: 4711, Gid: 4711}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(m.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return z.Bytes()
}

// tree lists all below a folder, with modes and what is in it.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var s strings.Builder
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && p != dir {
			fmt.Fprintf(&s, "%s: %s\n", strings.TrimPrefix(p, dir+"/"), state(t, p))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s.String()
}

func archiveStep(content []byte, dest string) wire.Step {
	return wire.Step{Name: "a", Archive: &wire.Archive{Content: content, SHA256: hexSum(content), Dest: dest, Strip: 1}}
}

var goodTar = []member{
	{name: "tool-1.0/", kind: tar.TypeDir, mode: 0o777},
	{name: "tool-1.0/bin/tool", content: "#!/bin/sh\n", mode: 0o6777},
	{name: "tool-1.0/README", content: "hello", mode: 0o666},
	{name: "tool-1.0/bin/t", kind: tar.TypeSymlink, link: "tool"},
	{name: "tool-1.0/up", kind: tar.TypeSymlink, link: "bin/../README"},
	{name: "tool-1.0/dangling", kind: tar.TypeSymlink, link: "none"},
	{name: "tool-1.0/hard", kind: tar.TypeLink, link: "tool-1.0/README"},
	{name: "tool-1.0/README", content: "hello again", mode: 0o600},
}

const goodTree = `README: file -rw------- hello again
bin: directory -rwxr-xr-x
bin/t: link tool
bin/tool: file -rwxr-xr-x #!/bin/sh

dangling: link none
hard: file -rw-r--r-- hello
up: link bin/../README
`

func TestArchive(t *testing.T) {
	for _, program := range []string{"", "gzip", "xz", "bzip2", "zstd"} {
		t.Run("packed by "+program, func(t *testing.T) {
			r := newRig(t)
			data := tarOf(t, goodTar...)
			if program != "" {
				cmd := exec.Command(program, "-c")
				cmd.Stdin = bytes.NewReader(data)
				var err error
				if data, err = cmd.Output(); err != nil {
					t.Skip(err)
				}
			}
			dest := r.path("root/opt/tools/tool")
			s := archiveStep(data, dest)
			r.do(s, wire.Changed)
			if got := tree(t, dest); got != goodTree {
				t.Errorf("unpacked:\n%s", got)
			}
			if got := state(t, dest); got != "directory -rwxr-xr-x" {
				t.Error(got)
			}
			r.do(s, wire.OK)
			r.revert()
			r.revert()
			if got := tree(t, r.path("root")); strings.Contains(got, "opt") {
				t.Errorf("after undo:\n%s", got)
			}
			if left, _ := filepath.Glob(r.path("run/*")); len(left) > 0 {
				t.Error("left behind:", left)
			}
		})
	}
}

// Another version replaces the folder at once, and undo brings the old one back.
func TestArchiveReplaced(t *testing.T) {
	needRoot(t) // else old folders are not kept
	r := newRig(t)
	dest := r.path("root/opt/tool")
	r.do(archiveStep(tarOf(t, goodTar...), dest), wire.Changed)
	before := tree(t, r.path("root"))
	r.undos = nil
	second := archiveStep(tarOf(t, member{name: "x/only", content: "2"}), dest)
	r.do(second, wire.Changed)
	if got := tree(t, dest); got != "only: file -rw-r--r-- 2\n" {
		t.Error(got)
	}
	r.revert()
	r.revert()
	if got := tree(t, r.path("root")); got != before {
		t.Errorf("after undo:\n%s\nbefore:\n%s", got, before)
	}
	if kept, _ := filepath.Glob(r.path("undo/tree-*")); len(kept) > 0 {
		t.Error("still kept:", kept)
	}
}

func TestArchiveRefused(t *testing.T) {
	ok := member{name: "d/f", content: "x"}
	for name, c := range map[string]struct {
		members []member
		want    string
	}{
		"absolute":            {[]member{ok, {name: "/etc/cron.d/x"}}, "absolute name"},
		"dots":                {[]member{ok, {name: "d/../../x"}}, "leads out"},
		"link to absolute":    {[]member{ok, {name: "d/l", kind: tar.TypeSymlink, link: "/etc/passwd"}}, "leads out"},
		"link to above":       {[]member{ok, {name: "d/l", kind: tar.TypeSymlink, link: "../x"}}, "leads out"},
		"link through link":   {[]member{ok, {name: "d/s/l", kind: tar.TypeSymlink, link: ".."}, {name: "d/m", kind: tar.TypeSymlink, link: "s/l/.."}}, "leads out"},
		"write through link":  {[]member{ok, {name: "d/l", kind: tar.TypeSymlink, link: "f"}, {name: "d/l/x", content: "y"}}, "file exists"},
		"hard link to above":  {[]member{ok, {name: "d/h", kind: tar.TypeLink, link: "../../etc/passwd"}}, "leads out"},
		"hard link to link":   {[]member{ok, {name: "d/l", kind: tar.TypeSymlink, link: "f"}, {name: "d/h", kind: tar.TypeLink, link: "d/l"}}, "did not come before"},
		"device":              {[]member{ok, {name: "d/null", kind: tar.TypeChar}}, "device"},
		"pipe":                {[]member{ok, {name: "d/p", kind: tar.TypeFifo}}, "device"},
		"nothing":             {[]member{{name: "f", content: "x"}}, "nothing is in"},
		"a folder for a file": {[]member{ok, {name: "d/f/g", content: "x"}}, "file exists"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			got := r.do(archiveStep(gzipped(t, tarOf(t, c.members...)), r.path("root/opt/tool")), wire.Failed)
			r.has(c.want, got.Reason)
			if left := tree(t, r.path("root/opt")); left != "" {
				t.Errorf("left behind:\n%s", left)
			}
			r.revert()
		})
	}
}

// An archive ends at its bounds, in files and in bytes, and not before them.
func TestArchiveIsBounded(t *testing.T) {
	data := tarOf(t, member{name: "d/", kind: tar.TypeDir}, member{name: "d/f", content: "four"}, member{name: "d/g", content: "six..."})
	for _, c := range []struct {
		files int
		bytes int64
		want  string
	}{{3, 10, ""}, {2, 10, `"d/g": it has more than 2 files`}, {3, 9, `"d/g": it unpacks to more than 0 GiB`}} {
		dir := t.TempDir()
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		u := &unpacker{root: root, uid: -1, gid: -1, mostFiles: c.files, mostBytes: c.bytes, folders: map[string]bool{".": true}}
		err = u.all(t.Context(), bytes.NewReader(data))
		if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
			t.Errorf("%d files, %d bytes: %v", c.files, c.bytes, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "d/g")); (err == nil) != (c.want == "") {
			t.Errorf("%d files, %d bytes: the file over the bound: %v", c.files, c.bytes, err)
		}
	}
}

func TestArchiveNotOurs(t *testing.T) {
	r := newRig(t)
	s := archiveStep(tarOf(t, goodTar...), r.path("root/opt/tool"))
	r.file("root/opt/tool/precious", "x")
	r.has("did not come from an archive", r.do(s, wire.Failed).Reason)
	if len(r.undos) != 0 || r.read("root/opt/tool/precious") != "x" {
		t.Error("it was touched")
	}
	s.Archive.Dest = r.path("root/etc/passwd")
	r.has("is a file", r.do(s, wire.Failed).Reason)
	s.Archive.Dest = r.path("root/srv/new")
	s.Archive.SHA256 = hexSum(nil)
	r.has("nothing was changed: its SHA-256", r.do(s, wire.Failed).Reason)
	for name, data := range map[string][]byte{"zip archives": []byte("PK\x03\x04"), "no tar": []byte("<html>"), "gzip exited": gzipped(t, tarOf(t, goodTar...))[:60]} {
		bad := archiveStep(data, r.path("root/srv/new"))
		r.has(name, r.do(bad, wire.Failed).Reason)
	}
}

// An empty folder may have been made for it by a package or another step.
func TestArchiveIntoEmptyFolder(t *testing.T) {
	needRoot(t)
	r := newRig(t)
	dest := r.path("root/opt/tool")
	if err := os.MkdirAll(dest, 0o750); err != nil {
		t.Fatal(err)
	}
	r.do(archiveStep(tarOf(t, goodTar...), dest), wire.Changed)
	r.revert()
	if got := tree(t, r.path("root/opt")); got != "tool: directory -rwxr-x---\n" {
		t.Error(got)
	}
}

// Where the folder cannot be put in its place, what is said of that place stays as
// it was: undo does not touch what somebody else has put there meanwhile, nor
// does it miss what was not taken.
func TestArchiveThatCannotTakeItsPlace(t *testing.T) {
	for name, c := range map[string]struct{ before, meanwhile, want string }{
		"another has come": {"", "mkdir %s && echo theirs >%[1]s/file", "theirs"},
		"it has gone":      {"first", "mv %s %[1]s.moved", "first"},
		"it finds no room": {"first", "rm -r %[2]s; : %[1]s", "first"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			dest := r.path("root/opt/tool")
			if err := os.MkdirAll(r.path("root/opt"), 0o755); err != nil {
				t.Fatal(err)
			}
			if c.before != "" {
				r.do(archiveStep(tarOf(t, member{name: "x/file", content: c.before}), dest), wire.Changed)
				r.undos = nil
			}
			mark := r.read("root/opt/.tool.vpsctl-archive")
			r.fake("gzip", fmt.Sprintf(c.meanwhile+"%.0[2]s", dest, r.UndoDir)+`; exec /bin/gzip "$@"`)
			r.do(archiveStep(gzipped(t, tarOf(t, goodTar...)), dest), wire.Failed)
			before := tree(t, r.path("root/opt"))
			if got := r.read("root/opt/.tool.vpsctl-archive"); got != mark {
				t.Errorf("the mark says %q, and said %q", got, mark)
			}
			r.revert()
			if after := tree(t, r.path("root/opt")); after != before || strings.Contains(after, "README") || !strings.Contains(after, c.want) {
				t.Errorf("after undo:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}

// In a folder of a user the files are made as that user, and links planted
// there lead nowhere.
func TestArchiveOfAUser(t *testing.T) {
	needRoot(t)
	r := newRig(t)
	home := r.path("root/home")
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(home, strangerUID, strangerUID); err != nil {
		t.Fatal(err)
	}
	r.do(archiveStep(gzipped(t, tarOf(t, goodTar...)), home+"/tool"), wire.Changed)
	st, err := os.Stat(home + "/tool/README")
	if err != nil || st.Sys().(*syscall.Stat_t).Uid != strangerUID {
		t.Errorf("%+v %v", st, err)
	}
	r.revert()
	if got := tree(t, home); got != "" {
		t.Error(got)
	}
	if err := os.Symlink("/etc", home+"/planted"); err != nil {
		t.Fatal(err)
	}
	r.has("symbolic link", r.do(archiveStep(tarOf(t, goodTar...), home+"/planted/tool"), wire.Failed).Reason)
	if err := os.Symlink("/etc/passwd", home+"/.next.vpsctl-archive"); err != nil {
		t.Fatal(err)
	}
	r.do(archiveStep(tarOf(t, goodTar...), home+"/next"), wire.Failed)
}

func TestArchiveByURL(t *testing.T) {
	r := newRig(t)
	data := gzipped(t, tarOf(t, goodTar...))
	if err := os.WriteFile(r.path("served"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	// The line breaks after 100 bytes, then everything comes.
	r.fake("apt-helper", `for f; do :; done
[ -s "$f" ] && { cat $S/served >"$f"; exit 0; }
head -c 100 $S/served >"$f"; echo "E: Failed to fetch: Error reading from server" >&2; exit 100`)
	s := archiveStep(data, r.path("root/opt/tool"))
	s.Archive.Content, s.Archive.URL = nil, "https://example.net/t.tgz"
	r.do(s, wire.Changed)
	r.has("100 bytes are there, again in 2s", strings.Join(r.notes, "\n"))
	if tree(t, s.Archive.Dest) != goodTree {
		t.Error(tree(t, s.Archive.Dest))
	}
	calls := r.calls()
	r.do(s, wire.OK)
	if r.calls() != calls {
		t.Error("it was fetched again")
	}
}

// A part of what the server had once is no part of what it has now: all of it is
// fetched, once more and at once.
func TestFetchWithAStalePart(t *testing.T) {
	const url, body = "https://example.net/x", "the new one"
	r := newRig(t)
	part := "run/fetch-" + hexSum([]byte(url))[:16]
	r.file(part, "the old")
	r.fake("apt-helper", `for f; do :; done; printf '%s' '`+body+`' | tail -c +$(($(wc -c <"$f" || echo 0) + 1)) >>"$f"`)
	file, err := r.fetch(t.Context(), url, hexSum([]byte(body)), 1<<20)
	if err != nil || file != r.path(part) || r.read(part) != body {
		t.Errorf("%q, %v", r.read(part), err)
	}
	if n := strings.Count(r.calls(), "\n"); n != 2 || len(r.notes) > 0 {
		t.Errorf("%d calls, notes %q", n, r.notes)
	}
	// Of what is wrong as a whole there is no third try.
	r.file(part, "the old")
	if _, err = r.fetch(t.Context(), url, hexSum(nil), 1<<20); err == nil || !strings.Contains(err.Error(), "its SHA-256 is") {
		t.Error(err)
	}
	if n := strings.Count(r.calls(), "\n"); n != 4 || r.read(part) != "" {
		t.Errorf("%d calls, left %q", n, r.read(part))
	}
}

func TestFetchGivesUp(t *testing.T) {
	for name, c := range map[string]struct {
		script, want string
		retryable    bool
		tries        int
	}{
		"network":  {"echo 'Could not connect to example.net' >&2; exit 100", "the network failed", true, 4},
		"404":      {"echo 'E: Failed to fetch 404  Not Found' >&2; exit 100", "404", false, 1},
		"too big":  {`for f; do :; done; head -c 900000000 /dev/zero >"$f"`, "more than 1 MiB", false, 1},
		"bad hash": {`for f; do :; done; echo x >"$f"`, "its SHA-256 is", false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.fake("apt-helper", c.script)
			_, err := r.fetch(t.Context(), "https://example.net/x", hexSum(nil), 1<<20)
			if err == nil {
				t.Fatal("fetched")
			}
			got := failed(t.Context(), err)
			r.has(c.want, got.Reason)
			if n := strings.Count(r.calls(), "\n"); n != c.tries || got.Retryable != c.retryable {
				t.Errorf("%d calls, retryable %v: %s", n, got.Retryable, got.Reason)
			}
			if left, _ := filepath.Glob(r.path("run/*")); len(left) > 0 {
				t.Error("left behind:", left)
			}
		})
	}
}

// Whatever a name says, it stays inside or is refused.
func FuzzMemberName(f *testing.F) {
	f.Add("tool-1.0/bin/../x", 1)
	f.Add("//a", 0)
	f.Add("./././", 2)
	f.Fuzz(func(t *testing.T, name string, strip int) {
		if strip < 0 || strip > 20 {
			t.Skip()
		}
		got, err := memberName(name, strip)
		if err != nil || got == "" {
			return
		}
		if !filepath.IsLocal(got) || filepath.Clean(got) != got {
			t.Fatalf("%q became %q", name, got)
		}
	})
}

// No archive, however damaged, writes outside its folder or stops the process.
func FuzzUnpack(f *testing.F) {
	f.Add(tarOf(f, goodTar...))
	f.Add(tarOf(f, member{name: "d/l", kind: tar.TypeSymlink, link: "../.."}, member{name: "d/l/x", content: "y"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		inside := filepath.Join(dir, "a", "inside")
		if err := os.MkdirAll(inside, 0o755); err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(inside)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		u := &unpacker{root: root, uid: -1, gid: -1, mostFiles: mostFiles, mostBytes: mostBytes, folders: map[string]bool{".": true}}
		_ = u.all(t.Context(), bytes.NewReader(data))
		if got := tree(t, filepath.Join(dir, "a")); strings.Count(strings.ReplaceAll(got, "inside/", ""), "\n") < 1 {
			t.Fatal(got)
		}
		for _, d := range []string{dir, filepath.Join(dir, "a")} {
			if names, _ := os.ReadDir(d); len(names) != 1 {
				t.Fatalf("%d entries in %s", len(names), d)
			}
		}
	})
}
