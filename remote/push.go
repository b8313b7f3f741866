package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/pkg/sftp"
)

// Pushed is what a push did on one host.
type Pushed struct {
	Path    string // where the copy is, as it was named
	Files   int    // that are there now
	Same    int    // of these were there before
	Bytes   int64  // sent
	Resumed int64  // bytes of an earlier, cut off copy that were not sent again
	Via     string // "sftp", "shell", or "" when nothing had to be sent
}

// back is how much of a cut off copy is sent again: that many bytes may have
// been under way side by side, and some of them missing.
const back = 4 << 20

// Push copies src to dst, a path on the host, relative ones from the home of
// whom the copy is for; with a slash at its end it is the folder src goes into.
// Files replace files whole, when their hash on the host is right; a folder is
// merged into what is there. Progress, which may be nil, counts up to what has
// to be sent to the host.
func (s *Session) Push(ctx context.Context, src *Source, dst string, progress func(sent, total int64)) (Pushed, error) {
	to, err := s.target(src, dst)
	if err != nil {
		return Pushed{}, err
	}
	if progress == nil {
		progress = func(int64, int64) {}
	}
	p := &pusher{Session: s, src: src, dst: to, progress: progress, got: Pushed{Path: to, Files: src.Files, Same: -1}}
	err = s.copying(ctx, "push", p.moved, func(c *conn) error {
		p.c = c
		err := p.push(ctx)
		if errors.Is(err, errDamaged) { // what was there of an earlier copy was not what it seemed
			p.got.Resumed = 0
			err = p.push(ctx)
		}
		return err
	})
	p.got.Same = max(0, p.got.Same)
	return p.got, err
}

func (p *pusher) moved() int64 { return atomic.LoadInt64(&p.got.Bytes) }

// target is the name the copy will have on the host.
func (s *Session) target(src *Source, dst string) (string, error) {
	dst = strings.TrimPrefix(dst, "~/")
	if strings.ContainsAny(dst, "\n\x00") || dst == "" || dst == "~" {
		return "", s.fail("push", Local, "for a file in the home folder write just its name", "%q cannot be where to", dst)
	}
	into := strings.HasSuffix(dst, "/")
	dst = path.Clean(dst)
	if into {
		dst = path.Join(dst, src.Name)
	}
	if base := path.Base(dst); (base == "/" || base == "." || base == "..") && !src.Tree || strings.HasPrefix(dst, "..") {
		return "", s.fail("push", Local, "write "+dst+"/ to put it into that folder", "%s cannot be the name of a file", dst)
	}
	return dst, nil
}

// errDamaged marks a pack whose hash on the host is wrong.
var errDamaged = errors.New("what arrived is not what was sent")

// pusher is one copy on its way to one host.
type pusher struct {
	*Session
	c        *conn
	src      *Source
	dst      string
	progress func(sent, total int64)
	got      Pushed
	pack     *pack
	uid      string
	have     int64 // bytes of the pack that are on the host
	from     int64 // first byte of the pack that is sent
}

func (p *pusher) kind() string {
	if p.src.Tree {
		return "tree"
	}
	return "file"
}

func (p *pusher) push(ctx context.Context) error {
	pk, err := p.src.pack(nil)
	if err != nil {
		return p.fail("push", Local, "", "%w", err)
	}
	same, err := p.look(ctx, pk.id)
	if err != nil {
		return err
	}
	if p.got.Same < 0 { // later, what is the same may have come with us
		p.got.Same = len(same)
	}
	if len(same) == p.src.Files && !p.src.hollow() {
		return nil
	}
	if p.pack = pk; len(same) > 0 {
		if p.pack, err = p.src.pack(same); err == nil {
			_, err = p.look(ctx, p.pack.id)
		}
	}
	if err == nil {
		err = p.pack.learn()
	}
	if err != nil {
		return p.problemHere(err)
	}
	return p.send(ctx)
}

// problemHere is an error that is this machine's, unless it has a kind already.
func (p *pusher) problemHere(err error) error {
	if e := (*Error)(nil); errors.As(err, &e) || isLost(err) {
		return err
	}
	return p.fail("push", Local, "", "%w", err)
}

