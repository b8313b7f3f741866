//go:build linux

package steps

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// mostKey is the biggest file of keys, in bytes.
const mostKey = 1 << 20

// repository is a source of packages with its keys and its lists.
type repository struct {
	env     *Env
	want    *wire.AptRepository
	entry   source
	files   []*file // what differs: keyring, source
	old     [][]byte
	keyring []byte
	lists   *wire.Undo // nil when they were there before
	fresh   bool       // all lists were fresh before
	release func()
}

func newRepository(env *Env, want *wire.AptRepository) *repository {
	return &repository{env: env, want: want, entry: source{types: []string{"deb"}, uris: want.URIs, suites: want.Suites,
		components: want.Components, archs: want.Architectures, signedBy: want.Keyring}}
}

func doRepository(ctx context.Context, env *Env, want *wire.AptRepository) Result {
	r := newRepository(env, want)
	defer func() {
		if r.release != nil {
			r.release()
		}
	}()
	return converge(ctx, env, r)
}

// differs asks the host alone: keys are known by their fingerprints, so that a
// key by URL is not fetched to find that it is there.
func (r *repository) differs(ctx context.Context) (string, error) {
	if !r.env.Root {
		return "", needsRoot("apt_repository")
	}
	if len(r.want.Fingerprints) == 0 {
		return "", failf("", "a repository without the fingerprint of its key")
	}
	if err := r.conflict(); err != nil {
		return "", err
	}
	var diff []string
	for _, ask := range []func() (string, error){r.keysDiffer, r.sourceDiffers, r.listsMissing} {
		d, err := ask()
		if err != nil {
			return "", err
		}
		if d != "" {
			diff = append(diff, d)
		}
	}
	return strings.Join(diff, ", "), nil
}

func (r *repository) keysDiffer() (string, error) {
	b, why, err := r.env.plainFile(r.want.Keyring)
	if why != "" || err != nil {
		return because("the key "+r.want.Keyring, why), err
	}
	keys, err := pgpKeys(b)
	if err != nil {
		return "the keyring is none", nil
	}
	var have []string
	for _, k := range keys {
		have = append(have, k.fingerprint)
	}
	if !sameSet(have, r.want.Fingerprints) {
		return "the keyring has " + someOf(have), nil
	}
	return "", nil
}

func (r *repository) sourceDiffers() (string, error) {
	b, why, err := r.env.plainFile(r.want.Path)
	if why != "" || err != nil {
		return because("the source "+r.want.Path, why), err
	}
	if now := parseSources(string(b)); len(now) != 1 || !now[0].same(r.entry) {
		return "the source says something else", nil
	}
	return "", nil
}

// plainFile reads a file that everybody may read; why says what is wrong with
// it as it is.
func (e *Env) plainFile(path string) (b []byte, why string, err error) {
	err = e.atPlace(path, "", false, func(p *place) error {
		was, err := p.look()
		switch {
		case err != nil:
			return err
		case was.kind == "absent":
			why = "was not there"
		case was.kind != "file":
			why = "is a " + was.kind
		case was.mode&0o444 != 0o444 || was.uid != 0:
			why = fmt.Sprintf("has mode %04o and owner %d", was.mode, was.uid)
		default:
			b, err = p.read()
		}
		return err
	})
	return b, why, err
}

func (r *repository) listsMissing() (string, error) {
	for _, name := range r.entry.listNames() {
		found := false
		for _, file := range []string{"InRelease", "Release"} {
			found = found || exists(r.env.at("/var/lib/apt/lists/"+name+file))
		}
		if !found {
			return "its lists were not there", nil
		}
	}
	return "", nil
}

// conflict looks for an entry of somebody else that would stop every call of
// apt.
func (r *repository) conflict() error {
	all, err := r.env.sources(r.want.Path)
	if err != nil {
		return err
	}
	var clash []string
	for _, s := range all {
		if s.off || !slices.Contains(s.types, "deb") || !s.meets(r.entry) || s.signedBy == r.entry.signedBy {
			continue
		}
		by := s.signedBy
		if by == "" {
			by = "nothing"
		}
		clash = append(clash, fmt.Sprintf("%s:%d (signed by %s)", s.file, s.line, firstLine(by)))
	}
	if len(clash) == 0 {
		return nil
	}
	return failf("remove that entry first (a file step with state: absent), or make it this step's: path: and key: {path:}",
		"nothing was changed: %s names the same source with another Signed-By than %s; with both apt refuses every call", strings.Join(clash, ", "), r.want.Keyring)
}

// remember has the key, judged, before anything is written, and keeps the way
// back for each file.
func (r *repository) remember(ctx context.Context) (*wire.Undo, []byte, error) {
	var err error
	if r.keyring, err = r.key(ctx); err != nil {
		return nil, nil, err
	}
	if r.release, err = r.env.freeApt(ctx); err != nil {
		return nil, nil, err
	}
	why, err := (&lists{env: r.env}).old(time.Now())
	if err != nil {
		return nil, nil, err
	}
	r.fresh = why == ""
	type part struct {
		ask     func() (string, error)
		path    string
		content []byte
	}
	for _, p := range []part{{r.keysDiffer, r.want.Keyring, r.keyring}, {r.sourceDiffers, r.want.Path, []byte(r.entry.text())}} {
		if d, err := p.ask(); err != nil || d == "" {
			if err != nil {
				return nil, nil, err
			}
			continue
		}
		f := newFile(r.env, &wire.Step{File: &wire.File{Path: p.path, Content: p.content, Mode: "0644", Owner: "root"}})
		if _, err := f.differs(ctx); err != nil {
			return nil, nil, err
		}
		u, old, err := f.remember(ctx)
		if err == nil {
			err = r.env.Undo(*u, old)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("nothing was changed: the way back could not be kept: %w", err)
		}
		r.files, r.old = append(r.files, f), append(r.old, old)
	}
	if missing, _ := r.listsMissing(); missing == "" {
		return nil, nil, nil
	}
	r.lists = &wire.Undo{Kind: "apt_repository", What: "remove the lists of " + r.want.Name,
		Data: map[string]string{"lists": strings.Join(r.entry.listNames(), "\n")}}
	return r.lists, nil, nil
}

