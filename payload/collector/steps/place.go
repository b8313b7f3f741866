//go:build linux

package steps

import (
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A place is a name in an opened folder, reached without following a link that
// somebody else could have planted. It is used on one thread only, see onThread.
type place struct {
	env     *Env
	path    string
	dir     int      // O_PATH; -1 when folders are missing
	name    string   // in dir
	id      identity // whom this thread acts as
	trusted bool     // nobody but root (or ourselves, when not root) can plant links on the way
	missing []string // folders that are not there, outermost first
	made    bool     // missing ones have been made
}

// onThread runs f on a thread that ends with f, so that f may give up its
// rights: file system rights belong to a thread.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread dies with this goroutine
		done <- f()
	}()
	return <-done
}

// actAs gives this thread the file system rights of id and no others. Only the
// thread that onThread made may call it.
func actAs(id identity) error {
	if id.self {
		return nil
	}
	// setfsuid, unlike seteuid, leaves the thread safe from the user's signals.
	groups := append([]uint32{uint32(id.gid)}, id.credential().Groups...)
	if err := setGroups(groups); err != nil {
		return fmt.Errorf("act as %s: setgroups: %w", id.name, err)
	}
	if err := errors.Join(unix.Setfsgid(id.gid), unix.Setfsuid(id.uid)); err != nil {
		return fmt.Errorf("act as %s: %w", id.name, err)
	}
	// These calls never fail aloud: ask what holds now.
	uid, _ := unix.SetfsuidRetUid(-1)
	gid, _ := unix.SetfsgidRetGid(-1)
	if uid != id.uid || gid != id.gid {
		return fmt.Errorf("act as %s: the kernel did not let us", id.name)
	}
	return nil
}

// mostLinks is how many links may lie on a way, as in the kernel.
const mostLinks = 40

