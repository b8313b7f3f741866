//go:build linux

package steps

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// Answers go in before the package, what was known is recorded before the packages are,
// and nothing that may be secret is in an argument or an event.
func TestDebconf(t *testing.T) {
	r := aptRig(t)
	r.fake("debconf-set-selections", `cat >>$S/selections; ! grep -q ^vim $S/installed || touch $S/late`)
	r.fake("perl", `echo "$4" >>$S/verbs; cat >>$S/said; [ "$4" != record ] || printf 'asked\tcode/known\tcode\nfield\tvalue\told secret\n'`)
	r.Env.Secret = func(name string) (string, bool) { return "hunter22", name == "token" }
	s := pkgs("vim")
	s.Packages.Debconf = []wire.Debconf{{Owner: "code", Question: "code/add-microsoft-repo", Type: "boolean", Value: "false"},
		{Owner: "code", Question: "code/known", Type: "password", Secret: "token"}}
	r.do(s, wire.Changed)
	if got := r.read("selections"); got != "code code/add-microsoft-repo boolean false\ncode code/known password hunter22\n" {
		t.Errorf("%q", got)
	}
	if calls := r.calls(); strings.Contains(calls, "hunter22") || r.exists("late") {
		t.Errorf("the answers came after the package, or stand among arguments:\n%s", calls)
	}
	if len(r.undos) < 2 || r.undos[0].Kind != "debconf" || r.undos[1].Kind != "packages" {
		t.Fatalf("the answers would not be taken back behind the packages: %+v", r.undos)
	}
	u := r.undos[0]
	if strings.Contains(u.What+strings.Join(mapValues(u.Data), " "), "old secret") {
		t.Errorf("an old answer is in the event: %+v", u)
	}
	if err := Revert(t.Context(), r.Env, u); err != nil {
		t.Fatal(err)
	}
	if got := r.read("verbs"); got != "record\nrestore\n" {
		t.Error(got)
	}
	r.has("field\tvalue\told secret\n", r.read("said"))
	r.do(s, wire.OK)
	s.Packages.Debconf[0].Value = "a\nb"
	if _, err := r.selections(s.Packages.Debconf); err == nil {
		t.Error("an answer of two lines")
	}
}

