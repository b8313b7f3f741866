//go:build linux

package steps

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// unpacker writes the files of a tar archive below an opened folder. It trusts
// nothing in the archive: os.Root keeps every name inside.
type unpacker struct {
	root      *os.Root
	strip     int
	uid, gid  int
	mostFiles int
	mostBytes int64
	files     int
	bytes     int64
	links     []string
	folders   map[string]bool
}

// unpack unpacks the archive in file into the new folder dir, which has whatever
// was written until an error.
func (e *Env) unpack(ctx context.Context, file, dir string, strip, uid, gid int) error {
	name, err := packing(file)
	if err != nil {
		return err
	}
	stream, wait, err := e.unpacked(ctx, file, name)
	if err != nil {
		return err
	}
	var inner error // without the name of the folder, which is nobody's
	err = e.atPlace(dir, "", true, func(p *place) error {
		if err := unix.Mkdirat(p.dir, p.name, 0o755); err != nil {
			return err
		}
		return p.inside(p.name, func(root *os.Root) error {
			u := &unpacker{root: root, strip: strip, uid: uid, gid: gid, mostFiles: mostFiles, mostBytes: mostBytes, folders: map[string]bool{".": true}}
			inner = u.all(ctx, stream)
			return nil
		})
	})
	stream.Close() // a decompressor that still writes ends now
	if err == nil {
		err = inner
	}
	if done := wait(); done != nil && (err == nil || !strings.Contains(done.Error(), "roken pipe")) {
		return done
	}
	return err
}

// packings are told by their first bytes, not by a name.
var packings = []struct{ magic, program string }{
	{"\x1f\x8b", "gzip"}, {"\xfd7zXZ\x00", "xz"}, {"\x28\xb5\x2f\xfd", "zstd"}, {"BZh", "bzip2"},
}

// packing names the program that unpacks file; "" when it is a plain tar.
func packing(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, 262)
	n, _ := io.ReadFull(f, head)
	head = head[:n]
	for _, p := range packings {
		if bytes.HasPrefix(head, []byte(p.magic)) {
			return p.program, nil
		}
	}
	if n == len(head) && string(head[257:262]) == "ustar" {
		return "", nil
	}
	if bytes.HasPrefix(head, []byte("PK")) {
		return "", failf("use a tar archive, or a run step with unzip", "zip archives are not unpacked")
	}
	return "", failf("", "is no tar archive that gzip, xz, zstd or bzip2 has packed")
}

// unpacked gives the tar in file. The host's own program unpacks, which keeps
// the collector small. wait returns when that program has ended.
func (e *Env) unpacked(ctx context.Context, file, program string) (io.ReadCloser, func() error, error) {
	f, err := os.Open(file)
	if err != nil || program == "" {
		return f, func() error { return nil }, err
	}
	at := e.look(program)
	if at == "" {
		f.Close()
		packages := map[string]string{"xz": "xz-utils"}
		if packages[program] != "" {
			program = packages[program]
		}
		return nil, nil, failf("install "+program+" in a step before this one", "nothing on this host unpacks it: %s is missing", program)
	}
	r, w, err := os.Pipe()
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	words := &tail{}
	cmd := &exec.Cmd{Path: at, Args: []string{program, "-dc"}, Dir: "/", Stdin: f, Stdout: w, Stderr: words, Env: e.environ("/")}
	done := make(chan error, 1)
	go func() {
		err := plain(e.Run(ctx, cmd, false))
		w.Close()
		f.Close()
		if err != nil {
			err = toolFailure(program, err, words.String())
		}
		done <- err
	}()
	return r, func() error { return <-done }, nil
}

func (u *unpacker) all(ctx context.Context, stream io.Reader) error {
	t := &tarReader{r: stream}
	for {
		m, err := t.next()
		switch {
		case ctx.Err() != nil:
			return &failure{text: "stopped", err: ctx.Err()}
		case errors.Is(err, io.EOF):
			return u.finish(stream)
		case err != nil:
			return fmt.Errorf("read the archive: %w", err)
		}
		if err := u.one(m, t); err != nil {
			return fmt.Errorf("%q: %w", m.name, err)
		}
	}
}

