package remote

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/remote/sshtest"
)

const plenty = 1 << 30

func TestPull(t *testing.T) {
	eachWay(t, func(t *testing.T, r *rig, via string) {
		_, errs, rc := do(t, r, `mkdir -p "etc d/sub/deep" "etc d/none" && cd "etc d" && echo A >a && echo B >"sub/b c " && printf C >'sub/deep/ü\n' && : >empty &&
ln -s /etc/shadow link && mkfifo pipe && echo x >Case && echo y >case && chmod 4755 a && printf x >"$(printf 'bad\nname')" &&
chmod 700 sub && chmod 500 sub/deep && chmod 2777 none && chmod 666 empty`, "")
		if rc != 0 {
			t.Fatal(errs)
		}
		t.Cleanup(func() { os.Chmod(filepath.Join(r.Home, "etc d/sub/deep"), 0o700) }) // so that it can be removed
		if r.host.Become {
			via = "shell" // by SFTP one is never root
		}
		dir := t.TempDir()
		src := filepath.Join(r.Home, "etc d")
		got, err := r.session(t).Pull(testContext(t), src, dir, plenty, nil)
		if err != nil || got.Files != 5 || got.Same != 0 || got.Refused != 4 || got.Via != via {
			t.Errorf("got %+v, %v", got, err)
		}
		have := tree(t, filepath.Join(dir, "web1", "etc d"))
		want := map[string]string{"a": "-rwxr-xr-x A\n", "sub/b c ": "-rw-r--r-- B\n", `sub/deep/ü\n`: "-rw-r--r-- C", "empty": "-rw-rw-r-- ",
			"sub": "drwx------", "sub/deep": "drwx------", "none": "drwxrwxr-x"}
		for name, text := range want {
			if have[name] != text {
				t.Errorf("%s: got %q, want %q", name, have[name], text)
			}
		}
		_, upper := have["Case"]
		_, lower := have["case"]
		if upper == lower || have["link"]+have["pipe"] != "" || len(have) != 8 {
			t.Errorf("got %v", have)
		}
		if err := os.Chmod(filepath.Join(dir, "web1", "etc d", "sub"), 0); err != nil {
			t.Fatal(err)
		}
		got, err = r.session(t).Pull(testContext(t), "etc d/", dir, plenty, nil)
		if err != nil || got.Same != 5 || got.Bytes != 0 || got.Via != "" {
			t.Errorf("again: got %+v, %v", got, err)
		}
		if got, err = r.session(t).Pull(testContext(t), "~/etc d/a", dir, plenty, nil); err != nil || got.Path != "a" || got.Files != 1 {
			t.Errorf("got %+v, %v", got, err)
		}
		_, err = r.session(t).Pull(testContext(t), "etc d/link", dir, plenty, nil)
		wantError(t, err, Refused, "is a link")
		_, err = r.session(t).Pull(testContext(t), "nothing", dir, plenty, nil)
		wantError(t, err, Refused, "no such file")
		_, err = r.session(t).Pull(testContext(t), "etc d", dir, 3, nil)
		wantError(t, err, Refused, "too much", "--max-mb")
	})
}

// A pull that fails leaves folders as they shall be, and those that are here and
// right as they are.
func TestPullThatFailsLeavesModes(t *testing.T) {
	r := newRig(t, sshtest.Options{})
	if _, errs, rc := do(t, r, `mkdir -p d/open d/closed && chmod 755 d d/open && chmod 700 d/closed && echo x >d/open/a && echo y >d/closed/b`, ""); rc != 0 {
		t.Fatal(errs)
	}
	dir := t.TempDir()
	here := filepath.Join(dir, "web1", "d")
	if err := errors.Join(os.MkdirAll(filepath.Join(here, "open", "a"), 0o755), os.MkdirAll(filepath.Join(here, "closed"), 0o755)); err != nil {
		t.Fatal(err)
	}
	_, err := r.session(t).Pull(testContext(t), "d", dir, plenty, nil)
	wantError(t, err, Local, "open/a")
	for name, want := range map[string]fs.FileMode{".": 0o755, "open": 0o755, "closed": 0o700} {
		if st, err := os.Stat(filepath.Join(here, name)); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, st.Mode(), err)
		}
	}
}

