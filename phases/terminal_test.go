package phases

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// host is a folder in which the scripts of a phase run as they would on a host.
type host struct {
	t   *testing.T
	dir string // of the phase
	tmp string
}

func newHost(t *testing.T, phase string) host {
	t.Helper()
	shell(t)
	dir, err := filepath.Abs(filepath.Join("builtin", phase))
	if err != nil {
		t.Fatal(err)
	}
	return host{t, dir, t.TempDir()}
}

// sh runs a script of the phase and wants that exit code; it gives what it printed.
func (h host) sh(want int, script string, args ...string) string {
	h.t.Helper()
	cmd := exec.Command("/bin/sh", append([]string{filepath.Join(h.dir, script)}, args...)...)
	cmd.Env = []string{"PATH=" + h.path("bin") + ":" + os.Getenv("PATH"), "HOME=" + h.tmp, "PHASE_DIR=" + h.dir, "VPSCTL_ROOT=" + h.tmp,
		"VPSCTL_BACKUPS=" + filepath.Join(h.tmp, "backups", "bashrc")}
	out, err := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != want {
		h.t.Fatalf("%s %q: exit code %d, wanted %d (%v)\n%s", script, args, got, want, err, out)
	}
	return string(out)
}

func (h host) path(name string) string { return filepath.Join(h.tmp, name) }

func (h host) read(name string) string {
	h.t.Helper()
	b, err := os.ReadFile(h.path(name))
	if err != nil {
		h.t.Fatal(err)
	}
	return string(b)
}

// TestBashrcBlock: the block comes in once, whatever the file ends in, and goes
// again without a trace.
func TestBashrcBlock(t *testing.T) {
	for name, before := range map[string]string{
		"usual": "# mine\nPS1='> '\n", "empty line at the end": "a\n\n", "no end of the last line": "alias x=y",
		"one line end": "\n", "not text": "\xff\xfe\x01\n$(x) \\ %s\n",
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, "terminal-setup")
			file := h.path(".bashrc")
			write(t, file, before)
			if err := os.Chmod(file, 0o640); err != nil {
				t.Fatal(err)
			}
			h.sh(1, "bashrc.sh", "ask", file)
			h.sh(0, "bashrc.sh", "add", file)
			h.sh(0, "bashrc.sh", "ask", file)
			once := h.read(".bashrc")
			if !strings.HasPrefix(once, before) || strings.Count(once, "# >>> vpsctl") != 1 || !strings.Contains(once, "alias gco=") {
				t.Errorf("got %q", once)
			}
			h.sh(0, "bashrc.sh", "add", file)
			if d := cmp.Diff(once, h.read(".bashrc")); d != "" {
				t.Errorf("the second time: %s", d)
			}
			h.sh(0, "bashrc.sh", "remove", file)
			if d := cmp.Diff(before, h.read(".bashrc")); d != "" {
				t.Errorf("after remove: %s", d)
			}
			if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o640 {
				t.Errorf("%v %v", st.Mode(), err)
			}
			h.sh(0, "bashrc.sh", "remove", file)
			if left, _ := filepath.Glob(file + ".vpsctl-*"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestBashrcIsTheUsers: what users did to their file stays.
func TestBashrcIsTheUsers(t *testing.T) {
	for name, test := range map[string]struct {
		edit        func(file string) string // of the file with the block
		left        string                   // after remove
		removeFails bool
	}{
		"lines behind it":      {func(s string) string { return s + "alias gs='git stash'\nPS1='$ '" }, "mine\nalias gs='git stash'\nPS1='$ '", false},
		"lines before it":      {func(s string) string { return "first\n" + s }, "first\nmine\n", false},
		"the block changed":    {func(s string) string { return strings.ReplaceAll(s, "git push", "git push --force-with-lease") }, "mine\n", false},
		"the empty line gone":  {func(s string) string { return strings.Replace(s, "\n\n# >>>", "\n# >>>", 1) + "more\n" }, "mine\nmore\n", false},
		"the block emptied":    {func(s string) string { return s[:strings.Index(s, "if [ -n")] + s[strings.Index(s, "# <<<"):] }, "mine\n", false},
		"the last line is off": {func(s string) string { return s[:strings.Index(s, "# <<<")] + "more\n" }, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, "terminal-setup")
			file := h.path(".bashrc")
			write(t, file, "mine\n")
			h.sh(0, "bashrc.sh", "add", file)
			edited := test.edit(h.read(".bashrc"))
			write(t, file, edited)
			h.sh(0, "bashrc.sh", "ask", file)
			h.sh(0, "bashrc.sh", "add", file)
			if d := cmp.Diff(edited, h.read(".bashrc")); d != "" {
				t.Errorf("add has changed it: %s", d)
			}
			if test.removeFails {
				h.sh(1, "bashrc.sh", "remove", file)
				test.left = edited
			} else {
				h.sh(0, "bashrc.sh", "remove", file)
			}
			if d := cmp.Diff(test.left, h.read(".bashrc")); d != "" {
				t.Errorf("after remove: %s", d)
			}
		})
	}
}

