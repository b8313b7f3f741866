//go:build linux

package steps

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// file is a path that shall be a file with this content, a folder, a link, or
// nothing.
type file struct {
	env  *Env
	want *wire.File
	as   string
	spec shape
	was  entry
	miss []string // folders that would be made
	keys []string // which keys differ
}

// shape is what an entry shall be, in numbers. -1 and mode 0 with !setMode
// mean: as it is.
type shape struct {
	kind     string
	content  []byte
	mode     uint32
	setMode  bool
	uid, gid int
	target   string
}

func newFile(env *Env, s *wire.Step) *file { return &file{env: env, want: s.File, as: s.As} }

var fileKinds = map[string]string{"": "file", "present": "file", "absent": "absent", "directory": "directory", "link": "link"}

func (f *file) resolve() error {
	kind, ok := fileKinds[f.want.State]
	if !ok {
		return failf("present, absent, directory or link", "unknown state %q of a file", f.want.State)
	}
	f.spec = shape{kind: kind, content: f.want.Content, target: f.want.Target}
	if f.want.Mode != "" {
		mode, err := strconv.ParseUint(f.want.Mode, 8, 32)
		if err != nil || mode > 0o7777 {
			return failf("octal, such as 0644", "mode %q is not a file mode", f.want.Mode)
		}
		f.spec.mode, f.spec.setMode = uint32(mode), true
	}
	if kind == "link" && f.want.Target == "" {
		return failf("", "a link without a target")
	}
	var err error
	f.spec.uid, f.spec.gid, err = f.env.owner(f.want.Owner)
	return err
}

// at walks to the path on a thread of its own and calls f there.
func (e *Env) atPlace(path, as string, mkdir bool, f func(p *place) error) error {
	id, err := e.identity(as)
	if err != nil {
		return err
	}
	return onThread(func() error {
		p, err := e.open(path, id, mkdir)
		if err != nil {
			return err
		}
		defer p.close()
		if err := f(p); err != nil {
			if p.id.self {
				return fmt.Errorf("%s: %w", path, err)
			}
			return fmt.Errorf("%s, as %s: %w", path, p.id.name, err)
		}
		return nil
	})
}

func (f *file) differs(context.Context) (string, error) {
	if err := f.resolve(); err != nil {
		return "", err
	}
	var diff string
	err := f.env.atPlace(f.want.Path, f.as, false, func(p *place) (err error) {
		f.miss = p.missing
		if f.was, err = p.look(); err != nil {
			return err
		}
		if f.want.Keys != nil {
			if err := f.edit(p); err != nil {
				return err
			}
		}
		diff, err = f.compare(p)
		return err
	})
	return diff, err
}

// edit turns wanted keys into the wanted content: that of now, with these keys.
func (f *file) edit(p *place) error {
	if f.was.kind != "file" {
		return failf("install what brings it first, or write all of it: content", "no file is there whose keys could be set (%s)", f.was.kind)
	}
	now, err := p.read()
	if err != nil {
		return err
	}
	f.spec.content, f.keys, err = editKeys(now, f.want.Keys)
	return err
}

// compare says what differs, never what the content is.
func (f *file) compare(p *place) (string, error) {
	was, want := f.was, f.spec
	switch {
	case want.kind == "absent" && was.kind == "absent":
		return "", nil
	case was.kind == "absent":
		return "was not there", nil
	case want.kind == "absent":
		return "is there (" + was.kind + ")", nil
	case was.kind != want.kind:
		return f.otherKind(p)
	case want.kind == "link":
		if was.target != want.target {
			return fmt.Sprintf("target %s, not %s", was.target, want.target), nil
		}
		return "", nil
	}
	var diff []string
	if want.kind == "file" {
		same, err := sameContent(p, was, want.content)
		if err != nil {
			return "", err
		}
		if !same && f.want.Keys != nil {
			diff = append(diff, f.keys...)
		} else if !same {
			diff = append(diff, fmt.Sprintf("content (%d bytes, now %d)", was.size, len(want.content)))
		}
	}
	return strings.Join(append(diff, rights(was, want)...), ", "), nil
}

