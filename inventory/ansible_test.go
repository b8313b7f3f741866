package inventory

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// printed is what `ansible-inventory --list --export` prints of two layers.
const printed = `{
  "_meta": {"hostvars": {
    "web1": {"ansible_host": "203.0.113.10", "ansible_port": "2222", "rack": 7, "ratio": 1.50, "big": 12345678901234567890,
             "note": {"__ansible_unsafe": "{% raw %}"}, "on": true, "tags": {"a": ["b"]}, "Name": "x", "later": "{{ rack }}", "none": null,
             "ansible_python_interpreter": "/usr/bin/python3", "ansible_password": "hunter2"},
    "db1": {"ansible_ssh_host": "old.example.net", "ansible_host": "new.example.net", "ansible_user": "admin", "ansible_become": "yes",
            "ansible_python_interpreter": "/usr/bin/python3", "address": "1"},
    "ghost": {"x": 1}}, "profile": "inventory_legacy"},
  "all": {"children": ["ungrouped", "prod"], "vars": {"ansible_ssh_private_key_file": "keys/id", "editor": "vim", "ansible_connection": "ssh"}},
  "ungrouped": {"hosts": ["lone"]},
  "prod": {"children": ["web", "db:all"], "vars": {"editor": "nano", "rack": 1}},
  "web": ["web1", "web1"],
  "db:all": {"hosts": ["db1"], "vars": {"rack": 2, "ansible_become_user": "root", "ansible_become_method": "sudo"}}
}`

func TestAnsible(t *testing.T) {
	inv, err := parse("hosts.json", []byte(printed), Options{SSHConfig: "none"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, h := range inv.Hosts() {
		var vars []string
		for name, v := range h.Vars {
			vars = append(vars, fmt.Sprintf("%s=%v(%T)", name, v.Value, v.Value))
		}
		slices.Sort(vars)
		keys, _ := filepath.Rel(inv.Dir(), h.IdentityFiles[0])
		got = append(got, fmt.Sprintf("%s %s:%d %s become=%v %s %v %v", h.Name, h.Address, h.Port, h.User, h.Become, keys, h.Groups, vars))
	}
	want := []string{
		"lone lone:22 root become=false keys/id [ungrouped] [editor=vim(string)]",
		"web1 203.0.113.10:2222 root become=false keys/id [prod web] [big=12345678901234567890(string) editor=nano(string) note={% raw %}(string) on=true(bool) rack=7(int) ratio=1.50(string)]",
		"db1 new.example.net:22 admin become=true keys/id [prod db_all] [editor=nano(string) rack=2(int)]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if o := inv.Hosts()[1].Origin; o["address"] != "hosts.json:3:30 (host web1)" || o["identity_file"] != "hosts.json:9:87 (group all)" {
		t.Errorf("origins: %v", o)
	}
	wantWarnings := []string{
		`hosts.json:4:69: the variable "tags" is not used: it is not a single value`,
		`hosts.json:4:91: the variable "Name" is not used: it is not a name for a variable here`,
		`hosts.json:4:104: the variable "later" is not used: templates are not evaluated here`,
		`hosts.json:4:127: the variable "none" is not used: it has no value`,
		`hosts.json:5:14: the variable "ansible_python_interpreter" is not used (2 places)`,
		`hosts.json:5:64: the variable "ansible_password" is not used: logins are by key`,
		`hosts.json:7:63: the variable "address" is not used: it is not a name for a variable here`,
		`hosts.json:8:5: hostvars of hosts that are in no group, not even in all or ungrouped, are not used: ghost`,
		`hosts.json:11:32: group "db:all": it is called db_all here`,
	}
	warnings := inv.Warnings()
	slices.Sort(warnings)
	slices.Sort(wantWarnings)
	if diff := cmp.Diff(wantWarnings, warnings); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if strings.Contains(fmt.Sprintf("%+v %v", inv.Hosts(), warnings), "hunter2") {
		t.Error("a password was taken over")
	}
}

func TestWhatIsJSON(t *testing.T) {
	for _, c := range []struct{ name, text, hosts string }{
		{"ours", `{"hosts": {"a": {}, "b": {}}}`, "a b"},
		{"ours, with a group", `{"groups": {"eu": {"hosts": ["a"]}}, "hosts": {"a": {}}}`, "a"},
		{"flow yaml", `{hosts: {a: {port: 23}}}`, "a"},
		{"a byte order mark and space", "\uFEFF \n{\"all\": {\"hosts\": [\"a\"]}}", "a"},
		{"a group called hosts", `{"_meta": {}, "hosts": ["a", "b"]}`, "a b"},
		{"lists alone", `{"web": ["a"], "db": ["b", "a"]}`, "a b"},
		{"a child nobody describes", `{"all": {"children": ["web"], "hosts": ["a"]}, "web": {"children": ["later"]}}`, "a"},
	} {
		inv, err := parse("i", []byte(c.text), Options{SSHConfig: "none"})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var names []string
		for _, h := range inv.Hosts() {
			names = append(names, h.Name)
		}
		if got := strings.Join(names, " "); got != c.hosts {
			t.Errorf("%s: %q, want %q", c.name, got, c.hosts)
		}
	}
}

func TestJSONIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	for _, c := range []struct{ name, text, want string }{
		{"deep", `{"_meta": ` + strings.Repeat("[", 20000), "values lie too deep in each other"},
		{"many values", `{"_meta": [` + strings.Repeat("0,", maxJSONNodes) + `0]}`, "more than 2000000 values"},
		{"many variables", `{"_meta": {"hostvars": {"a": {` + many(maxVars+1) + `}}}, "web": ["a"]}`, "more than 500 variables"},
		{"large, and ours", `{"hosts": {"a": {}}}` + strings.Repeat(" ", maxFile), "larger than 4 MiB"},
	} {
		_, err := parse("i.json", []byte(c.text), Options{SSHConfig: "none"})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// TestManyLeftOut: a cloud's hundred tags are not a hundred warnings.
func TestManyLeftOut(t *testing.T) {
	text := `{"_meta": {"hostvars": {"a": {` + strings.ReplaceAll(many(100), `"v`, `"V`) + `}}}, "web": ["a"]}`
	inv, err := parse("i.json", []byte(text), Options{SSHConfig: "none"})
	if err != nil {
		t.Fatal(err)
	}
	w := inv.Warnings()
	if len(w) != maxLeftOut+1 || !strings.HasSuffix(w[maxLeftOut], "80 further variables and names are not used as they are") {
		t.Errorf("%d warnings, the last: %s", len(w), w[len(w)-1])
	}
}

func many(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`"v%d": 1`, i)
	}
	return strings.Join(list, ", ")
}

// largeJSON is n hosts as a cloud's script prints them.
func largeJSON(n int) string {
	var vars, groups strings.Builder
	for i := range n {
		fmt.Fprintf(&vars, `,"host-%05d": {"ansible_host": "10.%d.%d.%d", "ansible_port": 22, "rack": %d, "state": "running", "tags": {"Name": "host", "Env": "prod"}, "image_id": "ami-%d", "zone": "eu-1a"}`,
			i, i>>16, i>>8&255, i&255, i%40, i)
	}
	for r := range 10 {
		var names []string
		for i := r; i < n; i += 10 {
			names = append(names, fmt.Sprintf(`"host-%05d"`, i))
		}
		fmt.Fprintf(&groups, `, "r%d": {"hosts": [%s], "vars": {"region": "r%d"}}`, r, strings.Join(names, ","), r)
	}
	return `{"_meta": {"hostvars": {` + strings.TrimPrefix(vars.String(), ",") + `}}, "all": {"vars": {"ansible_user": "admin", "swap": "auto"}}` + groups.String() +
		`, "east": {"children": ["r0", "r1", "r2", "r3", "r4"]}}`
}

func BenchmarkLoadJSON10000(b *testing.B) {
	name := filepath.Join(b.TempDir(), "hosts.json")
	text := largeJSON(10000)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		inv, err := Load(b.Context(), name, Options{SSHConfig: "none"})
		if err != nil {
			b.Fatal(err)
		}
		hosts, err := inv.Select("east,&host-*,!r3")
		if err != nil || len(hosts) != 4000 {
			b.Fatal(len(hosts), err)
		}
	}
}

