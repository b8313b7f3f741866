//go:build linux

package steps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// scriptFD is the descriptor a script is read from. It is high, because
// scripts and debconf use 3 for themselves.
const scriptFD = 9

// script is a question or an answer in a language of the host.
type script struct {
	body    string
	args    []string
	as      string    // "" = whoever we are
	id      *identity // instead of as
	vars    map[string]string
	secrets []string
	dir     string // $PHASE_DIR
	stream  bool   // show what it prints
	keep    bool   // not killed when ctx ends
}

// said is what a script left: its exit code and its last words.
type said struct {
	rc          int
	out, stderr string
}

// words are the best single line to show for a script that said no.
func (s said) words() string {
	if l := lastLine(s.stderr); l != "" {
		return l
	}
	return lastLine(s.out)
}

// script runs s. The error tells that it could not be run or did not end by
// itself; an exit code is no error here.
func (e *Env) script(ctx context.Context, s script) (said, error) {
	id, err := e.scriptIdentity(s)
	if err != nil {
		return said{}, err
	}
	src, err := memory(s.body)
	if err != nil {
		return said{}, fmt.Errorf("keep a script in memory: %w", err)
	}
	defer src.Close()
	cmd, err := interpreter(s.body, s.args)
	if err != nil {
		return said{}, err
	}
	cmd.ExtraFiles = make([]*os.File, scriptFD-2)
	cmd.ExtraFiles[scriptFD-3] = src
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: id.credential()}
	cmd.Env = e.scriptEnv(s, id)
	if len(s.secrets) > 0 {
		dir, cleanup, err := e.SecretsDir(s.secrets, id.uid, id.gid)
		if err != nil {
			return said{}, fmt.Errorf("make the step's secrets readable: %w", err)
		}
		defer cleanup()
		cmd.Env = append(cmd.Env, "VPSCTL_SECRETS="+dir)
	}
	var out, words tail
	cmd.Stdout, cmd.Stderr = &out, &words
	if s.stream {
		cmd.Stdout = io.MultiWriter(&out, stream{e, "stdout"})
		cmd.Stderr = io.MultiWriter(&words, stream{e, "stderr"})
	}
	err = plain(e.Run(ctx, cmd, s.keep))
	rc, ran := exitCode(err)
	got := said{rc, out.String(), words.String()}
	switch {
	case ctx.Err() != nil && err != nil:
		return got, &failure{text: "stopped", stderr: got.stderr}
	case !ran:
		return got, fmt.Errorf("run %s: %w", cmd.Path, err)
	}
	return got, nil
}

func (e *Env) scriptIdentity(s script) (identity, error) {
	if s.id != nil {
		return *s.id, nil
	}
	return e.identity(s.as)
}

func (e *Env) scriptEnv(s script, id identity) []string {
	var env []string
	for _, k := range slices.Sorted(maps.Keys(s.vars)) {
		env = append(env, k+"="+s.vars[k])
	}
	if e.AptConfig != "" { // what a script calls waits for its lock
		env = append(env, "APT_CONFIG="+e.AptConfig)
	}
	return append(e.environ(id.home, env...), "USER="+id.name, "LOGNAME="+id.name, "SHELL=/bin/sh", "PHASE_DIR="+s.dir)
}

