//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/e2e/lab"
)

// crashDir, when set, makes this test binary a process that builds a lab there and waits to be killed.
const crashDir = "VPSCTL_E2E_CRASH_DIR"

func TestHelperCrashingLab(t *testing.T) {
	dir := os.Getenv(crashDir)
	if dir == "" {
		t.Skip("runs only as a process of TestLabCrashIsCleanedUp")
	}
	fmt.Println("building") // the lab's leftovers may begin at any time from here on
	l, err := lab.Up(t.Context(), lab.Options{Dir: dir, N: 2, Ephemeral: true})
	try(t, err)
	fmt.Println("ready", l.ID)
	select {}
}

func TestLabCrashIsCleanedUp(t *testing.T) {
	bystander := NewLab(t, 1).Hosts[0]
	for name, die := range map[string]func(*testing.T, string, *bufio.Scanner){
		"running": func(t *testing.T, _ string, lines *bufio.Scanner) {
			for lines.Scan() && !strings.HasPrefix(lines.Text(), "ready") {
			}
		},
		"booting":    func(t *testing.T, id string, _ *bufio.Scanner) { waitFor(t, "/run/netns/vl"+id+"-lab1") },
		"networking": func(t *testing.T, id string, _ *bufio.Scanner) { waitFor(t, "/sys/class/net/vl"+id) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "lab")
			crash(t, dir, die)
			if traces(t, dir) == nil {
				t.Fatal("the crash has left nothing: this test proves nothing")
			}
			try(t, lab.Sweep(t.Context(), t.Output()))
			if left := traces(t, dir); left != nil {
				t.Errorf("left after the sweep: %q", left)
			}
			if !bystander.Running() {
				t.Error("the sweep has stopped a host of a lab that is in use")
			}
		})
	}
}

// crash runs TestHelperCrashingLab in a process of its own and kills it when die returns.
func crash(t *testing.T, dir string, die func(*testing.T, string, *bufio.Scanner)) {
	t.Helper()
	id, err := lab.IDOf(dir)
	try(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHelperCrashingLab$", "-test.v")
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	out, err := cmd.StdoutPipe()
	try(t, err)
	try(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "building" {
	}
	die(t, id, lines)
	try(t, cmd.Process.Kill())
	_ = cmd.Wait()
}

func waitFor(t *testing.T, path string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		if _, err := os.Lstat(path); err == nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("%s did not appear", path)
}

// traces lists all that the lab of that folder has left on this machine.
func traces(t *testing.T, dir string) (left []string) {
	t.Helper()
	id, err := lab.IDOf(dir)
	try(t, err)
	for _, pattern := range []string{
		dir, "/var/lib/vpsctl-lab/" + id, "/var/lib/vpsctl-lab/" + id + ".lock", "/run/netns/vl" + id + "*",
		"/sys/class/net/vl" + id + "*", "/run/systemd/nspawn/*/vl" + id + "*",
		"/sys/fs/cgroup/vpsctl-lab-" + id, "/sys/fs/cgroup/unified/vpsctl-lab-" + id,
	} {
		found, err := filepath.Glob(pattern)
		try(t, err)
		left = append(left, found...)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	try(t, err)
	tables, err := exec.CommandContext(t.Context(), "nft", "list", "tables").Output()
	try(t, err)
	for line := range strings.Lines(string(mounts) + string(tables)) {
		if strings.Contains(line, "lab/"+id) || strings.Contains(line, "lab_"+id) {
			left = append(left, line)
		}
	}
	return left
}