// FuzzAnsible: no JSON makes loading panic, and nothing of it is ever run or
// read as a secret.
func FuzzAnsible(f *testing.F) {
	f.Add(printed)
	f.Add(largeJSON(12))
	for _, s := range []string{`{"_meta": {"hostvars": {"a": {"t": {"command": ["touch", "x"]}}}}, "web": ["a"]}`, `{"all": [[]], "x": {"hosts": 1e9}}`,
		`{"a":{"children":["a"]}}`, "{\"\\u0000\": [\"\\ud800\"]}", `{"_meta": 1}`, `{"_meta"`, "{\"all\":{\"hosts\":[\"a\"],\"vars\":{\"x\":\"\x1b[31m\"}}}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 64<<10 {
			return
		}
		inv, err := parse("hosts.json", []byte(text), Options{SSHConfig: "none"})
		if err != nil {
			for _, p := range err.(*Problems).List {
				if p.Line < 0 || p.Col < 0 || p.Text == "" || strings.ContainsAny(p.Text+p.Hint, "\n\x1b\u202e") {
					t.Errorf("%+v", p)
				}
			}
			return
		}
		for _, w := range inv.Warnings() {
			if strings.ContainsAny(w, "\n\x1b\u202e") {
				t.Errorf("warning %q", w)
			}
		}
		w := &walker{problems: &problems{file: "hosts.json"}}
		if _, ok := w.json([]byte(text)); ok && len(inv.Code()) > 0 {
			t.Errorf("code: %q", inv.Code())
		}
		for _, h := range inv.Hosts() {
			if why, _ := badName(h.Name); why != "" || h.Address == "" || h.User == "" || h.Port < 1 || h.Port > 65535 {
				t.Errorf("%+v", h)
			}
		}
	})
}