// TestBashrcMissingOrLinked: a file that was not there goes again; a link into
// somebody's dotfiles stays one; what is no file is refused.
func TestBashrcMissingOrLinked(t *testing.T) {
	h := newHost(t, "terminal-setup")
	file := h.path(".bashrc")
	h.sh(1, "bashrc.sh", "ask", file)
	h.sh(0, "bashrc.sh", "add", file)
	h.sh(0, "bashrc.sh", "remove", file)
	if _, err := os.Lstat(file); !os.IsNotExist(err) {
		t.Errorf("left behind: %v", err)
	}
	write(t, h.path("dotfiles/bashrc"), "mine\n")
	if err := os.Symlink("dotfiles/bashrc", file); err != nil {
		t.Fatal(err)
	}
	h.sh(0, "bashrc.sh", "add", file)
	if to, err := os.Readlink(file); err != nil || to != "dotfiles/bashrc" || !strings.Contains(h.read("dotfiles/bashrc"), "alias gs=") {
		t.Errorf("link to %q (%v)", to, err)
	}
	h.sh(0, "bashrc.sh", "remove", file)
	if got := h.read("dotfiles/bashrc"); got != "mine\n" {
		t.Errorf("got %q", got)
	}
	if err := os.Mkdir(h.path("folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	h.sh(2, "bashrc.sh", "add", h.path("folder"))
}

// TestBashrcRuns: an interactive bash has the aliases and the prompt, its own
// ones first, and a branch's name is text and nothing else.
func TestBashrcRuns(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not installed")
	}
	h := newHost(t, "terminal-setup")
	write(t, h.path(".bashrc"), "alias gb='git branch -vv'\n")
	h.sh(0, "bashrc.sh", "add", h.path(".bashrc"))
	ask := func(term, line string) string {
		t.Helper()
		cmd := exec.Command(bash, "-ic", line)
		cmd.Dir, cmd.Env = h.tmp, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + h.tmp, "TERM=" + term}
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		return string(out)
	}
	for alias, want := range map[string]string{"gs": "git status", "ga": "git add", "gc": "git commit", "gp": "git push", "gl": "git log --graph --oneline --decorate",
		"gco": "git checkout", "gb": "git branch -vv"} {
		if got := ask("xterm", "alias "+alias); got != "alias "+alias+"='"+want+"'\n" {
			t.Errorf("%s: %q", alias, got)
		}
	}
	if got := ask("xterm-256color", `echo "${PS1@P}"`); !strings.Contains(got, "\x1b[1;32m") {
		t.Errorf("a prompt without colour: %q", got)
	}
	if got := ask("dumb", `echo "${PS1@P}"`); strings.Contains(got, "\x1b") {
		t.Errorf("a terminal without colour gets %q", got)
	}
	if _, err := os.Stat("/usr/lib/git-core/git-sh-prompt"); err != nil {
		return
	}
	git := exec.Command("git", "init", "-q", "-b", "x$(touch${IFS}pwned)", h.tmp)
	if out, err := git.CombinedOutput(); err != nil {
		t.Fatalf("git: %v: %s", err, out)
	}
	if got := ask("xterm", `echo "${PS1@P}"`); !strings.Contains(got, " (x$(touch${IFS}pwned))") {
		t.Errorf("the branch is not in %q", got)
	}
	if _, err := os.Stat(h.path("pwned")); err == nil {
		t.Error("the name of a branch was run")
	}
}