// finish judges the links once all they could lead to is there.
func (u *unpacker) finish(stream io.Reader) error {
	if u.files == 0 {
		return failf("is strip: too big?", "nothing is in the archive")
	}
	for _, name := range u.links {
		if _, err := u.root.Stat(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("the link %q leads out of the archive: it was not unpacked: %w", name, err)
		}
	}
	// What follows the end is read, so that whoever unpacks is not cut off.
	_, err := io.Copy(io.Discard, io.LimitReader(stream, 1<<20))
	return err
}

func (u *unpacker) one(m *tarMember, content io.Reader) error {
	name, err := memberName(m.name, u.strip)
	if err != nil || name == "" {
		return err
	}
	if u.files++; u.files > u.mostFiles {
		return failf("", "it has more than %d files", u.mostFiles)
	}
	if name != "." {
		if err := u.folder(path.Dir(name)); err != nil {
			return err
		}
	}
	switch m.kind {
	case tarFolder:
		return u.folder(name)
	case tarFile:
		return u.file(name, m, content)
	case tarSymlink:
		return u.symlink(name, m.link)
	case tarHard:
		return u.hardlink(name, m.link)
	}
	return failf("", "is a device, a pipe or of an unknown kind: the archive was not unpacked")
}

// memberName takes strip parts from the front of an archive's name; "" when
// nothing is left.
func memberName(name string, strip int) (string, error) {
	if strings.HasPrefix(name, "/") || strings.ContainsRune(name, 0) {
		return "", failf("", "is an absolute name: the archive was not unpacked")
	}
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "", ".":
		case "..":
			return "", failf("", "leads out of the archive: it was not unpacked")
		default:
			parts = append(parts, part)
		}
	}
	if len(parts) <= strip {
		if strip == 0 {
			return ".", nil
		}
		return "", nil
	}
	return path.Join(parts[strip:]...), nil
}

// folder makes a folder and those above it, whatever their modes in the
// archive are: all may be entered, only the owner writes.
func (u *unpacker) folder(name string) error {
	if u.folders[name] {
		return nil
	}
	if err := u.folder(path.Dir(name)); err != nil {
		return err
	}
	err := u.root.Mkdir(name, 0o755)
	if st, lerr := u.root.Lstat(name); errors.Is(err, fs.ErrExist) && lerr == nil && st.IsDir() {
		err = nil
	}
	if err != nil {
		return err
	}
	u.folders[name] = true
	return u.own(name)
}

// own gives a name to the wanted owner. The caller's umask is 022 or tighter.
func (u *unpacker) own(name string) error {
	if u.uid < 0 && u.gid < 0 {
		return nil
	}
	return u.root.Lchown(name, u.uid, u.gid)
}

func (u *unpacker) file(name string, m *tarMember, content io.Reader) error {
	if u.bytes += m.size; u.bytes > u.mostBytes {
		return failf("", "it unpacks to more than %d GiB", u.mostBytes>>30)
	}
	// A name that comes twice is the later one's.
	if err := u.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	if err == nil && (u.uid >= 0 || u.gid >= 0) {
		err = f.Chown(u.uid, u.gid)
	}
	if err == nil { // no setuid, nothing that others can write
		err = unix.Fchmod(int(f.Fd()), uint32(m.mode)&0o755|0o400)
	}
	return errors.Join(err, f.Close())
}

func (u *unpacker) symlink(name, target string) error {
	out := strings.HasPrefix(target, "/") || !filepath.IsLocal(path.Join(path.Dir(name), target))
	if target == "" || out || strings.ContainsRune(target, 0) {
		return failf("", "the link leads out of the archive, to %q: it was not unpacked", target)
	}
	if err := u.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	u.links = append(u.links, name)
	if err := u.root.Symlink(target, name); err != nil {
		return err
	}
	return u.own(name)
}

func (u *unpacker) hardlink(name, target string) error {
	target, err := memberName(target, u.strip)
	if err != nil {
		return err
	}
	if st, err := u.root.Lstat(target); target == "" || err != nil || !st.Mode().IsRegular() {
		return failf("", "shall be the same file as one that did not come before it: the archive was not unpacked")
	}
	if err := u.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return u.root.Link(target, name)
}
