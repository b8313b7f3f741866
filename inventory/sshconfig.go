package inventory

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	ssh "github.com/kevinburke/ssh_config"
)

// Bounds of ssh_config: bytes of a file, files, and includes within includes
// (OpenSSH's own depth).
const (
	maxSSHConfig = 1 << 20
	maxSSHLine   = 2 << 10 // the parser's time grows with its square
	maxIncluded  = 100
	maxDepth     = 16
)

// includeMark stands for Include when a file is given to the parser, which
// would read the included files itself and give up at the first odd line.
const includeMark = "VpsctlInclude"

// sshConfig is the user's ssh_config, flat: its blocks in the order in which
// they are asked. Nothing in it can make loading fail; what is not understood
// is a warning.
type sshConfig struct {
	home     string
	blocks   []sshBlock
	warnings []string
	files    int
}

// sshBlock is some lines and the conditions under which they count, one of
// each Host line around them.
type sshBlock struct {
	conditions []condition
	lines      []sshValue
}

type condition struct{ yes, no *ssh.Host }

// sshValue is one line's value and its place: "~/.ssh/config:12".
type sshValue struct{ key, text, origin string }

// sshPaths are the identity files of ssh_config, not yet expanded.
type sshPaths []sshValue

// readSSHConfig reads path; "" is ~/.ssh/config, "none" nothing.
func readSSHConfig(path string) *sshConfig {
	c := &sshConfig{}
	c.home, _ = os.UserHomeDir()
	switch {
	case path == "none" || path == "" && c.home == "":
		return c
	case path == "":
		path = filepath.Join(c.home, ".ssh", "config")
		if _, err := os.Stat(path); os.IsNotExist(err) {
			return c
		}
	}
	c.read(path, nil, 0)
	return c
}

func (c *sshConfig) warn(origin, format string, args ...any) {
	c.warnings = append(c.warnings, origin+": "+fmt.Sprintf(format, args...))
}

// tilde shows a path below the home folder the short way.
func (c *sshConfig) tilde(path string) string {
	if rest, ok := strings.CutPrefix(path, c.home+string(filepath.Separator)); ok && c.home != "" {
		return "~/" + filepath.ToSlash(rest)
	}
	return path
}

func (c *sshConfig) read(path string, within []condition, depth int) {
	name := c.tilde(path)
	if c.files++; c.files > maxIncluded || depth > maxDepth {
		c.warn(name, "not read: too many files include each other")
		return
	}
	data, err := c.bytes(path)
	if err != nil {
		c.warn(name, "not read: %s", reason(err))
		return
	}
	cfg, err := decodeSSH(c.prepare(name, data))
	if err != nil {
		c.warn(name, "not read: %s", err)
		return
	}
	for _, h := range cfg.Hosts {
		c.flatten(name, h, within, depth)
	}
}

func (c *sshConfig) bytes(path string) ([]byte, error) {
	st, err := os.Stat(path) // first: opening a pipe waits for its writer
	switch {
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular():
		return nil, fmt.Errorf("it is no file")
	case st.Size() > maxSSHConfig:
		return nil, fmt.Errorf("it is larger than %d bytes", maxSSHConfig)
	case runtime.GOOS != "windows" && st.Mode().Perm()&0o002 != 0:
		return nil, fmt.Errorf("others can write it (mode %04o)", st.Mode().Perm())
	}
	return os.ReadFile(path)
}

// decodeSSH parses; the parser panics on some texts.
func decodeSSH(data []byte) (cfg *ssh.Config, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return ssh.DecodeBytes(data)
}

// prepare rewrites, line by line, what the parser would refuse or get wrong.
func (c *sshConfig) prepare(name string, data []byte) []byte {
	lines := strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
	for i, line := range lines {
		keyword, rest := sshFields(line)
		if len(line) > maxSSHLine {
			lines[i], keyword = "", ""
			c.warn(fmt.Sprintf("%s:%d", name, i+1), "a line of over %d bytes is skipped", maxSSHLine)
		}
		switch keyword {
		case "match":
			lines[i] = "Host !*"
			if patterns := simpleMatch(rest); patterns != "" {
				lines[i] = "Host " + patterns
			} else {
				c.warn(fmt.Sprintf("%s:%d", name, i+1), "Match %s is not understood here: its lines are skipped", clip(rest))
			}
		case "host":
			lines[i] = "Host " + strings.ReplaceAll(rest, `"`, "")
		case "include":
			lines[i] = includeMark + " " + rest
		}
	}
	return append([]byte(strings.Join(lines, "\n")), '\n')
}

// sshFields splits a line into its lower-case keyword and the rest.
func sshFields(line string) (keyword, rest string) {
	line = strings.TrimSpace(line)
	i := strings.IndexAny(line, " \t=")
	if i < 0 {
		return strings.ToLower(line), ""
	}
	rest = strings.TrimSpace(line[i:])
	return strings.ToLower(line[:i]), strings.TrimSpace(strings.TrimPrefix(rest, "="))
}

// simpleMatch is a Match line as the patterns of a Host line, "" when it asks
// for more than names.
func simpleMatch(rest string) string {
	f := strings.Fields(strings.ReplaceAll(rest, `"`, ""))
	switch {
	case len(f) == 1 && strings.EqualFold(f[0], "all"):
		return "*"
	case len(f) == 2 && (strings.EqualFold(f[0], "host") || strings.EqualFold(f[0], "originalhost")):
		return strings.ReplaceAll(f[1], ",", " ")
	}
	return ""
}

