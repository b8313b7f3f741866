package remote

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/pkg/sftp"

	"github.com/vpsctl/vpsctl/payload"
)

// noCollector is the answer of a host that has not got the collector.
type noCollector struct{ arch, unzip, hash string }

// ask is a verb of the collector: of the one that began run, or, with run "", of
// ours, which is pushed first where it is missing.
type ask struct {
	run, verb string
	args      []string
	input     []byte // sent right behind the command
	early     string // the input once more, to go with the command
	sum       string // its hash
}

// collector starts a verb of the collector. What the process prints next is the
// verb's.
func (s *Session) collector(ctx context.Context, c *conn, a ask) (*process, error) {
	p, missing, err := s.begin(ctx, c, a)
	if err != nil || missing == nil {
		return p, err
	}
	if err := s.push(ctx, c, a.run, missing); err != nil {
		return nil, err
	}
	if p, missing, err = s.begin(ctx, c, a); err == nil && missing != nil {
		err = s.fail("upload", Refused, "", "the collector was pushed, but is not accepted where it lies")
	}
	return p, err
}

func (s *Session) begin(ctx context.Context, c *conn, a ask) (*process, *noCollector, error) {
	marker := newMarker()
	words := append([]string{marker, a.run, s.d.programs.hash("amd64"), s.d.programs.hash("arm64"), a.verb}, a.args...)
	early := a.early
	if s.h.Become { // sudo may log an environment
		early = ""
	}
	if early != "" {
		words = append(words, a.sum)
	}
	o := s.order(startScript, words...)
	o.early = early
	p, err := c.run(ctx, o, nil)
	if err != nil {
		return nil, nil, err
	}
	if a.verb == "start" || a.verb == "follow" { // the run's report comes behind it, once the end is known
		p.write(bytes.NewReader(a.input))
	} else {
		p.send(bytes.NewReader(a.input))
	}
	if err := s.greet(ctx, p, marker); err != nil {
		p.close()
		return nil, nil, err
	}
	answer, err := p.word(ctx, marker, s.d.lim.firstByte, "the host to look for the collector")
	if err != nil {
		p.close()
		return nil, nil, err
	}
	switch {
	case answer[0] == "RUN":
		return p, nil, nil
	case answer[0] == "NORUN":
		err = s.outcome(a.verb, rcNoRun, "", nil)
	case answer[0] == "MISSING" && len(answer) >= 3:
		p.close()
		m := &noCollector{arch: answer[1], unzip: answer[2]}
		if len(answer) > 3 {
			m.hash = answer[3]
		}
		return nil, m, nil
	default:
		err = s.fail(a.verb, Hostile, "", "an answer nobody asked for: %q", clip(strings.Join(answer, " "), 80))
	}
	p.close()
	return nil, nil, err
}

// programs are the collectors, asked for once per architecture.
type programs struct {
	get  func(arch string) (payload.Binary, error)
	mu   sync.Mutex
	have map[string]program
}

type program struct {
	payload.Binary
	err error
}

func (p *programs) of(arch string) (payload.Binary, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	got, ok := p.have[arch]
	if !ok {
		got.Binary, got.err = p.get(arch)
		p.have[arch] = got
	}
	return got.Binary, got.err
}

// hash is that of our collector; "-" where there is none, which is an error
// only once a host needs it.
func (p *programs) hash(arch string) string {
	b, err := p.of(arch)
	if err != nil {
		return "-"
	}
	return b.SHA256
}

// push brings the collector to the host and puts it into its place.
func (s *Session) push(ctx context.Context, c *conn, run string, m *noCollector) error {
	bin, err := s.d.programs.of(m.arch)
	if errors.Is(err, payload.ErrArch) {
		return s.fail("look for the collector", Unsupported, "hosts can be amd64 or arm64", "this host's CPU is %q; %w", clip(m.arch, 40), err)
	}
	if err != nil {
		return s.fail("look for the collector", Local, "", "%w", err)
	}
	if run != "" && m.hash != bin.SHA256 {
		return s.fail("look for the collector", Refused, "use the version of vpsctl that began the run",
			"the collector that began run %s (%s) is no longer on the host", run, clip(m.hash, 12))
	}
	s.d.status(s.h.Name, Status{State: Uploading})
	data := bin.Gzip
	if m.unzip != "gzip" {
		if data, err = unzip(bin); err != nil {
			return s.fail("upload", Local, "", "%w", err)
		}
	}
	marker := newMarker()
	args := []string{marker, bin.SHA256, m.unzip, "upload"}
	if s.asks() { // whoever reads the answer reads the file
		return s.settle(ctx, c, marker, s.order(placeScript, args...), data)
	}
	inner := append([]string{"/bin/sh", "-c", placeScript, "vpsctl"}, args...)
	if s.h.Become {
		inner = append([]string{"sudo", "-n", "--"}, inner...)
	}
	folder, err := s.sftp(ctx, c, data)
	if err != nil && !c.alive() {
		return c.broken(err)
	}
	if err == nil {
		return s.settle(ctx, c, marker, asUser(fetchScript, append([]string{folder}, inner...)...), nil)
	}
	s.d.verbose(s.h.Name, fmt.Sprintf("upload by SFTP: %v; sending it through the shell instead", err))
	return s.settle(ctx, c, marker, s.order(placeScript, args...), data)
}

