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
