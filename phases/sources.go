package phases

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/vpsctl/vpsctl/payload/wire"
)

var (
	repositoryName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)
	suiteName      = regexp.MustCompile(`^[A-Za-z0-9._/+~-]{1,200}$`)
	archName       = regexp.MustCompile(`^[a-z0-9-]{2,32}$`)
	sum256         = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
	fingerprint    = regexp.MustCompile(`^([0-9A-F]{40}|[0-9A-F]{64})$`)
	questionName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+./_-]{1,200}$`)
)

// repository reads a source of packages. Where its files lie can be given, for
// packages that bring the same source themselves.
func (r *reader) repository(n *yaml.Node, what string) *wire.AptRepository {
	what += ": apt_repository"
	m := r.mapping(n, what, []string{"name", "uris", "suites", "components", "architectures", "key", "path"}, nil)
	a := &wire.AptRepository{}
	for _, k := range []string{"name", "uris", "suites", "key"} {
		if m[k] == nil {
			r.fail(n, "", "%s: no %s", what, k)
		}
	}
	if v := m["name"]; v != nil {
		a.Name = r.checked(v, what+": name", repositoryName, "letters, digits, _ and -")
	}
	a.URIs = r.each(m["uris"], what+": uris", r.webAddress)
	pattern := func(p *regexp.Regexp, wanted string) func(*yaml.Node, string) string {
		return func(n *yaml.Node, what string) string { return r.checked(n, what, p, wanted) }
	}
	a.Suites = r.each(m["suites"], what+": suites", pattern(suiteName, "the name of a suite"))
	a.Components = r.each(m["components"], what+": components", pattern(suiteName, "the name of a component"))
	a.Architectures = r.each(m["architectures"], what+": architectures", pattern(archName, "an architecture, such as amd64"))
	flat := slices.ContainsFunc(a.Suites, func(s string) bool { return strings.HasSuffix(s, "/") })
	if n.Kind == yaml.MappingNode && m["components"] == nil && !flat {
		r.fail(n, "only a suite that ends in / has none", "%s: no components", what)
	}
	a.Path, a.Keyring = "/etc/apt/sources.list.d/"+a.Name+".sources", "/etc/apt/keyrings/"+a.Name+".gpg"
	if v := m["path"]; v != nil {
		a.Path = r.ending(v, what+": path", ".sources")
	}
	if v := m["key"]; v != nil {
		r.repositoryKey(v, a, what+": key")
	}
	return a
}

// repositoryKey reads {file or url, fingerprint, path}.
func (r *reader) repositoryKey(n *yaml.Node, a *wire.AptRepository, what string) {
	m := r.mapping(n, what, []string{"file", "url", "fingerprint", "path"}, nil)
	if n.Kind != yaml.MappingNode {
		return
	}
	if (m["file"] == nil) == (m["url"] == nil) {
		r.fail(n, "", "%s: one of file and url", what)
	}
	if v := m["file"]; v != nil {
		var name string
		name, a.Key, _ = r.sibling(v, what+": file")
		r.sources[name] = true
	}
	if v := m["url"]; v != nil {
		a.KeyURL = r.webAddress(v, what+": url")
	}
	if v := m["path"]; v != nil {
		a.Keyring = r.ending(v, what+": path", ".gpg")
	}
	prints := m["fingerprint"]
	if prints == nil {
		r.fail(n, "gpg --show-keys --with-fingerprint FILE; compare it with what the maker says", "%s: no fingerprint", what)
		return
	}
	items := []*yaml.Node{prints}
	if prints.Kind == yaml.SequenceNode && len(prints.Content) == 0 {
		r.fail(prints, "", "%s: fingerprint: empty", what)
	}
	if prints.Kind == yaml.SequenceNode {
		items = r.list(prints, what+": fingerprint")
	}
	for _, item := range items {
		s, final := r.line(item, what+": fingerprint")
		s = strings.ToUpper(strings.Join(strings.Fields(s), ""))
		if final && !fingerprint.MatchString(s) {
			r.fail(item, "all 40 digits (64 of a version 6 key), in quotes", "%s: %q is no fingerprint", what, s)
			continue
		}
		a.Fingerprints = append(a.Fingerprints, s)
	}
}

// each reads a list, or a single item, of texts.
func (r *reader) each(n *yaml.Node, what string, read func(*yaml.Node, string) string) []string {
	if n == nil {
		return nil
	}
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		r.fail(n, "", "%s: empty", what)
	}
	var all []string
	for _, item := range r.list(n, what) {
		if s := read(item, what); s != "" {
			all = append(all, s)
		}
	}
	return all
}

// webAddress reads a URL that a host can fetch from.
func (r *reader) webAddress(n *yaml.Node, what string) string {
	s, final := r.line(n, what)
	if !final {
		return s
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || strings.ContainsAny(s, " \t\\\"'<>") {
		r.fail(n, "", "%s: wanted an address that begins with https:// or http://, got %q", what, s)
		return ""
	}
	if u.User != nil {
		r.fail(n, "put the login into /etc/apt/auth.conf.d on the host", "%s: a login would be seen here", what)
		return ""
	}
	return s
}

func (r *reader) ending(n *yaml.Node, what, suffix string) string {
	s := r.absolute(n, what)
	if s != "" && !strings.Contains(s, "{{") && !strings.HasSuffix(s, suffix) {
		r.fail(n, "", "%s: %q does not end in %s", what, s, suffix)
	}
	return s
}

// archive reads {url or file, sha256, dest, strip, owner}.
func (r *reader) archive(n *yaml.Node, what string) *wire.Archive {
	what += ": archive"
	m := r.mapping(n, what, []string{"url", "file", "sha256", "dest", "strip", "owner"}, nil)
	a := &wire.Archive{}
	if n.Kind != yaml.MappingNode {
		return a
	}
	if (m["file"] == nil) == (m["url"] == nil) {
		r.fail(n, "", "%s: one of url and file", what)
	}
	if m["dest"] == nil {
		r.fail(n, "", "%s: no dest", what)
	} else if a.Dest = r.absolute(m["dest"], what+": dest"); path.Dir(a.Dest) == "/" && a.Dest != "" {
		r.fail(m["dest"], "such as /opt/NAME", "%s: dest: %q belongs to the system", what, a.Dest)
	}
	if v := m["sha256"]; v != nil {
		a.SHA256 = strings.ToLower(r.checked(v, what+": sha256", sum256, "64 hex digits in quotes"))
	}
	if v := m["url"]; v != nil {
		a.URL = r.webAddress(v, what+": url")
		if m["sha256"] == nil {
			r.fail(n, "sha256sum FILE; compare it with what the maker says", "%s: no sha256", what)
		}
	}
	if v := m["file"]; v != nil {
		r.archiveFile(v, a, what)
	}
	if v := m["strip"]; v != nil {
		a.Strip = r.number(v, what+": strip", 0, 20)
	}
	if v := m["owner"]; v != nil {
		a.Owner = r.checked(v, what+": owner", ownerName, "user or user:group")
	}
	return a
}

// archiveFile takes an archive of the phase's folder; its hash need not be given.
func (r *reader) archiveFile(n *yaml.Node, a *wire.Archive, what string) {
	name, body, ok := r.sibling(n, what+": file")
	r.sources[name] = true
	if !ok {
		return
	}
	sum := sha256.Sum256(body)
	got := hex.EncodeToString(sum[:])
	if a.SHA256 != "" && a.SHA256 != got {
		r.fail(n, "", "%s: the SHA-256 of %q is %s, not %s", what, name, got, a.SHA256)
	}
	a.Content, a.SHA256 = body, got
}

// debconf reads answers: question: value, or question: {value or secret, type,
// owner}.
func (r *reader) debconf(n *yaml.Node, names []string, what string) []wire.Debconf {
	list, _ := r.entries(n, what)
	var all []wire.Debconf
	for _, e := range list {
		d := wire.Debconf{Question: e.key, Type: "string"}
		if !questionName.MatchString(e.key) {
			r.fail(e.at, "PACKAGE/NAME, as debconf-show PACKAGE tells", "%s: %q is no question", what, e.key)
			continue
		}
		d.Owner, _, _ = strings.Cut(e.key, "/")
		if !slices.Contains(names, d.Owner) && len(names) > 0 {
			d.Owner = names[0]
		}
		r.answer(e.value, &d, what+": "+e.key)
		all = append(all, d)
	}
	return all
}

func (r *reader) answer(n *yaml.Node, d *wire.Debconf, what string) {
	value := n
	if n.Kind == yaml.MappingNode {
		m := r.mapping(n, what, []string{"value", "secret", "type", "owner"}, nil)
		if (m["value"] == nil) == (m["secret"] == nil) {
			r.fail(n, "", "%s: one of value and secret", what)
		}
		if v := m["secret"]; v != nil {
			d.Secret, d.Type = r.secretName(v, what+": secret"), "password"
		}
		if value = m["value"]; value != nil {
			d.Value, d.Type = r.answerValue(value, what)
		}
		if v := m["type"]; v != nil {
			d.Type, _ = r.word(v, what+": type")
			if !slices.Contains([]string{"boolean", "string", "select", "multiselect", "password", "note"}, d.Type) {
				r.fail(v, "boolean, string, select, multiselect, password or note", "%s: %q is no type of a question", what, d.Type)
			}
		}
		if v := m["owner"]; v != nil {
			d.Owner = r.checked(v, what+": owner", packageName, "the name of a package")
		}
		return
	}
	d.Value, d.Type = r.answerValue(value, what)
}

// answerValue reads true, false, a number or a line, and debconf's type of it.
func (r *reader) answerValue(n *yaml.Node, what string) (value, kind string) {
	switch {
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!bool":
		if r.boolean(n, what) {
			return "true", "boolean"
		}
		return "false", "boolean"
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int":
		return n.Value, "string"
	}
	s, final := r.text(n, what)
	if final && strings.ContainsAny(s, "\r\n\x00") {
		r.fail(n, "", "%s: wanted one line of text, got %q", what, s)
	}
	return s, "string"
}

// keyValues reads {section: {key: value}}; a value of null is a key that shall
// not be there, and the section "" is what stands before the first one.
func (r *reader) keyValues(n *yaml.Node, secret bool, what string) ([]wire.Key, bool) {
	sections, ok := r.entries(n, what)
	keys := []wire.Key{}
	for _, s := range sections {
		if strings.ContainsAny(s.key, "[]\r\n\x00") || strings.TrimSpace(s.key) != s.key {
			r.fail(s.at, `without brackets; "" for what stands before the first section`, "%s: %q is no section", what, s.key)
			continue
		}
		list, _ := r.entries(s.value, what+": "+s.key)
		for _, e := range list {
			k := wire.Key{Section: s.key, Name: e.key}
			if e.key == "" || strings.TrimSpace(e.key) != e.key || strings.ContainsAny(e.key, "=\r\n\x00") || strings.ContainsAny(e.key[:1], "[#;") {
				r.fail(e.at, "", "%s: %q is no key", what, e.key)
				continue
			}
			hidden := false
			k.Value, k.Absent, hidden = r.keyValue(e.value, what+": "+e.key)
			secret = secret || hidden
			keys = append(keys, k)
		}
	}
	if ok && len(keys) == 0 {
		r.fail(n, "{SECTION: {KEY: value}}", "%s: no keys", what)
	}
	return keys, secret
}

func (r *reader) keyValue(n *yaml.Node, what string) (value string, absent, secret bool) {
	if n.Kind == yaml.ScalarNode {
		switch n.ShortTag() {
		case "!!null":
			return "", true, false
		case "!!bool", "!!int", "!!float":
			return n.Value, false, false
		}
	}
	body, secret := r.content(n, what)
	value = string(body)
	if strings.ContainsAny(value, "\r\n\x00") || strings.HasSuffix(value, "\\") || strings.TrimSpace(value) != value {
		r.fail(n, "", "%s: wanted one line without blanks around it and no \\ at its end", what)
	}
	return value, false, secret
}