// flatten adds the lines of h, with those of included files where they stand.
func (c *sshConfig) flatten(name string, h *ssh.Host, within []condition, depth int) {
	block := sshBlock{conditions: append(slices.Clone(within), newCondition(h))}
	for _, node := range h.Nodes {
		kv, ok := node.(*ssh.KV)
		if !ok {
			continue
		}
		origin := fmt.Sprintf("%s:%d", name, kv.Pos().Line)
		if kv.Key != includeMark {
			if v := (sshValue{strings.ToLower(kv.Key), kv.Value, origin}); c.sound(v) {
				block.lines = append(block.lines, v)
			}
			continue
		}
		c.blocks = append(c.blocks, block)
		block.lines = nil
		c.include(origin, kv.Value, block.conditions, depth)
	}
	c.blocks = append(c.blocks, block)
}

// sound keeps values out that nothing can be done with.
func (c *sshConfig) sound(v sshValue) bool {
	ok := true
	switch v.key {
	case "port":
		n, err := strconv.Atoi(v.text)
		ok = err == nil && 1 <= n && n <= 65535
	case "user":
		ok = userRule.MatchString(v.text)
	case "hostname":
		_, why, _ := cleanAddress(tokens(v.text, map[byte]string{'h': "x"}))
		ok = why == ""
	}
	if !ok {
		c.warn(v.origin, "%s is not a %s: the line is skipped", quote(v.text), v.key)
	}
	return ok
}

func (c *sshConfig) include(origin, patterns string, within []condition, depth int) {
	for _, p := range strings.Fields(strings.ReplaceAll(patterns, `"`, "")) {
		full, err := expand(p, filepath.Join(c.home, ".ssh"))
		if err != nil {
			c.warn(origin, "Include %s: %s", p, err)
			continue
		}
		files, err := filepath.Glob(full)
		if err != nil {
			c.warn(origin, "Include %s: %s", p, err)
		}
		for _, f := range files {
			c.read(f, within, depth+1)
		}
	}
}

func newCondition(h *ssh.Host) condition {
	cond := condition{&ssh.Host{}, &ssh.Host{}}
	for _, p := range h.Patterns {
		text, negated := strings.CutPrefix(p.String(), "!")
		bare, err := ssh.NewPattern(text)
		switch {
		case err != nil:
		case negated:
			cond.no.Patterns = append(cond.no.Patterns, bare)
		default:
			cond.yes.Patterns = append(cond.yes.Patterns, bare)
		}
	}
	return cond
}

func (b sshBlock) counts(aliases []string) bool {
	for _, c := range b.conditions {
		if !slices.ContainsFunc(aliases, c.yes.Matches) || slices.ContainsFunc(aliases, c.no.Matches) {
			return false
		}
	}
	return true
}

// knows tells whether a Host line means alias, not just everything.
func (c *sshConfig) knows(alias string) bool {
	return slices.ContainsFunc(c.blocks, func(b sshBlock) bool {
		named := slices.ContainsFunc(b.conditions, func(c condition) bool {
			return slices.ContainsFunc(c.yes.Patterns, func(p *ssh.Pattern) bool { return p.String() != "*" })
		})
		return named && b.counts([]string{alias})
	})
}

// sshAnswer is what ssh_config says about one host. As in ssh, the first value
// of a key wins and IdentityFile adds up.
type sshAnswer struct {
	hostName, port, user, proxyJump, proxyCommand, identitiesOnly sshValue
	portNumber                                                    int
	identities                                                    sshPaths
}

func (c *sshConfig) lookup(name, address string) sshAnswer {
	aliases := []string{name}
	if address != "" && address != name {
		aliases = append(aliases, address)
	}
	var a sshAnswer
	for _, b := range c.blocks {
		if len(b.lines) == 0 || !b.counts(aliases) {
			continue
		}
		for _, v := range b.lines {
			a.take(v)
		}
	}
	a.hostName.text = tokens(a.hostName.text, map[byte]string{'h': name})
	a.portNumber, _ = strconv.Atoi(a.port.text)
	return a
}

func (a *sshAnswer) take(v sshValue) {
	first := func(to *sshValue) {
		if to.origin == "" {
			*to = v
		}
	}
	switch v.key {
	case "hostname":
		first(&a.hostName)
	case "port":
		first(&a.port)
	case "user":
		first(&a.user)
	case "identitiesonly":
		v.text = strings.ToLower(v.text)
		if v.text == "true" {
			v.text = "yes"
		}
		first(&a.identitiesOnly)
	case "proxyjump":
		if a.proxyCommand.origin == "" {
			first(&a.proxyJump)
		}
	case "proxycommand":
		if a.proxyJump.origin == "" && !strings.EqualFold(v.text, "none") {
			first(&a.proxyCommand)
		}
	case "identityfile":
		a.identities = append(a.identities, v)
	}
}

// paths expands identity files for h: ~, %d %h %r %u %%, ${HOME} and the like.
func (c *sshConfig) paths(files sshPaths, h *Host) []string {
	var list []string
	for _, f := range files {
		if strings.EqualFold(f.text, "none") {
			continue
		}
		p := tokens(f.text, map[byte]string{'d': c.home, 'h': h.Address, 'r': h.User, 'u': os.Getenv("USER")})
		full, err := expand(os.Expand(p, os.Getenv), filepath.Join(c.home, ".ssh"))
		if err == nil && !slices.Contains(list, full) {
			list = append(list, full)
		}
	}
	return list
}

// tokens replaces %x; what it does not know stays.
func tokens(s string, values map[byte]string) string {
	var b bytes.Buffer
	for i := 0; i < len(s); i++ {
		if s[i] != '%' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if v, ok := values[s[i]]; ok {
			b.WriteString(v)
		} else if s[i] == '%' {
			b.WriteByte('%')
		} else {
			b.WriteString(s[i-1 : i+1])
		}
	}
	return b.String()
}
