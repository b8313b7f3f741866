//go:build linux

package steps

import (
	"context"
	"errors"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// become makes the place nothing, a folder or a link.
func (p *place) become(want shape) error {
	switch want.kind {
	case "absent":
		return p.remove()
	case "directory":
		return p.folder(want)
	case "link":
		return p.link(want.target)
	}
	return errors.New("a kind of file that is not known")
}

// remove takes away a file, a link or an empty folder.
func (p *place) remove() error {
	was, err := p.look()
	if err != nil || was.kind == "absent" {
		return err
	}
	flags := 0
	if was.kind == "directory" {
		flags = unix.AT_REMOVEDIR
	}
	err = unix.Unlinkat(p.dir, p.name, flags)
	if errors.Is(err, unix.ENOTEMPTY) {
		return failf("remove what is in it first, or use a run step", "the folder is not empty")
	}
	if err != nil {
		return err
	}
	return syncDir(p.dir)
}

func (p *place) folder(want shape) error {
	was, err := p.look()
	if err != nil {
		return err
	}
	if was.kind == "absent" {
		// Closed to others until its rights are set.
		if err := unix.Mkdirat(p.dir, p.name, 0o700); err != nil {
			return err
		}
		if !want.setMode {
			want.mode, want.setMode = 0o755, true
		}
	}
	fd, err := openat(p.dir, p.name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), p.path)
	defer f.Close()
	if err := chown(f, want.uid, want.gid); err != nil {
		return err
	}
	if want.setMode {
		if err := unix.Fchmod(fd, want.mode); err != nil {
			return err
		}
	}
	return syncDir(p.dir)
}

func (p *place) link(target string) error {
	was, err := p.look()
	if err != nil {
		return err
	}
	if was.kind == "directory" {
		return unix.EISDIR
	}
	temp := tempName()
	if err := unix.Symlinkat(target, p.dir, temp); err != nil {
		return err
	}
	if err := unix.Renameat(p.dir, temp, p.dir, p.name); err != nil {
		unix.Unlinkat(p.dir, temp, 0)
		return err
	}
	return syncDir(p.dir)
}

func revertFile(ctx context.Context, env *Env, u wire.Undo) error {
	file, as := u.Data["path"], u.Data["as"]
	want, err := oldShape(u)
	if err != nil {
		return err
	}
	switch want.kind {
	case "absent":
		if err := env.atPlace(file, as, false, (*place).remove); err != nil {
			return err
		}
		return env.unmake(u.Data["made"], as)
	case "file":
		if want.content, err = env.saved(u); err != nil {
			return err
		}
		return env.replace(ctx, file, as, want, "")
	}
	return env.atPlace(file, as, true, func(p *place) error { return p.become(want) })
}

// oldShape is what stood there before.
func oldShape(u wire.Undo) (shape, error) {
	want := shape{kind: u.Data["state"], target: u.Data["target"], uid: -1, gid: -1}
	if want.kind == "absent" {
		return want, nil
	}
	mode, err := strconv.ParseUint(u.Data["mode"], 8, 32)
	if err != nil {
		return want, errors.New("the record has no mode")
	}
	uid, gid, _ := strings.Cut(u.Data["owner"], ":")
	want.mode, want.setMode = uint32(mode), true
	var err1, err2 error
	want.uid, err1 = number(uid)
	want.gid, err2 = number(gid)
	return want, errors.Join(err1, err2)
}

// unmake removes the folders that a step made on its way, unless something
// else lies in them by now.
func (e *Env) unmake(made, as string) error {
	folders := strings.FieldsFunc(made, func(r rune) bool { return r == '\n' })
	for i := len(folders) - 1; i >= 0; i-- {
		err := e.atPlace(path.Clean(folders[i]), as, false, func(p *place) error {
			if p.dir < 0 {
				return nil
			}
			err := unix.Unlinkat(p.dir, p.name, unix.AT_REMOVEDIR)
			if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.ENOTDIR) {
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
