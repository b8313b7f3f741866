//go:build linux

package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// collectorPath is the collector under test: a real program, run as a user who
// can do no harm to this machine.
var collectorPath string

const nobodyID = 65534

func TestMain(m *testing.M) {
	if dir := os.Getenv("VPSCTL_TEST_SMALL_DISK"); dir != "" {
		smallDisk(dir)
	}
	os.Exit(withCollector(m))
}

func withCollector(m *testing.M) int {
	dir, err := os.MkdirTemp("", "vpsctl-collector-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	collectorPath = filepath.Join(dir, "collector")
	args := []string{"build", "-trimpath", "-buildvcs=false", "-gcflags=all=-l", "-ldflags=-s -w", "-o", collectorPath}
	if raceEnabled {
		args = []string{"build", "-race", "-o", collectorPath}
	}
	out, err := exec.Command("go", append(args, ".")...).CombinedOutput()
	if err = errors.Join(err, os.Chmod(dir, 0o755)); err != nil {
		fmt.Fprintf(os.Stderr, "build the collector: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// testHost is a user's home with a collector's state in it.
type testHost struct {
	t    testing.TB
	home string
}

func newHost(t testing.TB) *testHost {
	t.Helper()
	home, err := os.MkdirTemp("", "vpsctl-home-")
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(home, nobodyID, nobodyID); err != nil {
			t.Fatal(err)
		}
	}
	h := &testHost{t, home}
	t.Cleanup(h.close)
	return h
}

// close ends the runners a failed test left, by their own pids, and removes the
// home.
func (h *testHost) close() {
	for _, d := range listRuns(h.place()) {
		if pid := h.findRunner(d.id()); runs(d) && pid > 0 {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		waitFor(h.t, "the runner of "+d.id()+" to end", func() bool { return !runs(d) })
	}
	if races, _ := filepath.Glob(h.home + "/race.*"); len(races) > 0 {
		text, err := os.ReadFile(races[0])
		h.t.Errorf("races: %s %v", text, err)
	}
	if err := os.RemoveAll(h.home); err != nil {
		h.t.Error(err)
	}
}

func (h *testHost) place() place {
	dir := filepath.Join(h.home, ".local/state/vpsctl")
	return place{dir: dir, lock: filepath.Join(dir, "lock"), logs: filepath.Join(dir, "log/vps-provision")}
}

func (h *testHost) run(id string) runDir { return runDir(filepath.Join(h.place().runs(), id)) }

func (h *testHost) command(args ...string) *exec.Cmd {
	cmd := exec.Command(collectorPath, args...)
	cmd.Env = []string{"GORACE=log_path=" + h.home + "/race", "HOME=" + h.home, "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
	cmd.Dir = "/"
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobodyID, Gid: nobodyID}}
	}
	return cmd
}

// verb runs a verb to its end.
func (h *testHost) verb(args ...string) (stdout, stderr string, code int) {
	h.t.Helper()
	return h.finish(h.command(args...))
}

func (h *testHost) finish(cmd *exec.Cmd) (stdout, stderr string, code int) {
	h.t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if e := (*exec.ExitError)(nil); err != nil && !errors.As(err, &e) {
		h.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// start runs a plan to its end and returns the events it printed.
func (h *testHost) start(plan *wire.Plan) []wire.Event {
	h.t.Helper()
	s := h.begin(plan)
	events := s.rest()
	if err := s.cmd.Wait(); err != nil {
		h.t.Fatalf("start: %v\n%s", err, s.stderr.String())
	}
	return events
}

// stream is a follower that runs.
type stream struct {
	t      testing.TB
	cmd    *exec.Cmd
	out    io.ReadCloser
	r      *wire.Reader
	stderr bytes.Buffer
	seen   []wire.Event
}

func (h *testHost) begin(plan *wire.Plan) *stream {
	h.t.Helper()
	b, err := json.Marshal(plan)
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := h.command("start")
	cmd.Stdin = bytes.NewReader(b)
	return h.follow(cmd)
}

func (h *testHost) follow(cmd *exec.Cmd) *stream {
	h.t.Helper()
	s := &stream{t: h.t, cmd: cmd}
	cmd.Stderr = &s.stderr
	var err error
	if s.out, err = cmd.StdoutPipe(); err != nil {
		h.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	s.r = wire.NewReader(s.out)
	timer := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	h.t.Cleanup(func() { timer.Stop(); cmd.Process.Kill() })
	return s
}

// until reads events up to the first of this kind.
func (s *stream) until(kind wire.Kind) wire.Event {
	s.t.Helper()
	for {
		_, e, err := s.r.Next()
		if err != nil {
			s.t.Fatalf("waiting for %s: %v\nseen: %s\n%s", kind, err, kinds(s.seen), s.stderr.String())
		}
		s.seen = append(s.seen, e)
		if e.Kind == kind {
			return e
		}
	}
}

// rest reads to the end and returns all events by their numbers, which must
// have grown within each class.
func (s *stream) rest() []wire.Event {
	s.t.Helper()
	for {
		_, e, err := s.r.Next()
		if err == io.EOF {
			var cursor wire.Cursor
			for i := range s.seen {
				if err := cursor.Take(&s.seen[i]); err != nil && s.seen[i].N > 0 {
					s.t.Error(err)
				}
			}
			slices.SortFunc(s.seen, func(a, b wire.Event) int { return cmp.Compare(a.N, b.N) })
			return s.seen
		}
		if err != nil {
			s.t.Fatal(err)
		}
		s.seen = append(s.seen, e)
	}
}

// cut ends the follower as a lost line does: nobody reads any more.
func (s *stream) cut() {
	s.t.Helper()
	s.out.Close()
	s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// journal reads all events of a run from its file.
func (h *testHost) journal(id string) []wire.Event {
	h.t.Helper()
	f, err := os.Open(h.run(id).journal())
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	var events []wire.Event
	for r := wire.NewReader(f); ; {
		_, e, err := r.Next()
		if err == io.EOF {
			return events
		}
		if err != nil {
			h.t.Fatal(err)
		}
		events = append(events, e)
	}
}

func (h *testHost) runnerPID(id string) int {
	h.t.Helper()
	pid := h.findRunner(id)
	if pid == 0 {
		h.t.Fatalf("run %s has no runner", id)
	}
	return pid
}

// findRunner finds the runner of a run, 0 when there is none.
func (h *testHost) findRunner(id string) int {
	h.t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		h.t.Fatal(err)
	}
	for _, d := range dirs {
		env, _ := os.ReadFile(d + "/environ")
		line, _ := os.ReadFile(d + "/cmdline")
		if string(line) == "collector\x00"+runnerVerb+"\x00"+id+"\x00" && bytes.Contains(env, []byte("HOME="+h.home+"\x00")) {
			pid, _ := strconv.Atoi(filepath.Base(d))
			return pid
		}
	}
	return 0
}

// killRunner ends a runner as the kernel does when memory is out.
func (h *testHost) killRunner(id string) {
	h.t.Helper()
	if err := unix.Kill(h.runnerPID(id), unix.SIGKILL); err != nil {
		h.t.Fatal(err)
	}
	waitFor(h.t, "the runner to die", func() bool { return !runs(h.run(id)) })
}

func waitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func kinds(events []wire.Event) string {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "%d:%s ", e.N, e.Kind)
	}
	return b.String()
}

// planOf makes a plan of one phase "p" with script steps s0, s1, …
func planOf(id string, scripts ...string) *wire.Plan {
	ph := wire.Phase{ID: "p", Title: "The phase"}
	for i, s := range scripts {
		ph.Steps = append(ph.Steps, wire.Step{Name: fmt.Sprintf("s%d", i), Run: &wire.Run{Script: s}})
	}
	return &wire.Plan{Wire: wire.Version, RunID: id, Host: "h", Verb: "run", Phases: []wire.Phase{ph}}
}

func find(t testing.TB, events []wire.Event, what string, match func(*wire.Event) bool) *wire.Event {
	t.Helper()
	for i := range events {
		if match(&events[i]) {
			return &events[i]
		}
	}
	t.Fatalf("no event %s among %s", what, kinds(events))
	return nil
}

func stepEndOf(t testing.TB, events []wire.Event, step string) *wire.StepEnd {
	t.Helper()
	return find(t, events, "end of "+step, func(e *wire.Event) bool { return e.StepEnd != nil && e.Step == step }).StepEnd
}

func endOf(t testing.TB, events []wire.Event) *wire.End {
	t.Helper()
	last := events[len(events)-1]
	if last.End == nil {
		t.Fatalf("the last event is no end: %s", kinds(events))
	}
	return last.End
}
