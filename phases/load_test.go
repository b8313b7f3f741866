package phases

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write what came out as what is wanted")

// unpack lays the files of an archive out in a fresh folder; the file "want" is
// given back instead.
func unpack(t *testing.T, ar *txtar.Archive) (dir, want string) {
	t.Helper()
	dir = t.TempDir()
	for _, f := range ar.Files {
		if f.Name == "want" {
			want = string(f.Data)
			continue
		}
		write(t, filepath.Join(dir, f.Name), string(f.Data))
	}
	return dir, want
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// one writes a phase my-tools and gives the folder of phases.
func one(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "my-tools", phaseFile), text)
	return dir
}

const head = "schema: 1\nid: my-tools\ntitle: My tools\n"

// TestMistakes has an archive for each family of mistakes: the phases, and the
// exact text that they are answered with. What only a plan can tell is asked of
// a plan.
func TestMistakes(t *testing.T) {
	archives, err := filepath.Glob("testdata/mistakes/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatal("no archives", err)
	}
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			dir, want := unpack(t, ar)
			c, err := Load(dir)
			if err == nil {
				_, _, err = c.Plan(Request{Host: "alpha", Secrets: map[string]string{"developer_password": "0123456789"}})
			}
			if err == nil {
				t.Fatal("no mistake was found")
			}
			var problems *Problems
			if !errors.As(err, &problems) {
				t.Fatalf("%T, wanted *Problems", err)
			}
			got := strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), "") + "\n"
			if *update {
				setWant(ar, got)
				if err := os.WriteFile(name, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func setWant(ar *txtar.Archive, text string) {
	for i := range ar.Files {
		if ar.Files[i].Name == "want" {
			ar.Files[i].Data = []byte(text)
			return
		}
	}
	ar.Files = append(ar.Files, txtar.File{Name: "want", Data: []byte(text)})
}

func TestLoadWithoutUserPhases(t *testing.T) {
	for _, dir := range []string{"", filepath.Join(t.TempDir(), "none"), t.TempDir()} {
		c, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, p := range c.Phases() {
			ids = append(ids, p.ID)
			if p.Origin != "built in" || p.Title == "" || len(p.Steps) == 0 {
				t.Errorf("%s is not whole: %+v", p.ID, p)
			}
		}
		if d := cmp.Diff(IDs(), ids); d != "" {
			t.Error(d)
		}
	}
}

func TestOverride(t *testing.T) {
	dir := t.TempDir()
	text := "schema: 1\nid: %s\noverride: true\ntitle: Mine\nsteps:\n  - {name: a, run: 'true'}\n"
	write(t, filepath.Join(dir, "user-creation", phaseFile), strings.ReplaceAll(text, "%s", "user-creation"))
	write(t, filepath.Join(dir, "ide-vscode", phaseFile), strings.ReplaceAll(text, "%s", "ide-vscode"))
	write(t, filepath.Join(dir, "README.md"), "only folders with a phase.yaml count\n")
	write(t, filepath.Join(dir, "notes", "x.txt"), "\n")
	c, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range c.Phases() {
		got = append(got, p.ID+" "+strings.TrimPrefix(p.Origin, dir+string(filepath.Separator)))
	}
	var want []string
	for _, id := range IDs() {
		origin := "built in"
		if id == "user-creation" || id == "ide-vscode" {
			origin = id
		}
		want = append(want, id+" "+origin)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestWritableByOthers(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such modes")
	}
	for _, name := range []string{"", "my-tools", "my-tools/lib", "my-tools/lib/x.sh", "my-tools/phase.yaml"} {
		dir := one(t, head+"steps: [{name: a, run: 'true'}]\n")
		write(t, filepath.Join(dir, "my-tools", "lib", "x.sh"), "true\n")
		if _, err := Load(dir); err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(dir, filepath.FromSlash(name))
		st, err := os.Stat(at)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(at, st.Mode()|0o002); err != nil {
			t.Fatal(err)
		}
		want := at + ": others can write here, and its scripts run as root\n  hint: chmod o-w " + at
		if _, err := Load(dir); err == nil || err.Error() != want {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestLinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links take rights there")
	}
	outside := filepath.Join(t.TempDir(), "secret")
	write(t, outside, "root only\n")
	dir := one(t, head+"steps: [{name: a, file: {path: /etc/motd, source: inside}}]\n")
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "my-tools", "real"), "hello\n")
	link("real", "my-tools/inside")
	c, err := Load(dir)
	if err != nil {
		t.Fatal("a link within the folder: ", err)
	}
	plan, _, err := c.Plan(Request{Only: []string{"my-tools"}})
	if err != nil || string(plan.Phases[0].Steps[0].File.Content) != "hello\n" {
		t.Fatal("a link within the folder: ", err)
	}
	link(outside, "my-tools/away")
	link("../../"+filepath.Base(filepath.Dir(outside)), "my-tools/up")
	link("my-tools", "other")
	_, err = Load(dir)
	want := strings.Join([]string{
		dir + "/my-tools/away: not read: a link that leads out of the phase's folder",
		dir + "/my-tools/up: not read: a link that leads out of the phase's folder",
		dir + "/other: a link is not read as a phase\n  hint: make it a real folder, or use --phases"}, "\n")
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %v", err, want)
	}
}

func TestTooLarge(t *testing.T) {
	dir := one(t, head+"steps: [{name: a, run: 'true'}]\n")
	write(t, filepath.Join(dir, "my-tools", "big"), strings.Repeat("x", maxFile+1))
	_, err := Load(dir)
	if want := filepath.Join(dir, "my-tools", "big") + ": over 1 MiB: too large to travel in a plan"; err == nil || err.Error() != want {
		t.Error(err)
	}
	for i := range 5 {
		write(t, filepath.Join(dir, "my-tools", "part"+string(rune('0'+i))), strings.Repeat("x", maxFile))
	}
	if _, err = Load(dir); err == nil || !strings.Contains(err.Error(), "more than 500 files or 4 MiB") {
		t.Error(err)
	}
}

// FuzzLoad: whatever stands in phase.yaml, there is a catalog whose plan can be
// asked for, or problems that have a place.
func FuzzLoad(f *testing.F) {
	for _, id := range IDs() {
		if b, err := builtin.ReadFile("builtin/" + id + "/" + phaseFile); err == nil {
			f.Add(b)
		}
	}
	archives, _ := filepath.Glob("testdata/mistakes/*.txtar")
	for _, name := range archives {
		ar, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range ar.Files {
			if strings.HasSuffix(file.Name, phaseFile) {
				f.Add(file.Data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		problems := &Problems{}
		fo := folder{id: "my-tools", label: "my-tools", origin: "my-tools", files: map[string][]byte{phaseFile: text, "a.tmpl": []byte("{{ .host }}")}}
		p := readPhase(&fo, append(IDs(), "my-tools"), problems)
		if len(problems.List) == 0 && p == nil {
			t.Fatal("neither a phase nor a problem")
		}
		for _, one := range problems.List {
			if one.Text == "" || one.File == "" {
				t.Errorf("a problem without text or place: %+v", one)
			}
		}
		if p == nil || len(problems.List) > 0 {
			return
		}
		c := &Catalog{byID: map[string]*phase{p.ID: p}}
		c.arrange()
		if c.checkNeeds(problems); len(problems.List) > 0 {
			return
		}
		_, _, _ = c.Plan(Request{Host: "alpha", Groups: []string{"eu"}, Secrets: map[string]string{"token": "0123456789"}})
	})
}
