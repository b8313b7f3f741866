package inventory

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// seeds are all inventories of the tests.
func seeds(f *testing.F) []string {
	list := []string{layered, selectable, large(3), sshText}
	files, _ := filepath.Glob("testdata/mistakes/*.txtar")
	for _, name := range files {
		ar, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, c := range cases(ar) {
			list = append(list, c.yaml)
		}
	}
	return list
}

// FuzzLoad: no text makes loading panic; each mistake has a place in the file;
// what loads is selected again by its own names.
func FuzzLoad(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s, "7")
	}
	f.Fuzz(func(t *testing.T, text, extra string) {
		if len(text) > 64<<10 {
			return // a large text takes long, which is no news
		}
		inv, err := parse("inventory.yaml", []byte(text), Options{Vars: map[string]string{"extra": extra}, SSHConfig: "none"})
		if err != nil {
			for _, p := range err.(*Problems).List {
				if p.Line < 0 || p.Col < 0 || p.Text == "" || strings.ContainsAny(p.Text+p.Hint, "\n\x1b\u202e") {
					t.Errorf("%+v", p)
				}
			}
			return
		}
		all, err := inv.Select("")
		if err != nil || len(all) == 0 {
			t.Fatal("nothing to select", err)
		}
		for i, h := range all {
			if i > 50 {
				break
			}
			found, err := inv.Select(h.Name)
			if err != nil || len(found) != 1 || found[0].Name != h.Name {
				t.Errorf("%q selects %v, %v", h.Name, found, err)
			}
			rest, err := inv.Select("all,!" + h.Name)
			if len(rest) != len(all)-1 || (err == nil) != (len(all) > 1) {
				t.Errorf("all but %q: %d of %d, %v", h.Name, len(rest), len(all), err)
			}
			if why, _ := badName(h.Name); why != "" || h.Address == "" || h.User == "" || h.Port < 1 || h.Port > 65535 {
				t.Errorf("%+v", h)
			}
			if h.Jump != nil && (h.Jump.Host == nil || h.Jump.Host.Jump != nil) {
				t.Errorf("%s: a chain", h.Name)
			}
		}
	})
}

// FuzzSelect: no limit makes Select panic; what it gives is in the file's order
// and never empty.
func FuzzSelect(f *testing.F) {
	for _, s := range []string{"", "all", "eu,!alpha", "&web,*a", "@failed", "!", "[a-", `\`, "alhpa,,", "eu & web"} {
		f.Add(s)
	}
	inv, err := parse("inventory.yaml", []byte(selectable), Options{SSHConfig: "none"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, limit string) {
		hosts, err := inv.Select(limit)
		if (len(hosts) == 0) != (err != nil) {
			t.Fatalf("%q: %d hosts, %v", limit, len(hosts), err)
		}
		last := -1
		for _, h := range hosts {
			if i := inv.index[h.Name]; i <= last {
				t.Errorf("%q: %s is out of order", limit, h.Name)
			} else {
				last = i
			}
		}
	})
}

// FuzzSSHConfig: no ssh_config makes loading panic or fail for a plain host.
func FuzzSSHConfig(f *testing.F) {
	f.Add(strings.ReplaceAll(sshText, "Include", "#"))
	f.Add("Host\nMatch\nHost \"\n=\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 8<<10 || strings.Contains(strings.ToLower(text), "include") {
			return // a large text takes long, which is no news; real files are left alone
		}
		c := &sshConfig{home: "/nonexistent"}
		cfg, err := decodeSSH(c.prepare("config", []byte(text)))
		if err != nil {
			return
		}
		for _, h := range cfg.Hosts {
			c.flatten("config", h, nil, 0)
		}
		a := c.lookup("name", "203.0.113.1")
		if a.portNumber < 0 || a.portNumber > 65535 {
			t.Errorf("port %d", a.portNumber)
		}
		c.paths(a.identities, &Host{Name: "name"})
		c.knows("name")
	})
}
