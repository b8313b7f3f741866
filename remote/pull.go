package remote

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pkg/sftp"
	"golang.org/x/sync/errgroup"
)

// Pulled is what a pull did with one host.
type Pulled struct {
	Path    string   // of the copy, in the folder it was laid into
	Files   int      // that are here now
	Same    int      // of these were here before
	Bytes   int64    // fetched
	Resumed int64    // bytes of an earlier, cut off copy that were not fetched again
	Left    []string // what was not taken, and why; at most a thousand
	Refused int      // how many were not taken
	Via     string   // "sftp", "shell", or "" when nothing had to be fetched
}

// listScript tells what there is to copy. Arguments: marker, path. Answers:
// NONE, LINK, or LIST, a line for each thing (kind, size, mode, name), SUMS, the
// files' hashes, END.
var listScript = oneLine(`
m=$1 src=$2;
echo "$m"; LC_ALL=C; export LC_ALL;
case $src in /*) ;; *) src=$HOME/$src;; esac;
base=${src##*/}; dir=${src%/*}; cd -P "${dir:-/}" || { echo "$m FAILED"; exit; };
[ -L "$base" ] && { echo "$m LINK"; exit; };
[ -e "$base" ] || { echo "$m NONE"; exit; };
echo "$m LIST";
find "./$base" -name "*[[:cntrl:]]*" -prune -exec echo "odd 0 0 ?" \; -o -type f -exec stat -c "file %s %a %n" {} + -o -type d -exec stat -c "dir 0 %a %n" {} + -o -exec stat -c "%F: 0 0 %n" {} +;
echo "$m SUMS";
find "./$base" -name "*[[:cntrl:]]*" -prune -o -type f -exec sha256sum {} +;
echo "$m END";
`)

// readScript prints a file from a byte on, counted from 1.
const readScript = `echo "$1"; case $2 in /*) f=$2;; *) f=$HOME/$2;; esac; exec tail -c "+$3" "$f"`

// Pull copies a file or folder of the host into a folder here, below the host's
// name. What the host says of names is believed in no point: nothing is written
// outside of that folder, and links, devices and names that collide are left,
// and counted. A file takes its name here when its hash is right. At most so
// many bytes are fetched.
func (s *Session) Pull(ctx context.Context, src, dir string, most int64, progress func(got, total int64)) (Pulled, error) {
	src = strings.TrimPrefix(src, "~/")
	if src = path.Clean(src); strings.ContainsAny(src, "\n\x00") || src == "." || src == "/" || src == "~" || strings.HasPrefix(src, "..") {
		return Pulled{}, s.fail("pull", Local, "name a file or a folder", "%q cannot be copied", src)
	}
	p := &puller{Session: s, from: path.Dir(src), progress: progress, ours: map[string]bool{}, left: map[string]int64{}}
	err := s.copying(ctx, "pull", p.bytes.Load, func(c *conn) error {
		p.c, p.cl, p.list = c, nil, newListing(path.Base(src), most)
		p.done = Pulled{Resumed: p.done.Resumed, Via: p.done.Via}
		if err := p.ask(ctx, src); err != nil {
			return err
		}
		return p.land(ctx, dir)
	})
	return p.got(), err
}

// puller is one copy on its way from one host.
type puller struct {
	*Session
	c        *conn
	from     string // folder on the host
	list     *listing
	cl       *sftp.Client // nil: through the shell
	progress func(got, total int64)
	mu       sync.Mutex
	done     Pulled
	ours     map[string]bool  // what was begun by this call, by name
	left     map[string]int64 // bytes of files that an earlier call has left
	bytes    atomic.Int64
}

func (p *puller) got() Pulled {
	g := p.done
	if p.list == nil {
		return g
	}
	g.Path, g.Bytes = p.list.base, p.bytes.Load()
	g.Refused, g.Left = p.list.refused, p.list.left
	return g
}

