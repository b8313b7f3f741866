package inventory

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
	"unicode"
)

// program is an inventory that is printed by running it.
type program struct {
	path string // absolute
	sum  string // SHA-256 of its content, hex
	most time.Duration
}

// maxProgram is how long a program may take to print the inventory.
const maxProgram = 30 * time.Second

// code is the line that a user confirms: another content is another program.
func (p *program) code() string { return fmt.Sprintf("program: %q sha256:%s", p.path, p.sum) }

// isProgram tells a program by its first bytes. The mode alone does not: on
// some file systems every file may be run.
func isProgram(head []byte) bool {
	for _, magic := range []string{"#!", "\x7fELF", "\xcf\xfa\xed\xfe", "\xca\xfe\xba\xbe"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return true
		}
	}
	return runtime.GOOS == "windows" && bytes.HasPrefix(head, []byte("MZ"))
}

// examine makes a program of an open file, or adds why it is not run.
func examine(path string, st fs.FileInfo, r io.Reader, c *problems) *program {
	full, err := filepath.Abs(path)
	switch {
	case err != nil:
		c.add(pos{}, "", "%s", err)
	case !st.Mode().IsRegular():
		c.add(pos{}, "name the program itself", "a program cannot come through a pipe")
	case runtime.GOOS == "windows" && !strings.EqualFold(filepath.Ext(path), ".exe"):
		c.add(pos{}, "only .exe files are run on Windows", "is a program that cannot be run here")
	case runtime.GOOS != "windows" && st.Mode().Perm()&0o111 == 0:
		c.add(pos{}, "chmod +x "+path+", if it shall be run", "is a program, but may not be run")
	case !ownAlone(full, st, c):
	default:
		sum := sha256.New()
		if _, err := io.Copy(sum, r); err != nil {
			c.add(pos{}, "", "read: %s", reason(err))
			return nil
		}
		return &program{full, hex.EncodeToString(sum.Sum(nil)), maxProgram}
	}
	return nil
}

// ownAlone refuses a program that anybody but its user and root could swap, by
// its content or by a folder on the way, between a look at it and its start.
func ownAlone(full string, st fs.FileInfo, c *problems) bool {
	if why := othersMay(st); why != "" {
		c.add(pos{}, "a program is run as you: it must be yours alone (chmod go-w "+full+")", "%s", why)
		return false
	}
	real, err := filepath.EvalSymlinks(full)
	if err != nil {
		c.add(pos{}, "", "%s", reason(err))
		return false
	}
	for _, start := range []string{filepath.Dir(full), filepath.Dir(real)} {
		for dir := start; ; dir = filepath.Dir(dir) {
			in, err := os.Stat(dir)
			if err != nil {
				c.add(pos{}, "", "%s: %s", dir, reason(err))
				return false
			}
			if why := othersMay(in); why != "" && in.Mode()&fs.ModeSticky == 0 {
				c.add(pos{}, "chmod go-w "+dir+", or keep the program elsewhere", "others can replace it: its folder %s: %s", dir, why)
				return false
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return true
}

// run gives what the program prints. It is told --list, as Ansible tells it;
// one that does not know the word may ignore it.
func (p *program) run(ctx context.Context) ([]byte, error) {
	ctx, stop := context.WithTimeout(ctx, p.most)
	defer stop()
	out, said := &bounded{most: maxJSON, full: stop}, &tail{most: 4 << 10}
	cmd := exec.CommandContext(ctx, p.path, "--list")
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = filepath.Dir(p.path), out, said, time.Second
	alone(cmd)
	err := cmd.Run()
	switch {
	case errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil:
		killGroup(cmd)
		return nil, errors.New("the program ended, but what it started kept its output open, and was stopped")
	case out.over:
		return nil, fmt.Errorf("the program prints more than %d MiB", maxJSON>>20)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, fmt.Errorf("the program had not ended after %s, and was stopped%s", p.most, said)
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, fmt.Errorf("the program failed: %w%s", err, said)
	case len(bytes.TrimSpace(out.kept)) == 0:
		return nil, fmt.Errorf("the program printed nothing%s", said)
	}
	return out.kept, nil
}

// tail keeps the last bytes of what a program complains.
type tail struct {
	kept []byte
	most int
}

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if len(t.kept) > 2*t.most {
		t.kept = append(t.kept[:0], t.kept[len(t.kept)-t.most:]...)
	}
	return len(p), nil
}

// String are its last lines, indented, without anything a terminal would obey.
func (t *tail) String() string {
	const most = 10
	lines := strings.Split(strings.TrimSpace(string(t.kept)), "\n")
	if lines[0] == "" {
		return ""
	}
	text := "; it said:"
	for _, l := range lines[max(0, len(lines)-most):] {
		text += "\n    " + strings.Map(printable, strings.ReplaceAll(l, "\t", "    "))
	}
	return text
}

func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return -1
}
