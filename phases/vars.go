package phases

import (
	"fmt"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// Var is a variable: what an inventory may set under `vars`.
type Var struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"`              // string, int, float, bool
	Default any      `json:"default,omitempty"` // nil: it must be set
	Doc     string   `json:"doc,omitempty"`
	OneOf   []string `json:"one_of,omitempty"`

	check func(any) error // beyond the type; may be nil
}

// Vars is the table of the variables that tune vpsctl itself. Help and
// documentation are made from it. A phase that wants one of them declares it by
// name alone.
func Vars() []Var {
	return []Var{
		{Name: "username", Type: "string", Default: "devuser", check: checkUsername,
			Doc: "the developer user: made where missing, in the groups sudo, audio, video, dialout and plugdev"},
		{Name: "must_change", Type: "bool", Default: true,
			Doc: "a generated password has to be changed at the first login"},
		{Name: "root_login", Type: "string", Default: "auto", OneOf: []string{"auto", "prohibit-password", "no"},
			Doc: "root's SSH login; auto: by key only while the inventory connects as root, else no"},
		{Name: "upgrade", Type: "string", Default: "first", OneOf: []string{"never", "first", "always"},
			Doc: "when installed packages are upgraded; first: once per host"},
		{Name: "apt_mirror", Type: "string", Default: "", check: checkMirror,
			Doc: "URL of a Debian mirror to use instead of the host's own; security updates stay where they are"},
		{Name: "apt_max_parallel", Type: "int", Default: 3, check: between(1, 16),
			Doc: "packages that are downloaded at the same time; 1: strictly one after the other; small hosts: 1"},
		{Name: "download_timeout", Type: "int", Default: 300, check: between(10, 7200),
			Doc: "seconds without progress after which one attempt of a download is given up"},
		{Name: "apt_clean", Type: "bool", Default: false,
			Doc: "remove downloaded packages from the host once they are installed"},
		{Name: "desktop", Type: "string", Default: "lean", OneOf: []string{"lean", "full"},
			Doc: "lean: XFCE with what a good remote desktop needs; full: Debian's own choice, with an office suite and a browser, 3 GB"},
		{Name: "swap", Type: "string", Default: "auto", OneOf: []string{"auto", "off"},
			Doc: "auto: a swap file of 2 GiB where memory is 2 GB or less and there is no swap"},
		{Name: "rdp_from", Type: "string", Default: "tunnel", check: checkRDPFrom,
			Doc: "who may reach port 3389: tunnel (nobody but through SSH, see vpsctl rdp), any, or addresses and networks with blanks between them"},
		{Name: "firewall_allow", Type: "string", Default: "", check: checkPorts,
			Doc: "ports that the firewall leaves open besides SSH, such as \"80/tcp 443/tcp 60000:61000/udp\""},
		{Name: "alert_memory_mb", Type: "int", Default: wire.AlertMemoryMB, check: limit(math.MaxInt32),
			Doc: "warn below this much available memory, in MiB; -1: never"},
		{Name: "alert_disk_mb", Type: "int", Default: wire.AlertDiskMB, check: limit(math.MaxInt32),
			Doc: "warn below this much space available on /, in MiB; -1: never"},
		{Name: "alert_cpu_pct", Type: "int", Default: wire.AlertCPUPct, check: limit(100),
			Doc: "warn above this share of all CPUs in use, in percent; -1: never"},
	}
}

// tuning finds a variable of the table.
func tuning(name string) (Var, bool) {
	for _, v := range Vars() {
		if v.Name == name {
			return v, true
		}
	}
	return Var{}, false
}

// reserved names always have a value and cannot be declared.
func reserved() []string { return []string{"host", "address", "groups", "run_id", "connect_user"} }

