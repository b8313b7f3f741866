//go:build linux

package steps

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// A look tells what would be done and shows texts only where everybody may read
// them; nothing under the root is touched and no way back is recorded.
func TestLookAtFiles(t *testing.T) {
	r := newRig(t)
	conf, secret, big := r.file("root/etc/conf", "one\ntwo\n"), r.file("root/etc/secret", "old\n"), r.file("root/etc/big", strings.Repeat("x\n", wire.MaxFound))
	if err := os.Chmod(secret, 0o640); err != nil {
		t.Fatal(err)
	}
	yes := &wire.Found{Path: conf, Was: "one\ntwo\n", Want: "one\n2\n"}
	for name, c := range map[string]struct {
		file   wire.File
		status wire.Status
		reason string
		found  *wire.Found
	}{
		"holds":        {wire.File{Path: conf, Content: []byte("one\ntwo\n")}, wire.OK, "", nil},
		"content":      {wire.File{Path: conf, Content: []byte("one\n2\n")}, wire.Changed, "content", yes},
		"mode alone":   {wire.File{Path: conf, Content: []byte("one\ntwo\n"), Mode: "0600"}, wire.Changed, "mode 0644", nil},
		"closed then":  {wire.File{Path: conf, Content: []byte("pw\n"), Mode: "0640"}, wire.Changed, "content", &wire.Found{Path: conf, Hidden: "sensitive"}},
		"closed now":   {wire.File{Path: secret, Content: []byte("new\n")}, wire.Changed, "content", &wire.Found{Path: secret, Hidden: "sensitive"}},
		"sensitive":    {wire.File{Path: conf, Content: []byte("new\n"), Sensitive: true}, wire.Changed, "content", &wire.Found{Path: conf, Hidden: "sensitive"}},
		"gone, closed": {wire.File{Path: secret, State: "absent"}, wire.Changed, "is there", &wire.Found{Path: secret, Hidden: "sensitive"}},
		"gone":         {wire.File{Path: conf, State: "absent"}, wire.Changed, "is there", &wire.Found{Path: conf, Was: "one\ntwo\n"}},
		"new":          {wire.File{Path: conf + ".d/a", Content: []byte("a")}, wire.Changed, "was not there", &wire.Found{Path: conf + ".d/a", Want: "a"}},
		"binary":       {wire.File{Path: conf, Content: []byte("a\x00b")}, wire.Changed, "content", &wire.Found{Path: conf, Hidden: "binary"}},
		"big":          {wire.File{Path: big, Content: []byte("a")}, wire.Changed, "content", &wire.Found{Path: big, Hidden: "size"}},
		"keys":         {wire.File{Path: conf, Keys: []wire.Key{{Section: "a", Name: "b", Value: "c"}}}, wire.Changed, "b", &wire.Found{Path: conf, Was: "one\ntwo\n", Want: "one\ntwo\n\n[a]\nb=c\n"}},
		"keys of none": {wire.File{Path: conf + ".none", Keys: []wire.Key{{Name: "b"}}}, wire.Failed, "no file is there", nil},
		"no owner yet": {wire.File{Path: conf, Owner: "devuser"}, wire.Failed, "no user", nil},
		"folder":       {wire.File{Path: conf + ".d", State: "directory"}, wire.Changed, "was not there", nil},
	} {
		got := Look(t.Context(), r.Env, &wire.Step{Name: "f", File: &c.file})
		if got.Status != c.status || !strings.Contains(got.Reason, c.reason) {
			t.Errorf("%s: %s %q", name, got.Status, got.Reason)
		}
		if (got.Found == nil) != (c.found == nil) || got.Found != nil && *got.Found != *c.found {
			t.Errorf("%s: found %+v, not %+v", name, got.Found, c.found)
		}
	}
	if b, _ := os.ReadFile(conf); string(b) != "one\ntwo\n" || len(r.undos) > 0 {
		t.Errorf("a look changed something: %q %v", b, r.undos)
	}
	if left, _ := filepath.Glob(conf + ".*"); len(left) > 0 {
		t.Errorf("a look left %v", left)
	}
}