// memory holds a script where it never touches a disk and cannot be changed.
func memory(body string) (*os.File, error) {
	// Kernels before 6.3 do not know NOEXEC_SEAL, newer ones may insist on it.
	fd, err := unix.MemfdCreate("script", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate("script", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "script")
	_, err = f.WriteString(body)
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// interpreter is the command that runs body from scriptFD: what its #! line
// says, read as the kernel does, else /bin/sh. The kernel itself is not asked,
// because /proc or memory files may be mounted without the right to execute.
func interpreter(body string, args []string) (*exec.Cmd, error) {
	argv := []string{"/bin/sh"}
	if line, ok := strings.CutPrefix(body, "#!"); ok {
		line, _, _ = strings.Cut(line, "\n")
		path, arg, _ := strings.Cut(strings.Trim(line, " \t\r"), " ")
		if !strings.HasPrefix(path, "/") {
			return nil, failf("begin the script with an absolute path, such as #!/bin/bash", "the script's #! line names no program: %q", line)
		}
		argv = []string{path}
		if arg = strings.Trim(arg, " \t"); arg != "" {
			argv = append(argv, arg)
		}
	}
	argv = append(argv, fmt.Sprintf("/proc/self/fd/%d", scriptFD))
	return &exec.Cmd{Path: argv[0], Args: append(argv, args...)}, nil
}

// Holds asks a step's `when`: any exit code but 0 means no, with the reason.
// The error says that the question could not be asked.
func Holds(ctx context.Context, env *Env, body, as string) (bool, string, error) {
	got, err := env.script(ctx, env.phaseScript(body, as))
	if err != nil {
		return false, "", fmt.Errorf("when: %w", err)
	}
	if got.rc == 0 {
		return true, "", nil
	}
	return false, because("when: "+strings.TrimSpace(firstLine(body))+" "+ending(got.rc), got.words()), nil
}

// phaseScript is a script with all its phase has, but the secrets.
func (e *Env) phaseScript(body, as string) script {
	s := script{body: body, as: as, dir: e.PhaseDir}
	if e.Phase != nil {
		s.vars = e.Phase.Env
	}
	return s
}

func firstLine(s string) string {
	line, _, more := strings.Cut(strings.TrimSpace(s), "\n")
	if more || len(line) > 60 {
		line = strings.ToValidUTF8(line[:min(len(line), 60)], "") + "…"
	}
	return line
}

func because(what, words string) string {
	if words == "" {
		return what
	}
	return what + ": " + words
}

// doAssert asks a read-only question.
func doAssert(ctx context.Context, env *Env, s *wire.Step) Result {
	q := env.phaseScript(s.Assert.Check, s.As)
	q.secrets = s.Secrets
	got, err := env.script(ctx, q)
	if err != nil {
		r := failed(ctx, err)
		r.Hint = s.Assert.Hint
		return r
	}
	if got.rc == 0 {
		return Result{Status: wire.OK}
	}
	return Result{Status: wire.Failed, Reason: because("does not hold: the check "+ending(got.rc), got.words()),
		RC: &got.rc, Stderr: got.stderr, Hint: s.Assert.Hint}
}

// run is a script with its check and its way back.
type run struct {
	env  *Env
	step *wire.Step
	done bool
}

func (r *run) script(body string) script {
	s := r.env.phaseScript(body, r.step.As)
	s.secrets = r.step.Secrets
	return s
}

func (r *run) differs(ctx context.Context) (string, error) {
	if r.step.Run.Check == "" {
		if r.done {
			return "", nil
		}
		return "ran: it has no check", nil
	}
	got, err := r.env.script(ctx, r.script(r.step.Run.Check))
	switch {
	case err != nil:
		return "", fmt.Errorf("check: %w", err)
	case got.rc == 0:
		return "", nil
	case got.rc == 1:
		return because("the check said no", got.words()), nil
	}
	f := failf("", "%s", because("the check "+ending(got.rc)+", which is neither yes (0) nor no (1)", got.words()))
	f.rc, f.stderr = &got.rc, got.stderr
	if got.rc == 127 {
		f.hint = "`command -v NAME` exits 127 for what is missing: write `command -v NAME || exit 1`"
	}
	return "", f
}

// undoScript is kept on the host: all that an undo script needs later, when
// plan and phase folder are gone.
type undoScript struct {
	Script string            `json:"script"`
	As     string            `json:"as,omitempty"`
	Vars   map[string]string `json:"vars,omitempty"`
	Files  map[string][]byte `json:"files,omitempty"`
}

func (r *run) remember(context.Context) (*wire.Undo, []byte, error) {
	if r.step.Run.Undo == "" {
		return nil, nil, nil
	}
	keep := undoScript{Script: r.step.Run.Undo, As: r.step.As}
	if r.env.Phase != nil {
		keep.Vars = r.env.Phase.Env
		if strings.Contains(keep.Script, "PHASE_DIR") {
			keep.Files = r.env.Phase.Files
		}
	}
	b, err := json.Marshal(keep)
	return &wire.Undo{Kind: "run", What: "run the undo script of " + r.step.Name}, b, err
}

func (r *run) act(ctx context.Context) error {
	s := r.script(r.step.Run.Script)
	s.args, s.stream, s.keep = r.step.Run.Args, true, r.step.Run.Apt
	ask := r.env.script
	if s.keep {
		ask = r.env.aptScript
	}
	got, err := ask(ctx, s)
	if err != nil {
		return err
	}
	r.done = true
	if got.rc == 0 {
		return nil
	}
	f := &failure{text: "the script " + ending(got.rc), rc: &got.rc, stderr: got.stderr}
	if c := classify(got.stderr); c != nil {
		f.retryable = c.retryable
	}
	return f
}

// aptScript runs a script that changes packages the way package steps do it:
// alone, and to its end.
func (e *Env) aptScript(ctx context.Context, s script) (said, error) {
	release, err := e.freeApt(ctx)
	if err != nil {
		return said{}, err
	}
	defer release()
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(told)
		e.Note("info", "stopping after the script that is running: it changes packages and is not killed in the middle")
	})
	got, err := e.script(ctx, s)
	if !stop() {
		<-told
	}
	return got, err
}

func revertRun(ctx context.Context, env *Env, u wire.Undo) error {
	content, err := env.saved(u)
	if err != nil {
		return err
	}
	var kept undoScript
	if err := json.Unmarshal(content, &kept); err != nil {
		return fmt.Errorf("read the record: %w", err)
	}
	s := script{body: kept.Script, as: kept.As, vars: kept.Vars, dir: env.PhaseDir, stream: true}
	if len(kept.Files) > 0 {
		dir, err := env.siblings(kept.Files)
		if err != nil {
			return fmt.Errorf("lay out the phase's files: %w", err)
		}
		defer os.RemoveAll(dir)
		s.dir = dir
	}
	got, err := env.script(ctx, s)
	if err != nil {
		return err
	}
	if got.rc != 0 {
		return errors.New(because("the undo script "+ending(got.rc), got.words()))
	}
	return nil
}
