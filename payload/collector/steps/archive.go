//go:build linux

package steps

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// Bounds of an archive, packed and unpacked.
const (
	mostPacked = 4 << 30
	mostBytes  = 16 << 30
	mostFiles  = 500_000
)

// archive is a folder that holds what an archive holds. Which one it came from
// stands in a file beside it.
type archive struct {
	env      *Env
	want     *wire.Archive
	uid, gid int
	mark     string // the file beside Dest, as it is
	was      entry
	miss     []string
	packed   string // the archive on this host
	keep     string // where the old folder goes; "" = it is not kept
}

// markOf is the name of the file beside dest.
func markOf(dest string) string {
	return path.Join(path.Dir(dest), "."+path.Base(dest)+".vpsctl-archive")
}

// wanted is what the mark shall say: all that the folder's content depends on.
func (a *archive) wanted() string {
	return fmt.Sprintf("%s strip=%d owner=%d:%d\n", a.want.SHA256, a.want.Strip, a.uid, a.gid)
}

// unfinished marks a folder that is about to be swapped in: it is ours, and not
// done.
const unfinished = "unfinished\n"

func (a *archive) differs(context.Context) (string, error) {
	var err error
	if a.uid, a.gid, err = a.env.owner(a.want.Owner); err != nil {
		return "", err
	}
	if len(a.want.SHA256) != 64 || !only(a.want.SHA256, "0123456789abcdef") {
		return "", failf("", "an archive without its SHA-256")
	}
	if a.mark, err = a.env.readMark(a.want.Dest); err != nil {
		return "", err
	}
	err = a.env.atPlace(a.want.Dest, "", false, func(p *place) (err error) {
		a.miss = p.missing
		a.was, err = p.look()
		return err
	})
	switch {
	case err != nil:
		return "", err
	case a.was.kind == "absent":
		return "was not there", nil
	case a.was.kind != "directory":
		return "", failf("look at it on the host; an archive step does not remove it", "%s is a %s", a.want.Dest, a.was.kind)
	case a.mark == a.wanted():
		return "", nil
	case a.mark == "":
		return a.foreign()
	}
	return "is from another archive", nil
}

// foreign judges a folder that no archive step has made.
func (a *archive) foreign() (string, error) {
	empty := false
	err := a.env.inFolder(a.want.Dest, func(root *os.Root) error {
		f, err := root.Open(".")
		if err != nil {
			return err
		}
		defer f.Close()
		names, _ := f.Readdirnames(1)
		empty = len(names) == 0
		return nil
	})
	if err != nil {
		return "", err
	}
	if !empty {
		return "", failf("look at it on the host; move it away, or choose another dest", "%s is there, and did not come from an archive of ours", a.want.Dest)
	}
	return "is empty", nil
}

// readMark reads the file beside a folder, "" when there is none.
func (e *Env) readMark(dest string) (mark string, err error) {
	err = e.atPlace(markOf(dest), "", false, func(p *place) error {
		was, err := p.look()
		if err != nil || was.kind == "absent" {
			return err
		}
		b, err := p.read()
		mark = string(b)
		return err
	})
	return mark, err
}

func (e *Env) writeMark(dest, mark string) error {
	if mark == "" {
		return e.atPlace(markOf(dest), "", false, (*place).remove)
	}
	return e.replace(context.Background(), markOf(dest), "", shape{kind: "file", content: []byte(mark), mode: 0o644, setMode: true, uid: -1, gid: -1}, "")
}

// inFolder calls f in an opened folder, on a thread with the rights of whoever
// owns the way to it.
func (e *Env) inFolder(dir string, f func(root *os.Root) error) error {
	return e.atPlace(dir, "", false, func(p *place) error { return p.inside(p.name, f) })
}

// inside opens a folder at the place without following a link, and calls f.
func (p *place) inside(name string, f func(root *os.Root) error) error {
	fd, err := openat(p.dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return err
	}
	defer root.Close()
	return f(root)
}

// remember has the archive on the host, judged, before anything is changed. The
// old folder will be moved beside the undo records, where nobody but root comes
// and from where it goes with the run.
func (a *archive) remember(ctx context.Context) (*wire.Undo, []byte, error) {
	if err := a.obtain(ctx); err != nil {
		return nil, nil, err
	}
	data := map[string]string{"dest": a.want.Dest, "state": a.was.kind, "mark": a.mark}
	what := "remove " + a.want.Dest
	switch {
	case a.was.kind == "absent":
		data["made"] = strings.Join(a.miss, "\n")
	case a.env.canKeep(a.want.Dest):
		a.keep = filepath.Join(a.env.UndoDir, "tree-"+strings.Trim(tempName(), "."))
		data["tree"] = filepath.Base(a.keep)
		what = "put the old " + a.want.Dest + " back"
	default:
		a.env.Note("warn", "the old "+a.want.Dest+" is replaced and cannot be brought back by rollback: it lies in another file system or with its user")
		what = "remove " + a.want.Dest + " (what was there before is gone)"
	}
	return &wire.Undo{Kind: "archive", What: what, Data: data}, nil, nil
}

