package phases

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"golang.org/x/crypto/ssh"
	"gopkg.in/yaml.v3"

	"github.com/vpsctl/vpsctl/payload/wire"
)

var (
	packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?$`)
	accountName = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
	ownerName   = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}(:[a-z_][a-z0-9_-]{0,31})?$`)
	unitName    = regexp.MustCompile(`^[A-Za-z0-9:_.@\\-]{1,255}$`)
	fileMode    = regexp.MustCompile(`^[0-7]{3,4}$`)
)

// packages reads a list of names, or {names, recommends, debconf}.
func (r *reader) packages(n *yaml.Node, what string) *wire.Packages {
	p, names := &wire.Packages{}, n
	var m map[string]*yaml.Node
	if n.Kind == yaml.MappingNode {
		m = r.mapping(n, what+": packages", []string{"names", "recommends", "debconf"}, nil)
		if m["recommends"] != nil {
			p.Recommends = r.flag(m["recommends"], what+": recommends")
		}
		if names = m["names"]; names == nil {
			r.fail(n, "", "%s: packages: no names", what)
			return p
		}
	}
	items := r.list(names, what+": packages")
	if names.Kind == yaml.SequenceNode && len(names.Content) == 0 {
		r.fail(names, "", "%s: packages: no names", what)
	}
	for _, item := range items {
		if s := r.checked(item, what+": packages", packageName, "the name of a package"); s != "" {
			p.Names = append(p.Names, s)
		}
	}
	if m["debconf"] != nil {
		p.Debconf = r.debconf(m["debconf"], p.Names, what+": packages: debconf")
	}
	return p
}

var fileKeys = []string{"path", "state", "content", "source", "target", "mode", "owner", "validate", "sensitive", "keys"}

func (r *reader) fileStep(n *yaml.Node, what string) *wire.File {
	what += ": file"
	m := r.mapping(n, what, fileKeys, nil)
	f := &wire.File{}
	if m["path"] == nil {
		r.fail(n, "", "%s: no path", what)
	} else {
		f.Path = r.absolute(m["path"], what+": path")
	}
	r.fileState(n, m, f, what)
	if v := m["mode"]; v != nil {
		f.Mode = r.checked(v, what+": mode", fileMode, `an octal mode in quotes, such as "0644"`)
	}
	if v := m["owner"]; v != nil {
		f.Owner = r.checked(v, what+": owner", ownerName, "user or user:group")
	}
	if v := m["sensitive"]; v != nil {
		f.Sensitive = r.flag(v, what+": sensitive")
	}
	if v := m["validate"]; v != nil {
		s, final := r.line(v, what+": validate")
		if final && strings.Count(s, "%s") != 1 {
			r.fail(v, "%s stands for the new file", "%s: validate: no single %%s", what)
		}
		f.Validate = s
	}
	r.fileContent(n, m, f, what)
	if v := m["keys"]; v != nil {
		f.Keys, f.Sensitive = r.keyValues(v, f.Sensitive, what+": keys")
	}
	return f
}