// look asks what is there, and makes the folder the copy goes into.
func (p *pusher) look(ctx context.Context, id string) (same map[int]bool, err error) {
	marker := newMarker()
	pr, err := p.c.run(ctx, p.order(lookScript, marker, p.dst, p.kind(), id), nil)
	if err != nil {
		return nil, err
	}
	defer pr.close()
	pr.send(bytes.NewReader(p.src.manifest()))
	if err := p.greet(ctx, pr, marker); err != nil {
		return nil, err
	}
	same = map[int]bool{}
	for {
		answer, err := pr.word(ctx, marker, maxWork, "the host to look at what is there")
		if err != nil {
			return nil, err
		}
		switch {
		case answer[0] == "SAME":
			for _, w := range answer[1:] {
				if n, err := strconv.Atoi(w); err == nil && n >= 0 && n < len(p.src.entries) {
					same[n] = true
				}
			}
		case answer[0] == "GO" && len(answer) == 3:
			p.uid = answer[1]
			p.have = 0
			if n, err := strconv.ParseInt(answer[2], 10, 64); err == nil {
				p.have = n
			}
			return same, nil
		default:
			return nil, p.refusal(answer, pr)
		}
	}
}

// refusal says why a copy cannot be put there.
func (p *pusher) refusal(answer []string, pr *process) error {
	if _, err := pr.wait(); isLost(err) {
		return err
	}
	said := clip(pr.errs.String(), 300)
	rest := clip(strings.Join(answer[1:], " "), 200)
	switch answer[0] {
	case "ISDIR":
		return p.fail("push", Refused, "write "+p.dst+"/ to put it into that folder", "%s is a folder", p.dst)
	case "ISLINK":
		return p.fail("push", Refused, "name what it leads to, or remove it", "%s is a link", p.dst)
	case "LINK":
		return p.fail("push", Refused, "name the folder it leads to, or push as the user it belongs to", "%s is a link that another user than root has made", rest)
	case "CONFLICT":
		return p.fail("push", Refused, "remove it there", "%s is a folder or a link on the host, and not in what is copied", rest)
	case "HASH":
		return p.fail("push", Refused, "try again", "%w (SHA-256 %s)", errDamaged, rest)
	case "SHORT":
		return p.fail("push", Refused, "try again: it is continued", "only %s bytes have arrived", rest)
	case "FAILED":
		return p.cannot(said)
	}
	return p.fail("push", Hostile, "", "an answer nobody asked for: %q", rest)
}

// cannot is the host's own reason why it does not take the copy.
func (p *pusher) cannot(said string) *Error {
	hint, low := "", strings.ToLower(said)
	if strings.Contains(low, "permission denied") && !p.h.Become && p.uid != "0" {
		hint = "push to a folder of " + p.h.User + ", or set `become: true` for " + p.h.Name
	}
	if strings.Contains(low, "no space left") || strings.Contains(low, "quota exceeded") {
		hint = "free some space on the host; what has arrived is kept, and continued"
	}
	return p.fail("push", Refused, hint, "%s: %s", p.dst, said)
}

// send moves the pack and has it put in its place.
func (p *pusher) send(ctx context.Context) error {
	p.d.status(p.h.Name, Status{State: Uploading})
	if p.asks() { // whoever reads the answer reads the pack
		return p.through(ctx)
	}
	folder, err := p.upload(ctx)
	switch {
	case err == nil && p.h.Become:
		w := p.words("take")
		line := asUser(feedScript, append([]string{folder, "sudo", "-n", "--", "/bin/sh", "-c", settleScript, "vpsctl"}, w...)...)
		return p.settle(ctx, line, w[0], nil)
	case err == nil:
		w := p.words("here")
		return p.settle(ctx, asUser(settleScript, w...), w[0], nil)
	case !errors.Is(err, errNoSFTP):
		return err
	}
	p.d.verbose(p.h.Name, fmt.Sprintf("%v; sending it through the shell instead", err))
	return p.through(ctx)
}

// through sends the pack on the standard input of what puts it in its place.
func (p *pusher) through(ctx context.Context) error {
	p.got.Via = "shell"
	p.resume(p.have)
	w := p.words("add")
	in := p.reader(ctx)
	defer in.Close()
	return p.settle(ctx, p.order(settleScript, w...), w[0], in)
}

