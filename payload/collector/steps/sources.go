//go:build linux

package steps

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// source is one entry of apt's sources.
type source struct {
	file       string
	line       int
	off        bool
	types      []string
	uris       []string
	suites     []string
	components []string
	archs      []string
	signedBy   string // a path, paths, fingerprints, or a key itself
}

// parseSources reads the deb822 format: paragraphs of "Field: value".
func parseSources(text string) []source {
	var all []source
	var now *source
	field := ""
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimRight(line, "\r")
		switch {
		case strings.HasPrefix(line, "#"):
			continue
		case strings.TrimSpace(line) == "":
			now, field = nil, ""
			continue
		case line[0] == ' ' || line[0] == '\t':
			if now != nil {
				now.add(field, line)
			}
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			field = ""
			continue
		}
		if now == nil {
			all = append(all, source{line: n + 1})
			now = &all[len(all)-1]
		}
		field = strings.ToLower(strings.TrimSpace(name))
		now.add(field, value)
	}
	return all
}

func (s *source) add(field, value string) {
	words := strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == '\t' })
	switch field {
	case "types":
		s.types = append(s.types, words...)
	case "uris":
		s.uris = append(s.uris, words...)
	case "suites":
		s.suites = append(s.suites, words...)
	case "components":
		s.components = append(s.components, words...)
	case "architectures":
		s.archs = append(s.archs, splitList(value)...)
	case "signed-by":
		s.signedBy = strings.TrimSpace(s.signedBy + "\n" + strings.TrimSpace(value))
	case "enabled":
		s.off = slices.Contains([]string{"no", "false", "without", "off", "disable", "0"}, strings.ToLower(strings.TrimSpace(value)))
	}
}

func splitList(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' })
}

// parseOldSources reads lines such as "deb [arch=amd64 signed-by=/k.gpg] URI
// suite component".
func parseOldSources(text string) []source {
	var all []source
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != "deb" && words[0] != "deb-src" {
			continue
		}
		s := source{line: n + 1, types: words[:1]}
		words = words[1:]
		if strings.HasPrefix(words[0], "[") {
			words = s.options(words)
		}
		if len(words) < 2 {
			continue
		}
		s.uris, s.suites, s.components = words[:1], words[1:2], words[2:]
		all = append(all, s)
	}
	return all
}

// options takes "[a=b c=d]" from the front of words.
func (s *source) options(words []string) []string {
	for i, w := range words {
		last := strings.HasSuffix(w, "]")
		key, value, _ := strings.Cut(strings.Trim(w, "[]"), "=")
		switch strings.ToLower(key) {
		case "signed-by":
			s.signedBy = value
		case "arch":
			s.archs = splitList(value)
		}
		if last {
			return words[i+1:]
		}
	}
	return nil
}

// sources reads all of apt's sources but the file named.
func (e *Env) sources(but string) ([]source, error) {
	files, err := filepath.Glob(e.at("/etc/apt/sources.list.d/*"))
	if err != nil {
		return nil, err
	}
	var all []source
	for _, file := range append(files, e.at("/etc/apt/sources.list")) {
		parse := parseOldSources
		if strings.HasSuffix(file, ".sources") {
			parse = parseSources
		} else if !strings.HasSuffix(file, ".list") {
			continue // apt does not read it either
		}
		b, err := os.ReadFile(file)
		if file == but || os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, s := range parse(string(b)) {
			s.file = file
			all = append(all, s)
		}
	}
	return all, nil
}

// meets tells whether two entries speak of the same packages: apt allows one
// Signed-By for them.
func (s source) meets(o source) bool {
	for _, a := range s.uris {
		for _, b := range o.uris {
			if strings.TrimRight(a, "/") == strings.TrimRight(b, "/") && slices.ContainsFunc(s.suites, func(suite string) bool { return slices.Contains(o.suites, suite) }) {
				return true
			}
		}
	}
	return false
}

// same tells whether two entries say the same in whatever words and order.
func (s source) same(o source) bool {
	return s.off == o.off && s.signedBy == o.signedBy && sameSet(s.types, o.types) && sameSet(s.uris, o.uris) &&
		sameSet(s.suites, o.suites) && sameSet(s.components, o.components) && sameSet(s.archs, o.archs)
}

func sameSet(a, b []string) bool {
	in := func(list []string) func(string) bool { return func(s string) bool { return !slices.Contains(list, s) } }
	return !slices.ContainsFunc(a, in(b)) && !slices.ContainsFunc(b, in(a))
}

// text is the entry in deb822.
func (s source) text() string {
	var b strings.Builder
	for _, f := range []struct {
		name   string
		values []string
	}{{"Types", s.types}, {"URIs", s.uris}, {"Suites", s.suites}, {"Components", s.components}, {"Architectures", s.archs}, {"Signed-By", []string{s.signedBy}}} {
		if len(f.values) > 0 {
			b.WriteString(f.name + ": " + strings.Join(f.values, " ") + "\n")
		}
	}
	return b.String()
}

// listNames are how the files of an entry's lists begin in apt's folder.
func (s source) listNames() []string {
	var names []string
	for _, uri := range s.uris {
		for _, suite := range s.suites {
			dir := "/dists/" + suite + "/"
			if strings.HasSuffix(suite, "/") { // a flat one
				dir = "/" + strings.TrimPrefix(suite, "/")
			}
			names = append(names, listName(strings.TrimRight(uri, "/")+dir))
		}
	}
	return names
}

// listName turns a URI into a file's name as apt does: without scheme and
// login, unusual characters as %xx, / as _.
func listName(uri string) string {
	_, rest, ok := strings.Cut(uri, "://")
	if !ok {
		_, rest, _ = strings.Cut(uri, ":")
	}
	host, path, _ := strings.Cut(rest, "/")
	if _, bare, login := strings.Cut(host, "@"); login {
		host = bare
	}
	const hex = "0123456789abcdef"
	var b strings.Builder
	for _, c := range []byte(host + "/" + path) {
		switch {
		case c == '/':
			b.WriteByte('_')
		case c <= 0x20 || c >= 0x7f || strings.IndexByte("\\|{}[]<>\"^~_=!@#$%^&*", c) >= 0:
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
