//go:build linux

package steps

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// key is one line of an authorized_keys file.
type key struct {
	line    string
	id      string // type and blob: what makes two lines the same key
	options string // such as command="…", from="…"
}

// parseKey reads one line. It is not ok for comments, blank lines and what is
// no key.
func parseKey(line string) (key, bool) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' || strings.ContainsAny(line, "\n\r\x00") {
		return key{}, false
	}
	if id, ok := bareKey(line); ok {
		return key{line: line, id: id}, true
	}
	options, rest := cutOptions(line)
	if id, ok := bareKey(rest); ok {
		return key{line: line, id: id, options: options}, true
	}
	return key{}, false
}

// bareKey is "TYPE BLOB [COMMENT]", where the blob begins with its type.
func bareKey(s string) (id string, ok bool) {
	f := strings.Fields(s)
	if len(f) < 2 {
		return "", false
	}
	blob, err := base64.StdEncoding.DecodeString(f[1])
	if err != nil || len(blob) < 4 {
		return "", false
	}
	n := binary.BigEndian.Uint32(blob)
	if uint64(n) > uint64(len(blob)-4) || string(blob[4:4+n]) != f[0] {
		return "", false
	}
	return f[0] + " " + f[1], true
}

// cutOptions splits at the first blank that is not within quotes.
func cutOptions(line string) (options, rest string) {
	quoted := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && quoted && i+1 < len(line):
			i++
		case c == '"':
			quoted = !quoted
		case (c == ' ' || c == '\t') && !quoted:
			return line[:i], strings.TrimSpace(line[i:])
		}
	}
	return line, ""
}

func parseKeys(data []byte) []key {
	var keys []key
	for line := range strings.Lines(string(data)) {
		if k, ok := parseKey(line); ok {
			keys = append(keys, k)
		}
	}
	return keys
}

// wantedKeys are the keys that a user step names, each once.
func (u *user) wantedKeys() ([]key, error) {
	var all []key
	for _, line := range u.want.AuthorizedKeys {
		switch line {
		case "@connection":
			if k, ok := parseKey(u.env.ConnectionKey); ok && k.options == "" {
				all = append(all, k)
			} else {
				u.unknownConnection = true
			}
		case "@root":
			roots, err := u.env.rootKeys()
			if err != nil {
				return nil, err
			}
			all = append(all, roots...)
		default:
			k, ok := parseKey(line)
			if !ok {
				return nil, failf("write it as in a .pub file: TYPE BASE64 COMMENT", "%q is no authorized_keys line", firstLine(line))
			}
			all = append(all, k)
		}
	}
	if all = missingKeys(all, nil); len(all) == 0 && len(u.want.AuthorizedKeys) > 0 {
		return nil, failf("name a key line in authorized_keys, or connect with a key", "no key is known that would let %s in", u.want.Name)
	}
	return all, nil
}

// rootKeys are root's own keys without the lines that have options: cloud
// images let root in only to print a message, and a from= was meant for root.
func (e *Env) rootKeys() ([]key, error) {
	home := "/root"
	if root, err := e.account("root"); err == nil && root != nil {
		home = root.home
	}
	b, err := os.ReadFile(e.at(home + "/.ssh/authorized_keys"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read root's keys: %w", err)
	}
	var plain []key
	for _, k := range parseKeys(b) {
		if k.options == "" {
			plain = append(plain, k)
		}
	}
	return plain, nil
}

// missingKeys are the wanted keys that are not in have, each once.
func missingKeys(want, have []key) []key {
	seen := make(map[string]bool)
	for _, k := range have {
		seen[k.id] = true
	}
	var missing []key
	for _, k := range want {
		if !seen[k.id] {
			seen[k.id] = true
			missing = append(missing, k)
		}
	}
	return missing
}

// withKeys is an authorized_keys file with lines added at its end.
func withKeys(old []byte, add []key) []byte {
	b := append([]byte(nil), old...)
	if len(b) > 0 && b[len(b)-1] != '\n' {
		b = append(b, '\n')
	}
	for _, k := range add {
		b = append(append(b, k.line...), '\n')
	}
	return b
}

// withoutKeys drops the lines of the given keys.
func withoutKeys(old []byte, ids map[string]bool) []byte {
	var b []byte
	for line := range strings.Lines(string(old)) {
		if k, ok := parseKey(line); !ok || !ids[k.id] {
			b = append(b, line...)
		}
	}
	return b
}
