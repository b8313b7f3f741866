package remote

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vpsctl/vpsctl/payload"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/remote/sshtest"
)

func TestVerbs(t *testing.T) {
	r := runRig(t, sshtest.Options{})
	s := r.session(t)
	f, err := s.Facts(testContext(t))
	if err != nil || f.Hostname != "fake" || f.OS != "debian-13" {
		t.Errorf("facts %+v, %v", f, err)
	}
	if err := s.Run(testContext(t), testPlan(), func([]byte, *wire.Event) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Remote(testContext(t), "report", []string{testRun}, bytes.NewReader([]byte("{}"))); err != nil {
		t.Error(err)
	}
	if text, _ := os.ReadFile(r.state("runs/" + testRun + "/report")); string(text) != "{}" {
		t.Errorf("the report arrived as %q", text)
	}
	_, err = s.Remote(testContext(t), "report", []string{"none"}, nil)
	if !errors.Is(err, ErrNoRun) {
		t.Errorf("got %v, want ErrNoRun", err)
	}
	_, err = s.Remote(testContext(t), "flood", nil, nil)
	wantError(t, err, Hostile, "over")
	_, err = s.Remote(testContext(t), "busy", nil, nil)
	if e := wantError(t, err, Locked); e.Lock == nil || e.Lock.RunID != "other" {
		t.Errorf("lock %+v", e.Lock)
	}
	_, err = s.Remote(testContext(t), "nonsense", nil, nil)
	wantError(t, err, Local, "usage")
	if n := r.Counts().Connections; n != 1 {
		t.Errorf("%d connections", n)
	}
}

// The report is made when the end has come, and left on the host by the same
// connection, also when that is another one than the run began with.
func TestReportIsLeftOnTheHost(t *testing.T) {
	for _, cut := range []int{100, 5, 8, 11} { // the 8th to come is the end, late output follows it
		r := runRig(t, sshtest.Options{})
		r.CutAfterEvent(cut)
		s := r.session(t)
		seen := 0
		s.Report = func() []byte {
			if seen < 8 {
				t.Errorf("asked for the report after %d events", seen)
			}
			return []byte(`{"schema":1}`)
		}
		if err := s.Run(testContext(t), testPlan(), func([]byte, *wire.Event) error { seen++; return nil }); err != nil {
			t.Fatal(err)
		}
		s.Close()      // nobody waits for the host to have it: what was sent arrives all the same
		if cut == 11 { // the line broke at the end: what the host had read by then is its matter
			continue
		}
		waitFor(t, func() bool {
			text, err := os.ReadFile(r.state("runs/" + testRun + "/report"))
			return err == nil && string(text) == `{"schema":1}`
		})
	}
}

func TestUpload(t *testing.T) {
	facts := func(t *testing.T, r *rig) error {
		_, err := r.session(t).Facts(testContext(t))
		return err
	}
	t.Run("without an sftp subsystem", func(t *testing.T) {
		r := runRig(t, sshtest.Options{NoSFTP: true})
		if err := facts(t, r); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(r.verbose(), "no sftp subsystem") {
			t.Errorf("said %q", r.verbose())
		}
	})
	t.Run("through sudo", func(t *testing.T) {
		r := runRig(t, sshtest.Options{Sudo: true})
		r.host.Become = true
		if err := facts(t, r); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("a changed collector is not run", func(t *testing.T) {
		r := runRig(t, sshtest.Options{})
		b := r.collectors(t, fakeCollector)
		if err := facts(t, r); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(r.state("bin/"+b.SHA256), []byte("#!/bin/sh\necho '{}'\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := r.session(t).Facts(testContext(t))
		if err != nil || f.Hostname != "fake" {
			t.Errorf("facts %+v, %v: somebody else's program was run", f, err)
		}
	})
	t.Run("a link is not run", func(t *testing.T) {
		r := runRig(t, sshtest.Options{})
		b := r.collectors(t, fakeCollector)
		if err := facts(t, r); err != nil {
			t.Fatal(err)
		}
		name := r.state("bin/" + b.SHA256)
		if err := errors.Join(os.Rename(name, name+".real"), os.Symlink(name+".real", name), facts(t, r)); err != nil {
			t.Fatal(err)
		}
		if st, err := os.Lstat(name); err != nil || !st.Mode().IsRegular() {
			t.Errorf("%v, %v", st.Mode(), err)
		}
	})
	t.Run("a folder others can write", func(t *testing.T) {
		r := runRig(t, sshtest.Options{})
		if err := facts(t, r); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(r.state("bin"), 0o777); err != nil {
			t.Fatal(err)
		}
		wantError(t, facts(t, r), Refused, "others can change", "chmod go-w", r.state("bin"))
	})
	t.Run("a file system that runs nothing", func(t *testing.T) {
		r := runRig(t, sshtest.Options{})
		r.collectors(t, "\x7fELF not for this machine")
		wantError(t, facts(t, r), Refused, "does not run the collector", "noexec")
	})
	t.Run("damaged on the way", func(t *testing.T) {
		r := runRig(t, sshtest.Options{})
		b := binary(t, fakeCollector)
		b.Gzip = binary(t, fakeCollector+"#").Gzip
		r.opt.Collector = func(string) (payload.Binary, error) { return b, nil }
		wantError(t, facts(t, r), Refused, "not what was sent")
	})
	t.Run("another CPU", func(t *testing.T) {
		r := runRig(t, sshtest.Options{})
		r.opt.Collector = func(string) (payload.Binary, error) { return payload.Binary{}, payload.ErrArch }
		wantError(t, facts(t, r), Unsupported, "CPU", "amd64 or arm64")
	})
	t.Run("a full disk", func(t *testing.T) {
		s := &Session{h: newRig(t, sshtest.Options{}).host}
		e := s.unsettled([]string{"FAILED"}, "gzip: stdout: No space left on device\n")
		wantError(t, e, Refused, "disk is full", "free some space")
	})
}

// A collector is hashed once, and again when it was written, also when its size
// and times say that it was not. One that is not what it was is not run.
func TestCollectorIsHashedWhenItWasWritten(t *testing.T) {
	tools := t.TempDir()
	count := "#!/bin/sh\necho >>\"$HOME/hashed\"\nexec /usr/bin/sha256sum \"$@\"\n"
	if err := errors.Join(os.Chmod(filepath.Dir(tools), 0o755), os.Chmod(tools, 0o755), os.WriteFile(filepath.Join(tools, "sha256sum"), []byte(count), 0o755)); err != nil {
		t.Fatal(err)
	}
	r := runRig(t, sshtest.Options{Env: []string{"PATH=" + tools + ":/usr/local/bin:/usr/bin:/bin"}})
	b := r.collectors(t, fakeCollector)
	name := r.state("bin/" + b.SHA256)
	hashed := func() int {
		t.Helper()
		f, err := r.session(t).Facts(testContext(t))
		if err != nil || f.Hostname != "fake" {
			t.Fatalf("facts %+v, %v", f, err)
		}
		log := r.state("../../../hashed")
		text, _ := os.ReadFile(log)
		os.Remove(log)
		return len(text)
	}
	for i, want := range []int{2, 0, 0} { // put there, and looked at for the first time
		if n := hashed(); n != want {
			t.Errorf("hashed %d times at use %d, want %d", n, i+1, want)
		}
	}
	st, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	other := []byte(strings.Replace(fakeCollector, `"fake"`, `"evil"`, 1))
	if err := errors.Join(os.WriteFile(name, other, 0o755), os.Chtimes(name, st.ModTime(), st.ModTime())); err != nil {
		t.Fatal(err)
	}
	if n := hashed(); n < 1 {
		t.Error("a collector that was written was not hashed")
	}
	if n := hashed(); n > 1 {
		t.Errorf("then it was hashed %d times", n)
	}
	if err := os.WriteFile(r.state("bin/."+b.SHA256+".ok"), []byte("a note of somebody else\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := hashed(); n != 1 {
		t.Errorf("with a note that does not fit hashed %d times", n)
	}
}

// Where files of the home cannot be run, the collector gets a folder of its own
// where they can; when that is gone, another one.
func TestHomeIsMountedNoexec(t *testing.T) {
	tmp := t.TempDir()
	if err := os.Chmod(filepath.Dir(tmp), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(tmp, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, sshtest.Options{Env: []string{"XDG_RUNTIME_DIR=" + tmp}})
	r.collectors(t, strings.Replace(fakeCollector, "\n", "\ncase $0 in */.local/*) exit 126;; esac\n", 1))
	for range 2 {
		for range 2 {
			if _, err := r.session(t).Facts(testContext(t)); err != nil {
				t.Fatal(err)
			}
		}
		found, _ := filepath.Glob(filepath.Join(tmp, "vpsctl-*"))
		if len(found) != 1 {
			t.Fatalf("got %v", found)
		}
		if st, err := os.Stat(found[0]); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%v, %v", st, err)
		}
		if err := os.RemoveAll(found[0]); err != nil {
			t.Fatal(err)
		}
	}
}