var varName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// checkVarName says why name cannot be a variable, "" when it can.
func checkVarName(name string) (text, hint string) {
	switch {
	case slices.Contains(reserved(), name):
		return fmt.Sprintf("%q is a name vpsctl sets itself", name), "choose another name"
	case name == "PATH" || name == "IFS" || strings.HasPrefix(name, "LD_"):
		return fmt.Sprintf("%s decides how a host finds and reads programs and cannot be a variable", name), "choose a name of your own in lower case"
	case !varName.MatchString(name):
		return fmt.Sprintf("%q cannot be a variable: scripts get variables as environment under their own names", name),
			"lower-case letters, digits and _, at most 63, a letter first"
	}
	return "", ""
}

// fits converts value to v's type, or says why it cannot.
func (v Var) fits(value any) (any, error) {
	got, ok := v.convert(value)
	if !ok {
		return nil, fmt.Errorf("%v is %s, wanted %s", value, typeName(value), article(v.Type))
	}
	if s, ok := got.(string); ok && len(v.OneOf) > 0 && !slices.Contains(v.OneOf, s) {
		return nil, fmt.Errorf("%q is none of %s", s, quoted(v.OneOf, "and"))
	}
	if s, ok := got.(string); ok && strings.ContainsRune(s, 0) {
		return nil, fmt.Errorf("a NUL byte cannot be in an environment")
	}
	if v.check == nil {
		return got, nil
	}
	return got, v.check(got)
}

func (v Var) convert(value any) (any, bool) {
	switch x := value.(type) {
	case string:
		return x, v.Type == "string"
	case bool:
		return x, v.Type == "bool"
	case int:
		if v.Type == "float" {
			return float64(x), true
		}
		return x, v.Type == "int"
	case float64:
		return x, v.Type == "float"
	}
	return nil, false
}

// typeOf names the type of a scalar, "" for what is none.
func typeOf(value any) string {
	switch value.(type) {
	case string:
		return "string"
	case bool:
		return "bool"
	case int:
		return "int"
	case float64:
		return "float"
	}
	return ""
}

func typeName(value any) string {
	if t := typeOf(value); t != "" {
		return article(t)
	}
	return "no scalar"
}

func article(typ string) string {
	if typ == "int" {
		return "an int"
	}
	return "a " + typ
}

var userName = regexp.MustCompile(`^[a-z][a-z0-9_-]{2,31}$`)

// checkUsername refuses what useradd would, and accounts and groups that a
// Debian system has for itself.
func checkUsername(value any) error {
	name := value.(string)
	if !userName.MatchString(name) {
		return fmt.Errorf("%q is no user name: 3 to 32 lower-case letters, digits, _ and -, a letter first", name)
	}
	taken := []string{"root", "daemon", "bin", "sys", "sync", "games", "man", "lp", "mail", "news", "uucp", "proxy",
		"www-data", "backup", "list", "irc", "gnats", "nobody", "nogroup", "messagebus", "sshd", "polkitd", "xrdp", "uuidd",
		"lightdm", "avahi", "tss", "postfix", "ntp", "_apt", "adm", "tty", "disk", "kmem", "dialout", "fax", "voice", "cdrom",
		"floppy", "tape", "sudo", "audio", "dip", "operator", "src", "shadow", "utmp", "video", "sasl", "plugdev", "staff",
		"users", "input", "kvm", "render", "crontab", "ssl-cert", "devusers", "docker"}
	if slices.Contains(taken, name) || strings.HasPrefix(name, "systemd-") {
		return fmt.Errorf("%q belongs to the system", name)
	}
	return nil
}

// checkMirror takes "" and http(s) URLs that are safe in a sources file.
func checkMirror(value any) error {
	s := value.(string)
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(s, " \t\r\n[]'\"") {
		return fmt.Errorf("%q is no mirror: wanted http://HOST/PATH or https://HOST/PATH", s)
	}
	return nil
}

func between(low, high int) func(any) error {
	return func(value any) error {
		if n := value.(int); n < low || n > high {
			return fmt.Errorf("%d is not between %d and %d", n, low, high)
		}
		return nil
	}
}

// limit takes 1 to high, and -1 for none.
func limit(high int) func(any) error {
	return func(value any) error {
		if value == -1 {
			return nil
		}
		return between(1, high)(value)
	}
}