// resume notes how much of the pack need not be sent.
func (p *pusher) resume(have int64) {
	if have > p.pack.size {
		have = 0
	}
	if p.from = have; p.moved() == 0 { // later, what is there has come with us
		p.got.Resumed = have
	}
	p.progress(have, p.pack.size)
}

// words are the arguments of the script that puts the pack in its place.
func (p *pusher) words(how string) []string {
	mode := "0"
	if !p.src.Tree {
		mode = strconv.FormatInt(int64(p.src.entries[0].mode), 8)
	}
	return []string{newMarker(), p.dst, p.kind(), p.pack.id, p.pack.sum, strconv.FormatInt(p.pack.size, 10), mode, how}
}

func (p *pusher) settle(ctx context.Context, o order, marker string, in io.Reader) error {
	pr, err := p.c.run(ctx, o, nil)
	if err != nil {
		return err
	}
	defer pr.close()
	pr.send(in)
	if err := p.greet(ctx, pr, marker); err != nil {
		return err
	}
	answer, err := pr.long(ctx, marker)
	if err != nil {
		return err
	}
	if answer[0] == "DONE" {
		_, err := pr.wait() // until it has tidied up
		if isLost(err) {
			return err
		}
		return nil
	}
	return p.refusal(answer, pr)
}

// long is word for work that takes as long as it takes: a line that lives is
// enough.
func (p *process) long(ctx context.Context, marker string) ([]string, error) {
	return p.word(ctx, marker, maxWork, "the host to put the copy in its place")
}

// upload brings the pack to the host by SFTP, into a folder that only the
// connecting user can enter: beside the place the copy will have, or, when that
// is another user's, in his home.
func (p *pusher) upload(ctx context.Context) (folder string, err error) {
	cl, end, err := p.files(ctx, p.c)
	if err != nil {
		return "", err
	}
	defer end()
	folder = ".vpsctl-push-" + p.pack.id
	switch {
	case p.h.Become:
	case p.src.Tree:
		folder = path.Join(p.dst, folder)
	default:
		folder = path.Join(path.Dir(p.dst), folder)
	}
	have, err := p.enter(cl, folder)
	if err != nil {
		return "", err
	}
	p.got.Via = "sftp"
	p.resume(max(0, have-back))
	f, err := cl.OpenFile(folder+"/blob", os.O_WRONLY|os.O_CREATE)
	if err != nil {
		return "", noSpace(cl, int(p.pack.size), fmt.Errorf("%s: %w", folder, err))
	}
	in := p.reader(ctx)
	defer in.Close()
	if _, err = f.Seek(p.from, io.SeekStart); err == nil {
		_, err = f.ReadFromWithConcurrency(io.LimitReader(in, p.pack.size-p.from), 64)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil || in.err == nil && !p.c.alive() {
		return folder, err
	}
	if in.err != nil {
		return "", p.problemHere(in.err)
	}
	return "", noSpace(cl, int(p.pack.size), err)
}

// enter makes the folder, or takes the one that an earlier copy has left, if
// nobody else could change what lies in it.
func (p *pusher) enter(cl *sftp.Client, folder string) (have int64, err error) {
	merr := cl.Mkdir(folder)
	if merr == nil {
		return 0, cl.Chmod(folder, 0o700)
	}
	st, err := cl.Lstat(folder)
	if err != nil {
		if p.h.Become { // his home cannot take it, but the place it goes to may
			return 0, fmt.Errorf("%w into the home of %s: %w", errNoSFTP, p.h.User, merr)
		}
		return 0, p.cannot(fmt.Sprintf("make a folder beside %s: %v", p.dst, merr))
	}
	raw, ok := st.Sys().(*sftp.FileStat)
	owned := ok && (p.h.Become || strconv.FormatUint(uint64(raw.UID), 10) == p.uid)
	if !st.IsDir() || st.Mode().Perm() != 0o700 || !owned {
		return 0, p.fail("push", Refused, "remove it there", "%s is not what an earlier copy has left", folder)
	}
	if st, err := cl.Lstat(folder + "/blob"); err == nil && st.Mode().IsRegular() {
		have = st.Size()
	}
	if have > p.pack.size {
		have = 0
		err = cl.Remove(folder + "/blob")
	}
	return have, err
}
