package inventory

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write what comes out into the golden files")

// TestMistakes holds the exact words of every mistake, in testdata/mistakes.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/mistakes/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	for _, name := range files {
		ar, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		got := &txtar.Archive{Comment: ar.Comment}
		for _, c := range cases(ar) {
			t.Run(c.name, func(t *testing.T) { c.run(t) })
			got.Files = append(got.Files, c.files()...)
		}
		if *update {
			if err := os.WriteFile(name, txtar.Format(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

type mistake struct {
	name            string
	yaml, ssh, want string
}

func cases(ar *txtar.Archive) []*mistake {
	var list []*mistake
	for _, f := range ar.Files {
		base, kind, _ := strings.Cut(f.Name, ".")
		if kind == "yaml" {
			list = append(list, &mistake{name: base, yaml: string(f.Data)})
			continue
		}
		switch c := list[len(list)-1]; kind {
		case "ssh":
			c.ssh = string(f.Data)
		case "want":
			c.want = string(f.Data)
		}
	}
	return list
}

func (c *mistake) files() []txtar.File {
	list := []txtar.File{{Name: c.name + ".yaml", Data: []byte(c.yaml)}}
	if c.ssh != "" {
		list = append(list, txtar.File{Name: c.name + ".ssh", Data: []byte(c.ssh)})
	}
	return append(list, txtar.File{Name: c.name + ".want", Data: []byte(c.want)})
}

func (c *mistake) run(t *testing.T) {
	t.Setenv("HOME", "/home/jo")
	dir := t.TempDir()
	t.Chdir(dir)
	write(t, "inventory.yaml", c.yaml)
	opt := Options{SSHConfig: "none"}
	if c.ssh != "" {
		write(t, "ssh_config", c.ssh)
		opt.SSHConfig = "ssh_config"
	}
	_, err := Load(t.Context(), "inventory.yaml", opt)
	var p *Problems
	if !errors.As(err, &p) {
		t.Fatalf("the error is %v, not a *Problems", err)
	}
	got := p.Error() + "\n"
	if *update {
		c.want = got
	}
	if diff := cmp.Diff(c.want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
