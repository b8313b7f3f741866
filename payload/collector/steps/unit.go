//go:build linux

package steps

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/payload/collector/bus"
)

// unit is what systemd says of a unit.
type unit struct {
	load, active, sub, file, result string
	stale                           bool // its file has changed since systemd read it
	canReload                       bool
}

// on tells whether the unit comes with the next boot. Units that something
// else pulls in cannot be enabled and need not be; a linked one is only known.
func (u unit) on() bool {
	switch u.file {
	case "enabled", "static", "alias", "indirect", "generated":
		return true
	}
	return false
}

func (u unit) running() bool { return u.active == "active" || u.active == "reloading" }

func parseUnit(data []byte) unit {
	var u unit
	for line := range strings.Lines(string(data)) {
		key, val, _ := strings.Cut(strings.TrimRight(line, "\n"), "=")
		switch key {
		case "LoadState":
			u.load = val
		case "ActiveState":
			u.active = val
		case "SubState":
			u.sub = val
		case "UnitFileState":
			u.file = val
		case "Result":
			u.result = val
		case "NeedDaemonReload":
			u.stale = val == "yes"
		case "CanReload":
			u.canReload = val == "yes"
		}
	}
	return u
}

// systemctl runs one verb, for at most the 90 s that systemd itself gives a
// unit and some.
func (e *Env) systemctl(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return e.call(ctx, call{name: "systemctl", args: append([]string{"--no-ask-password", "--no-pager"}, args...)})
}

func (e *Env) showUnit(ctx context.Context, name string) (unit, error) {
	if u, ok := e.askUnit(name); ok {
		return u, nil
	}
	out, err := e.systemctl(ctx, "show", "-p", strings.Join(unitProperties, ","), "--", name)
	if err != nil {
		return unit{}, e.noSystemd(err)
	}
	return parseUnit(out), nil
}

// unitProperties are what parseUnit reads.
var unitProperties = []string{"LoadState", "ActiveState", "SubState", "UnitFileState", "NeedDaemonReload", "CanReload", "Result"}

// askUnit asks systemd itself, which costs a host a tenth of what systemctl does.
// What is not plainly the name of a service, and whatever goes wrong, is left to
// systemctl.
func (e *Env) askUnit(name string) (unit, bool) {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_@"
	name = strings.TrimSuffix(name, ".service")
	if !e.Root || e.root != "" || e.path != "" || name == "" || strings.HasSuffix(name, "@") || !only(name, plain) {
		return unit{}, false
	}
	var calls []bus.Call
	for _, p := range unitProperties {
		of := "Unit"
		if p == "Result" {
			of = "Service"
		}
		body := &bus.Buf{}
		body.Str("org.freedesktop.systemd1." + of)
		body.Str(p)
		calls = append(calls, bus.Call{Path: bus.UnitPath(name + ".service"), Interface: "org.freedesktop.DBus.Properties", Member: "Get", Signature: "ss", Body: body.B})
	}
	talk, err := bus.Ask(bus.Systemd, calls...)
	if err != nil {
		return unit{}, false
	}
	defer talk.Close()
	var shown strings.Builder
	for _, p := range unitProperties {
		body, err := talk.Answer()
		value, ok := bus.Variant(body)
		if err != nil || !ok || strings.Contains(value, "\n") {
			return unit{}, false
		}
		shown.WriteString(p + "=" + value + "\n")
	}
	return parseUnit([]byte(shown.String())), true
}

// noSystemd says it plainly where there is no systemd to talk to.
func (e *Env) noSystemd(err error) error {
	var f *failure
	if e.look("systemctl") == "" || errors.As(err, &f) &&
		(strings.Contains(f.stderr, "not been booted with systemd") || strings.Contains(f.stderr, "Failed to connect to bus")) {
		return &failure{text: "service steps and handlers need systemd, which does not run here", err: err}
	}
	return err
}

// freshUnit is the unit as its file is now.
func (e *Env) freshUnit(ctx context.Context, name string) (unit, error) {
	u, err := e.showUnit(ctx, name)
	if err != nil || !u.stale && u.load != "not-found" || !e.Root || e.looks {
		return u, err
	}
	if _, err := e.systemctl(ctx, "daemon-reload"); err != nil {
		return u, err
	}
	return e.showUnit(ctx, name)
}