func (a *archive) obtain(ctx context.Context) error {
	if a.want.URL == "" {
		if err := sameSum(hexSum(a.want.Content), a.want.SHA256); err != nil {
			return err
		}
		a.packed = filepath.Join(a.env.RunDir, "fetch-"+a.want.SHA256[:16])
		return os.WriteFile(a.packed, a.want.Content, 0o600)
	}
	file, err := a.env.fetch(ctx, a.want.URL, a.want.SHA256, mostPacked)
	a.packed = file
	return err
}

// canKeep tells whether a folder can be moved beside the undo records: no user
// owns a folder on the way to it, and it is in the same file system.
func (e *Env) canKeep(dest string) bool {
	if os.Geteuid() != 0 {
		return false
	}
	var there unix.Stat_t
	if unix.Stat(e.UndoDir, &there) != nil {
		return false
	}
	ok := false
	_ = e.atPlace(dest, "", false, func(p *place) error {
		now, err := p.look()
		ok = err == nil && p.id.self && now.dev == uint64(there.Dev)
		return err
	})
	return ok
}

func (a *archive) act(ctx context.Context) error {
	defer os.Remove(a.packed)
	temp := tempName()
	staged := path.Join(path.Dir(a.want.Dest), temp)
	done, err := false, a.env.unpack(ctx, a.packed, staged, a.want.Strip, a.uid, a.gid)
	if err == nil {
		done, err = a.swap(temp)
	}
	switch {
	case err == nil:
		return a.env.writeMark(a.want.Dest, a.wanted())
	case !done: // else it is the old folder
		err = errors.Join(err, a.env.removeTree(staged))
	}
	return err
}

// swap puts the unpacked folder in Dest's place at once: nobody sees a half of
// it. From before on the mark says that it is ours, and no longer where it could
// not be done: else a rollback would take for ours what is not.
func (a *archive) swap(temp string) (done bool, err error) {
	if err := a.env.writeMark(a.want.Dest, unfinished); err != nil {
		return false, err
	}
	how := uint(unix.RENAME_EXCHANGE)
	if a.was.kind == "absent" {
		how = unix.RENAME_NOREPLACE
	}
	err = a.env.atPlace(a.want.Dest, "", false, func(p *place) error {
		err := unix.Renameat2(p.dir, temp, p.dir, p.name, how)
		switch done = err == nil; {
		case !done:
			return err
		case a.keep != "":
			if err = unix.Renameat(p.dir, temp, unix.AT_FDCWD, a.keep); err != nil { // what cannot be kept takes its place again
				done = unix.Renameat2(p.dir, temp, p.dir, p.name, unix.RENAME_EXCHANGE) != nil
			}
		case a.was.kind != "absent":
			err = p.removeAll(temp)
		}
		return errors.Join(err, syncDir(p.dir))
	})
	if !done {
		err = errors.Join(err, a.env.writeMark(a.want.Dest, a.mark))
	}
	return done, err
}

// removeAll removes a folder with all in it, following no link.
func (p *place) removeAll(name string) error {
	if p.dir < 0 {
		return nil
	}
	err := p.inside(".", func(root *os.Root) error { return root.RemoveAll(name) })
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

func (e *Env) removeTree(dir string) error {
	return e.atPlace(dir, "", false, func(p *place) error { return p.removeAll(p.name) })
}

func revertArchive(_ context.Context, env *Env, u wire.Undo) error {
	dest, mark := u.Data["dest"], u.Data["mark"]
	now, err := env.readMark(dest)
	if err != nil {
		return err
	}
	if u.Data["state"] == "absent" {
		if now == "" { // it never came so far, or was undone
			return nil
		}
		err := errors.Join(env.removeTree(dest), env.writeMark(dest, ""))
		if err == nil {
			err = env.unmake(u.Data["made"], "")
		}
		return err
	}
	return env.oldTree(dest, mark, now, u.Data["tree"])
}

// oldTree puts a kept folder back.
func (e *Env) oldTree(dest, mark, now, tree string) error {
	if strings.ContainsRune(tree, '/') {
		return fmt.Errorf("the record names %q", tree)
	}
	kept := filepath.Join(e.UndoDir, tree)
	switch {
	case now == mark: // the act never came so far, or was undone
		return nil
	case tree == "" || !exists(kept):
		return failf("", "what was in %s before is gone", dest)
	}
	if err := e.removeTree(dest); err != nil {
		return err
	}
	err := e.atPlace(dest, "", false, func(p *place) error {
		return errors.Join(unix.Renameat(unix.AT_FDCWD, kept, p.dir, p.name), syncDir(p.dir))
	})
	return errors.Join(err, e.writeMark(dest, mark))
}