// What apt would do is asked without a lock, without refreshing lists and
// without the caches that apt-get -s writes as root.
func TestLookAtPackages(t *testing.T) {
	r := newRig(t)
	lists := r.file("root/var/lib/apt/lists/deb.example_dists_trixie_InRelease", "")
	r.fake("dpkg-query", "printf 'bash\\tii \\t\\n'")
	r.fake("apt-get", `printf 'Reading…\nInst vim (2:9.1 Debian:13 [amd64])\nInst libx [1.0] (1.1 Debian:13 [amd64])\nRemv nvi [1.8]\nConf vim (2:9.1)\n'`)
	step := &wire.Step{Name: "p", Packages: &wire.Packages{Names: []string{"bash", "vim"}}}
	got := Look(t.Context(), r.Env, step)
	if got.Status != wire.Changed || got.Reason != "not installed: vim" || got.Found == nil ||
		got.Found.Apt != "Inst vim (2:9.1 Debian:13 [amd64])\nInst libx [1.0] (1.1 Debian:13 [amd64])\nRemv nvi [1.8]\n" {
		t.Errorf("%+v %+v", got, got.Found)
	}
	if c := r.calls(); strings.Count(c, "apt-get ") != 1 || !strings.Contains(c, " -s ") || !strings.Contains(c, "Dir::Cache::pkgcache= ") || strings.Contains(c, "update") {
		t.Errorf("called: %q", c)
	}
	if err := os.Remove(lists); err != nil {
		t.Fatal(err)
	}
	r.fake("apt-get", "echo 'E: Unable to locate package vim' >&2; exit 100")
	if got = Look(t.Context(), r.Env, step); got.Status != wire.Changed || !strings.Contains(got.Reason, "would be refreshed first: there are none") {
		t.Errorf("without lists: %+v", got)
	}
	r.file("root/var/lib/apt/lists/deb.example_dists_trixie_InRelease", "")
	if got = Look(t.Context(), r.Env, step); got.Status != wire.Failed || !strings.Contains(got.Reason, "no such package") {
		t.Errorf("with fresh lists: %+v", got)
	}
	r.Env.Root = false
	if got = Look(t.Context(), r.Env, step); got.Status != wire.Failed || !strings.Contains(got.Hint, "become") {
		t.Errorf("without root: %+v", got)
	}
}

// systemd is asked and told nothing, also where it has not read a unit's file.
func TestLookAtServices(t *testing.T) {
	r := newRig(t)
	r.fake("systemctl", `printf 'LoadState=loaded\nActiveState=inactive\nSubState=dead\nUnitFileState=disabled\nNeedDaemonReload=yes\n'`)
	on := true
	got := Look(t.Context(), r.Env, &wire.Step{Name: "s", Service: &wire.Service{Name: "x.service", Enabled: &on, State: "running"}})
	if got.Status != wire.Changed || got.Reason != "is disabled, not enabled, is inactive (dead), not running" {
		t.Errorf("%+v", got)
	}
	if c := r.calls(); strings.Count(c, "systemctl ") != 1 || !strings.Contains(c, " show ") {
		t.Errorf("called: %q", c)
	}
}

// A script is asked, not run.
func TestLookAtScripts(t *testing.T) {
	r := newRig(t)
	ran := r.path("ran")
	for check, want := range map[string]wire.Status{"true": wire.OK, "exit 1": wire.Changed, "": wire.Changed, "nonesuch-tool": wire.Failed} {
		got := Look(t.Context(), r.Env, &wire.Step{Name: "s", Run: &wire.Run{Script: "touch " + ran, Check: check, Undo: "true"}})
		if got.Status != want {
			t.Errorf("%q: %s %s", check, got.Status, got.Reason)
		}
	}
	if _, err := os.Stat(ran); err == nil || len(r.undos) > 0 {
		t.Error("a script ran")
	}
}

