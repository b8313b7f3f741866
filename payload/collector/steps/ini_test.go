//go:build linux

package steps

import (
	"strings"
	"testing"

	"github.com/vpsctl/vpsctl/payload/wire"
)

func TestEditKeys(t *testing.T) {
	set := func(section, name, value string) []wire.Key {
		return []wire.Key{{Section: section, Name: name, Value: value}}
	}
	for _, c := range []struct {
		name, in, out, changed string
		keys                   []wire.Key
	}{
		{"holds", "[a]\nk=v\n", "[a]\nk=v\n", "", set("a", "k", "v")},
		{"value", "; top\n[a]\n# about k\nk=old\nl=1\n\n[b]\nk=x\n", "; top\n[a]\n# about k\nk=new\nl=1\n\n[b]\nk=x\n", "[a] k had another value", set("a", "k", "new")},
		{"style is kept", "[a]\n  k  =  old\n", "[a]\n  k  =  new\n", "[a] k had another value", set("a", "k", "new")},
		{"empty value", "[a]\nk=\n", "[a]\nk=v\n", "[a] k had another value", set("a", "k", "v")},
		{"to empty", "[a]\nk = v\n", "[a]\nk = \n", "[a] k had another value", set("a", "k", "")},
		{"crlf", "[a]\r\nk=old\r\n", "[a]\r\nk=new\r\nm=1\r\n", "[a] k had another value; [a] m was not there", []wire.Key{{Section: "a", Name: "k", Value: "new"}, {Section: "a", Name: "m", Value: "1"}}},
		{"no end of the last line", "[a]\nk=old", "[a]\nk=new", "[a] k had another value", set("a", "k", "new")},
		{"behind the last line", "[a]\nk=v", "[a]\nk=v\nm=1\n", "[a] m was not there", set("a", "m", "1")},
		{"new key in a section", "[a]\nk = v\n\n# of b\n[b]\nx = 1\n", "[a]\nk = v\nm = 1\n\n# of b\n[b]\nx = 1\n", "[a] m was not there", set("a", "m", "1")},
		{"behind its comment", "[a]\n#m=default\nk=v\n", "[a]\n#m=default\nm=1\nk=v\n", "[a] m was not there", set("a", "m", "1")},
		{"new section", "[a]\nk=v\n", "[a]\nk=v\n\n[b]\nm=1\n", "[b] m was not there", set("b", "m", "1")},
		{"empty file", "", "[b]\nm=1\n", "[b] m was not there", set("b", "m", "1")},
		{"no section", "# auditd\n\nlog_file = /x\nmax = 8\n", "# auditd\n\nlog_file = /x\nmax = 50\nnew = 1\n", "max had another value; new was not there", []wire.Key{{Name: "max", Value: "50"}, {Name: "new", Value: "1"}}},
		{"before the first section", "# top\n\n# of a\n[a]\nk=v\n", "# top\n\nm=1\n# of a\n[a]\nk=v\n", "m was not there", set("", "m", "1")},
		{"twice", "[a]\nk=1\nl=2\nk=3\n[b]\nk=9\n[a]\nk=4\n", "[a]\nk=5\nl=2\n[b]\nk=9\n[a]\n", "[a] k had another value and was there 3 times", set("a", "k", "5")},
		{"twice, the first is right", "k=1\nk=2\n", "k=1\n", "k was there 2 times", set("", "k", "1")},
		{"lines that go on", "[a]\nk = one\n   two\n\tthree\nl = 1\n", "[a]\nk = new\nl = 1\n", "[a] k had another value", set("a", "k", "new")},
		{"a value of several lines is another value", "[a]\nk = one\n   two\n", "[a]\nk = one\n", "[a] k had another value", set("a", "k", "one")},
		{"deeper keys are keys", "[a]\nk = one\n   l = two\n", "[a]\nk = new\n   l = two\n", "[a] k had another value", set("a", "k", "new")},
		{"backslash", "[Service]\nExecStart=/x \\\n  --a=b\nType=simple\n", "[Service]\nExecStart=/y\nType=simple\n", "[Service] ExecStart had another value", set("Service", "ExecStart", "/y")},
		{"removed", "[a]\nk=1\n  more\nl=2\nk=3\n", "[a]\nl=2\n", "[a] k is removed", []wire.Key{{Section: "a", Name: "k", Absent: true}}},
		{"nothing to remove", "[a]\n#k=1\n", "[a]\n#k=1\n", "", []wire.Key{{Section: "a", Name: "k", Absent: true}}},
		{"comment behind a head", "[a] ; the first\nk=1\n", "[a] ; the first\nk=2\n", "[a] k had another value", set("a", "k", "2")},
		{"byte order mark", "\ufeff[a]\nk=1\n", "\ufeff[a]\nk=2\n", "[a] k had another value", set("a", "k", "2")},
		{"= in a value", "[a]\nk=a=b\n", "[a]\nk=c=d\n", "[a] k had another value", set("a", "k", "c=d")},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, changed, err := editKeys([]byte(c.in), c.keys)
			if err != nil || string(out) != c.out || strings.Join(changed, "; ") != c.changed {
				t.Errorf("got  %q\nwant %q\nchanged %q, error %v", out, c.out, changed, err)
			}
			again, changed, _ := editKeys(out, c.keys)
			if string(again) != string(out) || len(changed) > 0 {
				t.Errorf("a second edit made %q, changed %q", again, changed)
			}
		})
	}
	if _, _, err := editKeys([]byte("ELF\x00"), set("", "k", "v")); err == nil {
		t.Error("a binary file was edited")
	}
}

// Every edit holds afterwards, and touches no other key.
func FuzzEditKeys(f *testing.F) {
	f.Add("[a]\nk=1\n  more\nk=2\n#l=3\n[b]\nl = 4\\\nrest", "a", "k", "v")
	f.Add("\ufeff; x\r\n[ a ]\r\n =\r\n[a", "a", "l", "")
	f.Fuzz(func(t *testing.T, text, section, name, value string) {
		if name == "" || strings.TrimSpace(name) != name || strings.ContainsAny(name+section+value, "\r\n\x00=[]#;\\") || strings.TrimSpace(section) != section || strings.ContainsAny(section, "=") {
			t.Skip()
		}
		k := wire.Key{Section: section, Name: name, Value: value}
		out, _, err := editKeys([]byte(text), []wire.Key{k})
		if err != nil {
			return
		}
		f := iniFile{lines: parseINI(string(out))}
		if at := f.find(k); len(at) != 1 || f.lines[at[0]].value() != strings.TrimSpace(value) {
			t.Fatalf("%q with %+v became %q", text, k, out)
		}
		if again, changed, _ := editKeys(out, []wire.Key{k}); string(again) != string(out) || len(changed) > 0 {
			t.Fatalf("%q is changed again, to %q: %q", out, again, changed)
		}
	})
}
