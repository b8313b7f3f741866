package phases

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// stand puts a script in the place of a program; programs are looked for in the folder bin first.
func (h host) stand(name, body string) {
	h.t.Helper()
	write(h.t, h.path("bin/"+name), "#!/bin/sh\n"+body+"\n")
	if err := os.Chmod(h.path("bin/"+name), 0o755); err != nil {
		h.t.Fatal(err)
	}
}

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

// TestSwapFile: made once, with nobody's eyes on it, used at boot, and gone again; one that is somebody else's stays.
// What touches the kernel is stood in for.
func TestSwapFile(t *testing.T) {
	h := newHost(t, "desktop-install")
	h.stand("fallocate", `test "$1 $2" = "-l 2G" && : >"$3"`)
	h.stand("mkswap", `echo swap >>"$1"`)
	h.stand("systemctl", `echo "$*" >>"$VPSCTL_ROOT/calls"
case $* in
"enable --now swapfile.swap") : >"$VPSCTL_ROOT/used" ;;
"disable --now swapfile.swap") rm "$VPSCTL_ROOT/used" ;;
"-q is-active swapfile.swap" | "-q is-enabled swapfile.swap") test -e "$VPSCTL_ROOT/used" ;;
esac`)
	const unit = "etc/systemd/system/swapfile.swap"
	gone := func(names ...string) {
		t.Helper()
		for _, name := range names {
			if _, err := os.Lstat(h.path(name)); !os.IsNotExist(err) {
				t.Errorf("%s is there: %v", name, err)
			}
		}
	}
	write(t, h.path("etc/systemd/system/x"), "")
	write(t, h.path("swapfile"), "somebody's")
	h.sh(0, "swap.sh", "remove")
	if got := h.read("swapfile"); got != "somebody's" {
		t.Errorf("somebody's swap file: %q", got)
	}
	gone("calls")
	h.sh(1, "swap.sh", "ask")
	if err := os.Rename(h.path("swapfile"), h.path("swapfile.new")); err != nil { // as if it was interrupted
		t.Fatal(err)
	}
	h.sh(0, "swap.sh", "make")
	h.sh(0, "swap.sh", "ask")
	h.sh(0, "swap.sh", "make")
	if st, err := os.Stat(h.path("swapfile")); err != nil || st.Mode().Perm() != 0o600 || h.read("swapfile") != "swap\n" {
		t.Errorf("the swap file: %v %v %q", st.Mode(), err, h.read("swapfile"))
	}
	if want := "\n[Swap]\nWhat=" + h.path("swapfile") + "\n\n[Install]\nWantedBy=swap.target\n"; !strings.HasSuffix(h.read(unit), want) {
		t.Errorf("the unit: %s", h.read(unit))
	}
	gone("swapfile.new")
	if err := os.Remove(h.path("used")); err != nil { // somebody has switched it off
		t.Fatal(err)
	}
	h.sh(1, "swap.sh", "ask")
	h.sh(0, "swap.sh", "make")
	h.sh(0, "swap.sh", "remove")
	gone(unit, "swapfile", "swapfile.new", "used")
	h.sh(1, "swap.sh", "ask")
	write(t, h.path("swapfile.new"), "")
	h.sh(0, "swap.sh", "remove")
	gone("swapfile.new")
}

// TestAudit: where the kernel can audit, and retention that is set, asked for and taken back.
func TestAudit(t *testing.T) {
	h := newHost(t, "user-creation")
	possible := func(virt, cmdline string, want int, says string) {
		t.Helper()
		h.stand("systemd-detect-virt", "exit "+virt)
		write(t, h.path("proc/cmdline"), cmdline)
		if got := strings.TrimSpace(h.sh(want, "audit.sh", "possible")); got != says {
			t.Errorf("%q: %q", cmdline, got)
		}
	}
	const quiet = "root=/dev/vda1 ro quiet"
	possible("0", quiet, 1, "the kernel does not audit for a container")
	possible("1", quiet, 1, "the kernel was built without audit")
	write(t, h.path("proc/self/loginuid"), "0")
	possible("1", quiet+"\n", 0, "")
	possible("1", quiet+" audit=1 audit_backlog_limit=8192 noaudit=0\n", 0, "")
	possible("1", quiet+" audit=0\n", 1, "the kernel was started with audit=0")
	possible("1", "audit=off "+quiet, 1, "the kernel was started with audit=0")

	const conf = "etc/audit/auditd.conf"
	before := "log_file = /var/log/audit/audit.log\nmax_log_file = 8\nnum_logs = 5\nmax_log_file_action = KEEP_LOGS\nspace_left = 75\n"
	write(t, h.path(conf), before)
	h.sh(1, "audit.sh", "ask")
	h.sh(0, "audit.sh", "set")
	h.sh(0, "audit.sh", "ask")
	want := "log_file = /var/log/audit/audit.log\nmax_log_file = 10\nnum_logs = 30\nmax_log_file_action = ROTATE\nspace_left = 75\n"
	if got := h.read(conf); got != want {
		t.Errorf("set: %q", got)
	}
	h.sh(0, "audit.sh", "set") // the copy stays the first
	h.sh(0, "audit.sh", "undo")
	if got := h.read(conf); got != before {
		t.Errorf("undone: %q", got)
	}
	h.sh(0, "audit.sh", "undo")
	h.sh(1, "audit.sh", "ask")
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
