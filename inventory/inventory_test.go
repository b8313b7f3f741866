package inventory

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// load writes text as inventory.yaml into a folder of its own and loads it
// with the home folder beside it.
func load(t *testing.T, text string, opt Options) (*Inventory, error) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("HOME", filepath.Join(dir, "home"))
	t.Chdir(dir)
	write(t, "inventory.yaml", text)
	return Load(t.Context(), "inventory.yaml", opt)
}

func mustLoad(t *testing.T, text string, opt Options) *Inventory {
	t.Helper()
	inv, err := load(t, text, opt)
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func one(t *testing.T, inv *Inventory, name string) Host {
	t.Helper()
	hosts, err := inv.Select(name)
	if err != nil || len(hosts) != 1 {
		t.Fatalf("%s: %d hosts, %v", name, len(hosts), err)
	}
	return hosts[0]
}

const layered = `defaults:
  user: d
  port: 1
  become: true
  identity_file: ~/.ssh/id
  vars: {a: d, b: d, c: d, d: d, e: d, f: d}
groups:
  parent: {groups: [child], port: 2, user: p, vars: {b: p, c: p, d: p, e: p}}
  child: {hosts: ["al*"], port: 3, vars: {c: c, d: c, e: c}}
hosts:
  alpha:
    address: 203.0.113.10
    port: 4
    vars: {d: h, e: h, n: 7, x: 1.5, on: false, s: "1.50", day: 2026-11-23}
  other: {}
`

func TestPrecedence(t *testing.T) {
	inv := mustLoad(t, layered, Options{Vars: map[string]string{"e": "-e"}, SSHConfig: "none"})
	h := one(t, inv, "alpha")
	var got []string
	for _, k := range []string{"a", "b", "c", "d", "e", "f", "n", "x", "on", "s", "day"} {
		v := h.Vars[k]
		got = append(got, fmt.Sprintf("%s=%v (%T) %s", k, v.Value, v.Value, v.Origin))
	}
	want := []string{
		"a=d (string) inventory.yaml:6:13 (defaults)",
		"b=p (string) inventory.yaml:8:57 (group parent)",
		"c=c (string) inventory.yaml:9:46 (group child)",
		"d=h (string) inventory.yaml:14:15 (host alpha)",
		"e=-e (string) -e e",
		"f=d (string) inventory.yaml:6:43 (defaults)",
		"n=7 (int) inventory.yaml:14:27 (host alpha)",
		"x=1.5 (float64) inventory.yaml:14:33 (host alpha)",
		"on=false (bool) inventory.yaml:14:42 (host alpha)",
		"s=1.50 (string) inventory.yaml:14:52 (host alpha)",
		"day=2026-11-23 (string) inventory.yaml:14:65 (host alpha)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if h.Port != 4 || h.User != "p" || !h.Become || h.Address != "203.0.113.10" {
		t.Errorf("%+v", h)
	}
	if diff := cmp.Diff([]string{filepath.Join(os.Getenv("HOME"), ".ssh/id")}, h.IdentityFiles); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"parent", "child"}, h.Groups); diff != "" {
		t.Error(diff)
	}
	o := one(t, inv, "other")
	if o.Address != "other" || o.Port != 1 || o.User != "d" || o.Groups != nil {
		t.Errorf("%+v", o)
	}
	wantOrigin := map[string]string{
		"address": "the host's name", "port": "inventory.yaml:3:9 (defaults)", "user": "inventory.yaml:2:9 (defaults)",
		"become": "inventory.yaml:4:11 (defaults)", "identity_file": "inventory.yaml:5:18 (defaults)",
	}
	if diff := cmp.Diff(wantOrigin, o.Origin); diff != "" {
		t.Error(diff)
	}
	wantGroups := []Group{
		{Name: "parent", Hosts: []string{"alpha"}, Groups: []string{"child"}},
		{Name: "child", Hosts: []string{"alpha"}, Direct: []string{"alpha"}},
	}
	if diff := cmp.Diff(wantGroups, inv.Groups()); diff != "" {
		t.Error(diff)
	}
}

