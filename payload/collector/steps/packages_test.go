//go:build linux

package steps

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// fakeApt installs by adding lines to $S/installed. Each package brings
// NAME-data along. $S/known lists what the lists know, $S/mirror what an update
// adds; $S/fail, if there, is said instead of an install, once.
const fakeApt = `
verb=$1; shift; sim=; names=; ask=
while [ $# -gt 0 ]; do case $1 in -s) sim=1;; -o) case $2 in DPkg::Pre-Install-Pkgs::=*) ask=${ask:-${2#*::=}};; esac; shift;; -c) shift;; -*) ;; *) names="$names $1";; esac; shift; done
case $verb in
update) [ ! -e $S/update-fails ] || { cat $S/update-fails >&2; exit 100; }
	cat $S/mirror >>$S/known; mkdir -p $S/root/var/lib/apt/lists; touch $S/root/var/lib/apt/lists/x_Packages ;;
install) for n in $names; do
		grep -qx $n $S/known || { echo "E: Unable to locate package $n" >&2; exit 100; }
		[ -z "$sim" ] || { echo "Inst $n-data (1.0 Debian:13 [all])"; echo "Inst $n (1.0 Debian:13 [amd64])"; }
	done
	[ -z "$sim" ] || exit 0
	[ -z "$names" ] || { printf 'VERSION 3\nAPT=1\n\n'; for n in $names; do
		printf '%s - - none < 1.0 all none /x.deb\n' $n-data; printf '%s - - none < 1.0 amd64 same /x.deb\n' $n; done; } |
		sh -c "${ask:-true}" || { echo "E: Sub-process /bin/sh returned an error code (1)" >&2; exit 100; }
	if [ -e $S/fail ]; then cat $S/fail >&2; rm $S/fail; exit 100; fi
	[ ! -e $S/slow ] || { touch $S/going; while [ -e $S/slow ]; do sleep 0.02; done; }
	for n in $names; do printf "$n\tii \t\n$n-data\tii \t\n" >>$S/installed; echo "Setting up $n"; done ;;
remove|purge) for n in $names; do
		if [ -n "$sim" ]; then echo "Remv $n [1.0]"
		elif [ $verb = purge ]; then sed -i "/^$n	/d" $S/installed
		else sed -i "s/^$n	.*/$n	rc 	/" $S/installed; fi
	done
	[ -z "$sim" ] || [ ! -e $S/needs ] || echo "Remv $(cat $S/needs) [2]" ;;
esac`

func aptRig(t *testing.T) *rig {
	r := newRig(t)
	r.fake("dpkg-query", "cat $S/installed")
	r.fake("apt-get", fakeApt)
	r.fake("apt-config", "cat $S/hooks 2>/dev/null || true")
	r.fake("dpkg", `case "$*" in *--audit) cat $S/broken 2>/dev/null; exit 0;; *) rm -f $S/broken; sed -i 's/iF /ii /' $S/installed;; esac`)
	r.file("installed", "bash\tii \t\nmawk\tii \tawk\nhalf\tiF \t\n")
	r.file("known", "vim\nhalf\n")
	r.file("mirror", "newer\n")
	r.file("root/var/lib/apt/lists/a_Packages", "")
	for _, l := range append(aptLocks, dailyLock) {
		r.file("root"+l, "")
	}
	return r
}

func pkgs(names ...string) wire.Step {
	return wire.Step{Name: "p", Packages: &wire.Packages{Names: names}}
}

func TestPackagesAlreadyThere(t *testing.T) {
	r := aptRig(t)
	r.do(pkgs("bash", "awk"), wire.OK)
	if got := strings.Count(r.calls(), "\n"); got != 1 {
		t.Errorf("one question is enough, these were asked:\n%s", r.calls())
	}
}