// Files with the same content are on their way at once: each has a part of its
// own.
func TestPullOfEqualFiles(t *testing.T) {
	eachWay(t, func(t *testing.T, r *rig, via string) {
		if _, errs, rc := do(t, r, `mkdir d && cd d && for n in 1 2 3 4 5 6 7 8; do echo same >same$n; : >empty$n; done`, ""); rc != 0 {
			t.Fatal(errs)
		}
		var begun atomic.Int32
		two := make(chan struct{})
		overlap := func(_, _ int64) { // what comes first waits until another has begun
			if begun.Add(1) == 2 {
				close(two)
			}
			select {
			case <-two:
			case <-time.After(10 * time.Second):
				t.Error("one file at a time")
			}
		}
		dir := t.TempDir()
		got, err := r.session(t).Pull(testContext(t), "d", dir, plenty, overlap)
		if err != nil || got.Files != 16 || got.Bytes != 40 {
			t.Errorf("got %+v, %v", got, err)
		}
		have := tree(t, filepath.Join(dir, "web1", "d"))
		for n := range 8 {
			if same, empty := have[fmt.Sprint("same", n+1)], have[fmt.Sprint("empty", n+1)]; same != "-rw-r--r-- same\n" || empty != "-rw-r--r-- " {
				t.Errorf("got %q and %q", same, empty)
			}
		}
		if len(have) != 16 {
			t.Errorf("got %v", have)
		}
	})
}

