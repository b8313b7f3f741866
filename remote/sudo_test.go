package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/remote/sshtest"
)

const sudoWord = `it's a "word" \ $HOME !`

// asking is a rig whose sudo wants a password; ours is given to it.
func asking(t *testing.T, ours string, opt sshtest.Options) *rig {
	t.Helper()
	opt.SudoPassword = strings.ReplaceAll(sudoWord, "'", `'\''`)
	r := newRig(t, opt)
	r.host.Become = true
	r.opt.SudoPassword = func(context.Context, inventory.Host) (inventory.Secret, error) {
		if ours == "" {
			return inventory.Secret{}, nil
		}
		return inventory.NewSecret([]byte(ours))
	}
	return r
}

// asked is how often the host's sudo has asked.
func (r *rig) asked() int {
	b, _ := os.ReadFile(filepath.Join(r.Home, "asked"))
	return len(b)
}

// Everything that becomes root has its talk with sudo, and nothing of what is
// sent gets into that talk, nor the password into what is sent.
func TestSudoPassword(t *testing.T) {
	for _, remembered := range []bool{false, true} {
		t.Run(fmt.Sprintf("remembered=%v", remembered), func(t *testing.T) {
			r := asking(t, sudoWord, sshtest.Options{Noise: "rc file: Password: \n"})
			if remembered {
				r.put(t, "remembered", "")
			}
			r.collectors(t, fakeCollector)
			r.journal(t, goodJournal()...)
			if err := ping(t, r); err != nil {
				t.Error(err)
			}
			out, errs, rc := do(t, r, "cat; echo oops >&2; exit 3", "all of\nstdin")
			if out != "all of\nstdin" || errs != "oops\n" || rc != 3 {
				t.Errorf("got %q, %q, %d", out, errs, rc)
			}
			var got []string
			if err := r.session(t).Run(testContext(t), testPlan(), collect(&got)); err != nil || len(got) != 11 {
				t.Errorf("%d events, %v", len(got), err)
			}
			sudoCopies(t, r)
			if asked := r.asked(); remembered != (asked == 0) {
				t.Errorf("asked %d times", asked)
			}
		})
	}
}

// sudoCopies pushes and pulls as root.
func sudoCopies(t *testing.T, r *rig) {
	t.Helper()
	text := strings.Repeat("line of a file\n", 10000)
	src, err := OpenSource(writeFile(t, "text", text))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if p, err := r.session(t).Push(testContext(t), src, "there", nil); err != nil || p.Via != "shell" {
		t.Errorf("push: %+v, %v", p, err)
	}
	dir := t.TempDir()
	if _, err := r.session(t).Pull(testContext(t), "there", dir, 1<<20, nil); err != nil {
		t.Error(err)
	}
	back, err := os.ReadFile(filepath.Join(dir, r.host.Name, "there"))
	if err != nil || string(back) != text {
		t.Errorf("came back: %d bytes, %v", len(back), err)
	}
}

// A line that breaks is dialled again, and sudo asked and answered again.
func TestSudoPasswordOverNewLines(t *testing.T) {
	r := asking(t, sudoWord, sshtest.Options{})
	r.collectors(t, fakeCollector)
	r.journal(t, goodJournal()...)
	for n := range 5 {
		r.CutAfterEvent(2 * n)
		os.RemoveAll(r.state("runs"))
		var got []string
		if err := r.session(t).Run(testContext(t), testPlan(), collect(&got)); err != nil || len(got) != 11 {
			t.Errorf("cut after %d: %d events, %v", 2*n, len(got), err)
		}
	}
}

// A wrong password is given once: hosts count. The letter says what to do.
func TestSudoWrongPassword(t *testing.T) {
	r := asking(t, "not the word", sshtest.Options{})
	r.host.BecomePassword = &inventory.Ref{Env: "SUDO"}
	r.collectors(t, fakeCollector)
	s := r.session(t)
	_, err := s.Exec(testContext(t), "true", strings.NewReader("input"), io.Discard, io.Discard)
	wantError(t, err, Rights, "does not take this password of dev", "{env: SUDO}", "ssh -t -p")
	if _, err := s.Facts(testContext(t)); err == nil {
		t.Error("facts after that")
	} else {
		wantError(t, err, Rights, "does not take")
	}
	wantError(t, s.Run(testContext(t), testPlan(), nil), Rights, "does not take")
	if n := r.asked(); n != 2 {
		t.Errorf("asked %d times, want the answer and one more", n)
	}
}

func TestSudoPasswordThatCannotBeHad(t *testing.T) {
	r := asking(t, "", sshtest.Options{})
	wantError(t, ping(t, r), Rights, "a password is required", "become_password", "--ask-become-password", "NOPASSWD")
	for _, c := range []struct {
		word string
		err  error
		want string
	}{{"two\nlines", nil, "more than one line"}, {"", errors.New("not set"), "not set"}} {
		r := asking(t, c.word, sshtest.Options{})
		if c.err != nil {
			r.opt.SudoPassword = func(context.Context, inventory.Host) (inventory.Secret, error) { return inventory.Secret{}, c.err }
		}
		wantError(t, ping(t, r), Local, "password for sudo", c.want)
		if n := r.Counts().Connections; n != 0 {
			t.Errorf("%d connections", n)
		}
	}
}

