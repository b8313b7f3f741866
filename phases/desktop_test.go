package phases

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSwapWanted: where a swap file is made, and why not elsewhere. The
// programs that look at the host are stand-ins.
func TestSwapWanted(t *testing.T) {
	sh := shell(t)
	for _, test := range []struct {
		name, swap string
		container  bool
		memory     int // MiB
		used, fs   string
		free       int // MiB
		code       int
		says       string
	}{
		{"small host", "auto", false, 1950, "", "ext4", 20000, 0, ""},
		{"xfs", "auto", false, 900, "", "xfs", 20000, 0, ""},
		{"off", "off", false, 1950, "", "ext4", 20000, 1, "swap is off"},
		{"container", "auto", true, 1950, "", "ext4", 20000, 1, "a container cannot have swap of its own"},
		{"large host", "auto", false, 3900, "", "ext4", 20000, 1, "there is enough memory: 3900 MiB"},
		{"swap there", "auto", false, 1950, "/dev/vda2", "ext4", 20000, 1, "there is swap already"},
		{"btrfs", "auto", false, 1950, "", "btrfs", 20000, 1, "swap files are made on ext4 and xfs only"},
		{"no room", "auto", false, 1950, "", "ext4", 8000, 1, "less than 8 GiB available on /"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			stand := func(name, body string) {
				write(t, filepath.Join(dir, name), "#!/bin/sh\n"+body+"\n")
				if err := os.Chmod(filepath.Join(dir, name), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			write(t, filepath.Join(dir, "meminfo"), fmt.Sprintf("MemTotal: %d kB\n", test.memory*1024))
			stand("systemd-detect-virt", map[bool]string{true: "exit 0", false: "exit 1"}[test.container])
			stand("swapon", "printf %s '"+test.used+"'")
			stand("findmnt", "echo "+test.fs)
			stand("df", fmt.Sprintf("echo head; echo / 0 0 %dM", test.free))
			cmd := exec.Command(sh, "builtin/desktop-install/swap.sh", "wanted", test.swap)
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "VPSCTL_PROC="+dir)
			out, _ := cmd.CombinedOutput()
			if got := cmd.ProcessState.ExitCode(); got != test.code || strings.TrimSpace(string(out)) != test.says {
				t.Errorf("exit code %d, %q", got, out)
			}
		})
	}
}

// TestAutostart: a program is hidden by one line, which goes again and leaves
// the file as it was.
func TestAutostart(t *testing.T) {
	sh := shell(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "autostart", "light-locker.desktop")
	text := "[Desktop Entry]\nType=Application\nExec=light-locker\n\n[Other]\nA=b\n"
	write(t, file, text)
	run := func(mode string) int {
		t.Helper()
		cmd := exec.Command(sh, "builtin/desktop-install/autostart.sh", mode, "light-locker", "not-there")
		cmd.Env = append(os.Environ(), "VPSCTL_XDG="+dir)
		if out, err := cmd.CombinedOutput(); err != nil && cmd.ProcessState.ExitCode() != 1 {
			t.Fatalf("%v: %s", err, out)
		}
		return cmd.ProcessState.ExitCode()
	}
	is := func() string {
		t.Helper()
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if run("ask") != 1 {
		t.Error("it was hidden from the start")
	}
	run("hide")
	run("hide")
	want := strings.Replace(text, "[Desktop Entry]\n", "[Desktop Entry]\n# vpsctl\nHidden=true\n", 1)
	if got := is(); got != want || run("ask") != 0 {
		t.Errorf("hidden: %q", got)
	}
	run("show")
	if got := is(); got != text {
		t.Errorf("shown again: %q", got)
	}
}
