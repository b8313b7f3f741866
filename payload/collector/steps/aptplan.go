//go:build linux

package steps

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// asker has apt show what it is about to do, and wait for leave before it does
// it. Asking apt twice, first with -s, takes 0.6 s for each transaction.
//
// Its hook comes before those of the host, so that nothing has been changed yet.
// When nobody gives leave any more, because the collector was killed, apt gives
// up.
type asker struct {
	dir         string
	asks, leave *os.File
}

const (
	hooks       = "DPkg::Pre-Install-Pkgs"
	clearConfig = "#clear " + hooks + ";\n"
	askScript   = `cd '%[1]s' && cat >plan &&
exec timeout 120 /bin/sh -c 'echo >asks && read -r said <leave && [ "$said" = go ]'
`
	planSize = 8 << 20 // its head is all of apt's settings; 400 packages take 50 KiB
)

// talkers are hooks that only talk to a person, and nobody is there: the
// questions of packages get their defaults either way, and no news are shown.
// They take 0.4 s of each transaction.
var talkers = []string{"/usr/sbin/dpkg-preconfigure", "/usr/bin/apt-listchanges"}

// newAsker is to be closed also when it has failed.
func (e *Env) newAsker() (*asker, error) {
	a := &asker{}
	var err error
	if a.dir, err = os.MkdirTemp(e.RunDir, "apt-"); err != nil {
		return a, err
	}
	err = errors.Join(os.WriteFile(a.dir+"/clear.conf", []byte(clearConfig), 0o600),
		os.WriteFile(a.dir+"/ask.sh", fmt.Appendf(nil, askScript, a.dir), 0o600),
		unix.Mkfifo(a.dir+"/asks", 0o600), unix.Mkfifo(a.dir+"/leave", 0o600))
	// Open for both ways: neither side waits for the other to open it.
	if err == nil {
		a.asks, err = os.OpenFile(a.dir+"/asks", os.O_RDWR, 0)
	}
	if err == nil {
		a.leave, err = os.OpenFile(a.dir+"/leave", os.O_RDWR, 0)
	}
	return a, err
}

// answer waits until apt asks and gives it leave unless first, which gets the
// plan, fails. It returns first's error; nil also when apt never asked, and the
// asker was closed.
func (a *asker) answer(first func(transaction) error) error {
	if _, err := a.asks.Read(make([]byte, 1)); err != nil {
		return nil
	}
	plan, err := a.plan()
	if err == nil {
		err = first(plan)
	}
	said := "go\n"
	if err != nil {
		said = "no\n"
	}
	_, _ = a.leave.WriteString(said) // who was killed meanwhile needs no answer, and says so itself
	return err
}

func (a *asker) plan() (transaction, error) {
	f, err := os.Open(a.dir + "/plan")
	if err != nil {
		return transaction{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, planSize+1))
	if err == nil && len(text) > planSize {
		err = fmt.Errorf("apt's plan has over %d bytes", planSize)
	}
	return parsePlan(text), err
}

func (a *asker) close() {
	a.asks.Close() // nil says so
	a.leave.Close()
	if a.dir != "" {
		os.RemoveAll(a.dir)
	}
}

// transaction is what apt says it would do.
type transaction struct {
	fresh    []string // newly installed
	upgraded []string
	removed  []string
}

// parsePlan reads what apt tells its hooks (apt.conf(5), DPkg::Pre-Install-Pkgs,
// version 3): settings, an empty line, and for each act a line
//
//	NAME OLD-VERSION OLD-ARCH OLD-MULTIARCH < NEW-VERSION NEW-ARCH NEW-MULTIARCH ACT
//
// with - for a version that there is not, and as ACT a file, **CONFIGURE** or
// **REMOVE**.
func parsePlan(text []byte) (t transaction) {
	_, acts, _ := strings.Cut(string(text), "\n\n")
	for line := range strings.Lines(acts) {
		f := strings.Fields(line)
		if len(f) != 9 || f[8] == "**CONFIGURE**" {
			continue
		}
		arch := f[6]
		if f[8] == "**REMOVE**" {
			arch = f[2]
		}
		name := f[0]
		if arch != "all" {
			name = native(name + ":" + arch)
		}
		switch {
		case f[8] == "**REMOVE**":
			t.removed = append(t.removed, name)
		case f[1] == "-":
			t.fresh = append(t.fresh, name)
		default:
			t.upgraded = append(t.upgraded, name)
		}
	}
	return t
}

// args are apt's for the hook of the asker and those of the host that are kept.
// The third version of their protocol names architectures.
func (a *asker) args(ctx context.Context, e *Env) ([]string, error) {
	out, err := e.call(ctx, call{name: "apt-config", args: []string{"dump", "--format", "%v%n", hooks}})
	if err != nil {
		return nil, err
	}
	args := []string{"-c", a.dir + "/clear.conf", "-o", "DPkg::Tools::Options::/bin/sh::Version=3", "-o", hooks + "::=/bin/sh " + a.dir + "/ask.sh"}
	for hook := range strings.Lines(string(out)) {
		hook = strings.TrimSuffix(hook, "\n")
		program, _, _ := strings.Cut(hook, " ")
		if hook != "" && !slices.Contains(talkers, program) {
			args = append(args, "-o", hooks+"::="+hook)
		}
	}
	return args, nil
}

// install is a transaction of apt-get install that calls first with what it is
// going to do. When first fails, nothing is changed.
func (e *Env) install(ctx context.Context, first func(transaction) error, args ...string) error {
	a, err := e.newAsker()
	defer a.close()
	var asking []string
	if err == nil {
		asking, err = a.args(ctx, e)
	}
	if err != nil {
		return fmt.Errorf("nothing was changed: apt cannot be asked for its plan: %w", err)
	}
	answered := make(chan error, 1)
	go func() { answered <- a.answer(first) }()
	err = e.transaction(ctx, "install", append(asking, args...)...)
	a.close()
	if refused := <-answered; refused != nil {
		return refused
	}
	return err
}
