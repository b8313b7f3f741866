package report

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestKilledWhileWriting lets another process write a record, kills it, and
// goes on where it was.
func TestKilledWhileWriting(t *testing.T) {
	events := journal(t, "web1.jsonl")
	if dir := os.Getenv("VPSCTL_TEST_WRITE"); dir != "" {
		writeAndWait(t, Store{Dir: dir}, events[:20])
		return
	}
	s := Store{Dir: t.TempDir()}
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledWhileWriting$", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), "VPSCTL_TEST_WRITE="+s.Dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Errorf("the writer said %q, %v", line, err)
	}
	var busy *BusyError
	if _, err := s.Attach(""); !errors.As(err, &busy) || busy.PID != cmd.Process.Pid {
		t.Errorf("while it lives: %v", err)
	}
	if e, err := s.Entry(""); err != nil || e.State != StateRunning {
		t.Errorf("while it lives: %v, %v", e.State, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed, as was asked for
	if e, err := s.Entry(""); err != nil || e.State != StateKilled {
		t.Errorf("after its death: %v, %v", e.State, err)
	}
	goOn(t, s, events)
}

func writeAndWait(t *testing.T, s Store, events []recorded) {
	d := create(t, s, Run{ID: testRun, Verb: "provision", Hosts: []HostRun{{Host: "web1"}}})
	w, err := d.Host("web1")
	if err != nil {
		t.Fatal(err)
	}
	for i := range events {
		if err := w.Append(events[i].raw, &events[i].e); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(d) // what is collected holds no lock
}

func goOn(t *testing.T, s Store, events []recorded) {
	d, err := s.Attach("")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	w, err := d.Host("web1")
	if err != nil {
		t.Fatal(err)
	}
	if c := w.Cursor(); c.Status != 20 || c.Output != 14 {
		t.Errorf("cursor %+v", c)
	}
	for _, e := range rest(events, w.Cursor()) {
		if err := w.Append(e.raw, &e.e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	want, _ := uncut(t, events)
	for _, name := range []string{outputFile, timingFile, resourcesFile, reportFile} {
		got, _ := os.ReadFile(filepath.Join(d.HostDir("web1"), name))
		if diff := cmp.Diff(want[name], string(got)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