func unzip(b payload.Binary) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(b.Gzip))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, int64(b.Size)+1))
}

// sftp uploads data as "collector" into a new folder of the connecting user's
// uploadWindow is how many packets of 32 KiB are on their way at once: half a
// MiB keeps a line of 100 Mbit/s and 40 ms full, and twenty hosts at once still
// fit into a small laptop's memory.
const uploadWindow = 16

// home that only he can enter, and gives the folder's name.
func (s *Session) sftp(ctx context.Context, c *conn, data []byte) (folder string, err error) {
	ch, err := c.subsystem(ctx, "sftp")
	if err != nil {
		return "", err
	}
	defer c.release()
	defer ch.Close()
	stop := context.AfterFunc(ctx, func() { c.abort(context.Cause(ctx)) })
	defer stop()
	var cl *sftp.Client
	if err := c.within(ctx, c.d.lim.channel, "the host's SFTP server to answer", func() (err error) {
		cl, err = sftp.NewClientPipe(ch, ch, sftp.UseConcurrentWrites(true), sftp.MaxConcurrentRequestsPerFile(uploadWindow))
		return err
	}); err != nil {
		return "", err
	}
	defer cl.Close()
	var b [8]byte
	rand.Read(b[:])
	folder = ".vpsctl-upload-" + hex.EncodeToString(b[:])
	if err := cl.Mkdir(folder); err != nil {
		return "", noSpace(cl, len(data), fmt.Errorf("make a folder in the home of %s: %w", s.h.User, err))
	}
	if err := s.write(cl, folder, data); err != nil {
		cl.Remove(folder + "/collector")
		cl.RemoveDirectory(folder)
		return "", err
	}
	return folder, nil
}

func (s *Session) write(cl *sftp.Client, folder string, data []byte) error {
	if err := cl.Chmod(folder, 0o700); err != nil {
		return err
	}
	f, err := cl.OpenFile(folder+"/collector", os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return noSpace(cl, len(data), err)
	}
	_, err = f.ReadFrom(bytes.NewReader(data))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return noSpace(cl, len(data), err)
	}
	return nil
}

// noSpace says so when an error, which SFTP only calls a failure, can come from
// a full disk.
func noSpace(cl *sftp.Client, need int, err error) error {
	st, serr := cl.StatVFS(".")
	if serr != nil || st.FreeSpace() > uint64(need) {
		return err
	}
	return fmt.Errorf("the disk is full (%d KiB free, %d needed): %w", st.FreeSpace()>>10, need>>10, err)
}

// settle runs the line that puts the uploaded bytes into their place.
func (s *Session) settle(ctx context.Context, c *conn, marker string, o order, input []byte) error {
	p, err := c.run(ctx, o, nil)
	if err != nil {
		return err
	}
	defer p.close()
	p.send(bytes.NewReader(input))
	if err := s.greet(ctx, p, marker); err != nil {
		return err
	}
	answer, err := p.word(ctx, marker, s.d.lim.settle, "the host to put the collector into its place")
	if err != nil {
		return err
	}
	if answer[0] == "DONE" {
		return nil
	}
	if _, err := p.wait(); isLost(err) {
		return err
	}
	return s.unsettled(answer, p.errs.String())
}

// unsettled says why the collector could not be put into its place.
func (s *Session) unsettled(answer []string, stderr string) *Error {
	text := clip(stderr, 300)
	rest := strings.Join(answer[1:], " ")
	switch {
	case strings.Contains(stderr, "No space left") || strings.Contains(stderr, "quota exceeded"):
		return s.fail("upload", Refused, "free some space on the host; the collector needs about 5 MB", "the host's disk is full: %s", text)
	case strings.Contains(stderr, "Read-only file system"):
		return s.fail("upload", Refused, "see `dmesg` on the host: a disk with errors is mounted read-only", "the host's disk cannot be written: %s", text)
	case answer[0] == "UNSAFE":
		return s.fail("upload", Refused, "make them belong to "+s.runner()+" and run: chmod go-w "+rest,
			"others can change what lies in %s: the collector is not put there", clip(rest, 300))
	case answer[0] == "NOEXEC":
		return s.fail("upload", Refused, noexecHint, "the host does not run the collector in %s (mounted noexec?): %s", clip(rest, 100), text)
	case answer[0] == "HASH":
		return s.fail("upload", Refused, "try again", "what arrived is not what was sent (SHA-256 %s)", clip(rest, 64))
	}
	return s.fail("upload", Refused, "", "put the collector into its place: %s", text)
}

// runner is who the collector runs as.
func (s *Session) runner() string {
	if s.h.Become {
		return "root"
	}
	return s.h.User
}