// ask has the host list and hash what there is.
func (p *puller) ask(ctx context.Context, src string) error {
	marker := newMarker()
	pr, err := p.c.run(ctx, p.order(listScript, marker, src), nil)
	if err != nil {
		return err
	}
	defer pr.close()
	pr.send(nil)
	if err := p.greet(ctx, pr, marker); err != nil {
		return err
	}
	answer, err := pr.long(ctx, marker)
	if err != nil {
		return err
	}
	switch answer[0] {
	case "LIST":
		err = p.list.read(pr.out, marker)
	case "NONE":
		return p.fail("pull", Refused, "", "%s: there is no such file or folder", src)
	case "LINK":
		return p.fail("pull", Refused, "name what it leads to", "%s is a link", src)
	default:
		_, _ = pr.wait()
		return p.fail("pull", Refused, "", "%s: %s", src, clip(pr.errs.String(), 300))
	}
	switch {
	case errors.Is(err, errTooMuch):
		return p.fail("pull", Refused, "take less, or allow more with --max-mb", "%s: %w", src, err)
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return p.c.broken(err)
	case err != nil:
		return p.fail("pull", Hostile, "", "%w", err)
	}
	return nil
}

// land writes it all, below the host's name.
func (p *puller) land(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return p.fail("pull", Local, "", "%w", err)
	}
	top, err := os.OpenRoot(dir)
	if err != nil {
		return p.fail("pull", Local, "", "%w", err)
	}
	defer top.Close()
	if err := top.MkdirAll(p.h.Name, 0o755); err != nil {
		return p.fail("pull", Local, "", "%w", err)
	}
	root, err := top.OpenRoot(p.h.Name)
	if err != nil {
		return p.fail("pull", Local, "", "%w", err)
	}
	defer root.Close()
	if !p.h.Become {
		cl, end, err := p.files(ctx, p.c)
		if err != nil && !errors.Is(err, errNoSFTP) {
			return err
		}
		if err == nil {
			defer end()
			p.cl = cl
		}
	}
	return p.fill(ctx, root)
}

// fill makes the folders and, four at a time, the files in them. Until all is
// there, a folder lets in who may go into it in the end and may already, and its
// owner, who fills it: nobody looks into one that was closed on the host, and
// one that nobody may write to there gets its files. Its mode comes with the end
// of the call, whichever that is.
func (p *puller) fill(ctx context.Context, root *os.Root) (err error) {
	folders := slices.DeleteFunc(slices.Clone(p.list.entries), func(e entry) bool { return !e.dir() })
	slices.SortFunc(folders, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	for i, e := range folders { // those above come first
		if err := openFolder(root, e); err != nil {
			return p.fail("pull", Local, "", "%w", err)
		}
		defer func() { // those below go first: a folder is not closed before them
			if bad := setMode(root, folders[i], folders[i].landed()); bad != nil && err == nil {
				err = p.fail("pull", Local, "", "%w", bad)
			}
		}()
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for _, e := range p.list.entries {
		if !e.dir() {
			g.Go(func() error { return p.file(gctx, root, e) })
		}
	}
	return g.Wait()
}

// openFolder makes a folder, or takes one that is there, so that files can be
// laid into it.
func openFolder(root *os.Root, e entry) error {
	name := filepath.FromSlash(e.name)
	if err := root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	if err := root.Mkdir(name, 0o700); !errors.Is(err, fs.ErrExist) {
		return err
	}
	st, err := root.Lstat(name)
	switch {
	case err != nil:
		return err
	case !st.IsDir():
		return fmt.Errorf("%s is in the way: it is no folder", name)
	}
	return setMode(root, e, st.Mode().Perm()&e.landed()|0o700)
}

// setMode touches nothing that is right: the folder may be a colleague's.
func setMode(root *os.Root, e entry, mode fs.FileMode) error {
	name := filepath.FromSlash(e.name)
	st, err := root.Stat(name)
	if err != nil || st.Mode().Perm() == mode {
		return err
	}
	return root.Chmod(name, mode)
}

// file fetches one file, unless it is here.
func (p *puller) file(ctx context.Context, root *os.Root, e entry) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	l := &landing{root: root, e: e, name: filepath.FromSlash(e.name), count: p.count}
	if l.here() {
		p.note(func(g *Pulled) {
			if g.Files++; !p.ours[e.name] {
				g.Same++
			}
		})
		return nil
	}
	for try := range 2 { // the second from its beginning, without a window
		at, err := l.open(try > 0)
		if err != nil {
			return p.fail("pull", Local, "", "%w", err)
		}
		p.resume(e.name, at, try)
		err = p.fetch(ctx, e, at, l, try > 0)
		err = errors.Join(l.err, err)
		if err == nil {
			err = l.settle()
		} else {
			l.close()
		}
		switch {
		case err == nil:
			p.note(func(g *Pulled) {
				g.Files++
			})
			return nil
		case l.err != nil:
			return p.fail("pull", Local, "", "%s: %w", e.name, l.err)
		case !errors.Is(err, errDamaged):
			return err
		}
	}
	return p.fail("pull", Refused, "try again", "%s: it changes while it is fetched, or %w", e.name, errDamaged)
}

// resume notes what an earlier call has left of a file: all of it, until it
// shows that it was not worth keeping.
func (p *puller) resume(name string, at int64, try int) {
	p.note(func(g *Pulled) {
		switch {
		case try > 0:
			g.Resumed -= p.left[name]
			delete(p.left, name)
		case !p.ours[name]:
			p.ours[name], p.left[name] = true, at
			g.Resumed += at
		}
	})
}

func (p *puller) note(f func(g *Pulled)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.done)
}

