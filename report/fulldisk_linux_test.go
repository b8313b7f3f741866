package report

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestOnAFullDisk runs itself in a mount namespace of its own, where a small
// tmpfs can be mounted without touching the machine.
func TestOnAFullDisk(t *testing.T) {
	if dir := os.Getenv("VPSCTL_TEST_SMALL_DISK"); dir != "" {
		onAFullDisk(t, dir)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestOnAFullDisk$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), "VPSCTL_TEST_SMALL_DISK="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}}
	out, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Skipf("no namespaces for users here: %v", err)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("%s", out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func onAFullDisk(t *testing.T, dir string) {
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Skipf("no mounts here: %v", err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=128k"); err != nil {
		t.Skipf("no tmpfs here: %v", err)
	}
	events := journal(t, "web1.jsonl")
	want, _ := uncut(t, events)
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 92<<10), 0o600); err != nil { // room for some events, not for all
		t.Fatal(err)
	}
	store := Store{Dir: dir}
	d, err := store.Create(Run{ID: testRun, Verb: "provision", Hosts: []HostRun{{Host: "web1"}, {Host: "web2"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"web1", "web2"} {
		w, err := d.Host(host)
		if err == nil {
			for i := range events {
				if e := w.Append(events[i].raw, &events[i].e); e != nil {
					err = e
				}
			}
			err = errors.Join(err, w.Finish())
		}
		var own *Error
		if !errors.As(err, &own) || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), dir) || own.Hint() == "" {
			t.Errorf("%s: %v", host, err)
		}
	}
	big := strings.Repeat("x", 64<<10)
	if err := d.Update(func(r *Run) { r.Argv = []string{big} }); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("run.json: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	afterwards(t, store, events, want)
}

// afterwards there is room again: what is there is valid, the rest is fetched.
func afterwards(t *testing.T, store Store, events []recorded, want map[string]string) {
	d, err := store.Attach("")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, host := range []string{"web1", "web2"} {
		if _, err := d.Record(host); err != nil {
			t.Errorf("%s as it was left: %v", host, err)
		}
		w, err := d.Host(host)
		if err != nil {
			t.Fatal(err)
		}
		if host == "web1" && w.Cursor().Status == 0 {
			t.Error("nothing of web1 had been kept")
		}
		for _, e := range rest(events, w.Cursor()) {
			if err := w.Append(e.raw, &e.e); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Finish(); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{outputFile, timingFile, resourcesFile, reportFile} {
			got, _ := os.ReadFile(filepath.Join(d.HostDir(host), name))
			if diff := cmp.Diff(strings.ReplaceAll(want[name], "web1", host), strings.ReplaceAll(string(got), "web1", host)); diff != "" {
				t.Errorf("%s/%s: %s", host, name, diff)
			}
		}
	}
	if err := d.Update(func(r *Run) { r.Finished = time.Now() }); err != nil {
		t.Error(err)
	}
}
