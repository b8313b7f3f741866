//go:build linux

package steps

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const someSum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestParseURIs(t *testing.T) {
	text := "Reading package lists...\n" +
		"'http://deb.example.org/pool/a/a_1%3a2.0-1_amd64.deb' a_1%3a2.0-1_amd64.deb 1234 SHA256:" + someSum + "\n" +
		"'http://deb.example.org/evil.deb' ../../evil.deb 1234 SHA256:" + someSum + "\n" +
		"'http://deb.example.org/b.deb' .b.deb 1234 SHA256:" + someSum + "\n" +
		"'http://deb.example.org/b.deb' b.deb 0 SHA256:" + someSum + "\n" +
		"'http://deb.example.org/b.deb' b.deb 12 MD5Sum:d41d8cd98f00b204e9800998ecf8427e\n" +
		"'http://deb.example.org/b.deb' b.deb 12\n" +
		"'http://deb.example.org/b.deb b.deb 12 SHA256:" + someSum + "\n"
	want := []DebFile{{"http://deb.example.org/pool/a/a_1%3a2.0-1_amd64.deb", "a_1%3a2.0-1_amd64.deb", 1234, someSum}}
	if d := cmp.Diff(want, parseURIs([]byte(text))); d != "" {
		t.Error(d)
	}
}

func FuzzParseURIs(f *testing.F) {
	f.Add([]byte("'http://deb.example.org/a.deb' a.deb 1 SHA256:" + someSum + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, d := range parseURIs(data) {
			if filepath.Base(d.Name) != d.Name || d.Name[0] == '.' || d.Name[0] == '-' || d.Size <= 0 || len(d.SHA256) != 64 || strings.Contains(d.URL, "'") {
				t.Errorf("%+v", d)
			}
		}
	})
}

// fakeHelper gives each file $S/web/NAME for a URL that ends so.
const fakeHelper = `while [ "$1" != download-file ]; do shift; done; shift
while [ $# -gt 0 ]; do cp $S/web/${1##*/} $2 || rc=100; shift 3; done; exit ${rc:-0}`

func TestLoad(t *testing.T) {
	r := newRig(t)
	r.fake("apt-helper", fakeHelper)
	try := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	try(os.MkdirAll(r.at(archives+"/partial"), 0o755))
	for name, text := range map[string]string{"good.deb": "good", "evil.deb": "evil", "short.deb": "sho"} {
		r.file("web/"+name, text)
	}
	var list []DebFile
	for name, text := range map[string]string{"good.deb": "good", "evil.deb": "kind", "short.deb": "short", "gone.deb": "gone"} {
		list = append(list, DebFile{"http://x.example/" + name, name, int64(len(text)), hexSum([]byte(text))})
	}
	came, err := Load(t.Context(), r.Env, list, time.Minute)
	if len(came) != 1 || came[0].Name != "good.deb" || err == nil {
		t.Errorf("came %v, %v", came, err)
	}
	left, _ := filepath.Glob(r.at(archives) + "/*.deb")
	part, _ := filepath.Glob(r.at(archives) + "/partial/*")
	if !slices.Equal(left, []string{r.at(archives + "/good.deb")}) || len(part) != 0 {
		t.Errorf("there are %v and %v", left, part)
	}
	good := came[0]
	if !good.There(r.Env) {
		t.Error("what was just put there is not there")
	}
	// Of the same size, as apt would take it.
	try(os.WriteFile(r.at(archives+"/good.deb"), []byte("evil"), 0o644))
	if good.There(r.Env) || exists(r.at(archives+"/good.deb")) || !strings.Contains(strings.Join(r.notes, "\n"), "warn: ") {
		t.Errorf("a forged package stays, and this was said: %v", r.notes)
	}
	try(os.Symlink(r.at("/etc/passwd"), r.at(archives+"/good.deb")))
	if good.There(r.Env) || exists(r.at(archives+"/good.deb")) || !exists(r.at("/etc/passwd")) {
		t.Error("a link was taken for a package")
	}
}