// key gives the wanted keys, and no others that came in the same file.
func (r *repository) key(ctx context.Context) ([]byte, error) {
	data, from := r.want.Key, "the key"
	if r.want.KeyURL != "" {
		from = r.want.KeyURL
		file, err := r.env.fetch(ctx, r.want.KeyURL, "", mostKey)
		if err != nil {
			return nil, err
		}
		defer os.Remove(file)
		if data, err = os.ReadFile(file); err != nil {
			return nil, err
		}
	}
	keys, err := pgpKeys(data)
	if err != nil {
		return nil, failf("", "nothing was changed: %s: %v", from, err)
	}
	return r.choose(from, keys)
}

func (r *repository) choose(from string, keys []pgpKey) ([]byte, error) {
	var chosen []byte
	var have, others []string
	for _, k := range keys {
		if slices.Contains(r.want.Fingerprints, k.fingerprint) && !slices.Contains(have, k.fingerprint) {
			chosen, have = append(chosen, k.packets...), append(have, k.fingerprint)
		} else {
			others = append(others, k.fingerprint)
		}
	}
	if !sameSet(have, r.want.Fingerprints) {
		return nil, failf("ask the maker of these packages which fingerprint is right, before you put it there",
			"nothing was changed: %s has the fingerprint %s, not %s", from, someOf(append(have, others...)), someOf(r.want.Fingerprints))
	}
	if len(others) > 0 {
		r.env.Note("info", fmt.Sprintf("%s also has %s, which is left out", from, someOf(others)))
	}
	return chosen, nil
}

// act writes and refreshes; a source that cannot be read is not left behind,
// since it would be in the way of every call of apt.
func (r *repository) act(ctx context.Context) error {
	var err error
	for _, f := range r.files {
		if err = f.act(ctx); err != nil {
			break
		}
	}
	if err == nil {
		err = r.refresh(ctx)
	}
	if err == nil {
		return nil
	}
	calm := context.WithoutCancel(ctx)
	if r.lists != nil { // also what came only in part
		if back := revertRepository(calm, r.env, *r.lists); back != nil {
			return errors.Join(err, fmt.Errorf("putting it back failed: %w", back))
		}
	}
	for i, f := range slices.Backward(r.files) {
		if back := f.putBack(calm, r.old[i]); back != nil {
			return errors.Join(err, fmt.Errorf("putting it back failed: %w", back))
		}
	}
	return fmt.Errorf("it was put back: %w", err)
}

// refresh reads the lists of this source alone.
func (r *repository) refresh(ctx context.Context) error {
	lists := r.env.at("/var/lib/apt/lists")
	date := time.Now()
	if st, err := os.Stat(lists); err == nil && !r.fresh {
		date = st.ModTime()
	}
	_, err := r.env.apt(ctx, call{stream: true}, "update", "-o", "Dir::Etc::sourcelist="+r.want.Path, "-o", "Dir::Etc::sourceparts=-",
		"-o", "APT::Get::List-Cleanup=0", "-o", "APT::Update::Error-Mode=any")
	if f := (*failure)(nil); errors.As(err, &f) && f.cause == staleLists { // a 404 of a source: it will not pass
		f.retryable, f.hint = false, "are uris and suites right?"
	}
	_ = os.Chtimes(lists, date, date) // the other lists are as old as they were
	return err
}

// putBack makes the file's place what it was before.
func (f *file) putBack(ctx context.Context, old []byte) error {
	was := shape{kind: f.was.kind, content: old, mode: f.was.mode, setMode: true, uid: f.was.uid, gid: f.was.gid, target: f.was.target}
	if was.kind == "file" {
		return f.env.replace(ctx, f.want.Path, f.as, was, "")
	}
	err := f.env.atPlace(f.want.Path, f.as, was.kind != "absent", func(p *place) error { return p.become(was) })
	if err == nil && was.kind == "absent" {
		err = f.env.unmake(strings.Join(f.miss, "\n"), f.as)
	}
	return err
}

func revertRepository(_ context.Context, env *Env, u wire.Undo) error {
	if !env.Root {
		return needsRoot("apt_repository")
	}
	for name := range strings.SplitSeq(u.Data["lists"], "\n") {
		if name == "" || strings.ContainsAny(name, "/*?[\\") {
			continue
		}
		for _, dir := range []string{"", "partial"} {
			files, _ := filepath.Glob(env.at(filepath.Join("/var/lib/apt/lists", dir, name)) + "*")
			for _, file := range files {
				if err := os.Remove(file); err != nil && !errors.Is(err, unix.ENOENT) {
					return err
				}
			}
		}
	}
	return nil
}
