//go:build linux

package steps

import (
	"bytes"
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// finder is a thing that can show what it would change.
type finder interface {
	thing
	// found is asked when differs has said something. more is what else a
	// reader should know; both may be empty.
	found(ctx context.Context) (f *wire.Found, more string, err error)
}

// Look says what Do would change, and changes nothing: Changed is what would be
// done. Things are looked at as they are now, whatever steps come before.
func Look(ctx context.Context, env *Env, s *wire.Step) Result {
	quiet := *env
	quiet.looks = true
	var t thing
	switch {
	case s.Packages != nil:
		t = &packages{env: &quiet, want: s.Packages, lists: lists{env: &quiet}}
	case s.File != nil:
		t = newFile(&quiet, s)
	case s.Service != nil:
		t = &service{env: &quiet, want: s.Service}
	case s.User != nil:
		return lookUser(ctx, &user{env: &quiet, want: s.User})
	case s.Run != nil:
		t = &run{env: &quiet, step: s}
	case s.Repository != nil:
		t = newRepository(&quiet, s.Repository)
	case s.Archive != nil:
		t = &archive{env: &quiet, want: s.Archive}
	default: // an assert changes nothing anyway
		return Do(ctx, &quiet, s)
	}
	return look(ctx, t)
}

func look(ctx context.Context, t thing) Result {
	diff, err := t.differs(ctx)
	if err != nil {
		return failed(ctx, err)
	}
	r := Result{Status: wire.Changed, Reason: diff}
	if diff == "" {
		return Result{Status: wire.OK}
	}
	f, ok := t.(finder)
	if !ok {
		return r
	}
	var more string
	if r.Found, more, err = f.found(ctx); err != nil {
		return failed(ctx, err)
	}
	if more != "" {
		r.Reason += "; " + more
	}
	return r
}

// lookUser also sees an account that was made and has no password yet.
func lookUser(ctx context.Context, u *user) Result {
	r := look(ctx, u)
	if r.Status != wire.OK || u.want.Password == "" {
		return r
	}
	field, err := u.env.shadow(u.want.Name)
	if err != nil {
		return failed(ctx, err)
	}
	if field == pendingPassword {
		return Result{Status: wire.Changed, Reason: "the password is still to be set"}
	}
	return r
}

func (s *service) found(context.Context) (*wire.Found, string, error) {
	if !s.env.Root {
		return nil, "", needsRoot("services")
	}
	return nil, "", nil
}

// found asks apt what it would do, without the caches that it would write.
func (p *packages) found(ctx context.Context) (*wire.Found, string, error) {
	if !p.env.Root {
		return nil, "", needsRoot("packages")
	}
	why, err := p.lists.old(time.Now())
	if err != nil {
		return nil, "", err
	}
	more := ""
	if why != "" {
		more = "the package lists would be refreshed first: " + why
	}
	out, err := p.env.apt(ctx, call{}, "install", p.installArgs("-s", "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=")...)
	if err != nil && why != "" && isCause(err, unknownPackage) {
		return nil, "apt does not know all of them yet; " + more, nil
	}
	var b bytes.Buffer
	for line := range bytes.Lines(out) {
		word, _, _ := bytes.Cut(line, []byte(" "))
		if w := string(word); (w == "Inst" || w == "Remv" || w == "Purg") && b.Len()+len(line) < wire.MaxFound {
			b.Write(line)
		}
	}
	return &wire.Found{Apt: strings.ToValidUTF8(b.String(), "?")}, more, err
}

func (r *repository) found(context.Context) (*wire.Found, string, error) {
	d, err := r.sourceDiffers()
	if err != nil || d == "" {
		return nil, "", err
	}
	was, _, err := r.env.plainFile(r.want.Path)
	return foundText(r.want.Path, was, []byte(r.entry.text()), true), "", err
}

func (f *file) found(context.Context) (*wire.Found, string, error) {
	if f.was.kind != "file" && f.spec.kind != "file" || f.was.kind == "directory" {
		return nil, "", nil
	}
	was, err := f.oldContent()
	if err != nil || f.was.kind == f.spec.kind && bytes.Equal(was, f.spec.content) {
		return nil, "", err // only its rights differ
	}
	return foundText(f.want.Path, was, f.spec.content, f.open()), "", nil
}

// open tells whether everybody may read the file, as it is and as it shall be.
func (f *file) open() bool {
	const others = 0o004
	return !f.want.Sensitive && (f.was.kind != "file" || f.was.mode&others != 0) && (f.spec.kind != "file" || !f.spec.setMode || f.spec.mode&others != 0)
}

// foundText shows contents as far as they may be shown.
func foundText(path string, was, want []byte, open bool) *wire.Found {
	f := &wire.Found{Path: path}
	switch {
	case !open:
		f.Hidden = "sensitive"
	case len(was) > wire.MaxFound || len(want) > wire.MaxFound:
		f.Hidden = "size"
	case !isText(was) || !isText(want):
		f.Hidden = "binary"
	default:
		f.Was, f.Want = string(was), string(want)
	}
	return f
}

func isText(b []byte) bool { return utf8.Valid(b) && bytes.IndexByte(b, 0) < 0 }