// What an earlier copy has left is continued when it is right, and replaced when
// it is not.
func TestPullContinues(t *testing.T) {
	body := make([]byte, 3<<20)
	rand.Read(body)
	eachWay(t, func(t *testing.T, r *rig, via string) {
		r.put(t, "big", string(body))
		for _, spoil := range []byte{0, 1} {
			dir := t.TempDir()
			src := openSource(t, filepath.Join(r.Home, "big"))
			part := filepath.Join(dir, "web1", (&landing{name: "big", e: src.entries[0]}).part())
			if err := os.MkdirAll(filepath.Dir(part), 0o755); err != nil {
				t.Fatal(err)
			}
			half := append([]byte{body[0] ^ spoil}, body[1:1<<20]...)
			if err := os.WriteFile(part, half, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := r.session(t).Pull(testContext(t), "big", dir, plenty, nil)
			want := map[byte]Pulled{0: {Resumed: 1 << 20, Bytes: 2 << 20}, 1: {Bytes: 5 << 20}}[spoil]
			if err != nil || got.Resumed != want.Resumed || got.Bytes != want.Bytes {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
			have := tree(t, filepath.Join(dir, "web1"))
			if len(have) != 1 || have["big"] != "-rw-r--r-- "+string(body) {
				t.Errorf("%d files, or not the right one", len(have))
			}
		}
	})
}

// A line that breaks in the middle is dialled again, and the copy goes on where
// it was, both ways; where it cannot be dialled any more, what has arrived is
// kept, under a name of its own, and another call goes on.
func TestCopiesOverALineThatBreaks(t *testing.T) {
	body := make([]byte, 20<<20)
	rand.Read(body)
	eachWay(t, func(t *testing.T, r *rig, via string) {
		file := filepath.Join(source(t, map[string]string{"big": string(body)}), "big")
		src := openSource(t, file)
		first := r.Counts().Connections
		pushed, err := r.session(t).Push(testContext(t), src, "big", cutAfter(r, 10<<20))
		if err != nil || pushed.Resumed != 0 || pushed.Same != 0 || pushed.Bytes < int64(len(body)) || pushed.Bytes > int64(len(body))*9/4 || r.Counts().Connections-first != 2 {
			t.Errorf("push: %+v, %v, %d connections", pushed, err, r.Counts().Connections-first)
		}
		if b, err := os.ReadFile(filepath.Join(r.Home, "big")); err != nil || !bytes.Equal(b, body) {
			t.Errorf("push: %d bytes, %v", len(b), err)
		}
		dir := t.TempDir()
		first = r.Counts().Connections
		got, err := r.session(t).Pull(testContext(t), "big", dir, plenty, cutAfter(r, 10<<20))
		if err != nil || got.Files != 1 || got.Same != 0 || got.Resumed != 0 || got.Bytes != int64(len(body)) || r.Counts().Connections-first != 2 {
			t.Errorf("pull: %+v, %v, %d connections", got, err, r.Counts().Connections-first)
		}
		if have := tree(t, filepath.Join(dir, "web1")); len(have) != 1 || !strings.HasSuffix(have["big"], string(body)) {
			t.Errorf("pull: %d files, or not the right one", len(have))
		}
	})
}

// cutAfter cuts the line once, when so many bytes have passed.
func cutAfter(r *rig, n int64) func(got, _ int64) {
	var once sync.Once
	return func(got, _ int64) {
		if got > n {
			once.Do(r.Cut)
		}
	}
}

func TestPullFromAHostThatGoes(t *testing.T) {
	r := newRig(t, sshtest.Options{})
	body := make([]byte, 20<<20)
	rand.Read(body)
	r.put(t, "big", string(body))
	dir := t.TempDir()
	r.dialer = NewDialer(r.opt)
	r.dialer.lim.giveUp, r.dialer.lim.backoff = 300*time.Millisecond, 10*time.Millisecond
	var once sync.Once
	_, err := r.session(t).Pull(testContext(t), "big", dir, plenty, func(got, _ int64) {
		if got > 2<<20 {
			once.Do(r.Down)
		}
	})
	wantError(t, err, Unreachable, "gave up", "continued")
	if _, err := os.Stat(filepath.Join(dir, "web1", "big")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half a file has the name of a whole one: %v", err)
	}
	if err := r.Up(); err != nil {
		t.Fatal(err)
	}
	got, err := r.session(t).Pull(testContext(t), "big", dir, plenty, nil)
	if err != nil || got.Resumed < 2<<20 || got.Bytes+got.Resumed != int64(len(body)) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestPullIsEndedByItsContext(t *testing.T) {
	r := newRig(t, sshtest.Options{})
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	if _, err := r.session(t).Pull(ctx, "x", t.TempDir(), plenty, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// What a hostile host may say of its files.
func TestListing(t *testing.T) {
	sum := strings.Repeat("0", 64)
	tests := []struct {
		name, list, sums string
		err              error
		taken, refused   int
	}{
		{"good", "dir 0 755 ./b\nfile 3 644 ./b/f\n", sum + "  ./b/f\n", nil, 2, 0},
		{"leads out", "file 3 644 ./b/../../x\nfile 1 644 ./../b\nfile 1 644 .//etc/passwd\nfile 1 644 ./other\n", "", nil, 0, 4},
		{"collides", "file 1 644 ./b/F\nfile 1 644 ./b/f\nfile 1 644 ./B/g\nfile 1 644 ./b/F\n", sum + "  ./b/F\n", nil, 1, 3},
		{"links and devices", "symbolic link: 0 0 ./b/l\ncharacter special file: 0 0 ./b/null\nodd 0 0 ?\n", "", nil, 0, 3},
		{"no hash", "file 1 644 ./b\n", "", nil, 0, 1},
		{"too much", "file 2000 644 ./b\n", "", errTooMuch, 0, 0},
		{"negative", "file -1 644 ./b\n", "", errHostileList, 0, 0},
		{"mode", "file 1 9 ./b\n", "", errHostileList, 0, 0},
		{"nonsense", "hello\n", "", errHostileList, 0, 0},
		{"bad hash", "file 1 644 ./b\n", "xyz  ./b\n", errHostileList, 0, 0},
		{"too many", strings.Repeat("odd 0 0 ?\n", maxFiles+1), "", errTooMuch, 0, 0},
		{"long name", "file 1 644 ./" + strings.Repeat("b", 70<<10) + "\n", "", errHostileList, 0, 0},
	}
	for _, tt := range tests {
		l := newListing("b", 1000)
		err := l.read(bufio.NewReaderSize(strings.NewReader(tt.list+"m SUMS\n"+tt.sums+"m END\n"), 64<<10), "m")
		if !errors.Is(err, tt.err) || err == nil && (len(l.entries) != tt.taken || l.refused != tt.refused) {
			t.Errorf("%s: %v, took %v, refused %d (%v)", tt.name, err, l.entries, l.refused, l.left)
		}
	}
	l := newListing("b", 1000)
	if err := l.read(bufio.NewReader(strings.NewReader("file 1 644 ./b\n")), "m"); err != io.EOF {
		t.Errorf("a cut list: %v", err)
	}
}

func FuzzListing(f *testing.F) {
	f.Add("dir 0 755 ./b\nfile 3 644 ./b/f\nsymbolic link: 0 0 ./b/l\nm SUMS\n" + strings.Repeat("0", 64) + "  ./b/f\nm END\n")
	f.Fuzz(func(t *testing.T, text string) {
		l := newListing("b", 1000)
		if l.read(bufio.NewReader(strings.NewReader(text)), "m") != nil {
			return
		}
		for _, e := range l.entries {
			if !filepath.IsLocal(e.name) || e.size < 0 || e.mode > 0o777 {
				t.Errorf("took %+v", e)
			}
		}
	})
}