// TestAgreement: what is no conflict between groups.
func TestAgreement(t *testing.T) {
	for name, text := range map[string]string{
		"equal values":        "groups: {a: {hosts: [x], port: 7}, b: {hosts: [x], port: 7}}\nhosts: {x: {}}",
		"the host says":       "groups: {a: {hosts: [x], port: 1}, b: {hosts: [x], port: 2}}\nhosts: {x: {port: 7}}",
		"a common child says": "groups: {a: {groups: [c], port: 1}, b: {groups: [c], port: 2}, c: {hosts: [x], port: 7}}\nhosts: {x: {}}",
		"a grandchild says":   "groups: {a: {groups: [b], port: 1}, b: {groups: [c]}, c: {hosts: [x], port: 7}}\nhosts: {x: {}}",
		"other hosts":         "groups: {a: {hosts: [x], port: 7}, b: {hosts: [y], port: 2}}\nhosts: {x: {}, y: {}}",
	} {
		t.Run(name, func(t *testing.T) {
			if h := one(t, mustLoad(t, text, Options{SSHConfig: "none"}), "x"); h.Port != 7 {
				t.Errorf("port %d, want 7", h.Port)
			}
		})
	}
}

func TestExtraVarsSettleConflicts(t *testing.T) {
	text := "groups: {a: {hosts: [x], vars: {v: 1}}, b: {hosts: [x], vars: {v: 2}}}\nhosts: {x: {}}"
	h := one(t, mustLoad(t, text, Options{Vars: map[string]string{"v": "3"}, SSHConfig: "none"}), "x")
	if h.Vars["v"].Value != 3 {
		t.Errorf("v is %v", h.Vars["v"])
	}
}

func TestExtraVars(t *testing.T) {
	for text, want := range map[string]any{
		"":              "",
		"text":          "text",
		"7":             7,
		"-1.5":          -1.5,
		"true":          true,
		`"3.10"`:        "3.10",
		"'it''s'":       "it's",
		"a # b":         "a # b",
		"7 # b":         "7 # b",
		"#fff":          "#fff",
		"a: b: c":       "a: b: c",
		"@x":            "@x",
		"*x":            "*x",
		"two\nlines":    "two\nlines",
		" padded ":      " padded ",
		"2001:db8::1":   "2001:db8::1",
		"$(reboot)'\"`": "$(reboot)'\"`",
	} {
		inv, err := load(t, "hosts: {x: {}}", Options{Vars: map[string]string{"v": text}, SSHConfig: "none"})
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := one(t, inv, "x").Vars["v"].Value; got != want {
			t.Errorf("%q: %#v, want %#v", text, got, want)
		}
	}
	_, err := load(t, "hosts: {x: {}}", Options{SSHConfig: "none", Vars: map[string]string{
		"a": "3.10", "b": "[1, 2]", "c": "{env: X}", "d": "null", "apt-mirror": "x", "host": "x", "e": "a\x00b"}})
	want := `-e a: the number 3.10 would be read as 3.1
  hint: quote it: "3.10"
-e apt-mirror: "apt-mirror" is not a name for a variable
  hint: did you mean "apt_mirror"?
-e b: the value must be a single one, not a list
  hint: for a text in brackets: -e 'NAME="[text]"'
-e c: the value must be a single one, not a mapping
  hint: for a text in brackets: -e 'NAME="[text]"'
-e d: it has no value
  hint: write "" for an empty text
-e e: the text has a zero byte in it
-e host: the variable "host" is set by vpsctl itself
  hint: take another name`
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
}

