package phases

import (
	"fmt"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"
)

// text reads a text that may be a template. final is false when its last form
// is not known: after a problem, or while loading a template.
func (r *reader) text(n *yaml.Node, what string) (s string, final bool) {
	s, ok := r.str(n, what)
	if !ok || !strings.Contains(s, "{{") {
		return s, ok
	}
	out, secret, ok := r.render(place{w: &r.walker, node: n}, s)
	if secret {
		r.fail(n, "it can go into the content of a file", "%s: a secret would be seen here", what)
		return "", false
	}
	return out, ok
}

// line is text that must be one line and not empty.
func (r *reader) line(n *yaml.Node, what string) (s string, final bool) {
	s, final = r.text(n, what)
	if final && (strings.TrimSpace(s) == "" || strings.ContainsAny(s, "\r\n\x00")) {
		r.fail(n, "", "%s: wanted one line of text, got %q", what, s)
		return "", false
	}
	return s, final
}

// checked is a line that a pattern must match; "" when it does not.
func (r *reader) checked(n *yaml.Node, what string, pattern *regexp.Regexp, wanted string) string {
	s, final := r.line(n, what)
	if final && !pattern.MatchString(s) {
		r.fail(n, "", "%s: wanted %s, got %q", what, wanted, s)
		return ""
	}
	return s
}

// flag reads true or false, or a template that becomes one of them.
func (r *reader) flag(n *yaml.Node, what string) bool {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" || !strings.Contains(n.Value, "{{") {
		return r.boolean(n, what)
	}
	s, final := r.text(n, what)
	if final && s != "true" && s != "false" {
		r.fail(n, "", "%s: wanted true or false, got %q", what, s)
	}
	return s == "true"
}

// content reads a file's content and tells whether a secret is in it.
func (r *reader) content(n *yaml.Node, what string) (body []byte, secret bool) {
	s, ok := r.str(n, what)
	if !ok || !strings.Contains(s, "{{") {
		return []byte(s), false
	}
	out, secret, _ := r.render(place{w: &r.walker, node: n}, s)
	return []byte(out), secret
}

// source reads a file of the phase's folder; one that ends in .tmpl is a
// template.
func (r *reader) source(n *yaml.Node, what string) (body []byte, secret bool) {
	name, body, ok := r.sibling(n, what)
	r.sources[name] = true
	if !ok || !strings.HasSuffix(name, ".tmpl") {
		return body, false
	}
	out, secret, _ := r.render(place{w: &r.walker, file: r.folder.label + "/" + name}, string(lf(body)))
	return []byte(out), secret
}

// sibling finds a file that phase.yaml names. Its name is fixed: what is read
// never depends on a variable.
func (r *reader) sibling(n *yaml.Node, what string) (name string, body []byte, ok bool) {
	name, ok = r.word(n, what)
	if !ok {
		return "", nil, false
	}
	if !inside(name) {
		r.fail(n, "", "%s: %q is not inside the phase's folder", what, name)
		return "", nil, false
	}
	body, ok = r.folder.files[name]
	if !ok {
		names := sortedKeys(r.folder.files)
		r.fail(n, didYouMean(name, names), "%s: there is no file %q in the phase's folder", what, name)
	}
	return name, body, ok
}

// script reads a script that stands in phase.yaml.
func (r *reader) script(n *yaml.Node, what string) string {
	s, ok := r.str(n, what)
	if !ok {
		return ""
	}
	at := place{w: &r.walker, node: n}
	if i := strings.Index(s, "{{"); i >= 0 {
		line, col := lineCol(s, i)
		at.fail(line, col, "variables come as environment: $username; a file of its own (script:) may have {{", "%s: scripts are not templates", what)
		return ""
	}
	if strings.TrimSpace(s) == "" {
		r.fail(n, "", "%s: the script is empty", what)
		return ""
	}
	checkScript(at, s)
	return s
}

// scriptFile reads a script of the phase's folder.
func (r *reader) scriptFile(n *yaml.Node, what string) string {
	name, body, ok := r.sibling(n, what)
	if !ok {
		return ""
	}
	at := place{w: &r.walker, file: r.folder.label + "/" + name}
	body = lf(body)
	if !checkTextScript(at, body) {
		return ""
	}
	checkScript(at, string(body))
	return string(body)
}

// siblings are the files that travel with a phase, for $PHASE_DIR: all but
// those that are the content of a file step.
func (r *reader) siblings() map[string][]byte {
	files := map[string][]byte{}
	for name, body := range r.folder.files {
		switch {
		case name == phaseFile || r.sources[name] || strings.HasSuffix(name, ".tmpl"):
		case strings.HasPrefix(string(body), "#!") || strings.HasSuffix(name, ".sh"):
			files[name] = lf(body)
		default:
			files[name] = body
		}
	}
	return files
}

// forHost puts the host before a text, when there is one.
func forHost(host string, format string, args ...any) string {
	text := fmt.Sprintf(format, args...)
	if host == "" {
		return text
	}
	return fmt.Sprintf("host %q: %s", host, text)
}
