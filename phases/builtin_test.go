package phases

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"gopkg.in/yaml.v3"
)

// shell gives /bin/sh and a note of what is missing to run host scripts here.
func shell(t *testing.T) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("these scripts are for Linux hosts")
	}
	return "/bin/sh"
}

// TestSources: entries for the main archive go to rest and wake again as they
// were, in both formats, and nobody else's entries are touched.
func TestSources(t *testing.T) {
	sh := shell(t)
	script, err := filepath.Abs("builtin/system-prep/sources.sh")
	if err != nil {
		t.Fatal(err)
	}
	ar, err := txtar.ParseFile("testdata/sources.txtar")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	before, resting := map[string]string{}, map[string]string{}
	for _, f := range ar.Files {
		name, rest := strings.CutPrefix(f.Name, "resting/")
		if rest {
			resting[name] = string(f.Data)
			continue
		}
		before[name] = string(f.Data)
		write(t, filepath.Join(dir, name), string(f.Data))
	}
	run := func(want int, args ...string) {
		t.Helper()
		cmd := exec.Command(sh, append([]string{script}, args...)...)
		cmd.Env = append(os.Environ(), "VPSCTL_APT="+dir)
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Fatalf("sources.sh %q: exit code %d, wanted %d\n%s", args, got, want, out)
		}
	}
	is := func(want map[string]string) {
		t.Helper()
		got := map[string]string{}
		err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(name)
			rel, _ := filepath.Rel(dir, name)
			got[filepath.ToSlash(rel)] = string(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
	run(0, "", "ask")
	run(1, "rest", "ask")
	is(before)
	run(0, "rest")
	is(resting)
	run(0, "rest", "ask")
	run(0, "rest")
	is(resting)
	run(1, "", "ask")
	run(0) // without a mirror's file: wake
	is(before)
	run(0, "", "ask")
	mirror := filepath.Join(dir, "sources.list.d", "vpsctl-mirror.sources")
	write(t, mirror, "Types: deb\nURIs: http://mirror\nSuites: trixie\nComponents: main\n")
	run(0) // with it: rest
	resting["sources.list.d/vpsctl-mirror.sources"] = "Types: deb\nURIs: http://mirror\nSuites: trixie\nComponents: main\n"
	is(resting)
}

// TestSourcesOfOthers: what is not Debian's own fails without a harm, and is named; what is Debian's, or has nobody beside
// it, fails. apt-get is a stand-in that fails while a source it was told of is away.
func TestSourcesOfOthers(t *testing.T) {
	sh := shell(t)
	own := map[string]string{
		"debian.sources": "Types: deb\nURIs: http://mirror.example.net/debian\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n",
		"plain.list":     "deb http://mirror.example.net/debian trixie-backports main\n",
	}
	others := map[string]string{
		"keyed.sources": "URIs: https://repo.example.net/debian\nSuites: trixie\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n",
		"old.list":      "deb https://repo2.example.net/deb stable main\n",
	}
	for name, test := range map[string]struct {
		others bool
		away   string // what apt-get cannot get
		code   int
		calls  int
		says   string
	}{
		"all there":          {true, "", 0, 1, ""},
		"others away":        {true, "repo", 0, 2, "apt failed with all sources, and went on without old.list keyed.sources\n"},
		"Debian away":        {true, "mirror", 100, 2, ""},
		"Debian away, alone": {false, "mirror", 100, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, "system-prep")
			for name, text := range own {
				write(t, h.path("etc/apt/sources.list.d/"+name), text)
			}
			for name, text := range others {
				if test.others {
					write(t, h.path("etc/apt/sources.list.d/"+name), text)
				}
			}
			write(t, h.path("var/lib/apt/lists/x_Packages"), "")
			write(t, h.path("phase/x"), "")
			h.stand("apt-get", `echo "$*" >>"$VPSCTL_ROOT/calls"
parts=$VPSCTL_ROOT/etc/apt/sources.list.d
for arg; do case $arg in Dir::Etc::sourceparts=*) parts=${arg#*=} ;; esac; done
[ -z "$away" ] || ! cat "$parts"/* | grep -q "//$away" || exit 100`)
			run := func(verb string) (string, int) {
				cmd := exec.Command(sh, filepath.Join(h.dir, "apt.sh"), verb)
				cmd.Env = []string{"PATH=" + h.path("bin") + ":" + os.Getenv("PATH"), "VPSCTL_ROOT=" + h.tmp, "PHASE_DIR=" + h.path("phase"), "away=" + test.away, "upgrade=always"}
				out, _ := cmd.CombinedOutput()
				return string(out), cmd.ProcessState.ExitCode()
			}
			old := time.Now().Add(-7 * time.Hour)
			if err := os.Chtimes(h.path("var/lib/apt/lists"), old, old); err != nil {
				t.Fatal(err)
			}
			if out, code := run("listed"); code != 1 {
				t.Errorf("old lists: exit code %d: %s", code, out)
			}
			if out, code := run("lists"); code != test.code || strings.Count(h.read("calls"), "update") != test.calls {
				t.Errorf("lists: exit code %d, %s%s", code, out, h.read("calls"))
			}
			if out, _ := run("whole"); out != test.says {
				t.Errorf("whole says %q, wanted %q", out, test.says)
			}
			if test.code != 0 {
				return
			}
			for _, verb := range []string{"listed", "upgrade", "upgraded"} {
				if out, code := run(verb); code != 0 {
					t.Errorf("%s: exit code %d: %s", verb, code, out)
				}
			}
		})
	}
}