func TestPackagesThereAndBack(t *testing.T) {
	r := aptRig(t)
	keep := r.Env.Undo
	r.Env.Undo = func(u wire.Undo, content []byte) error {
		if strings.Contains(r.read("installed"), "vim") {
			t.Error("installed before the way back was kept")
		}
		return keep(u, content)
	}
	before := r.read("installed")
	got := r.do(pkgs("bash", "vim"), wire.Changed)
	r.has("vim", got.Reason)
	r.has("Setting up vim", r.out.String())
	if r.undos[0].Data["installed"] != "vim vim-data" || len(r.undos) != 1 {
		t.Errorf("record %+v", r.undos)
	}
	if strings.Contains(r.calls(), "apt-get update") {
		t.Error("lists that are fresh were refreshed")
	}
	for _, want := range []string{"--no-upgrade --no-install-recommends -- vim\n", "DPkg::Lock::Timeout=600", "--force-confdef", "--force-confold", "APT::Cmd::Pattern-Only=true"} {
		r.has(want, r.calls())
	}
	r.do(pkgs("bash", "vim"), wire.OK)
	r.file("installed", r.read("installed")+"admins\tii \t\n")
	r.revert()
	r.revert()
	if now := r.read("installed"); now != before+"admins\tii \t\n" {
		t.Errorf("after undo %q", now)
	}
}

func TestPackagesWithWhatTheyRecommend(t *testing.T) {
	r := aptRig(t)
	s := pkgs("vim")
	s.Packages.Recommends = true
	r.do(s, wire.Changed)
	r.has("--no-upgrade --install-recommends -- vim\n", r.calls())
	if strings.Contains(r.calls(), "--no-install-recommends") {
		t.Error(r.calls())
	}
}

// What others have apt run before it begins is still run, behind our own; what
// only talks to a person is not.
func TestPackagesKeepHooksOfOthers(t *testing.T) {
	r := aptRig(t)
	r.file("hooks", "/usr/bin/apt-listchanges --apt || test $? -lt 10\n/usr/sbin/dpkg-preconfigure --apt || true\n/opt/mine \"a b\"\n")
	r.do(pkgs("vim"), wire.Changed)
	r.has("/ask.sh -o DPkg::Pre-Install-Pkgs::=/opt/mine \"a b\" --no-upgrade", r.calls())
	if calls := r.calls(); strings.Contains(calls, "preconfigure") || strings.Contains(calls, "listchanges") {
		t.Error(calls)
	}
}

