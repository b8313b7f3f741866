//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/vpsctl/vpsctl/e2e/lab"
)

// patience bounds every single wait of a scenario: nothing that works takes that long on a busy machine.
const patience = 90 * time.Second

// longest bounds a vpsctl that does many things one after the other.
const longest = 4 * patience

// program builds vpsctl with its collectors once per test process; VPSCTL_E2E_BIN names one that is there already.
var program = sync.OnceValues(func() (string, error) {
	if bin := os.Getenv("VPSCTL_E2E_BIN"); bin != "" {
		return filepath.Abs(bin)
	}
	dir, err := os.MkdirTemp("", "vpsctl-bin-")
	if err != nil {
		return "", err
	}
	programDir = dir
	bin := filepath.Join(dir, "vpsctl")
	for _, args := range [][]string{{"run", "./payload/build"}, {"build", "-o", bin, "./cmd/vpsctl"}} {
		cmd := exec.Command("go", args...)
		cmd.Dir = ".."
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go %v: %w: %s", args, err, out)
		}
	}
	return bin, nil
})

// programDir is what program has made, for TestMain to remove.
var programDir string

// tool is vpsctl as one user has it: a home, a state folder and an inventory of their own.
type tool struct {
	t     *testing.T
	bin   string
	dir   string // home and working folder
	state string
	env   []string
}

// newTool gives a user whose inventory has the fleet's hosts, as the lab describes them.
func newTool(t *testing.T, f *Fleet) *tool {
	t.Helper()
	v := bareTool(t)
	b, err := os.ReadFile(f.Inventory)
	try(t, err)
	v.inventory(string(b))
	return v
}

func bareTool(t *testing.T) *tool {
	t.Helper()
	bin, err := program()
	try(t, err)
	v := &tool{t: t, bin: bin, dir: t.TempDir()}
	v.state = filepath.Join(v.dir, "state", "vpsctl")
	return v
}

func (v *tool) inventory(text string) {
	v.t.Helper()
	try(v.t, os.WriteFile(filepath.Join(v.dir, "inventory.yaml"), []byte(text), 0o600))
}

// phase writes a user's phase; body begins at its steps, each line as in the file.
func (v *tool) phase(id, body string) {
	v.t.Helper()
	dir := filepath.Join(v.dir, "phases", id)
	try(v.t, os.MkdirAll(dir, 0o755))
	text := fmt.Sprintf("schema: 1\nid: %s\ntitle: Test %s\n%s", id, id, body)
	try(v.t, os.WriteFile(filepath.Join(dir, "phase.yaml"), []byte(text), 0o644))
}

// result is what a finished vpsctl has left.
type result struct {
	out, err string
	code     int
	rss      int64 // peak, in bytes
	took     time.Duration
}

// run runs vpsctl to its end and wants that exit code.
func (v *tool) run(code int, args ...string) result {
	v.t.Helper()
	return v.start(args...).wait(code)
}

// says is all that was said, on both streams.
func (r result) says() string { return r.out + r.err }

// provision is run for the one phase that a scenario is about.
func (v *tool) provision(code int, phase string, args ...string) result {
	v.t.Helper()
	return v.run(code, append([]string{"provision", "--only-phase", phase, "--sample-interval", "1s"}, args...)...)
}

// proc is a vpsctl that runs.
type proc struct {
	v        *tool
	cmd      *exec.Cmd
	args     []string
	began    time.Time
	out, err stream
	done     chan struct{}
	rss      int64
	failed   error
}

func (v *tool) start(args ...string) *proc {
	v.t.Helper()
	p := v.prepare(args)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	try(v.t, p.cmd.Start())
	p.watch()
	return p
}

func (v *tool) prepare(args []string) *proc {
	p := &proc{v: v, args: args, began: time.Now(), done: make(chan struct{})}
	p.cmd = exec.Command(v.bin, args...)
	p.cmd.Dir = v.dir
	p.cmd.WaitDelay = 10 * time.Second // what it has started may hold its streams
	p.cmd.Env = append([]string{"HOME=" + v.dir, "XDG_STATE_HOME=" + filepath.Join(v.dir, "state"), "PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "TERM=xterm"}, v.env...)
	return p
}

// watch waits for the end and meanwhile reads the peak of memory: what wait4 says includes the parent's.
func (p *proc) watch() {
	ended := make(chan struct{})
	go func() {
		p.failed = p.cmd.Wait()
		close(ended)
	}()
	go func() {
		defer close(p.done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			p.rss = max(p.rss, peakMemory(p.cmd.Process.Pid))
			select {
			case <-tick.C:
			case <-ended:
				return
			}
		}
	}()
	p.v.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
	})
}

func peakMemory(pid int) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(b), "\nVmHWM:")
	line, _, _ := strings.Cut(rest, "\n")
	kb, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(line, "kB")), 10, 64)
	return kb << 10
}