// TestShellcheck: every script on its own and inside phase.yaml is clean.
func TestShellcheck(t *testing.T) {
	tool, err := exec.LookPath("shellcheck")
	if err != nil {
		t.Skip("shellcheck is not installed")
	}
	check := func(name, language, text string) {
		t.Helper()
		// Variables come from outside, as environment; /etc/os-release is not here.
		cmd := exec.Command(tool, "-s", language, "-e", "SC2154,SC1091", "-f", "gcc", "-")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	err = fs.WalkDir(builtin, "builtin", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := builtin.ReadFile(name)
		if err != nil {
			return err
		}
		if bytes.HasPrefix(body, []byte("#!/bin/sh")) {
			check(name, "sh", string(body))
		}
		if strings.HasSuffix(name, ".bash") {
			check(name, "bash", string(body))
		}
		if strings.HasSuffix(name, phaseFile) {
			var doc yaml.Node
			if err := yaml.Unmarshal(body, &doc); err != nil {
				return err
			}
			for _, s := range inline(&doc) {
				check(name, "sh", s)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// inline finds the scripts that stand in a phase.yaml.
func inline(n *yaml.Node) []string {
	var list []string
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 1 && c.Kind == yaml.ScalarNode {
			switch n.Content[i-1].Value {
			case "run", "check", "undo", "when":
				list = append(list, c.Value)
			}
		}
		list = append(list, inline(c)...)
	}
	return list
}

// TestVarsTable: every variable of the table is whole, its default passes its
// own rules, and a phase or vpsctl itself goes by it.
func TestVarsTable(t *testing.T) {
	used := map[string]bool{"alert_memory_mb": true, "alert_disk_mb": true, "alert_cpu_pct": true} // vpsctl's own
	for _, p := range load(t, "").Phases() {
		for _, v := range p.Vars {
			used[v.Name] = true
		}
	}
	for _, v := range Vars() {
		if text, _ := checkVarName(v.Name); text != "" || v.Doc == "" || v.Default == nil || typeOf(v.Default) != v.Type {
			t.Errorf("%+v is not whole", v)
		}
		if _, err := v.fits(v.Default); err != nil {
			t.Errorf("the default of %s: %v", v.Name, err)
		}
		if !used[v.Name] {
			t.Errorf("nothing goes by %s", v.Name)
		}
	}
}

func TestValuesOfVars(t *testing.T) {
	for _, test := range []struct {
		name  string
		value any
		ok    bool
	}{
		{"username", "ada", true}, {"username", "dev_1-x", true}, {"username", "ab", false}, {"username", "1ab", false},
		{"username", "Ada", false}, {"username", "root", false}, {"username", "systemd-x", false}, {"username", "a;reboot", false},
		{"username", "ada\n", false}, {"username", strings.Repeat("a", 33), false}, {"username", "sudo", false},
		{"apt_mirror", "", true}, {"apt_mirror", "https://mirror.example.net/debian/", true}, {"apt_mirror", "file:///etc", false},
		{"apt_mirror", "http://mirror/debian\nTrusted: yes", false}, {"apt_mirror", "http://m/x y", false}, {"apt_mirror", "http://", false},
		{"apt_max_parallel", 16, true}, {"apt_max_parallel", 17, false}, {"apt_max_parallel", "3", false},
		{"download_timeout", 600, true}, {"download_timeout", 9, false},
		{"root_login", "prohibit-password", true}, {"root_login", "yes", false}, {"must_change", false, true}, {"must_change", "false", false},
		{"alert_memory_mb", -1, true}, {"alert_memory_mb", 0, false}, {"alert_cpu_pct", 101, false},
	} {
		v, ok := tuning(test.name)
		if !ok {
			t.Fatalf("no variable %s", test.name)
		}
		if _, err := v.fits(test.value); (err == nil) != test.ok {
			t.Errorf("%s = %#v: %v", test.name, test.value, err)
		}
	}
}
