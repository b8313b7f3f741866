package inventory

import (
	"encoding/base64"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
	"gopkg.in/yaml.v3"
)

var (
	dnsRule  = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$`)
	userRule = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@\\+$-]{0,63}$`)
	zoneRule = regexp.MustCompile(`^[A-Za-z0-9._-]{1,32}$`)
	digits   = regexp.MustCompile(`^[0-9.]+$`)
)

// cleanAddress turns s into what is dialled: a name, an IPv4 or an IPv6 address
// without brackets. why says what is wrong with it.
func cleanAddress(s string) (addr, why, hint string) {
	bare := s
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		bare = s[1 : len(s)-1]
	}
	ip, err := netip.ParseAddr(bare)
	switch {
	case err == nil && (ip.Zone() == "" || zoneRule.MatchString(ip.Zone())) && (bare == s || ip.Is6()):
		return bare, "", ""
	case strings.Contains(s, "://"):
		return "", "is a URL", "only the host's name or IP address stands here"
	case strings.Contains(s, "@"):
		return "", "has a user in it", "write the user on a line of its own: `user:`"
	case strings.Contains(s, "/"):
		return "", "is not one address", "only the host's name or IP address stands here"
	case strings.Count(s, ":") == 1 || strings.HasPrefix(s, "[") && strings.Contains(s, "]:"):
		return "", "has a port in it", "write the port on a line of its own: `port:`"
	case strings.Contains(s, ":"):
		return "", "is not an IPv6 address", "for example 2001:db8::1"
	case digits.MatchString(s):
		return "", "is not an IPv4 address", "four numbers from 0 to 255, for example 203.0.113.10"
	case len(s) > 253 || !dnsRule.MatchString(s):
		return "", "is neither a name nor an IP address", "letters, digits, '-' and dots; names in other scripts in their xn-- form"
	}
	return s, "", ""
}

func readAddress(w *walker, n *yaml.Node, who string) (any, bool) {
	s, ok := w.text(n, who)
	if !ok {
		return nil, false
	}
	addr, why, hint := cleanAddress(s)
	if why != "" {
		w.add(at(n), hint, "%s: %s %s", who, quote(s), why)
	}
	return addr, why == ""
}

func readUser(w *walker, n *yaml.Node, who string) (any, bool) {
	s, ok := w.text(n, who)
	if ok && !userRule.MatchString(s) {
		w.add(at(n), "letters, digits and _ . @ \\ + $ -, at most 64, the first a letter, digit or _", "%s: %s is not a user's name", who, quote(s))
		return nil, false
	}
	return s, ok
}

// readHostKeys accepts what OpenSSH prints: fingerprints and key lines.
func readHostKeys(w *walker, n *yaml.Node, who string) (any, bool) {
	keys, before := []string{}, w.count()
	for _, p := range w.texts(n, who, true) {
		key, why, hint := cleanHostKey(p.key)
		if why != "" {
			w.add(p.at, hint, "%s: %s %s", who, quote(p.key), why)
			continue
		}
		keys = append(keys, key)
	}
	return keys, w.count() == before
}

func cleanHostKey(s string) (key, why, hint string) {
	if sum, ok := strings.CutPrefix(s, "SHA256:"); ok {
		if b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(sum, "=")); err != nil || len(b) != 32 {
			return "", "is not a whole fingerprint", "SHA256: and 43 letters, as `ssh-keygen -lf FILE.pub` prints it"
		}
		return "SHA256:" + strings.TrimRight(sum, "="), "", ""
	}
	if strings.HasPrefix(s, "MD5:") {
		return "", "is an MD5 fingerprint", "take the one that begins with SHA256:"
	}
	fields := strings.Fields(s)
	if len(fields) >= 2 {
		blob, err := base64.StdEncoding.DecodeString(fields[1])
		if k, kerr := ssh.ParsePublicKey(blob); err == nil && kerr == nil && k.Type() == fields[0] {
			return fields[0] + " " + fields[1], "", ""
		}
	}
	hint = "SHA256:… or a key line such as `ssh-ed25519 AAAA…`"
	if len(fields) >= 3 && strings.Contains(fields[1], "-") && strings.HasPrefix(fields[2], "AAAA") {
		hint = "leave out the host's name: begin with " + clip(fields[1])
	}
	return "", "is neither a fingerprint nor a key line", hint
}

// destination is where a jump leads: [user@]host[:port].
type destination struct {
	user, host string
	port       int
}

// plain: only a host, so that it may be the name of one in the inventory.
func (d destination) plain() bool { return d.user == "" && d.port == 0 }

func readJump(w *walker, n *yaml.Node, who string) (any, bool) {
	s, ok := w.text(n, who)
	if !ok || s == "none" {
		return s, ok
	}
	if _, why, hint := cleanDestination(s); why != "" {
		w.add(at(n), hint, "%s: %s: %s", who, quote(s), why)
		return nil, false
	}
	return s, true
}

func cleanDestination(s string) (d destination, why, hint string) {
	const form = "a host of this inventory, or user@host:port"
	if strings.Contains(s, ",") {
		return d, "a chain of jump hosts is not in this release", "name one jump host"
	}
	s = strings.TrimSuffix(strings.TrimPrefix(s, "ssh://"), "/")
	rest := s
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		d.user, rest = s[:i], s[i+1:]
		if !userRule.MatchString(d.user) {
			return d, quote(d.user) + " is not a user's name", form
		}
	}
	if _, err := netip.ParseAddr(rest); err != nil {
		i := strings.LastIndexByte(rest, ':')
		if i > 0 && (strings.HasSuffix(rest[:i], "]") || strings.Count(rest, ":") == 1) {
			port, err := strconv.Atoi(rest[i+1:])
			if err != nil || port < 1 || port > 65535 {
				return d, quote(rest[i+1:]) + " is not a port", "a whole number from 1 to 65535"
			}
			d.port, rest = port, rest[:i]
		}
	}
	addr, why, _ := cleanAddress(rest)
	if why != "" {
		return d, quote(rest) + " " + why, form
	}
	d.host = addr
	return d, "", ""
}