// finishes waits for the end. Whoever does not end is ended, and says on stderr what it was doing.
func (p *proc) finishes() {
	t := p.v.t
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(longest):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT)
		<-p.done
		t.Fatalf("vpsctl %s: still running after %v\n%s", strings.Join(p.args, " "), longest, p.talk())
	}
}

// wait waits for the end and wants that exit code.
func (p *proc) wait(code int) result {
	t := p.v.t
	t.Helper()
	p.finishes()
	r := result{out: p.out.String(), err: p.err.String(), code: p.cmd.ProcessState.ExitCode(), rss: p.rss, took: time.Since(p.began)}
	if ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		r.code = -int(ws.Signal())
	}
	if r.code != code {
		t.Fatalf("vpsctl %s: exit %d, want %d\n%s", strings.Join(p.args, " "), r.code, code, p.talk())
	}
	return r
}

func (p *proc) talk() string {
	return fmt.Sprintf("--- stdout\n%s\n--- stderr\n%s", tail(p.out.String()), tail(p.err.String()))
}

func tail(s string) string {
	const most = 6000
	if len(s) > most {
		return "…" + s[len(s)-most:]
	}
	return s
}

func (p *proc) signal(sig syscall.Signal) {
	p.v.t.Helper()
	try(p.v.t, p.cmd.Process.Signal(sig))
}

// kill ends vpsctl as a crash would.
func (p *proc) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// sees waits until vpsctl has said that, on either stream.
func (p *proc) sees(text string) {
	p.v.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		over := p.over()
		if strings.Contains(p.out.String(), text) || strings.Contains(p.err.String(), text) {
			return
		}
		if over || time.Now().After(deadline) {
			p.v.t.Fatalf("vpsctl %s: never said %q\n%s", strings.Join(p.args, " "), text, p.talk())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (p *proc) over() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// stream keeps what a process writes. The zero value is ready.
type stream struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(b)
}

func (s *stream) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// known is what the lab's inventory says of a host.
type known struct {
	Address string `yaml:"address"`
	HostKey string `yaml:"host_key"`
}

func (f *Fleet) known(t *testing.T, name string) known {
	t.Helper()
	b, err := os.ReadFile(f.Inventory)
	try(t, err)
	var doc struct {
		Hosts map[string]known `yaml:"hosts"`
	}
	try(t, yaml.Unmarshal(b, &doc))
	return doc.Hosts[name]
}

// entry is a host of an inventory, with its pinned key and these settings beside or instead of the lab's.
func (f *Fleet) entry(t *testing.T, h *lab.Host, settings ...string) string {
	t.Helper()
	k := f.known(t, h.Name)
	own := map[string]string{"address": k.Address, "host_key": strconv.Quote(k.HostKey), "user": "root", "identity_file": strconv.Quote(f.Identity)}
	for i := 0; i < len(settings); i += 2 {
		own[settings[i]] = settings[i+1]
	}
	var b strings.Builder
	fmt.Fprintf(&b, "  %s:\n", h.Name)
	for _, key := range slices.Sorted(mapKeys(own)) {
		if own[key] != "" {
			fmt.Fprintf(&b, "    %s: %s\n", key, own[key])
		}
	}
	return b.String()
}

func mapKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

var stamp = regexp.MustCompile(`\[?[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]+Z?\]?`)

// on is the output of a shell line in the host.
func on(t *testing.T, h *lab.Host, line string) string {
	t.Helper()
	out, err := h.Exec(t.Context(), line)
	if err != nil {
		t.Fatalf("%s: %v", h.Name, err)
	}
	return strings.TrimSpace(out)
}

// until waits for something outside this process to become true.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !holds() {
		if ctx.Err() != nil {
			t.Fatalf("waited %v for: %s", patience, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// makes waits until the run has made a file in the host.
func (p *proc) makes(h *lab.Host, path string) {
	t := p.v.t
	t.Helper()
	until(t, path+" on "+h.Name, func() bool {
		if _, err := h.Exec(t.Context(), "test -e "+path); err == nil {
			return true
		}
		if p.over() {
			t.Fatalf("vpsctl %s: over before there was %s\n%s", strings.Join(p.args, " "), path, p.talk())
		}
		return false
	})
}

// exists waits for a file in the host.
func exists(t *testing.T, h *lab.Host, path string) {
	t.Helper()
	until(t, path+" on "+h.Name, func() bool {
		_, err := h.Exec(t.Context(), "test -e "+path)
		return err == nil
	})
}

// wants looks for every text in what somebody said.
func wants(t *testing.T, where, got string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(got, text) {
			t.Errorf("%s does not say %q:\n%s", where, text, tail(got))
		}
	}
}

func (v *tool) file(name string) string {
	v.t.Helper()
	b, err := os.ReadFile(filepath.Join(v.dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	try(v.t, err)
	return string(b)
}
