package phases

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// Keys of a step besides its kind.
var stepKeys = []string{"name", "of", "when", "as", "on_change", "secrets", "timeout", "budget", "retries", "optional", "reboot", "guard"}

// stepKinds are the kinds of this release; a step has exactly one of them.
var stepKinds = []string{"packages", "file", "service", "user", "run", "script", "assert", "apt_repository", "archive"}

// runKeys belong to run and script.
var runKeys = []string{"check", "undo", "args", "apt"}

// steps reads the list of steps.
func (r *reader) steps(n *yaml.Node) []wire.Step {
	items := r.list(n, "steps")
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		r.fail(n, "", "phase: no steps")
	}
	var steps []wire.Step
	names := map[string]bool{}
	for _, item := range items {
		s := r.step(item)
		if s.Name != "" && names[s.Name] {
			r.fail(item, "", "there are two steps named %q", s.Name)
		}
		names[s.Name] = true
		steps = append(steps, s)
	}
	return steps
}

func (r *reader) step(n *yaml.Node) wire.Step {
	var s wire.Step
	known := slices.Concat(stepKeys, stepKinds, runKeys)
	what := stepLabel(n)
	m := r.mapping(n, what, known, nil)
	if n.Kind != yaml.MappingNode {
		return s
	}
	if m["name"] == nil {
		r.fail(n, "", "step: no name")
	} else if name, ok := r.word(m["name"], "name"); ok && stepName(name) {
		s.Name = name
	} else if ok {
		r.fail(m["name"], "up to 80 characters, no / and no {{: a step is known as phase/name", "%q is no name for a step", name)
	}
	r.kind(n, m, what, &s)
	r.around(m, what, &s)
	return s
}

// stepLabel names a step in problems.
func stepLabel(n *yaml.Node) string {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if v := n.Content[i+1]; n.Content[i].Value == "name" && v.Kind == yaml.ScalarNode && v.Value != "" && len(v.Value) <= 80 {
			return fmt.Sprintf("step %q", v.Value)
		}
	}
	return "step"
}

func stepName(s string) bool {
	if len(s) > 80 || strings.TrimSpace(s) != s || strings.ContainsAny(s, "/\\") || strings.Contains(s, "{{") {
		return false
	}
	return !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f })
}

// kind reads the one kind of a step.
func (r *reader) kind(n *yaml.Node, m map[string]*yaml.Node, what string, s *wire.Step) {
	var have []string
	for _, k := range stepKinds {
		if m[k] != nil {
			have = append(have, k)
		}
	}
	if len(have) != 1 {
		if len(have) > 1 {
			r.fail(n, "make it "+fmt.Sprint(len(have))+" steps", "%s: one kind, not %s", what, quoted(have, "and"))
		} else {
			r.fail(n, "one of "+strings.Join(stepKinds, ", "), "%s: nothing to do", what)
		}
		return
	}
	v := m[have[0]]
	switch have[0] {
	case "packages":
		s.Packages = r.packages(v, what)
	case "file":
		s.File = r.fileStep(v, what)
	case "service":
		s.Service = r.service(v, what)
	case "user":
		s.User = r.user(v, what)
	case "assert":
		s.Assert = r.assert(v, what)
	case "apt_repository":
		s.Repository = r.repository(v, what)
	case "archive":
		s.Archive = r.archive(v, what)
	default:
		s.Run = r.run(m, what)
	}
	if s.Run == nil {
		for _, k := range runKeys {
			if m[k] != nil {
				r.fail(m[k], "", "%s: %s belongs to run and script", what, k)
			}
		}
	}
}