func (p *puller) count(n int64) {
	got := p.bytes.Add(n)
	if p.progress != nil {
		p.progress(got, p.list.size)
	}
}

// fetch writes a file's content from a byte on into w.
func (p *puller) fetch(ctx context.Context, e entry, at int64, w io.Writer, plain bool) error {
	name := path.Join(p.from, e.name)
	via := "shell"
	defer func() { p.note(func(g *Pulled) { g.Via = via }) }()
	if p.cl == nil {
		return p.throughShell(ctx, name, at, w)
	}
	via = "sftp"
	f, err := p.cl.Open(name)
	if err != nil {
		return p.lost(fmt.Errorf("%s: %w", name, err))
	}
	defer f.Close()
	if _, err := f.Seek(at, io.SeekStart); err != nil {
		return p.lost(err)
	}
	if plain {
		_, err = io.Copy(w, struct{ io.Reader }{f})
	} else {
		_, err = f.WriteTo(w)
	}
	return p.lost(err)
}

// lost tells a line that broke from a file that cannot be read.
func (p *puller) lost(err error) error {
	switch {
	case err == nil || errors.Is(err, errDamaged):
		return err
	case !p.c.alive() || closedByPeer(err):
		return p.c.broken(err)
	}
	hint := ""
	if errors.Is(err, fs.ErrPermission) {
		hint = "set `become: true` for " + p.h.Name
	}
	return p.fail("pull", Refused, hint, "%w", err)
}

func (p *puller) throughShell(ctx context.Context, name string, at int64, w io.Writer) error {
	marker := newMarker()
	pr, err := p.c.run(ctx, p.order(readScript, marker, name, strconv.FormatInt(at+1, 10)), nil)
	if err != nil {
		return err
	}
	defer pr.close()
	pr.send(nil)
	if err := p.greet(ctx, pr, marker); err != nil {
		return err
	}
	if _, err := io.Copy(w, pr.out); err != nil {
		return p.lost(err)
	}
	rc, err := pr.wait()
	if err == nil && rc != 0 {
		err = p.fail("pull", Refused, "", "%s: %s", name, clip(pr.errs.String(), 300))
	}
	return err
}

// lines reads what the host lists until a line begins with the marker.
func lines(r *bufio.Reader, marker string, take func(line string) error) error {
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("%w: a name of over %d bytes", errHostileList, len(line))
		}
		if err != nil {
			return err
		}
		text := strings.TrimSuffix(string(line), "\n")
		if strings.HasPrefix(text, marker+" ") {
			return nil
		}
		if err := take(text); err != nil {
			return err
		}
	}
}
