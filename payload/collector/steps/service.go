//go:build linux

package steps

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// service is a unit that shall be enabled or not, running or not.
type service struct {
	env  *Env
	want *wire.Service
	was  unit
}

func (s *service) differs(ctx context.Context) (string, error) {
	u, err := s.env.freshUnit(ctx, s.want.Name)
	if err != nil {
		return "", err
	}
	if err := s.possible(u); err != nil {
		return "", err
	}
	s.was = u
	return strings.Join(s.list(u), ", "), nil
}

func (s *service) possible(u unit) error {
	wanted := s.want.State == "running" || s.want.Enabled != nil && *s.want.Enabled
	switch {
	case s.want.State != "" && s.want.State != "running" && s.want.State != "stopped":
		return failf("running or stopped", "unknown state %q of a service", s.want.State)
	case u.load == "not-found" && wanted:
		return failf("is its package installed? on the host: systemctl list-unit-files", "there is no unit %s", s.want.Name)
	case u.load == "masked" && wanted:
		return failf("on the host: systemctl unmask "+s.want.Name, "unit %s is masked", s.want.Name)
	}
	return nil
}

func (s *service) list(u unit) []string {
	var diff []string
	if s.want.Enabled != nil && *s.want.Enabled && !u.on() {
		diff = append(diff, "is "+orUnknown(u.file)+", not enabled")
	}
	if s.disable(u) {
		diff = append(diff, "is enabled")
	}
	if s.want.State == "running" && !u.running() {
		diff = append(diff, fmt.Sprintf("is %s (%s), not running", orUnknown(u.active), orUnknown(u.sub)))
	}
	if s.stop(u) {
		diff = append(diff, fmt.Sprintf("is %s (%s), not stopped", u.active, u.sub))
	}
	return diff
}

func (s *service) disable(u unit) bool {
	return s.want.Enabled != nil && !*s.want.Enabled && strings.HasPrefix(u.file, "enabled")
}

func (s *service) stop(u unit) bool {
	return s.want.State == "stopped" && u.active != "inactive" && u.active != "failed" && u.active != ""
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

func (s *service) remember(context.Context) (*wire.Undo, []byte, error) {
	if !s.env.Root {
		return nil, nil, needsRoot("services")
	}
	data := map[string]string{"unit": s.want.Name}
	var back []string
	if s.want.Enabled != nil && (s.was.on() != *s.want.Enabled) {
		data["enabled"] = strconv.FormatBool(!*s.want.Enabled)
		back = append(back, map[bool]string{true: "disable", false: "enable"}[*s.want.Enabled])
		if s.was.file == "linked" { // disabling takes the link, too
			name := s.want.Name
			if !slices.Contains([]string{".service", ".timer", ".socket", ".path", ".target", ".mount", ".slice"}, path.Ext(name)) {
				name += ".service" // as systemctl has it
			}
			data["link"], _ = os.Readlink(s.env.at("/etc/systemd/system/" + name))
		}
	}
	if s.want.State == "running" && !s.was.running() {
		data["running"], back = "false", append(back, "stop")
	}
	if s.stop(s.was) {
		data["running"], back = "true", append(back, "start")
	}
	return &wire.Undo{Kind: "service", What: strings.Join(back, " and ") + " " + s.want.Name, Data: data}, nil, nil
}

func needsRoot(what string) error {
	return failf("set `become: true` for this host, or connect as root", "%s can only be changed by root", what)
}

func (s *service) act(ctx context.Context) error {
	if s.want.Enabled != nil && *s.want.Enabled && !s.was.on() {
		if err := s.env.turn(ctx, "enable", s.want.Name); err != nil {
			return err
		}
		if s.was.file == "linked" { // without that section systemctl does nothing, and calls it good
			if u, err := s.env.showUnit(ctx, s.want.Name); err == nil && u.file == "linked" {
				return failf("give it one, with WantedBy=multi-user.target", "unit %s cannot be enabled: its file has no [Install] section", s.want.Name)
			}
		}
	}
	if s.disable(s.was) {
		if err := s.env.turn(ctx, "disable", s.want.Name); err != nil {
			return err
		}
	}
	if s.want.State == "running" && !s.was.running() {
		return s.env.turn(ctx, "start", s.want.Name)
	}
	if s.stop(s.was) {
		return s.env.turn(ctx, "stop", s.want.Name)
	}
	return nil
}

// turn runs a verb on a unit; its error carries what the unit last logged.
func (e *Env) turn(ctx context.Context, verb, name string) error {
	_, err := e.systemctl(ctx, verb, "--", name)
	var f *failure
	if err == nil || !errors.As(err, &f) {
		return err
	}
	if verb == "start" || verb == "restart" || verb == "reload" {
		f.hint = "on the host: systemctl status " + name
		words := tail{}
		words.Write([]byte(f.stderr + e.lastLogged(ctx, name)))
		f.stderr = words.String()
	}
	return err
}

// lastLogged is the end of a unit's log, "" when there is none to be had.
func (e *Env) lastLogged(ctx context.Context, name string) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	out, err := e.call(ctx, call{name: "journalctl", args: []string{"--no-pager", "-q", "-o", "cat", "-n", "15", "-u", name}})
	if err != nil {
		return ""
	}
	return string(out)
}