func sameContent(p *place, was entry, want []byte) (bool, error) {
	if was.size != int64(len(want)) {
		return false, nil
	}
	b, err := p.read()
	return bytes.Equal(b, want), err
}

func rights(was entry, want shape) []string {
	var diff []string
	if want.setMode && was.mode != want.mode {
		diff = append(diff, fmt.Sprintf("mode %04o, now %04o", was.mode, want.mode))
	}
	if want.uid >= 0 && was.uid != want.uid || want.gid >= 0 && was.gid != want.gid {
		diff = append(diff, fmt.Sprintf("owner %d:%d, not as wanted", was.uid, was.gid))
	}
	return diff
}

// otherKind: a link may stand where a file shall be, and the other way round,
// but only where nobody else can have put it.
func (f *file) otherKind(p *place) (string, error) {
	was, want := f.was.kind, f.spec.kind
	if was == "link" && !p.trusted {
		return "", p.refuseLink(p.name)
	}
	if was == "link" && want == "file" || was == "file" && want == "link" {
		return "is a " + was, nil
	}
	return "", failf("look at it on the host; a file step does not remove it", "is a %s, where a %s shall be", was, want)
}

func (f *file) remember(context.Context) (*wire.Undo, []byte, error) {
	data := map[string]string{"path": f.want.Path, "state": f.was.kind}
	if f.as != "" {
		data["as"] = f.as
	}
	what := "restore " + f.want.Path
	switch f.was.kind {
	case "absent":
		what = "remove " + f.want.Path
		if len(f.miss) > 0 {
			data["made"] = strings.Join(f.miss, "\n")
		}
	case "other":
		return nil, nil, failf("", "%s is a device, socket or pipe: a file step does not touch it", f.want.Path)
	case "link":
		data["target"] = f.was.target
	}
	if f.was.kind != "absent" {
		data["mode"] = fmt.Sprintf("%04o", f.was.mode)
		data["owner"] = fmt.Sprintf("%d:%d", f.was.uid, f.was.gid)
	}
	content, err := f.oldContent()
	return &wire.Undo{Kind: "file", What: what, Data: data}, content, err
}

// oldContent is read again, because somebody may have written meanwhile.
func (f *file) oldContent() (content []byte, err error) {
	if f.was.kind != "file" {
		return nil, nil
	}
	err = f.env.atPlace(f.want.Path, f.as, false, func(p *place) error {
		content, err = p.read()
		return err
	})
	if content == nil && err == nil {
		content = []byte{}
	}
	return content, err
}

func (f *file) act(ctx context.Context) error {
	if f.spec.kind != "file" {
		return f.env.atPlace(f.want.Path, f.as, f.spec.kind != "absent", func(p *place) error { return p.become(f.spec) })
	}
	return f.env.replace(ctx, f.want.Path, f.as, f.spec, f.want.Validate)
}

// replace puts a whole new file where path is: staged beside it, judged, and
// swapped in. Nobody ever sees a half of it.
func (e *Env) replace(ctx context.Context, path, as string, want shape, validate string) error {
	var temp staged
	err := e.atPlace(path, as, true, func(p *place) (err error) {
		temp, err = p.stage(want)
		return err
	})
	if err != nil {
		return err
	}
	if validate != "" {
		err = e.validate(ctx, validate, temp)
	}
	return errors.Join(err, e.atPlace(path, as, false, func(p *place) error {
		if err != nil {
			return p.drop(temp)
		}
		return p.swap(temp)
	}))
}

// staged is a file that waits for its swap.
type staged struct {
	name string
	path string
	id   identity
	dev  uint64
	ino  uint64
}