// An account that an interrupted run left without its password is told.
func TestLookAtUsers(t *testing.T) {
	r := newRig(t)
	step := &wire.Step{Name: "u", User: &wire.User{Name: "dev", Shell: "/bin/sh", Password: "pw"}}
	if got := Look(t.Context(), r.Env, step); got.Status != wire.Changed || got.Reason != "no user dev" {
		t.Errorf("a new one: %+v", got)
	}
	r.file("root/etc/passwd", "root:x:0:0:root:/root:/bin/sh\ndev:x:1000:1000::/home/dev:/bin/sh\n")
	r.file("root/etc/shadow", "dev:"+pendingPassword+":1::::::\n")
	if got := Look(t.Context(), r.Env, step); got.Status != wire.Changed || got.Reason != "the password is still to be set" {
		t.Errorf("a pending one: %+v", got)
	}
	r.file("root/etc/shadow", "dev:$y$x:1::::::\n")
	if got := Look(t.Context(), r.Env, step); got.Status != wire.OK {
		t.Errorf("one that is done: %+v", got)
	}
}

// Of a source that is to come, and of one that says something else, the text is
// shown; its key is not fetched for that.
func TestLookAtRepositories(t *testing.T) {
	needRoot(t) // what apt trusts must be root's
	r, s := repoRig(t)
	before := tree(t, r.path("root"))
	byURL := *s.Repository
	byURL.Key, byURL.KeyURL = nil, "https://example.net/k.asc"
	text := newRepository(r.Env, s.Repository).entry.text()
	got := Look(t.Context(), r.Env, &wire.Step{Name: "r", Repository: &byURL})
	if got.Status != wire.Changed || got.Found == nil || *got.Found != (wire.Found{Path: byURL.Path, Want: text}) {
		t.Errorf("%+v %+v", got, got.Found)
	}
	r.has("the source "+byURL.Path+": was not there", got.Reason) // by these words a report knows that it is made
	if after := tree(t, r.path("root")); after != before || r.calls() != "" || len(r.undos) > 0 {
		t.Errorf("a look called %q and left\n%s", r.calls(), after)
	}
	r.do(s, wire.Changed)
	if got = Look(t.Context(), r.Env, &s); got.Status != wire.OK || got.Found != nil {
		t.Errorf("one that is done: %+v", got)
	}
	other := strings.Replace(text, "Suites: stable", "Suites: testing", 1)
	r.file("root/etc/apt/sources.list.d/vendor.sources", other)
	got = Look(t.Context(), r.Env, &s)
	if got.Status != wire.Changed || got.Reason != "the source says something else" || got.Found == nil || got.Found.Was != other || got.Found.Want != text {
		t.Errorf("another one: %+v %+v", got, got.Found)
	}
	r.Env.Root = false
	if got = Look(t.Context(), r.Env, &s); got.Status != wire.Failed || !strings.Contains(got.Hint, "become") {
		t.Errorf("without root: %+v", got)
	}
}

// An archive is known by the mark of what it was unpacked from: nothing is fetched
// to see what would be done.
func TestLookAtArchives(t *testing.T) {
	r := newRig(t)
	r.fake("apt-helper", "exit 1")
	dest := r.path("root/opt/tool")
	here := archiveStep(tarOf(t, goodTar...), dest)
	far := archiveStep(tarOf(t, member{name: "x/only", content: "2"}), dest)
	far.Archive.Content, far.Archive.URL = nil, "https://example.net/t.tgz"
	before := tree(t, r.dir)
	if got := Look(t.Context(), r.Env, &far); got.Status != wire.Changed || got.Reason != "was not there" || tree(t, r.dir) != before {
		t.Errorf("%+v", got)
	}
	r.do(here, wire.Changed)
	before, r.undos = tree(t, r.dir), nil
	if got := Look(t.Context(), r.Env, &here); got.Status != wire.OK {
		t.Errorf("one that is done: %+v", got)
	}
	if got := Look(t.Context(), r.Env, &far); got.Status != wire.Changed || got.Reason != "is from another archive" {
		t.Errorf("another one: %+v", got)
	}
	far.Archive.Dest = r.path("root/etc")
	if got := Look(t.Context(), r.Env, &far); got.Status != wire.Failed || !strings.Contains(got.Reason, "did not come from an archive of ours") {
		t.Errorf("a folder of others: %+v", got)
	}
	if after := tree(t, r.dir); after != before || r.calls() != "" || len(r.undos) > 0 {
		t.Errorf("a look called %q and left\n%s", r.calls(), after)
	}
}