func TestReach(t *testing.T) {
	key := "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFuIbfjPCVbZUWKBF3MCjJYkY6TjsvSvQTtBvVTkvHuk"
	inv := mustLoad(t, `
defaults: {jump: gate, identity_file: [keys/a, /etc/b, ~/c]}
hosts:
  gate: {address: 203.0.113.1, user: admin, phases: {only: []}}
  six: {address: "[2001:db8::1]", host_key: `+key+` me@here}
  zone: {address: fe80::1%eth0, host_key: ["SHA256:uNiVztksCsDhcc0u9e8BrrQXVUpKZIDTMczCvj3tD2s"]}
  direct: {address: host.example.net., jump: none, identity_file: []}
  other: {user: jo, jump: "me@[2001:db8::9]:2222"}
  bare: {user: jo, jump: "2001:db8::9"}
  port: {jump: "gate:2200"}
  self: {address: 192.0.2.1, jump: "ssh://a.b@192.0.2.7"}
`, Options{SSHConfig: "none"})
	jump := func(h Host) string {
		if h.Jump == nil {
			return "-"
		}
		j := h.Jump.Host
		return fmt.Sprintf("%s %s@%s %d", j.Name, j.User, j.Address, j.Port)
	}
	for name, want := range map[string]string{
		"gate":   "203.0.113.1 -",
		"six":    "2001:db8::1 gate admin@203.0.113.1 22",
		"zone":   "fe80::1%eth0 gate admin@203.0.113.1 22",
		"direct": "host.example.net. -",
		"other":  "other 2001:db8::9 me@2001:db8::9 2222",
		"bare":   "bare 2001:db8::9 jo@2001:db8::9 22",
		"port":   "port gate admin@203.0.113.1 2200",
		"self":   "192.0.2.1 192.0.2.7 a.b@192.0.2.7 22",
	} {
		h := one(t, inv, name)
		if got := h.Address + " " + jump(h); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if got := one(t, inv, "six").HostKeys; !cmp.Equal(got, []string{key}) {
		t.Errorf("host keys %q", got)
	}
	wd, home := inv.Dir(), os.Getenv("HOME")
	want := []string{filepath.Join(wd, "keys/a"), "/etc/b", filepath.Join(home, "c")}
	if diff := cmp.Diff(want, one(t, inv, "six").IdentityFiles); diff != "" && runtime.GOOS != "windows" {
		t.Error(diff)
	}
	if got := one(t, inv, "direct").IdentityFiles; len(got) != 0 {
		t.Errorf("identity files %q", got)
	}
	if p := one(t, inv, "gate").Phases; !p.OnlyGiven || len(p.Only) != 0 {
		t.Errorf("phases %+v", p)
	}
	if got := inv.CheckFiles(); len(got) != 3 || !strings.Contains(got[0], "inventory.yaml:2:39 (defaults): identity_file "+want[0]+": there is no such file") {
		t.Errorf("CheckFiles: %q", got)
	}
}

func TestWarnings(t *testing.T) {
	inv := mustLoad(t, `groups: {eu: {hosts: ["web*"]}}
hosts:
  a: {address: 203.0.113.10}
  b: {address: 203.0.113.10}
  c: {address: 203.0.113.10, port: 2222}
`, Options{SSHConfig: "none"})
	want := []string{
		`inventory.yaml:1:23: group "eu": "web*" matches no host`,
		`inventory.yaml:4:3: hosts a and b are the same machine: 203.0.113.10:22`,
	}
	if diff := cmp.Diff(want, inv.Warnings()); diff != "" {
		t.Error(diff)
	}
}

func TestFile(t *testing.T) {
	const good = "hosts: {a: {}}\n"
	unix := func(t *testing.T) {
		if runtime.GOOS == "windows" {
			t.Skip("no modes there")
		}
	}
	for _, c := range []struct {
		name, want string
		make       func(t *testing.T) string
	}{
		{"good", "", func(t *testing.T) string { write(t, "i.yaml", good); return "i.yaml" }},
		{"crlf", "", func(t *testing.T) string { write(t, "i.yaml", "hosts:\r\n  a: {}\r\n"); return "i.yaml" }},
		{"bom", "", func(t *testing.T) string { write(t, "i.yaml", "\ufeff"+good); return "i.yaml" }},
		{"aliases", "", func(t *testing.T) string {
			write(t, "i.yaml", "hosts:\n  a: &h {vars: {x: &v text, y: *v}}\n  b: *h\n")
			return "i.yaml"
		}},
		{"missing", "i.yaml: there is no such file\n  hint: name the inventory with -i FILE", func(t *testing.T) string { return "i.yaml" }},
		{"folder", "i: is a folder\n  hint: name the file: -i " + filepath.Join("i", "inventory.yaml"), func(t *testing.T) string {
			if err := os.Mkdir("i", 0o700); err != nil {
				t.Fatal(err)
			}
			return "i"
		}},
		{"others write", "i.yaml: others can write it (mode 0646)\n  hint: chmod o-w i.yaml", func(t *testing.T) string {
			unix(t)
			write(t, "i.yaml", good)
			chmod(t, "i.yaml", 0o646)
			return "i.yaml"
		}},
		{"others write the folder", "open/i.yaml: others can replace it: they can write its folder (mode 0777)\n  hint: chmod o-w open", func(t *testing.T) string {
			unix(t)
			write(t, "open/i.yaml", good)
			chmod(t, "open", 0o777)
			return "open/i.yaml"
		}},
		{"sticky folder", "", func(t *testing.T) string {
			unix(t)
			write(t, "open/i.yaml", good)
			chmod(t, "open", 0o777|os.ModeSticky)
			return "open/i.yaml"
		}},
		{"huge", "i.yaml: larger than 4 MiB\n  hint: several smaller inventories are read faster, too", func(t *testing.T) string {
			write(t, "i.yaml", good+strings.Repeat("# x\n", maxFile/4))
			return "i.yaml"
		}},
		{"device", os.DevNull + ": is neither a file nor a pipe", func(t *testing.T) string { unix(t); return os.DevNull }},
		{"latin 1", "i.yaml:2:7: not YAML: invalid trailing UTF-8 octet\n  hint: an inventory is text in UTF-8", func(t *testing.T) string {
			write(t, "i.yaml", "hosts:\n  # gr\xf6\xdfe\n  a: {}\n")
			return "i.yaml"
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			_, err := Load(t.Context(), c.make(t), Options{SSHConfig: "none"})
			got := ""
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestPipe: -i <(decrypt inventory.yaml).
func TestPipe(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /dev/fd")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString("hosts: {a: {}}"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	inv, err := Load(t.Context(), fmt.Sprintf("/dev/fd/%d", r.Fd()), Options{SSHConfig: "none"})
	if err != nil || len(inv.Hosts()) != 1 {
		t.Error(err)
	}
}

func chmod(t *testing.T, name string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

// TestBombs: small files that would become large are refused, and quickly.
func TestBombs(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	var wide strings.Builder
	wide.WriteString("defaults:\n  vars: &v\n")
	for i := range 500 {
		fmt.Fprintf(&wide, "    v%d: x\n", i)
	}
	wide.WriteString("hosts:\n")
	for i := range 3000 {
		fmt.Fprintf(&wide, "  h%d: {vars: *v}\n", i)
	}
	laughs := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c <= 'l'; c++ {
		laughs += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c, ", c-1), 10), ", "))
	}
	for name, c := range map[string]struct{ text, want string }{
		"aliases": {wide.String(), "the inventory has more than 1000000 values"},
		"laughs":  {laughs + "hosts: {a: {vars: {x: *l}}}", "must be a single value"},
		"depth":   {"hosts: " + strings.Repeat("[", 100000), "exceeded max depth"},
		"itself":  {"hosts: &h\n  a: {vars: *h}\n  b: *h\n", `host "a": vars.b: a secret is named by`},
		"wrong":   {"hosts:\n" + strings.Repeat("  -: x\n", 5000), "and 4000 more"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, c.text, Options{SSHConfig: "none"})
			var p *Problems
			if !errors.As(err, &p) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("no %q in %.300v", c.want, err)
			}
		})
	}
}