// apt is told to go on only when the way back is on the disk.
func TestPackagesWithoutAWayBack(t *testing.T) {
	r := aptRig(t)
	before := r.read("installed")
	r.Env.Undo = func(wire.Undo, []byte) error { return unix.ENOSPC }
	got := r.do(pkgs("vim"), wire.Failed)
	r.has("nothing was changed", got.Reason)
	r.has("df -h", got.Hint)
	if now := r.read("installed"); now != before {
		t.Errorf("now %q", now)
	}
	if left, _ := filepath.Glob(r.path("run/apt-*")); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

func TestPackagesKeepOldConfigurationOnUndo(t *testing.T) {
	r := aptRig(t)
	r.file("installed", "vim\trc \t\n")
	r.do(pkgs("vim"), wire.Changed)
	r.file("installed", "vim\tii \t\nvim-data\tii \t\n")
	r.revert()
	if now := r.read("installed"); now != "vim\trc \t\n" {
		t.Errorf("after undo %q", now)
	}
}

func TestUndoStopsBeforeOthersGo(t *testing.T) {
	r := aptRig(t)
	r.do(pkgs("vim"), wire.Changed)
	r.file("needs", "admins-tool")
	err := Revert(t.Context(), r.Env, r.undos[0])
	if err == nil || !strings.Contains(err.Error(), "admins-tool") {
		t.Error(err)
	}
	r.has("vim\tii", r.read("installed"))
}

func TestPackagesRefreshLists(t *testing.T) {
	r := aptRig(t)
	r.do(pkgs("newer"), wire.Changed) // not known: refreshed once
	if n := strings.Count(r.calls(), "apt-get update"); n != 1 {
		t.Errorf("%d updates", n)
	}
	got := r.do(pkgs("nosuch"), wire.Failed)
	if got.Hint == "" || got.Retryable {
		t.Errorf("%+v", got)
	}
	r.has(unknownPackage, got.Reason)
	r.has("nosuch", got.Reason)
}

func TestWhenListsAreOld(t *testing.T) {
	r := aptRig(t)
	l := lists{env: r.Env}
	dir := r.path("root/var/lib/apt/lists")
	old := func(now time.Time) string {
		why, err := l.old(now)
		if err != nil {
			t.Fatal(err)
		}
		return why
	}
	now := time.Now()
	for after, want := range map[time.Duration]string{time.Hour: "", 7 * time.Hour: "older", -time.Hour: "older"} {
		if got := old(now.Add(after)); (got == "") != (want == "") {
			t.Errorf("after %v: %q", after, got)
		}
	}
	if err := os.Chtimes(dir, now.Add(-time.Hour), now.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	r.file("root/etc/apt/sources.list.d/new.sources", "")
	r.has("sources have changed", old(now))
	if err := os.Remove(filepath.Join(dir, "a_Packages")); err != nil {
		t.Fatal(err)
	}
	r.has("none", old(now))
}

func TestPackagesGoneFromTheMirror(t *testing.T) {
	r := aptRig(t)
	r.file("fail", "E: Failed to fetch http://m/vim.deb  404  Not Found [IP: 1.2.3.4 80]\n")
	r.do(pkgs("vim"), wire.Changed)
	r.has("apt-get update", r.calls())
}

func TestPackagesWithABrokenMirror(t *testing.T) {
	r := aptRig(t)
	r.file("update-fails", "E: Failed to fetch http://m/InRelease  Temporary failure resolving 'm'\n")
	r.do(wire.Step{Name: "p", Packages: &wire.Packages{Names: []string{"vim"}}}, wire.Changed) // lists fresh: not needed
	got := r.do(pkgs("newer"), wire.Failed)
	r.has("the network failed", got.Reason)
	if !got.Retryable {
		t.Error("a network failure can pass")
	}
}

func TestPackageFailuresByMessage(t *testing.T) {
	for _, c := range []struct {
		says, reason string
		retryable    bool
	}{
		{"E: You don't have enough free space in /var/cache/apt/archives/.", diskFull, false},
		{"dpkg: error: unable to write: No space left on device\nE: Sub-process /usr/bin/dpkg returned an error code (1)", diskFull, false},
		{"E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 812 (apt-get)", "lock", true},
		{"E: Failed to fetch http://m/x.deb  Could not connect to m:80 (1.2.3.4), connection timed out", "network", true},
		{"Errors were encountered while processing:\n vim\nE: Sub-process /usr/bin/dpkg returned an error code (1)", "own script", false},
		{"E: Unable to correct problems, you have held broken packages.", "fit together", false},
	} {
		r := aptRig(t)
		r.file("fail", c.says+"\n")
		got := r.do(pkgs("vim"), wire.Failed)
		r.has(c.reason, got.Reason)
		if got.Retryable != c.retryable || got.RC == nil || *got.RC != 100 {
			t.Errorf("%q: %+v", c.says, got)
		}
		r.has(lastLine(c.says), got.Stderr)
	}
}

func TestPackagesRepairFirst(t *testing.T) {
	r := aptRig(t)
	r.file("broken", "half is only half configured")
	r.do(pkgs("half"), wire.Changed)
	r.has("dpkg --force-confdef --force-confold --configure -a", r.calls())
	if strings.Contains(r.calls(), "apt-get install -q -y -o Dpkg::Use-Pty=0 -o APT::Cmd::Pattern-Only=true -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold --no-upgrade") {
		t.Error("installed what the repair had brought about")
	}
}

func TestPackageNames(t *testing.T) {
	r := aptRig(t)
	for _, bad := range []string{"vim-", "-o", "vim=1", "vi.*", "a b", "Vim", "", "vim/sid", "?essential", "v", "../x.deb"} {
		r.has("cannot be a package's name", r.do(pkgs(bad), wire.Failed).Reason)
	}
	for _, good := range []string{"g++", "libc6:i386", "python3.13", "0ad", "libstdc++6"} {
		if !isPackage(good) {
			t.Errorf("%s is refused", good)
		}
	}
}

func TestPackagesNeedAptAndRoot(t *testing.T) {
	r := aptRig(t)
	r.Root = false
	r.has("root", r.do(pkgs("vim"), wire.Failed).Reason)
	r.do(pkgs("bash"), wire.OK)
	r.Env.path = "/nonexistent"
	r.has("need apt", r.do(pkgs("bash"), wire.Failed).Reason)
}

func TestPackageTransactionIsNotKilled(t *testing.T) {
	r := aptRig(t)
	r.file("slow", "")
	ctx, cancel := context.WithCancel(t.Context())
	r.Env.Note = func(_, text string) {
		r.notes = append(r.notes, text)
		_ = os.Remove(r.path("slow")) // it may end once the note is out
	}
	go func() {
		for !r.exists("going") {
			time.Sleep(5 * time.Millisecond)
		}
		cancel()
	}()
	s := pkgs("vim")
	if got := Do(ctx, r.Env, &s); got.Status != wire.Changed {
		t.Errorf("%+v", got)
	}
	if len(r.notes) != 1 || !strings.Contains(r.notes[0], "not killed") {
		t.Errorf("notes %q", r.notes)
	}
	if got := Do(ctx, r.Env, &wire.Step{Name: "q", Packages: &wire.Packages{Names: []string{"half"}}}); got.Status != wire.Cancelled {
		t.Errorf("a step after the cancel: %+v", got)
	}
}

// A lock of another process is waited for by name, and then the step goes on.
func TestPackagesWaitForLocks(t *testing.T) {
	r := aptRig(t)
	lock := r.path("root/var/lib/dpkg/lock-frontend")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "STEPS_TEST_LOCK="+lock)
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "locked\n" {
		t.Fatal(line, err)
	}
	polls := 0
	r.Env.clock.sleep = func(context.Context, time.Duration) error {
		if polls++; polls == 25 { // 12 s of waiting
			in.Close()
			return cmd.Wait()
		}
		return nil
	}
	r.do(pkgs("vim"), wire.Changed)
	if len(r.waits) != 4 { // at 0, 5, 10 s, and the end
		t.Fatalf("said %d times: %+v", len(r.waits), r.waits)
	}
	first, last := r.waits[0], r.waits[3]
	if first.For != "apt lock /var/lib/dpkg/lock-frontend" || !strings.Contains(first.Holder, "pid ") || !strings.Contains(first.Holder, "steps.test") {
		t.Errorf("first: %+v", first)
	}
	if !last.Done || last.For != first.For {
		t.Errorf("last: %+v", last)
	}
}

func TestPackagesWaitForDailyUpdates(t *testing.T) {
	r := aptRig(t)
	f, err := os.OpenFile(r.path("root"+dailyLock), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	r.Env.clock.sleep = func(context.Context, time.Duration) error { return f.Close() }
	r.onRun = func(cmd *exec.Cmd) {
		if strings.HasSuffix(cmd.Path, "apt-get") {
			if probe, err := os.Open(r.path("root" + dailyLock)); err != nil || unix.Flock(int(probe.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
				t.Error("the daily updates are not kept out meanwhile")
			}
		}
	}
	r.do(pkgs("vim"), wire.Changed)
	if len(r.waits) != 2 || !strings.Contains(r.waits[0].For, "daily_lock") || !strings.Contains(r.waits[0].Holder, "steps.test") {
		t.Errorf("%+v", r.waits)
	}
	again, err := os.Open(r.path("root" + dailyLock))
	if err != nil || unix.Flock(int(again.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		t.Error("the lock was kept after the step")
	}
	again.Close()
}

func TestPackagesWaitForCloudInit(t *testing.T) {
	r := aptRig(t)
	r.file("root/run/cloud-init/enabled", "")
	r.fake("systemctl", "printf 'ActiveState=inactive\\nJob=17\\n'")
	r.Env.clock.sleep = func(context.Context, time.Duration) error {
		r.file("root/run/cloud-init/result.json", "{}")
		return nil
	}
	r.do(pkgs("vim"), wire.Changed)
	if len(r.waits) != 2 || r.waits[0].For != "cloud-init" {
		t.Errorf("%+v", r.waits)
	}
}

func TestStoppedWhileWaiting(t *testing.T) {
	r := aptRig(t)
	f, err := os.OpenFile(r.path("root"+dailyLock), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.Env.clock.sleep = func(ctx context.Context, _ time.Duration) error { cancel(); return ctx.Err() }
	s := pkgs("vim")
	got := Do(ctx, r.Env, &s)
	if got.Status != wire.Cancelled || !strings.Contains(got.Reason, "daily_lock") || len(r.undos) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{"dev": true, "a": true, "dev-1_x": true, strings.Repeat("a", 32): true,
		"": false, "1a": false, "a b": false, "a\nb": false, "aÄb": false, "a:b": false, "_a": false} {
		if isName(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
	for _, bad := range []string{"a*b", "vim:", "vim:a:b", "a\nb", "aäb", "+ab", "ab."} {
		if isPackage(bad) {
			t.Errorf("%q is a package", bad)
		}
	}
}