// open walks to file folder by folder. Where root comes to a folder that is not
// root's, it becomes that folder's owner; from there on, and from any folder
// that others may write to, a link on the way is an error. With mkdir missing
// folders are made, 0755 and owned like their parent. The caller closes it.
//
// One openat per name with O_NOFOLLOW is as strict as openat2 with
// RESOLVE_NO_SYMLINKS, gives the owner of each folder, and works everywhere.
func (e *Env) open(file string, id identity, mkdir bool) (*place, error) {
	if !path.IsAbs(file) || path.Clean(file) != file || file == "/" || strings.ContainsRune(file, 0) {
		return nil, failf("write it from / without .. and without a slash at its end", "%q is not a plain absolute path", file)
	}
	p := &place{env: e, path: file, dir: -1, id: id, trusted: true}
	if err := actAs(id); err != nil {
		return nil, err
	}
	err := p.walk(strings.Split(file[1:], "/"), mkdir)
	if err != nil {
		p.close()
		if p.id.self {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		return nil, fmt.Errorf("%s, as %s: %w", file, p.id.name, err)
	}
	return p, nil
}

func (p *place) walk(parts []string, mkdir bool) error {
	if err := p.restart(); err != nil {
		return err
	}
	for links := 0; len(parts) > 1; {
		part := parts[0]
		parts = parts[1:]
		if part == "" || part == "." { // of a link's target
			continue
		}
		target, err := p.enter(part, mkdir)
		switch {
		case errors.Is(err, unix.ENOENT) && !mkdir:
			p.leave(part, parts)
			return nil
		case err != nil:
			return err
		case target == "":
			continue
		}
		if links++; links > mostLinks {
			return unix.ELOOP
		}
		if path.IsAbs(target) {
			if err := p.restart(); err != nil {
				return err
			}
		}
		parts = append(strings.Split(target, "/"), parts...)
	}
	p.name = parts[0]
	return nil
}

func (p *place) restart() error {
	fd, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return p.into(fd)
}

// leave notes which folders are missing.
func (p *place) leave(part string, rest []string) {
	gone := strings.TrimSuffix(p.path, strings.Join(append([]string{part}, rest...), "/"))
	for _, name := range append([]string{part}, rest[:len(rest)-1]...) {
		gone = path.Join(gone, name)
		p.missing = append(p.missing, gone)
	}
	p.name = rest[len(rest)-1]
	p.close()
}

// enter goes into a folder, or returns the target of the link that stands
// there.
func (p *place) enter(part string, mkdir bool) (target string, err error) {
	fd, err := openat(p.dir, part, unix.O_PATH|unix.O_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) && mkdir {
		fd, err = p.mkdir(part)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", part, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return "", err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return "", p.into(fd)
	case unix.S_IFLNK:
		defer unix.Close(fd)
		if !p.trusted {
			return "", p.refuseLink(part)
		}
		return readlink(fd, "")
	}
	unix.Close(fd)
	return "", fmt.Errorf("%s: %w", part, unix.ENOTDIR)
}

func (p *place) refuseLink(part string) error {
	return failf("look at it on the host; remove the link if it should not be there",
		"%s is a symbolic link in a folder that is not only root's: it is not followed", part)
}

// into makes the folder behind fd the current one, and judges it.
func (p *place) into(fd int) error {
	p.close()
	p.dir = fd
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	me := os.Geteuid()
	ours := st.Uid == 0 || me != 0 && int(st.Uid) == me
	byGroup := st.Mode&0o020 != 0 && st.Gid != 0 && (me == 0 || int(st.Gid) != os.Getegid())
	if !ours || byGroup || st.Mode&0o002 != 0 {
		p.trusted = false
	}
	if me != 0 || st.Uid == 0 || p.id.uid != 0 {
		return nil
	}
	id, err := p.env.identityOfUID(int(st.Uid), int(st.Gid))
	if err != nil {
		return err
	}
	p.id = id
	return actAs(id)
}

func (p *place) mkdir(part string) (int, error) {
	if err := unix.Mkdirat(p.dir, part, 0o755); err != nil {
		return -1, fmt.Errorf("make the folder: %w", err)
	}
	p.made = true
	fd, err := openat(p.dir, part, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd)
	if err := unix.Fchmod(fd, 0o755); err != nil { // whatever the umask says
		return -1, err
	}
	return openat(p.dir, part, unix.O_PATH|unix.O_NOFOLLOW)
}

func (p *place) close() {
	if p.dir >= 0 {
		unix.Close(p.dir)
		p.dir = -1
	}
}

// entry is what stands at a place.
type entry struct {
	kind     string // absent, file, directory, link, other
	mode     uint32 // permission bits
	uid, gid int
	size     int64
	target   string // of a link
	dev, ino uint64
}

func (p *place) look() (entry, error) {
	if p.dir < 0 {
		return entry{kind: "absent"}, nil
	}
	return p.lookAt(p.name)
}

func (p *place) lookAt(name string) (entry, error) {
	var st unix.Stat_t
	err := unix.Fstatat(p.dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return entry{kind: "absent"}, nil
	}
	if err != nil {
		return entry{}, err
	}
	e := entryOf(&st)
	if e.kind == "link" {
		e.target, err = readlink(p.dir, name)
	}
	return e, err
}

func entryOf(st *unix.Stat_t) entry {
	kinds := map[uint32]string{unix.S_IFREG: "file", unix.S_IFDIR: "directory", unix.S_IFLNK: "link"}
	e := entry{kind: kinds[st.Mode&unix.S_IFMT], mode: st.Mode & 0o7777, uid: int(st.Uid), gid: int(st.Gid),
		size: st.Size, dev: uint64(st.Dev), ino: st.Ino}
	if e.kind == "" {
		e.kind = "other"
	}
	return e
}

// mostKept is the biggest file that is read, to compare it or to keep it for
// undo.
const mostKept = 64 << 20

// read returns the bytes of the regular file at the place.
func (p *place) read() ([]byte, error) {
	fd, err := openat(p.dir, p.name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), p.path)
	defer f.Close()
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular():
		return nil, errors.New("is not a regular file any more")
	case st.Size() > mostKept:
		return nil, failf("", "is over %d MiB: too big to keep a copy for undo", mostKept>>20)
	}
	b := make([]byte, 0, st.Size()+1)
	for {
		n, err := f.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if n == 0 || err != nil {
			return b, ignoreEOF(err)
		}
		b = slices.Grow(b, 512)
		if len(b) > mostKept {
			return nil, errors.New("grows while it is read")
		}
	}
}
