//go:build linux

package steps

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// searchPath is where root's programs come from; the PATH that the collector
// was started with may hold folders of a user.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

const (
	tailSize   = 4 << 10 // of stderr, kept for reports
	answerSize = 8 << 20 // of what a tool answers; dpkg-query of 5000 packages is under 1 MiB
)

// clock is the time a step waits by.
type clock struct {
	sleep func(ctx context.Context, d time.Duration) error
}

func (e *Env) sleep(ctx context.Context, d time.Duration) error {
	if e.clock.sleep != nil {
		return e.clock.sleep(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// at is a system file below the root of tests, or itself.
func (e *Env) at(path string) string { return filepath.Join("/", e.root, path) }

func (e *Env) searchPath() string {
	if e.path != "" {
		return e.path
	}
	return searchPath
}

// look finds a program; "" when the host has none.
func (e *Env) look(name string) string {
	for _, dir := range filepath.SplitList(e.searchPath()) {
		p := filepath.Join(dir, name)
		var st unix.Stat_t
		if unix.Stat(p, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o111 != 0 {
			return p
		}
	}
	return ""
}

// environ is what every process starts with; more comes first, so that it
// cannot replace what we rely on.
func (e *Env) environ(home string, more ...string) []string {
	return append(append(more, e.extra...), "PATH="+e.searchPath(), "LC_ALL=C.UTF-8", "HOME="+home)
}

// call is one run of a program of the host.
type call struct {
	name   string
	args   []string
	env    []string
	stdin  io.Reader
	stream bool // what it prints is the step's output; else stdout is the answer
	keep   bool // not killed when ctx ends
}

// call runs a program. The error is a *failure with its exit code, its last
// words and the cause if one is known.
func (e *Env) call(ctx context.Context, c call) ([]byte, error) {
	path := e.look(c.name)
	if path == "" {
		return nil, failf("", "%s: not found on this host", c.name)
	}
	cmd := &exec.Cmd{Path: path, Args: append([]string{c.name}, c.args...), Dir: "/", Stdin: c.stdin, Env: e.environ("/root", c.env...)}
	answer := &bounded{max: answerSize}
	words := &tail{}
	cmd.Stdout, cmd.Stderr = answer, words
	if c.stream {
		cmd.Stdout = stream{e, "stdout"}
		cmd.Stderr = io.MultiWriter(words, stream{e, "stderr"})
	}
	err := plain(e.Run(ctx, cmd, c.keep))
	if err == nil && answer.over {
		return nil, failf("", "%s: its answer is over %d bytes", c.name, answer.max)
	}
	if err != nil {
		return answer.b.Bytes(), toolFailure(c.name+firstWord(c.args), err, words.String())
	}
	return answer.b.Bytes(), nil
}

// firstWord of args that is no option, for "apt-get install exited 100".
func firstWord(args []string) string {
	for i, a := range args {
		if a == "-o" || i > 0 && args[i-1] == "-o" || strings.HasPrefix(a, "-") {
			continue
		}
		return " " + a
	}
	return ""
}

func toolFailure(what string, err error, stderr string) *failure {
	f := &failure{stderr: stderr}
	rc, ok := exitCode(err)
	if !ok {
		f.text, f.err = what, err
		return f
	}
	f.rc, f.text = &rc, what+" "+ending(rc)
	if c := classify(stderr); c != nil {
		f.text = c.name + ": " + f.text
		f.cause, f.hint, f.retryable = c.name, c.hint, c.retryable
	}
	if l := lastLine(stderr); l != "" {
		f.text += ": " + l
	}
	return f
}

// plain drops the error of a process that ended well but left a child behind
// that still holds its pipes: daemons do that.
func plain(err error) error {
	if errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	return err
}

// exitCode of a process that ran; 128 + signal when one killed it. It is not
// ok when the process could not be run.
func exitCode(err error) (rc int, ok bool) {
	if err == nil {
		return 0, true
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 0, false
	}
	if ws, isWait := exit.Sys().(syscall.WaitStatus); isWait && ws.Signaled() {
		return 128 + int(ws.Signal()), true
	}
	return exit.ExitCode(), true
}

func ending(rc int) string {
	if rc > 128 && rc < 128+65 {
		if name := unix.SignalName(syscall.Signal(rc - 128)); name != "" {
			return fmt.Sprintf("exited %d (%s)", rc, name)
		}
	}
	return fmt.Sprintf("exited %d", rc)
}

// stream hands what a process prints to the runner.
type stream struct {
	env  *Env
	name string
}

func (s stream) Write(b []byte) (int, error) {
	s.env.Out(s.name, b)
	return len(b), nil
}

// tail keeps the last tailSize bytes.
type tail struct {
	b   []byte
	cut bool // something before b is gone
}

func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	if len(t.b) > 2*tailSize {
		t.b, t.cut = append(t.b[:0], t.b[len(t.b)-tailSize:]...), true
	}
	return len(b), nil
}

// String is valid UTF-8 and begins with a whole line if something was cut.
func (t *tail) String() string {
	b, cut := t.b, t.cut
	if len(b) > tailSize {
		b, cut = b[len(b)-tailSize:], true
	}
	if cut {
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			b = b[i+1:]
		}
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// bounded keeps the first max bytes and swallows the rest.
type bounded struct {
	b    bytes.Buffer
	max  int
	over bool
}

func (w *bounded) Write(b []byte) (int, error) {
	if room := w.max - w.b.Len(); len(b) > room {
		w.over = true
		w.b.Write(b[:room])
		return len(b), nil
	}
	return w.b.Write(b)
}