func revertService(ctx context.Context, env *Env, u wire.Undo) error {
	name := u.Data["unit"]
	now, err := env.freshUnit(ctx, name)
	if err != nil {
		return err
	}
	if name == "" || now.load == "not-found" {
		return nil
	}
	var errs []error
	switch {
	case u.Data["running"] == "false" && now.running():
		errs = append(errs, env.turn(ctx, "stop", name))
	case u.Data["running"] == "true" && !now.running():
		errs = append(errs, env.turn(ctx, "start", name))
	}
	switch {
	case u.Data["enabled"] == "false" && strings.HasPrefix(now.file, "enabled"):
		errs = append(errs, env.turn(ctx, "disable", name))
		if link := u.Data["link"]; link != "" {
			errs = append(errs, env.turn(ctx, "link", link))
		}
	case u.Data["enabled"] == "true" && !now.on():
		errs = append(errs, env.turn(ctx, "enable", name))
	}
	return errors.Join(errs...)
}

// A handler is tried three times, because a service that is just starting
// refuses to be reloaded.
const (
	handlerTries = 3
	handlerPause = 5 * time.Second
)

// Handle runs one handler of a step that changed something: it reloads or
// restarts a unit and sees it active, or runs a script. A unit that does not
// run is not reloaded: it reads its files when it starts.
func Handle(ctx context.Context, env *Env, h wire.Handler) error {
	var once func() error
	switch {
	case h.Reload != "":
		once = func() error { return env.reload(ctx, h.Reload) }
	case h.Restart != "":
		once = func() error { return env.restart(ctx, h.Restart) }
	case h.Run != "":
		return env.handlerScript(ctx, h.Run)
	default:
		return errors.New("an empty handler")
	}
	for try := 1; ; try++ {
		err := once()
		if err == nil || try == handlerTries || ctx.Err() != nil {
			return err
		}
		env.Note("warn", fmt.Sprintf("%s; try %d of %d in %d s", err, try+1, handlerTries, handlerPause/time.Second))
		if err := env.sleep(ctx, handlerPause); err != nil {
			return err
		}
	}
}

func (e *Env) reload(ctx context.Context, name string) error {
	u, err := e.freshUnit(ctx, name)
	switch {
	case err != nil:
		return err
	case u.load == "not-found":
		return failf("is its package installed?", "reload %s: there is no such unit", name)
	case !u.running() && u.active != "activating":
		e.Note("info", name+" does not run: nothing to reload")
		return nil
	case !u.canReload:
		return failf("use `restart: "+name+"`", "%s cannot be reloaded", name)
	}
	return e.turnAndSee(ctx, "reload", name)
}

func (e *Env) restart(ctx context.Context, name string) error {
	if _, err := e.freshUnit(ctx, name); err != nil {
		return err
	}
	return e.turnAndSee(ctx, "restart", name)
}

func (e *Env) turnAndSee(ctx context.Context, verb, name string) error {
	if err := e.turn(ctx, verb, name); err != nil {
		return err
	}
	u, err := e.showUnit(ctx, name)
	if err != nil {
		return err
	}
	if !u.running() {
		return &failure{text: fmt.Sprintf("%s is %s (%s) after %s", name, u.active, u.sub, verb),
			hint: "on the host: systemctl status " + name, stderr: e.lastLogged(ctx, name)}
	}
	return nil
}

func (e *Env) handlerScript(ctx context.Context, body string) error {
	s := e.phaseScript(body, "")
	s.stream = true
	got, err := e.script(ctx, s)
	if err != nil {
		return fmt.Errorf("handler: %w", err)
	}
	if got.rc != 0 {
		return &failure{text: because("handler "+ending(got.rc), got.words()), rc: &got.rc, stderr: got.stderr}
	}
	return nil
}