// stage writes the new file beside the place, complete and on the disk.
func (p *place) stage(want shape) (staged, error) {
	was, err := p.look()
	if err != nil {
		return staged{}, err
	}
	if was.kind == "link" && !p.trusted {
		return staged{}, p.refuseLink(p.name)
	}
	t := staged{name: tempName(), id: p.id}
	t.path = strings.TrimSuffix(p.path, p.name) + t.name
	fd, err := unix.Openat(p.dir, t.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return staged{}, err
	}
	f := os.NewFile(uintptr(fd), t.path)
	err = errors.Join(fill(f, want, was), f.Close())
	now, lookErr := p.lookAt(t.name)
	t.dev, t.ino = now.dev, now.ino
	if err = errors.Join(err, lookErr); err != nil {
		unix.Unlinkat(p.dir, t.name, 0)
		return staged{}, err
	}
	return t, nil
}

// fill gives a new file its bytes and rights: the wanted ones, else those of
// the file it replaces.
func fill(f *os.File, want shape, was entry) error {
	if _, err := f.Write(want.content); err != nil {
		return err
	}
	mode := uint32(0o644)
	if was.kind == "file" {
		// Kept where our rights allow it; a program that would run as another
		// owner does not keep its setuid bit.
		mode = was.mode
		if chown(f, was.uid, was.gid) != nil {
			mode &= 0o777
		}
	}
	if want.setMode {
		mode = want.mode
	}
	if err := chown(f, want.uid, want.gid); err != nil {
		return err
	}
	if err := unix.Fchmod(int(f.Fd()), mode); err != nil { // after chown, which drops setuid bits
		return err
	}
	return f.Sync()
}

func fileOwner(f *os.File) entry {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return entry{uid: -1, gid: -1}
	}
	return entryOf(&st)
}

func chown(f *os.File, uid, gid int) error {
	now := fileOwner(f)
	if (uid < 0 || uid == now.uid) && (gid < 0 || gid == now.gid) {
		return nil
	}
	err := unix.Fchown(int(f.Fd()), uid, gid)
	if errors.Is(err, unix.EPERM) {
		return &failure{text: fmt.Sprintf("owner %d:%d cannot be given by %d:%d", uid, gid, now.uid, now.gid),
			hint: "below a user's folder everything is written as that user; elsewhere it takes root (become: true)", err: err}
	}
	return err
}

func (p *place) swap(t staged) error {
	now, err := p.lookAt(t.name)
	if err != nil {
		return err
	}
	if now.dev != t.dev || now.ino != t.ino {
		return errors.New("somebody replaced the new file before it was swapped in")
	}
	if err := unix.Renameat(p.dir, t.name, p.dir, p.name); err != nil {
		unix.Unlinkat(p.dir, t.name, 0)
		return err
	}
	return syncDir(p.dir)
}

func (p *place) drop(t staged) error {
	if err := unix.Unlinkat(p.dir, t.name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}

// validate asks the step's command about the staged file, as whoever wrote it.
func (e *Env) validate(ctx context.Context, command string, t staged) error {
	s := e.phaseScript(strings.ReplaceAll(command, "%s", quote(t.path)), "")
	s.id = &t.id
	got, err := e.script(ctx, s)
	if err != nil {
		return fmt.Errorf("validate: %w", err)
	}
	if got.rc != 0 {
		return &failure{text: because("nothing was changed: validate "+ending(got.rc), got.words()), rc: &got.rc, stderr: got.stderr}
	}
	return nil
}

// tempName is a name that nobody can guess, for what is on its way. It is made
// without crypto/rand, which would be 100 KB of the collector.
func tempName() string {
	var b [12]byte
	for n := 0; n < len(b); {
		m, err := unix.Getrandom(b[n:], 0)
		if err != nil && err != unix.EINTR {
			panic("the kernel has no random bytes: " + err.Error())
		}
		n += max(m, 0)
	}
	return ".vpsctl-" + hex.EncodeToString(b[:]) + ".tmp"
}

// quote makes one word of s for a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
