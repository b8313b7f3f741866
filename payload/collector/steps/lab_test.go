//go:build linux && lab

package steps

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// These tests change the machine they run on. They are for a Debian lab host
// only: go test -c -tags lab, copy the binary there, and run it as root with
// VPSCTL_LAB=1 and -test.run TestLab.

func labRig(t *testing.T) *rig {
	t.Helper()
	if os.Getenv("VPSCTL_LAB") != "1" || os.Geteuid() != 0 {
		t.Skip("changes the machine: only with VPSCTL_LAB=1, as root, on a lab host")
	}
	r := newRig(t)
	r.Env.root, r.Env.path, r.Env.clock = "", "", clock{}
	return r
}

// sh runs a line on the host and returns what it prints.
func (r *rig) sh(line string) string {
	r.t.Helper()
	cmd := exec.Command("/bin/sh", "-c", line)
	cmd.Env = append(os.Environ(), "PATH="+searchPath, "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("%s: %v: %s", line, err, out)
	}
	return strings.TrimSpace(string(out))
}

const labPackages = `dpkg-query -W -f '${binary:Package} ${db:Status-Abbrev} ${Version}\n'; apt-mark showmanual`

func TestLabPackages(t *testing.T) {
	r := labRig(t)
	before := r.sh(labPackages)
	got := r.do(pkgs("tmux", "jq", "bash"), wire.Changed)
	t.Log(got.Reason, r.undos[0], r.notes)
	r.sh("tmux -V && jq --version")
	took := time.Hour
	for range 3 { // others may be at work on the machine
		start := time.Now()
		r.do(pkgs("tmux", "jq", "bash"), wire.OK)
		took = min(took, time.Since(start))
	}
	if t.Log("a check that holds takes", took); took > 500*time.Millisecond {
		t.Error("that is too long")
	}
	r.revert()
	if after := r.sh(labPackages); after != before {
		t.Errorf("after undo:\n%s\nbefore:\n%s", after, before)
	}
	r.sh(`test -z "$(dpkg --audit)"`)
}

// What systemd says itself is what systemctl says.
func TestLabUnit(t *testing.T) {
	r := labRig(t)
	r.sh("systemctl mask -q lab-masked.service; printf '[Service]\\nType=oneshot\\nExecStart=false\\n' >/run/systemd/system/lab-fails.service; systemctl start lab-fails || true")
	defer r.sh("systemctl unmask -q lab-masked.service; rm /run/systemd/system/lab-fails.service; systemctl reset-failed lab-fails; systemctl daemon-reload")
	for _, name := range []string{"ssh", "ssh.service", "sshd", "systemd-journald", "getty@tty1", "no-such-unit", "lab-masked", "lab-fails", "systemd-tmpfiles-clean"} {
		got, ok := r.Env.askUnit(name)
		out, err := r.Env.systemctl(t.Context(), "show", "-p", strings.Join(unitProperties, ","), "--", strings.TrimSuffix(name, ".service")+".service")
		if err != nil {
			t.Fatal(err)
		}
		if want := parseUnit(out); !ok || got != want {
			t.Errorf("%s: %+v, %v; systemctl says %+v", name, got, ok, want)
		}
	}
	for _, name := range []string{"", "a.timer", "a b", "a@", "../x", "-.mount"} {
		if u, ok := r.Env.askUnit(name); ok {
			t.Errorf("%q was asked for: %+v", name, u)
		}
	}
}

func TestLabUnknownPackage(t *testing.T) {
	r := labRig(t)
	got := r.do(pkgs("no-such-package-here"), wire.Failed)
	r.has(unknownPackage, got.Reason)
	if got.Retryable || got.Hint == "" || len(r.undos) != 0 {
		t.Errorf("%+v", got)
	}
	// apt would take the dot for any letter.
	r.has(unknownPackage, r.do(pkgs("tmu."+"x9"), wire.Failed).Reason)
}