// TestBackup: a copy as it was before the block, one per state of the file.
func TestBackup(t *testing.T) {
	h := newHost(t, "terminal-setup")
	file := h.path("skel")
	h.sh(0, "backup.sh", "kept", "skel", file) // nothing to keep
	write(t, file, "one\n")
	h.sh(1, "backup.sh", "kept", "skel", file)
	h.sh(0, "backup.sh", "keep", "skel", file)
	h.sh(0, "backup.sh", "kept", "skel", file)
	copies, _ := filepath.Glob(h.path("backups/bashrc/skel.*"))
	if len(copies) != 1 {
		t.Fatalf("copies: %v", copies)
	}
	if st, err := os.Stat(copies[0]); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st, err)
	}
	h.sh(0, "bashrc.sh", "add", file)
	h.sh(0, "backup.sh", "kept", "skel", file) // the block is in: too late for another
	h.sh(0, "backup.sh", "drop", "skel", file)
	if _, err := os.Stat(copies[0]); err != nil {
		t.Error("the copy of a file that was not given back is gone")
	}
	h.sh(0, "bashrc.sh", "remove", file)
	h.sh(0, "backup.sh", "drop", "skel", file)
	if _, err := os.Stat(h.path("backups")); !os.IsNotExist(err) {
		t.Errorf("left behind: %v", err)
	}
}

// TestGitSettings: what is missing is set, what the user set stays, and what
// was ours goes again. It needs a git that can comment (2.45).
func TestGitSettings(t *testing.T) {
	h := newHost(t, "dev-tools")
	git := func(args ...string) string {
		cmd := exec.Command("git", append([]string{"config", "--global"}, args...)...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + h.tmp}
		out, _ := cmd.CombinedOutput()
		return strings.TrimSpace(string(out))
	}
	if out := git("--comment", "x", "a.b", "c"); out != "" {
		t.Skipf("git: %s", out)
	}
	conf := filepath.Join(h.dir, "git.conf")
	const own = "[core]\n\teditor = nano\n[init]\n\tdefaultBranch = main\n[include]\n\tpath = more\n"
	write(t, h.path(".gitconfig"), own)
	write(t, h.path("more"), "[pull]\n\trebase = true\n")
	h.sh(1, "git.sh", "ask", conf)
	h.sh(0, "git.sh", "set", conf)
	h.sh(0, "git.sh", "ask", conf)
	once := h.read(".gitconfig")
	h.sh(0, "git.sh", "set", conf)
	if d := cmp.Diff(once, h.read(".gitconfig")); d != "" {
		t.Errorf("the second time: %s", d)
	}
	for key, want := range map[string]string{"core.editor": "nano", "init.defaultBranch": "main", "pull.rebase": "", "color.ui": "auto", "credential.helper": "cache --timeout=3600"} {
		if got := git("--get", key); got != want {
			t.Errorf("%s = %q, wanted %q", key, got, want)
		}
	}
	h.sh(0, "git.sh", "unset", conf)
	if d := cmp.Diff(own, h.read(".gitconfig")); d != "" {
		t.Errorf("after unset: %s", d)
	}
	if err := os.Remove(h.path(".gitconfig")); err != nil {
		t.Fatal(err)
	}
	h.sh(0, "git.sh", "set", conf)
	git("color.ui", "always")
	h.sh(0, "git.sh", "unset", conf)
	if got := strings.Fields(h.read(".gitconfig")); strings.Join(got, " ") != "[color] ui = always" {
		t.Errorf("after unset: %q", got)
	}
	write(t, h.path(".gitconfig"), "[broken\n")
	h.sh(2, "git.sh", "ask", conf)
}

// TestGitScriptsAlike: a phase travels with its own folder alone, so two have
// this script.
func TestGitScriptsAlike(t *testing.T) {
	a, errA := builtin.ReadFile("builtin/terminal-setup/git.sh")
	b, errB := builtin.ReadFile("builtin/dev-tools/git.sh")
	if errA != nil || errB != nil || string(a) != string(b) {
		t.Errorf("the two git.sh differ (%v, %v)", errA, errB)
	}
}
