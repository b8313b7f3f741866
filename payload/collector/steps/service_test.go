//go:build linux

package steps

import (
	"errors"
	"os"
	"testing"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// fakeSystemd keeps one unit's state in files: load, active, file.
const fakeSystemd = `
for a; do last=$a; done
case "$*" in
*" show "*)
	echo "LoadState=$(cat $S/load)"; echo "ActiveState=$(cat $S/active)"; echo "SubState=x"
	echo "UnitFileState=$(cat $S/file)"; echo "CanReload=$(cat $S/canreload)"
	if [ -e $S/stale ]; then echo NeedDaemonReload=yes; else echo NeedDaemonReload=no; fi ;;
*" daemon-reload") rm -f $S/stale; [ ! -e $S/after-reload ] || echo loaded >$S/load ;;
*" enable "*) [ -e $S/no-install ] || echo enabled >$S/file ;;
*" disable "*) echo disabled >$S/file ;;
*" link "*) echo linked >$S/file ;;
*" start "*|*" restart "*)
	if [ -e $S/broken ]; then n=$(cat $S/broken); echo $((n-1)) >$S/broken
		if [ $n -gt 0 ]; then echo failed >$S/active; echo "Job for $last failed." >&2; exit 1; fi; fi
	echo active >$S/active ;;
*" stop "*) echo inactive >$S/active ;;
*" reload "*) ;;
esac`

func systemdRig(t *testing.T, load, active, file string) *rig {
	r := newRig(t)
	r.fake("systemctl", fakeSystemd)
	r.fake("journalctl", "echo the unit said why")
	r.file("load", load)
	r.file("active", active)
	r.file("file", file)
	r.file("canreload", "yes")
	return r
}

func yes() *bool { b := true; return &b }
func no() *bool  { b := false; return &b }

func TestServiceThereAndBack(t *testing.T) {
	for _, c := range []struct {
		active, file string
		want         wire.Service
		nowActive    string
		nowFile      string
	}{
		{"inactive", "disabled", wire.Service{Enabled: yes(), State: "running"}, "active\n", "enabled\n"},
		{"active", "disabled", wire.Service{Enabled: yes(), State: "running"}, "active", "enabled\n"},
		{"failed", "enabled", wire.Service{State: "running"}, "active\n", "enabled"},
		{"active", "enabled", wire.Service{Enabled: no(), State: "stopped"}, "inactive\n", "disabled\n"},
		{"active", "enabled", wire.Service{Enabled: no()}, "active", "disabled\n"},
		{"active", "linked", wire.Service{Enabled: yes()}, "active", "enabled\n"},
	} {
		r := systemdRig(t, "loaded", c.active, c.file)
		if err := errors.Join(os.MkdirAll(r.path("root/etc/systemd/system"), 0o755), os.Symlink("/opt/x.service", r.path("root/etc/systemd/system/x.service")),
			os.Symlink("/opt/x.timer", r.path("root/etc/systemd/system/x.timer"))); err != nil {
			t.Fatal(err)
		}
		c.want.Name = "x"
		if c.file == "linked" && c.want.State == "" {
			c.want.Name = "x.timer"
		}
		s := wire.Step{Name: "s", Service: &c.want}
		r.do(s, wire.Changed)
		if a, f := r.read("active"), r.read("file"); a != c.nowActive || f != c.nowFile {
			t.Errorf("%+v: is %q %q", c, a, f)
		}
		r.do(s, wire.OK)
		r.revert()
		was, back := parseUnit([]byte("ActiveState="+c.active+"\nUnitFileState="+c.file)), parseUnit([]byte("ActiveState="+r.read("active")+"\nUnitFileState="+r.read("file")))
		if was.running() != back.running() || was.on() != back.on() || (was.file == "linked") != (back.file == "linked") {
			t.Errorf("%+v: after undo %+v", c, back)
		}
		if c.file == "linked" {
			r.has(" link -- /opt/x.timer", r.calls())
		}
	}
}

func TestServiceThatNeedsNothing(t *testing.T) {
	for _, file := range []string{"static", "alias", "generated", "indirect", "enabled"} {
		r := systemdRig(t, "loaded", "active", file)
		r.do(wire.Step{Name: "s", Service: &wire.Service{Name: "x", Enabled: yes(), State: "running"}}, wire.OK)
	}
}

func TestServiceFailures(t *testing.T) {
	want := wire.Service{Name: "x", Enabled: yes(), State: "running"}
	got := systemdRig(t, "not-found", "inactive", "").do(wire.Step{Name: "s", Service: &want}, wire.Failed)
	if got.Hint == "" {
		t.Error("no hint for a missing unit")
	}
	systemdRig(t, "masked", "inactive", "masked").do(wire.Step{Name: "s", Service: &want}, wire.Failed)
	systemdRig(t, "loaded", "inactive", "disabled").do(wire.Step{Name: "s", Service: &wire.Service{Name: "x", State: "up"}}, wire.Failed)

	r := systemdRig(t, "loaded", "inactive", "disabled")
	r.file("broken", "9")
	got = r.do(wire.Step{Name: "s", Service: &want}, wire.Failed)
	r.has("Job for x failed.", got.Stderr)
	r.has("the unit said why", got.Stderr)

	r = systemdRig(t, "loaded", "inactive", "linked")
	r.file("no-install", "")
	got = r.do(wire.Step{Name: "s", Service: &wire.Service{Name: "x", Enabled: yes()}}, wire.Failed)
	r.has("no [Install] section", got.Reason)
	r.has("WantedBy=", got.Hint)
	r.revert()
	if f := r.read("file"); f != "linked" {
		t.Errorf("is %q", f)
	}

	r = systemdRig(t, "loaded", "inactive", "disabled")
	r.Root = false
	r.has("root", r.do(wire.Step{Name: "s", Service: &want}, wire.Failed).Reason)
	if len(r.undos) > 0 {
		t.Error("a way back for what was not done")
	}
}

func TestServiceWithoutSystemd(t *testing.T) {
	r := newRig(t)
	r.Env.path = r.path("bin")
	r.has("need systemd", r.do(wire.Step{Name: "s", Service: &wire.Service{Name: "x", State: "running"}}, wire.Failed).Reason)
	r.fake("systemctl", `echo "System has not been booted with systemd as init system (PID 1). Can't operate." >&2; exit 1`)
	r.Env.path += ":/usr/bin:/bin"
	r.has("need systemd", r.do(wire.Step{Name: "s", Service: &wire.Service{Name: "x", State: "running"}}, wire.Failed).Reason)
}

func TestServiceOfANewUnitFile(t *testing.T) {
	r := systemdRig(t, "not-found", "inactive", "disabled")
	r.file("after-reload", "")
	r.do(wire.Step{Name: "s", Service: &wire.Service{Name: "x", State: "running"}}, wire.Changed)
	r.has("daemon-reload", r.calls())
}

func TestHandlers(t *testing.T) {
	r := systemdRig(t, "loaded", "active", "enabled")
	for _, h := range []wire.Handler{{Reload: "x"}, {Restart: "x"}, {Run: `echo "$greeting from the handler"`}} {
		if err := Handle(t.Context(), r.Env, h); err != nil {
			t.Errorf("%+v: %v", h, err)
		}
	}
	r.has("hello from the handler", r.out.String())
	if err := Handle(t.Context(), r.Env, wire.Handler{Run: "echo no >&2; exit 3"}); err == nil || err.Error() != "handler exited 3: no" {
		t.Error(err)
	}
	if err := Handle(t.Context(), r.Env, wire.Handler{}); err == nil {
		t.Error("an empty handler was taken")
	}
	r.file("active", "inactive")
	if err := Handle(t.Context(), r.Env, wire.Handler{Reload: "x"}); err != nil {
		t.Error("a unit that does not run needs no reload:", err)
	}
	r.file("active", "active")
	r.file("canreload", "no")
	if err := Handle(t.Context(), r.Env, wire.Handler{Reload: "x"}); err == nil {
		t.Error("reloaded what cannot be reloaded")
	}
}

func TestHandlerIsTriedThreeTimes(t *testing.T) {
	r := systemdRig(t, "loaded", "active", "enabled")
	r.file("broken", "2")
	if err := Handle(t.Context(), r.Env, wire.Handler{Restart: "x"}); err != nil {
		t.Error("the third try was good:", err)
	}
	if len(r.notes) != 2 {
		t.Errorf("notes %q", r.notes)
	}
	r.file("broken", "3")
	if err := Handle(t.Context(), r.Env, wire.Handler{Restart: "x"}); err == nil {
		t.Error("a fourth try was made")
	}
}
