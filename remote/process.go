package remote

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// process is one command on the host, in a channel of its own.
type process struct {
	c    *conn
	ch   ssh.Channel
	out  *bufio.Reader
	errs *tail
	done chan struct{} // closed when the channel and all its requests have ended
	free sync.Once
	talk *talk // with sudo; nil: none

	// Valid once done is closed.
	ended bool // the host said how it ended
	rc    int  // exit status, or 128 + the number of the signal
}

// tail keeps the last bytes written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailSize = 16 << 10

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - tailSize; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}

// errStream is where a command's stderr goes once it has printed the marker.
type errStream struct {
	marker string
	w      io.Writer // nil: nowhere
}

// run starts a command. The end of its stderr is kept in errs; with an
// errStream only what comes before the marker. No reply is awaited: what goes
// to stdin may follow at once, and the answer's marker is the proof that the
// command runs.
func (c *conn) run(ctx context.Context, o order, stderr *errStream) (*process, error) {
	ch, reqs, err := c.open(ctx, "session")
	if err != nil {
		return nil, err
	}
	p := &process{c: c, ch: ch, out: bufio.NewReaderSize(ch, 64<<10), errs: &tail{}, done: make(chan struct{}), talk: o.talk}
	errs := io.Reader(ch.Stderr())
	if p.talk != nil {
		errs = &prompts{r: errs, talk: p.talk, answer: p.reply}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if stderr != nil {
			stderr.copy(errs, p.errs)
		}
		io.Copy(p.errs, errs)
	})
	wg.Go(func() { p.requests(reqs) })
	go func() {
		wg.Wait()
		close(p.done)
	}()
	if o.early != "" { // a server that does not accept it says nothing
		_, err = ch.SendRequest("env", false, ssh.Marshal(struct{ Name, Value string }{wire.EarlyPlan, o.early}))
	}
	if err == nil {
		_, err = ch.SendRequest("exec", false, ssh.Marshal(struct{ Command string }{o.text}))
	}
	if err != nil {
		p.close()
		return nil, c.broken(err)
	}
	return p, nil
}