func TestSudoExplained(t *testing.T) {
	for said, word := range map[string]string{
		"dev is not in the sudoers file.":                                     "adduser dev sudo",
		"Sorry, user dev is not allowed to execute '/bin/sh' as root on host": "adduser dev sudo",
		"sudo: sorry, you must have a tty to run sudo":                        "!requiretty",
	} {
		r := newRig(t, sshtest.Options{Forced: `echo "` + said + `" >&2; exit 1`})
		r.host.Become = true
		wantError(t, ping(t, r), Rights, word)
	}
}

// The password is in no process's arguments or environment, in no file of the
// host, and in nothing that is shown, whatever the host prints.
func TestSudoPasswordShowsNowhere(t *testing.T) {
	r := asking(t, sudoWord, sshtest.Options{})
	r.collectors(t, fakeCollector)
	r.journal(t, goodJournal()...)
	r.put(t, "word", sudoWord)
	look := `cat ~/word ~/word >&2; cat ~/word; printf it; sleep 0.1; printf "'s a "; cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\0' '\n' | grep -c 'a "wor[d]"'`
	out, errs, _ := do(t, r, look, "")
	if strings.Contains(out+errs, `"word"`) || !strings.HasPrefix(out, wire.Mask+"it's a 0") || errs != wire.Mask+wire.Mask {
		t.Errorf("got %q, %q", out, errs)
	}
	if err := r.session(t).Run(testContext(t), testPlan(), collect(new([]string))); err != nil {
		t.Error(err)
	}
	sudoCopies(t, r)
	files := 0
	err := filepath.WalkDir(r.Home, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "word" {
			return err
		}
		files++
		b, err := os.ReadFile(name)
		if bytes.Contains(b, []byte(sudoWord)) {
			t.Errorf("%s has it", name)
		}
		return err
	})
	if err != nil || files < 4 {
		t.Errorf("%d files looked at, %v", files, err)
	}
	if strings.Contains(r.verbose(), sudoWord) {
		t.Error("-v shows it")
	}
}

// Where sudo logs what is piped in, the password is not in the log, and a plan
// with secrets is not sent, also where sudo must be asked for that with it.
func TestSudoThatLogs(t *testing.T) {
	r := asking(t, sudoWord, sshtest.Options{SudoLogs: true})
	r.collectors(t, fakeCollector)
	r.journal(t, goodJournal()...)
	if out, _, _ := do(t, r, "cat", "logged text"); out != "logged text" {
		t.Errorf("got %q", out)
	}
	p := testPlan()
	p.Secrets = map[string]string{"token": "very-secret"}
	wantError(t, r.session(t).Run(testContext(t), p, nil), Rights, "logs what is piped", "!log_stdin")
	log, err := os.ReadFile(filepath.Join(r.Home, "logged"))
	if err != nil || !bytes.Contains(log, []byte("logged text")) || bytes.Contains(log, []byte(sudoWord)) || bytes.Contains(log, []byte("very-secret")) {
		t.Errorf("the log: %q, %v", log, err)
	}
	quiet := asking(t, sudoWord, sshtest.Options{})
	quiet.collectors(t, fakeCollector)
	quiet.journal(t, goodJournal()...)
	if err := quiet.session(t).Run(testContext(t), p, collect(new([]string))); err != nil {
		t.Error(err)
	}
}

// prompts finds prompts however the stream is cut, changes nothing else, and
// leaves everything alone once the command has begun.
func FuzzPrompts(f *testing.F) {
	f.Add([]byte("lecture [x] [x] tail"), 1)
	f.Add([]byte("[[x[x] ["), 3)
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		tk := &talk{prompt: "[x] ", open: make(chan struct{})}
		asked := 0
		var r io.Reader = bytes.NewReader(text)
		switch cut % 3 {
		case 0:
			r = iotest.OneByteReader(r)
		case 1:
			r = iotest.HalfReader(r)
		}
		got, err := io.ReadAll(&prompts{r: r, talk: tk, answer: func() { asked++ }})
		if want := bytes.ReplaceAll(text, []byte(tk.prompt), nil); err != nil || !bytes.Equal(got, want) || asked != bytes.Count(text, []byte(tk.prompt)) {
			t.Errorf("%q: got %q, asked %d times, %v", text, got, asked, err)
		}
		tk.begin()
		got, err = io.ReadAll(&prompts{r: bytes.NewReader(text), talk: tk, answer: func() { t.Error("asked") }})
		if err != nil || !bytes.Equal(got, text) {
			t.Errorf("%q after the beginning: %q, %v", text, got, err)
		}
	})
}