// around reads what a step can have besides its kind.
func (r *reader) around(m map[string]*yaml.Node, what string, s *wire.Step) {
	kind := s.Kind()
	r.only(m, "as", what, kind, "run", "file", "assert")
	r.only(m, "secrets", what, kind, "run", "assert")
	r.only(m, "on_change", what, kind, "packages", "file", "service", "user", "run", "apt_repository", "archive")
	r.only(m, "reboot", what, kind, "packages", "file", "service", "run", "archive")
	r.only(m, "guard", what, kind, "file", "service", "user", "run")
	if n := m["of"]; n != nil {
		if id, ok := r.phaseID(n, what+": of"); ok && r.values != nil && !r.values.plan[id] {
			s.Skip = fmt.Sprintf("phase %s is not in the plan", id)
		}
	}
	if n := m["when"]; n != nil {
		s.When = r.script(n, what+": when")
	}
	if n := m["as"]; n != nil {
		s.As = r.checked(n, what+": as", accountName, "the name of an account")
	}
	if n := m["on_change"]; n != nil {
		s.OnChange = r.handlers(n, what+": on_change")
	}
	if n := m["secrets"]; n != nil {
		s.Secrets = r.secretNames(n, what+": secrets")
	}
	if n := m["timeout"]; n != nil {
		s.Timeout = r.duration(n, what+": timeout")
	}
	if n := m["budget"]; n != nil {
		s.Budget = r.duration(n, what+": budget")
	}
	if n := m["reboot"]; n != nil {
		s.Reboot = r.flag(n, what+": reboot")
		if m["guard"] != nil {
			r.fail(n, "make it two steps", "%s: a guarded step cannot ask for a reboot", what)
		}
	}
	if n := m["retries"]; n != nil {
		s.Retries = r.number(n, what+": retries", 0, 10)
	}
	if n := m["optional"]; n != nil {
		s.Optional = r.flag(n, what+": optional")
	}
	if n := m["guard"]; n != nil {
		s.Guard = r.guard(n, what+": guard")
	}
}

// only reports a key that makes no sense for a kind of step.
func (r *reader) only(m map[string]*yaml.Node, key, what, kind string, kinds ...string) {
	if m[key] != nil && kind != "" && !slices.Contains(kinds, kind) {
		r.fail(m[key], "", "%s: %s is for %s steps", what, key, strings.Join(kinds, ", "))
	}
}

func (r *reader) handlers(n *yaml.Node, what string) []wire.Handler {
	var list []wire.Handler
	for _, item := range r.list(n, what) {
		m := r.mapping(item, what, []string{"reload", "restart", "run"}, nil)
		if len(m) != 1 {
			if item.Kind == yaml.MappingNode && len(item.Content) != 2 {
				r.fail(item, "", "%s: one of reload, restart, run in each item", what)
			}
			continue
		}
		var h wire.Handler
		switch {
		case m["reload"] != nil:
			h.Reload = r.checked(m["reload"], what, unitName, "the name of a unit")
		case m["restart"] != nil:
			h.Restart = r.checked(m["restart"], what, unitName, "the name of a unit")
		default:
			h.Run = r.script(m["run"], what)
		}
		list = append(list, h)
	}
	return list
}

// guard reads true, or {login, window}.
func (r *reader) guard(n *yaml.Node, what string) *wire.Guard {
	if n.Kind == yaml.ScalarNode {
		if r.boolean(n, what) {
			return &wire.Guard{}
		}
		return nil
	}
	m := r.mapping(n, what, []string{"login", "window"}, nil)
	g := &wire.Guard{}
	if n := m["login"]; n != nil {
		g.Login = r.checked(n, what+".login", accountName, "the name of an account")
	}
	if n := m["window"]; n != nil {
		g.Window = r.duration(n, what+".window")
	}
	return g
}

// secretNames reads the names of secrets; while a plan is made each must have a
// value.
func (r *reader) secretNames(n *yaml.Node, what string) []string {
	var names []string
	for _, item := range r.list(n, what) {
		if s := r.secretName(item, what); s != "" && !slices.Contains(names, s) {
			names = append(names, s)
		}
	}
	return names
}

func (r *reader) secretName(n *yaml.Node, what string) string {
	s, ok := r.word(n, what)
	if !ok {
		return ""
	}
	if !varName.MatchString(s) {
		r.fail(n, "lower-case letters, digits and _, a letter first", "%s: %q cannot be a secret's name", what, s)
		return ""
	}
	if r.values == nil {
		return s
	}
	if _, ok := r.values.secrets[s]; !ok {
		r.fail(n, fmt.Sprintf("in the inventory: vars: {%s: {env: NAME}}", s), "%s: the secret %q has no value", what, s)
		return ""
	}
	r.values.needed[s] = true
	return s
}