// fileState reads the state, and refuses what does not go with it.
func (r *reader) fileState(n *yaml.Node, m map[string]*yaml.Node, f *wire.File, what string) {
	needs := map[string][]string{"": {"content", "source", "keys"}, "present": {"content", "source", "keys"}, "absent": nil, "directory": nil, "link": {"target"}}
	state, final := "", true
	if v := m["state"]; v != nil {
		state, final = r.line(v, what+": state")
		if _, ok := needs[state]; final && !ok {
			r.fail(v, "present, absent, directory or link", "%s: %q is no state of a file", what, state)
			return
		}
	}
	f.State = state
	if templated := m["state"] != nil && strings.Contains(m["state"].Value, "{{"); !final || templated {
		return // content may be there for one of the states it can become
	}
	for _, key := range []string{"content", "source", "keys", "target"} {
		if m[key] != nil && !contains(needs[state], key) {
			r.fail(m[key], "", "%s: %s makes no sense with state %s", what, key, orPresent(state))
		}
	}
	switch {
	case m["keys"] != nil && (m["content"] != nil || m["source"] != nil):
		r.fail(m["keys"], "", "%s: keys change what is there, content and source replace it: not both", what)
	case m["content"] != nil && m["source"] != nil:
		r.fail(n, "", "%s: content or source, not both", what)
	case needs[state] != nil && m["content"] == nil && m["source"] == nil && m["keys"] == nil && m["target"] == nil:
		r.fail(n, "", "%s: no %s", what, strings.Join(needs[state], " or "))
	}
	for _, key := range []string{"mode", "owner", "validate"} {
		if m[key] != nil && (state == "absent" || state == "link" && key != "owner" || state == "directory" && key == "validate") {
			r.fail(m[key], "", "%s: %s makes no sense with state %s", what, key, state)
		}
	}
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

func orPresent(state string) string {
	if state == "" {
		return "present"
	}
	return state
}

// fileContent reads what stands in the file or where the link leads.
func (r *reader) fileContent(n *yaml.Node, m map[string]*yaml.Node, f *wire.File, what string) {
	if v := m["target"]; v != nil {
		f.Target, _ = r.line(v, what+": target")
	}
	var body []byte
	secret := false
	switch {
	case m["content"] != nil:
		body, secret = r.content(m["content"], what+": content")
	case m["source"] != nil:
		body, secret = r.source(m["source"], what+": source")
	}
	if f.State == "absent" || f.State == "directory" || f.State == "link" {
		return
	}
	f.Content, f.Sensitive = body, f.Sensitive || secret
}

func (r *reader) service(n *yaml.Node, what string) *wire.Service {
	what += ": service"
	m := r.mapping(n, what, []string{"name", "enabled", "state"}, nil)
	s := &wire.Service{}
	if m["name"] == nil {
		r.fail(n, "", "%s: no name", what)
	} else {
		s.Name = r.checked(m["name"], what+": name", unitName, "the name of a unit")
	}
	if v := m["enabled"]; v != nil {
		on := r.flag(v, what+": enabled")
		s.Enabled = &on
	}
	if v := m["state"]; v != nil {
		state, final := r.line(v, what+": state")
		if final && state != "running" && state != "stopped" {
			r.fail(v, "running or stopped", "%s: %q is no state of a service", what, state)
		}
		s.State = state
	}
	if m["enabled"] == nil && m["state"] == nil {
		r.fail(n, "enabled: true, state: running", "%s: nothing is asked of it", what)
	}
	return s
}

var userKeys = []string{"name", "group", "groups", "shell", "home", "comment", "authorized_keys", "password", "must_change"}

func (r *reader) user(n *yaml.Node, what string) *wire.User {
	what += ": user"
	m := r.mapping(n, what, userKeys, nil)
	u := &wire.User{}
	if m["name"] == nil {
		r.fail(n, "", "%s: no name", what)
	} else {
		u.Name = r.checked(m["name"], what+": name", accountName, "the name of an account")
	}
	if v := m["group"]; v != nil {
		u.Group = r.checked(v, what+": group", accountName, "the name of a group")
	}
	if v := m["groups"]; v != nil {
		for _, item := range r.list(v, what+": groups") {
			if s := r.checked(item, what+": groups", accountName, "the name of a group"); s != "" {
				u.Groups = append(u.Groups, s)
			}
		}
	}
	if v := m["shell"]; v != nil {
		u.Shell = r.absolute(v, what+": shell")
	}
	if v := m["home"]; v != nil {
		u.Home = r.absolute(v, what+": home")
	}
	if v := m["comment"]; v != nil {
		s, final := r.line(v, what+": comment")
		if final && strings.Contains(s, ":") {
			r.fail(v, "", "%s: comment: no : can be in it", what)
		}
		u.Comment = s
	}
	if v := m["authorized_keys"]; v != nil {
		u.AuthorizedKeys = r.keys(v, what+": authorized_keys")
	}
	if v := m["password"]; v != nil {
		u.Password = r.secretName(v, what+": password")
	}
	if v := m["must_change"]; v != nil {
		u.MustChange = r.flag(v, what+": must_change")
	}
	return u
}

// keys reads lines of an authorized_keys file, "@connection" and "@root".
func (r *reader) keys(n *yaml.Node, what string) []string {
	var keys []string
	for _, item := range r.list(n, what) {
		s, final := r.line(item, what)
		s = strings.TrimSpace(s)
		if !final || s == "@connection" || s == "@root" {
			keys = append(keys, s)
			continue
		}
		if strings.HasPrefix(s, "@") {
			r.fail(item, "@connection or @root", "%s: %q is not known", what, s)
			continue
		}
		if strings.Contains(s, "PRIVATE KEY") {
			r.fail(item, "the public one ends in .pub", "%s: this is a private key", what)
			continue
		}
		if _, _, _, rest, err := ssh.ParseAuthorizedKey([]byte(s)); s != "" && (err != nil || len(rest) > 0) {
			r.fail(item, "a line of authorized_keys, such as ssh-ed25519 AAAA…", "%s: not a public key", what)
			continue
		}
		keys = append(keys, s)
	}
	return keys
}

func (r *reader) assert(n *yaml.Node, what string) *wire.Assert {
	what += ": assert"
	m := r.mapping(n, what, []string{"check", "critical", "hint"}, nil)
	a := &wire.Assert{}
	if m["check"] == nil {
		r.fail(n, "", "%s: no check", what)
	} else {
		a.Check = r.script(m["check"], what+": check")
	}
	if v := m["critical"]; v != nil {
		a.Critical = r.flag(v, what+": critical")
	}
	if v := m["hint"]; v != nil {
		a.Hint, _ = r.line(v, what+": hint")
	}
	return a
}

// run reads run or script, with check, undo, args and apt.
func (r *reader) run(m map[string]*yaml.Node, what string) *wire.Run {
	s := &wire.Run{}
	if m["script"] != nil {
		s.Script = r.scriptFile(m["script"], what+": script")
	} else {
		s.Script = r.script(m["run"], what+": run")
	}
	if v := m["check"]; v != nil {
		s.Check = r.script(v, what+": check")
	}
	if v := m["undo"]; v != nil {
		s.Undo = r.script(v, what+": undo")
	}
	if v := m["args"]; v != nil {
		for _, item := range r.list(v, what+": args") {
			a, _ := r.text(item, what+": args")
			s.Args = append(s.Args, a)
		}
	}
	if v := m["apt"]; v != nil {
		s.Apt = r.flag(v, what+": apt")
	}
	return s
}

// absolute reads a clean absolute path.
func (r *reader) absolute(n *yaml.Node, what string) string {
	s, final := r.line(n, what)
	if final && (!strings.HasPrefix(s, "/") || path.Clean(s) != s) {
		hint := "it begins with / and has no .. in it"
		if strings.HasPrefix(s, "~") {
			hint = "write the home folder out, such as /home/{{ .username }}"
		}
		r.fail(n, hint, "%s: %s is no absolute path", what, fmt.Sprintf("%q", s))
	}
	return s
}