func TestLabHalfConfigured(t *testing.T) {
	r := labRig(t)
	before := r.sh(labPackages)
	r.sh("apt-get update -q; cd /var/cache/apt/archives && apt-get download -q lsof && dpkg --unpack lsof_*.deb && rm lsof_*.deb")
	r.do(pkgs("lsof"), wire.Changed)
	r.has("repairing", strings.Join(r.notes, " "))
	r.sh("dpkg-query -W -f '${db:Status-Status}' lsof | grep -x installed; apt-get purge -q -y lsof liblsof0")
	if after := r.sh(labPackages); after != before {
		t.Error("the host is not as before")
	}
}

func TestLabWaitsForAnother(t *testing.T) {
	r := labRig(t)
	me, _ := os.Executable()
	r.sh("systemd-run -q --unit=steps-holder -E STEPS_TEST_LOCK=/var/lib/dpkg/lock-frontend sh -c 'sleep 7 | " + me + "'")
	for exists("/run/systemd/transient/steps-holder.service") {
		if pid, _ := posixHolder("/var/lib/dpkg/lock-frontend"); pid != 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	r.do(pkgs("tree"), wire.Changed)
	defer r.revert()
	if len(r.waits) < 3 || !strings.Contains(r.waits[0].Holder, "(steps-holder.service)") || !r.waits[len(r.waits)-1].Done {
		t.Errorf("%+v", r.waits)
	}
}

// A mirror that cannot be reached does not stop what is installed or known.
func TestLabBrokenMirror(t *testing.T) {
	r := labRig(t)
	r.sh("apt-get update -q; ls /etc/apt/sources.list.d; mv /etc/apt/sources.list.d /etc/apt/off.d; mv /etc/apt/sources.list /etc/apt/off.list || true; mkdir /etc/apt/sources.list.d")
	defer r.sh("rm -r /etc/apt/sources.list.d; mv /etc/apt/off.d /etc/apt/sources.list.d; mv /etc/apt/off.list /etc/apt/sources.list || true; apt-get update -q")
	r.sh("echo 'deb [trusted=yes] http://127.0.0.1:9/x trixie main' >/etc/apt/sources.list.d/broken.list")
	got := r.do(pkgs("tree"), wire.Failed)
	r.has("the network failed", got.Reason)
	if !got.Retryable {
		t.Errorf("%+v", got)
	}
	r.do(pkgs("bash"), wire.OK)
}

func TestLabFullDisk(t *testing.T) {
	r := labRig(t)
	r.sh("apt-get update -q; mkdir -p /var/cache/apt/archives && mount -t tmpfs -o size=16k none /var/cache/apt/archives && mkdir -p /var/cache/apt/archives/partial")
	defer r.sh("umount /var/cache/apt/archives")
	got := r.do(pkgs("tree"), wire.Failed)
	r.has(diskFull, got.Reason)
	if got.Hint == "" || got.Retryable {
		t.Errorf("%+v", got)
	}
}

func TestLabTransactionOutlivesCancel(t *testing.T) {
	r := labRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	r.Env.Out = func(_ string, b []byte) {
		if strings.Contains(string(b), "npacking") {
			cancel()
		}
	}
	s := pkgs("tree")
	if got := Do(ctx, r.Env, &s); got.Status != wire.Changed || ctx.Err() == nil {
		t.Errorf("%+v, cancelled %v", got, ctx.Err())
	}
	r.sh("tree --version")
	r.revert()
}

func TestLabService(t *testing.T) {
	r := labRig(t)
	unit := "/etc/systemd/system/steps-test.service"
	r.do(fileStep(wire.File{Path: unit, Content: []byte("[Service]\nExecStart=sleep 1000\nExecReload=true\n[Install]\nWantedBy=multi-user.target\n")}), wire.Changed)
	s := wire.Step{Name: "s", Service: &wire.Service{Name: "steps-test", Enabled: yes(), State: "running"}}
	r.do(s, wire.Changed)
	r.sh("systemctl is-active steps-test && systemctl is-enabled steps-test")
	start := time.Now()
	r.do(s, wire.OK)
	t.Log("a check that holds takes", time.Since(start))
	for _, h := range []wire.Handler{{Reload: "steps-test"}, {Restart: "steps-test"}, {Reload: "ssh"}} {
		if err := Handle(t.Context(), r.Env, h); err != nil {
			t.Error(err)
		}
	}
	r.revert()
	r.sh("! systemctl is-active steps-test && ! test -e " + unit + " && systemctl daemon-reload")
}

func TestLabServiceThatBreaks(t *testing.T) {
	r := labRig(t)
	r.do(fileStep(wire.File{Path: "/etc/systemd/system/steps-test.service", Content: []byte("[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=sh -c 'echo the reason is here; exit 3'\n")}), wire.Changed)
	got := r.do(wire.Step{Name: "s", Service: &wire.Service{Name: "steps-test", State: "running"}}, wire.Failed)
	r.has("the reason is here", got.Stderr)
	r.revert()
	r.sh("systemctl daemon-reload; systemctl reset-failed")
	r.has("no unit", r.do(wire.Step{Name: "s", Service: &wire.Service{Name: "no-such", State: "running"}}, wire.Failed).Reason)
}

const labAccounts = "cat /etc/passwd /etc/group /etc/gshadow; cut -d: -f1,2 /etc/shadow; ls -A /home"

func TestLabUser(t *testing.T) {
	r := labRig(t)
	r.Secret = func(string) (string, bool) { return `Pa:ss "w$rd'`, true }
	r.ConnectionKey = testKey(1) + " me"
	before := r.sh(labAccounts)
	u := wire.User{Name: "stepsdev", Group: "stepsgroup", Groups: []string{"sudo", "audio"}, Shell: "/bin/bash",
		AuthorizedKeys: []string{"@connection", "@root"}, Password: "pw", MustChange: true}
	got := r.do(userStep(u), wire.Changed)
	r.has("!vpsctl", r.sh("getent shadow stepsdev"))
	r.has("27(sudo)", r.sh("id stepsdev"))
	if s := r.sh("stat -c '%a %U %G' /home/stepsdev/.ssh /home/stepsdev/.ssh/authorized_keys"); s != "700 stepsdev stepsgroup\n600 stepsdev stepsgroup" {
		t.Error(s)
	}
	r.sh("sshd -T -C user=stepsdev,host=x,addr=10.0.0.1 >/dev/null")
	if err := got.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.has("password must be changed", r.sh("chage -l stepsdev"))
	r.sh(`perl -e '$h = (getpwnam("stepsdev"))[1]; exit !(crypt($ARGV[0], $h) eq $h)' 'Pa:ss "w$rd'"'"`)
	r.do(userStep(u), wire.OK)
	r.sh("systemd-run -q -p Type=exec --uid=stepsdev --unit=steps-sleeper sleep 1000")
	err := Revert(t.Context(), r.Env, r.undos[0])
	if err == nil || !strings.Contains(fmt.Sprint(err), "used by process") {
		t.Errorf("removed a user at work: %v", err)
	}
	r.sh("systemctl stop steps-sleeper")
	r.revert()
	if after := r.sh(labAccounts); after != before {
		t.Errorf("after undo:\n%s\nbefore:\n%s", after, before)
	}
}

func TestLabUserThatWasThere(t *testing.T) {
	r := labRig(t)
	r.ConnectionKey = testKey(1)
	r.sh("useradd -m -s /bin/sh stepsold && echo stepsold:secret-word | chpasswd")
	defer r.sh("userdel -r stepsold 2>&1")
	before := r.sh(labAccounts)
	u := wire.User{Name: "stepsold", Groups: []string{"audio", "stepsnew"}, Shell: "/bin/bash", Comment: "Some One", AuthorizedKeys: []string{"@connection"}, Password: "pw"}
	r.Secret = func(string) (string, bool) { return "another-word", true }
	if got := r.do(userStep(u), wire.Changed); got.Finish != nil {
		t.Error("a password for a user who was there")
	}
	r.do(userStep(u), wire.OK)
	r.revert()
	if after := r.sh(labAccounts); after != before {
		t.Errorf("after undo:\n%s\nbefore:\n%s", after, before)
	}
}

func TestLabPlantedBashrc(t *testing.T) {
	r := labRig(t)
	r.sh("useradd -m stepsbad && ln -sf /etc/shadow /home/stepsbad/.bashrc && ln -s /etc /home/stepsbad/.ssh && ln -s /etc/cron.d /home/stepsbad/d && chown -h stepsbad /home/stepsbad/.bashrc /home/stepsbad/.ssh /home/stepsbad/d")
	defer r.sh("userdel -r stepsbad 2>&1")
	before := r.sh("sha256sum /etc/shadow; ls -la /etc/cron.d; stat -c '%a %U' /etc /etc/shadow; ls /etc | wc -l")
	r.ConnectionKey = testKey(1)
	for _, s := range []wire.Step{
		fileStep(wire.File{Path: "/home/stepsbad/.bashrc", Content: []byte("x")}),
		fileStep(wire.File{Path: "/home/stepsbad/d/job", Content: []byte("* * * * * root true\n")}),
		{Name: "as", As: "stepsbad", File: &wire.File{Path: "/home/stepsbad/.bashrc", Content: []byte("x")}},
		userStep(wire.User{Name: "stepsbad", AuthorizedKeys: []string{"@connection"}}),
	} {
		r.has("symbolic link", r.do(s, wire.Failed).Reason)
	}
	if after := r.sh("sha256sum /etc/shadow; ls -la /etc/cron.d; stat -c '%a %U' /etc /etc/shadow; ls /etc | wc -l"); after != before {
		t.Errorf("before %s, after %s", before, after)
	}
	r.do(wire.Step{Name: "run", As: "stepsbad", Run: &wire.Run{Script: "#!/bin/bash\nid -un; echo $HOME; ! cat /etc/shadow"}}, wire.Changed)
	r.has("stepsbad\n/home/stepsbad\n", r.out.String())
}

// A transaction that is killed in its middle is undone from the record that
// was written before it, and can as well be brought to its end.
func TestLabKilledInTheMiddle(t *testing.T) {
	t.Run("undone", func(t *testing.T) { killedInTheMiddle(t, false) })
	t.Run("done again", func(t *testing.T) { killedInTheMiddle(t, true) })
}

func killedInTheMiddle(t *testing.T, again bool) {
	r := labRig(t)
	before := r.sh(labPackages)
	ctx, cancel := context.WithCancel(t.Context())
	run := r.Env.Run
	r.Env.Run = func(with context.Context, cmd *exec.Cmd, keep bool) error {
		if keep {
			with = ctx // killed, as cancel --now does
		}
		return run(with, cmd, false)
	}
	r.Env.Out = func(_ string, b []byte) {
		if strings.Contains(string(b), "Unpacking libgtk") {
			cancel()
		}
	}
	s := pkgs("xterm", "libgtk-3-0t64")
	if got := Do(t.Context(), r.Env, &s); got.Status != wire.Failed {
		t.Fatalf("%+v", got)
	}
	r.sh(`test -n "$(dpkg --audit)"`)
	r.Env.Run = run
	if again {
		r.Env.Out = r.say
		r.do(s, wire.Changed)
		r.sh("dpkg-query -W -f '${db:Status-Abbrev}' xterm | grep -x 'ii '")
	}
	r.revert()
	if after := r.sh(labPackages); after != before {
		t.Errorf("after undo:\n%s\nbefore:\n%s", after, before)
	}
	r.sh(`test -z "$(dpkg --audit)"; apt-get check -q`)
}

// A file that does not fit leaves the old one whole and nothing beside it.
func TestLabFileOnAFullDisk(t *testing.T) {
	r := labRig(t)
	r.sh("mkdir -p /mnt/steps && mount -t tmpfs -o size=64k none /mnt/steps && echo old >/mnt/steps/f")
	defer r.sh("umount /mnt/steps && rmdir /mnt/steps")
	got := r.do(fileStep(wire.File{Path: "/mnt/steps/f", Content: make([]byte, 200<<10)}), wire.Failed)
	r.has("no space left", got.Reason)
	if got.Hint == "" || r.sh("cat /mnt/steps/f; ls -A /mnt/steps") != "old\nf" {
		t.Errorf("%+v", got)
	}
}