// copy reads r to its end: up to the marker into noise, then into w.
func (e *errStream) copy(r io.Reader, noise io.Writer) {
	br := bufio.NewReader(r)
	for {
		part, err := br.ReadSlice('\n')
		rest, found := bytes.CutSuffix(part, []byte(e.marker+"\n"))
		noise.Write(rest)
		if found && e.w != nil {
			br.WriteTo(e.w)
		}
		if found || err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// requests notes how the command ended.
func (p *process) requests(reqs <-chan *ssh.Request) {
	for req := range reqs {
		switch req.Type {
		case "exit-status":
			var m struct{ Status uint32 }
			if ssh.Unmarshal(req.Payload, &m) == nil {
				p.ended, p.rc = true, int(m.Status)
			}
		case "exit-signal":
			p.ended, p.rc = true, 128+signals[firstString(req.Payload)]
		}
		if req.WantReply {
			req.Reply(false, nil)
		}
	}
}

// firstString is the first of the strings in an SSH message.
func firstString(b []byte) string {
	var m struct {
		S    string
		Rest []byte `ssh:"rest"`
	}
	if ssh.Unmarshal(b, &m) != nil {
		return ""
	}
	return m.S
}

// signals are the numbers shells give to the signals SSH has names for.
var signals = map[string]int{"HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "ABRT": 6, "FPE": 8, "KILL": 9, "USR1": 10,
	"SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15}

// send writes what the command reads, in a goroutine that ends with the
// channel or with r; then the channel it returns is closed. A command that does
// not want it all is no error.
func (p *process) send(r io.Reader) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if !p.reached() {
			return
		}
		if r != nil {
			io.Copy(p.ch, r)
		}
		p.ch.CloseWrite()
	}()
	return done
}

// gave waits until what was sent is on the line; false when the command ended
// before, or nothing is to be waited for.
func (p *process) gave(sent <-chan struct{}) bool {
	if sent == nil {
		return false
	}
	select {
	case <-sent:
		return true
	case <-p.done:
		return false
	}
}

// write is send with the channel left open for more.
func (p *process) write(r io.Reader) {
	go func() {
		if p.reached() {
			io.Copy(p.ch, r)
		}
	}()
}

// close ends the channel. The command on the host may go on.
func (p *process) close() {
	p.ch.Close()
	p.free.Do(p.c.release)
}

// wait gives the command's exit status after its output has ended. The error
// is errLost when the line broke before the host could say it.
func (p *process) wait() (rc int, err error) {
	<-p.done
	if p.ended {
		return p.rc, nil
	}
	// Either the line broke, or the server said nothing of the command's end.
	if _, _, err := p.c.client.SendRequest("keepalive@openssh.com", true, nil); err != nil || !p.c.alive() {
		return -1, p.c.broken(err)
	}
	return -1, errors.New("the command ended without an exit status")
}

// maxNoise is how much the host's shell may print before the answer.
const maxNoise = 64 << 10

// answer reads up to the marker: what came before it is noise of rc files and
// banners. The error is a *noAnswer when the command ended without it.
func (p *process) answer(ctx context.Context, marker string) (noise string, err error) {
	err = p.c.within(ctx, p.c.d.lim.firstByte, "the host's shell to run our command", func() error {
		noise, err = readMarker(p.out, marker)
		return err
	})
	if err == nil {
		p.talk.begin()
	}
	if err == nil || errors.As(err, new(*noAnswer)) {
		return noise, err
	}
	if !errors.Is(err, io.EOF) {
		return noise, p.c.broken(err)
	}
	rc, err := p.wait()
	if isLost(err) {
		return noise, err
	}
	return noise, &noAnswer{said: noise, stderr: p.errs.String(), rc: rc, refused: p.talk != nil && p.talk.refused.Load()}
}

// readMarker reads lines until one ends with marker, which rc files may have
// begun without a newline.
func readMarker(br *bufio.Reader, marker string) (noise string, err error) {
	var b strings.Builder
	for {
		part, err := br.ReadSlice('\n')
		if rest, ok := strings.CutSuffix(string(part), marker+"\n"); ok {
			return b.String() + rest, nil
		}
		b.Write(part)
		if wrongUser.Match(part) || b.Len() > maxNoise {
			return b.String(), &noAnswer{said: b.String()}
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return b.String(), err
		}
	}
}

// word reads the next line that begins with the marker and splits it. It waits
// at most so long for it, for what.
func (p *process) word(ctx context.Context, marker string, most time.Duration, what string) (words []string, err error) {
	err = p.c.within(ctx, most, what, func() error {
		for range 100 {
			line, err := p.out.ReadSlice('\n')
			if err != nil {
				return err
			}
			if rest, ok := strings.CutPrefix(string(line), marker+" "); ok {
				words = strings.Fields(rest)
				return nil
			}
		}
		return errors.New("no answer in a hundred lines")
	})
	switch {
	case err == nil && len(words) > 0:
		return words, nil
	case !errors.Is(err, io.EOF):
		return nil, p.c.broken(err)
	}
	rc, err := p.wait()
	if isLost(err) {
		return nil, err
	}
	return nil, fmt.Errorf("its shell ended with status %d in the middle: %s", rc, clip(p.errs.String(), 300))
}

// noAnswer is what a host said instead of the marker.
type noAnswer struct {
	said, stderr string
	rc           int
	refused      bool // the password for sudo
}

func (e *noAnswer) Error() string {
	text := strings.TrimSpace(strings.TrimSpace(e.said) + "\n" + strings.TrimSpace(e.stderr))
	if text == "" {
		return fmt.Sprintf("the host's shell did not run our command (status %d) and said nothing", e.rc)
	}
	return fmt.Sprintf("the host's shell did not run our command (status %d): %s", e.rc, clip(text, 300))
}

// What is recognised in the text of a host that gives no answer.
var (
	wrongUser = regexp.MustCompile(`(?i)please login as the (?:user )?["']?([A-Za-z0-9_][A-Za-z0-9_.-]{0,31})`)
	expired   = regexp.MustCompile(`(?i)password has expired|required to change your password|password change required|must change your password`)
	noShell   = regexp.MustCompile(`(?i)account is currently not available|allows sftp connections only|no shell|not allowed to execute`)
)

// explain says what a missing answer means and what to do about it.
func (s *Session) explain(e *noAnswer) *Error {
	e.said, e.stderr = s.mask.String(e.said), s.mask.String(e.stderr)
	text := e.said + "\n" + e.stderr
	switch m := wrongUser.FindStringSubmatch(text); {
	case m != nil:
		return s.fail("log in as "+s.h.User, Rights, "set `user: "+m[1]+"` for "+s.h.Name+" in the inventory, and `become: true` where root is needed",
			"the host wants another user: %q", clip(m[0], 100))
	case expired.MatchString(text):
		return s.fail("log in as "+s.h.User, Rights, fmt.Sprintf("log in once by hand and change it: ssh -t -p %d %s@%s", s.h.Port, s.h.User, s.h.Address),
			"the password of %s has expired and must be changed first", s.h.User)
	case e.refused, s.h.Become && noSudoer.MatchString(text):
		return s.explainSudo(e, text)
	case noShell.MatchString(text):
		return s.fail("log in as "+s.h.User, Rights, "set another `user` for "+s.h.Name+" in the inventory", "%s may not run commands there: %w", s.h.User, e)
	case len(e.said) > maxNoise:
		return s.fail("answer", Hostile, "", "over %d bytes came before the answer", maxNoise)
	case s.h.Become:
		return s.explainSudo(e, text)
	}
	return s.fail("answer", Refused, "", "%w", e)
}