func mapValues(m map[string]string) (all []string) {
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

// A database of debconf's own, and its own programs at work on it.
type debconfRig struct {
	t   *testing.T
	dir string
	env []string
}

func newDebconfRig(t *testing.T) *debconfRig {
	t.Helper()
	if exec.Command("perl", "-MDebconf::Db", "-e", "1").Run() != nil {
		t.Skip("needs perl and debconf")
	}
	d := &debconfRig{t: t, dir: t.TempDir()}
	conf := filepath.Join(d.dir, "debconf.conf")
	text := strings.ReplaceAll(`Config: configdb
Templates: templatedb

Name: config
Driver: File
Mode: 644
Reject-Type: password
Filename: @/config.dat

Name: passwords
Driver: File
Mode: 600
Backup: false
Required: false
Accept-Type: password
Filename: @/passwords.dat

Name: configdb
Driver: Stack
Stack: config, passwords

Name: templatedb
Driver: File
Mode: 644
Filename: @/templates.dat
`, "@", d.dir)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d.env = append(os.Environ(), "DEBCONF_SYSTEMRC="+conf, "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
	return d
}

func (d *debconfRig) run(input, name string, args ...string) string {
	d.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Stdin = d.env, strings.NewReader(input)
	out, err := cmd.Output()
	if err != nil {
		d.t.Fatalf("%s: %v, %s", name, err, err.(*exec.ExitError).Stderr)
	}
	return string(out)
}

func (d *debconfRig) answer(lines string) { d.t.Helper(); d.run(lines, "debconf-set-selections") }

func (d *debconfRig) script(verb, input string) string {
	d.t.Helper()
	return d.run(input, "perl", "-e", debconfScript, "--", verb)
}

// all is the whole database.
func (d *debconfRig) all() string {
	d.t.Helper()
	var s strings.Builder
	for _, name := range []string{"config.dat", "passwords.dat", "templates.dat"} {
		b, err := os.ReadFile(filepath.Join(d.dir, name))
		if err != nil {
			d.t.Fatal(err)
		}
		s.WriteString("== " + name + "\n" + string(b))
	}
	return s.String()
}

// asked is for the questions of TestDebconfRecord, as rememberAnswers writes it.
const asked = "asked\tp/text\tp\nasked\tp/word\tp\nasked\tshared/choice\tp\n" + "gone\tp\n"

// Whatever debconf knew of the questions before, it knows again, and no more;
// what others have said meanwhile stays.
func TestDebconfRecord(t *testing.T) {
	answers := "p p/text string new\np p/word password newsecret\np shared/choice select new\n"
	for name, before := range map[string]string{
		"nothing":             "",
		"another package":     "other other/text string x y\nother other/word password abc\n",
		"answered before":     "p p/text string old\tand\\nlines\np p/word password oldsecret\n",
		"answered empty":      "p p/text string \n",
		"of somebody else":    "other shared/choice select theirs\n",
		"known, never seen":   "p p/text string old\np p/text seen false\n",
		"of both, other type": "other shared/choice string theirs\np shared/choice string theirs\n",
	} {
		t.Run(name, func(t *testing.T) {
			d := newDebconfRig(t)
			d.answer("base base/q string always\n" + before)
			if before != "" { // a value that is not set is another thing than an empty one
				d.run("", "perl", "-MDebconf::Db", "-e", `Debconf::Db->load; my $c = $Debconf::Db::config; if ($c->exists('shared/choice')) {
					$c->removefield('shared/choice', 'value'); $c->setvariable('shared/choice', 'choices', "a, b"); } Debconf::Db->save`)
			}
			was := d.all()
			record := d.script("record", asked)
			d.answer(answers)
			d.answer("later later/text string stays\n")
			d.run("REGISTER p/text p/more\nSET p/more more\nSUBST shared/choice choices c\n", "debconf-communicate", "p")
			later := "gone\tp\n" + record
			if d.script("check", later) == "" {
				t.Error("nothing is said to differ")
			}
			d.script("restore", later)
			if left := d.script("check", later); left != "" {
				t.Errorf("after restoring, %q differ", left)
			}
			d.run("UNREGISTER later/text\n", "debconf-communicate", "later")
			if diff := cmp.Diff(was, d.all()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A package that stays, because another needs it meanwhile, keeps what was said
// of it later.
func TestDebconfOfAPackageThatStays(t *testing.T) {
	d := newDebconfRig(t)
	d.answer("base base/q string always\n")
	record := d.script("record", asked)
	d.answer("p p/text string new\np p/other string of the admin\n")
	d.script("restore", record)
	if all := d.all(); !strings.Contains(all, "of the admin") || strings.Contains(all, "Name: p/text") {
		t.Errorf("after restoring:\n%s", all)
	}
}

// Purging takes answers along that were there before the package.
func TestDebconfPurged(t *testing.T) {
	d := newDebconfRig(t)
	d.answer("base base/q string always\np p/text string old\np p/word password oldsecret\n")
	was := d.all()
	record := d.script("record", "gone\tp\n")
	d.run("PURGE\n", "debconf-communicate", "p")
	if d.all() == was {
		t.Fatal("purging left all there")
	}
	d.script("restore", "gone\tp\n"+record)
	if diff := cmp.Diff(was, d.all()); diff != "" {
		t.Error(diff)
	}
}

// Of a package that is gone and was not recorded nothing stays; with one that has
// stayed nothing happens.
func TestDebconfDisowned(t *testing.T) {
	d := newDebconfRig(t)
	d.answer("base base/q string always\nbase shared/q string x\n")
	was := d.all()
	d.answer("p p/text string left\np shared/q string x\n")
	d.script("restore", "gone\tother\n")
	if d.all() == was {
		t.Error("somebody else's questions are gone")
	}
	d.script("restore", "gone\tp\n")
	if diff := cmp.Diff(was, d.all()); diff != "" {
		t.Error(diff)
	}
}
