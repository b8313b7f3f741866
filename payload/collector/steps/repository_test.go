//go:build linux

package steps

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// repoRig is a rig whose apt-get update lays down lists, or fails when
// $S/broken is there.
func repoRig(t *testing.T) (*rig, wire.Step) {
	r := newRig(t)
	for _, d := range []string{"root/etc/apt/sources.list.d", "root/var/lib/apt/lists", "root/var/lib/dpkg", "root/var/cache/apt/archives"} {
		if err := os.MkdirAll(r.path(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r.fake("apt-get", `[ -e $S/broken ] && { cat $S/broken >&2; exit 100; }
touch $S/root/var/lib/apt/lists/example.net_apt_dists_stable_InRelease $S/root/var/lib/apt/lists/example.net_apt_dists_stable_main_binary-amd64_Packages`)
	return r, wire.Step{Name: "r", Repository: &wire.AptRepository{Name: "vendor", URIs: []string{"https://example.net/apt"}, Suites: []string{"stable"},
		Components: []string{"main"}, Architectures: []string{"amd64", "arm64"}, Key: keyFile(t, "two.gpg"), Fingerprints: []string{keyPrint},
		Path: r.path("root/etc/apt/sources.list.d/vendor.sources"), Keyring: r.path("root/etc/apt/keyrings/vendor.gpg")}}
}

func TestRepository(t *testing.T) {
	needRoot(t) // what apt trusts must be root's
	r, s := repoRig(t)
	before := tree(t, r.path("root"))
	r.do(s, wire.Changed)
	want := "Types: deb\nURIs: https://example.net/apt\nSuites: stable\nComponents: main\nArchitectures: amd64 arm64\nSigned-By: " + s.Repository.Keyring + "\n"
	if got := r.read("root/etc/apt/sources.list.d/vendor.sources"); got != want {
		t.Error(cmp.Diff(want, got))
	}
	keys, err := pgpKeys([]byte(r.read("root/etc/apt/keyrings/vendor.gpg")))
	if err != nil || len(keys) != 1 || keys[0].fingerprint != keyPrint {
		t.Errorf("the keyring has %v, %v", keys, err)
	}
	r.has(otherPrint+", which is left out", strings.Join(r.notes, "\n"))
	r.has("Dir::Etc::sourcelist="+s.Repository.Path+" -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0", r.calls())
	calls := r.calls()
	r.do(s, wire.OK)
	if r.calls() != calls {
		t.Errorf("a check that holds called %s", strings.TrimPrefix(r.calls(), calls))
	}
	// A vendor's package writes the same in other words.
	r.file("root/etc/apt/sources.list.d/vendor.sources", "### AUTOMATIC ###\nTypes: deb\nURIs: https://example.net/apt\nSuites: stable\nComponents: main\nArchitectures: arm64,amd64\nSigned-By: "+s.Repository.Keyring+"\n")
	r.do(s, wire.OK)
	r.file("root/etc/apt/sources.list.d/vendor.sources", want)
	r.revert()
	r.revert()
	os.Remove(r.path("root/var/lib/apt/daily_lock"))
	if after := tree(t, r.path("root")); after != before {
		t.Error(cmp.Diff(before, after))
	}
}

func TestRepositoryKeys(t *testing.T) {
	needRoot(t)
	for name, c := range map[string]struct {
		fetched, fingerprint, want string
		status                     wire.Status
	}{
		"right":       {string(keyFile(t, "key.asc")), keyPrint, "", wire.Changed},
		"another key": {string(keyFile(t, "key.asc")), otherPrint, "has the fingerprint " + keyPrint + ", not " + otherPrint, wire.Failed},
		"a web page":  {"<html>login</html>", keyPrint, "is not an OpenPGP public key", wire.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			r, s := repoRig(t)
			if err := os.WriteFile(r.path("served"), []byte(c.fetched), 0o644); err != nil {
				t.Fatal(err)
			}
			r.fake("apt-helper", `for f; do :; done; cat $S/served >"$f"`)
			s.Repository.Key, s.Repository.KeyURL, s.Repository.Fingerprints = nil, "https://example.net/k.asc", []string{c.fingerprint}
			got := r.do(s, c.status)
			r.has(c.want, got.Reason)
			if left, _ := filepath.Glob(r.path("run/*")); len(left) > 0 {
				t.Error("left behind:", left)
			}
			if c.status == wire.Failed && (len(r.undos) > 0 || exists(s.Repository.Path) || got.Hint == "" && name == "another key") {
				t.Errorf("something was done: %v", r.undos)
			}
		})
	}
}

func TestRepositoryConflict(t *testing.T) {
	needRoot(t)
	for name, c := range map[string]struct{ file, text, want string }{
		"old format": {"vscode.list", "# vendor\ndeb [arch=amd64 signed-by=/usr/share/keyrings/v.gpg] https://example.net/apt/ stable main\n", "vscode.list:2 (signed by /usr/share/keyrings/v.gpg)"},
		"deb822":     {"v.sources", "Types: deb\nURIs: https://other.net\n  https://example.net/apt\nSuites: testing stable\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n", "v.sources:1 (signed by -----BEGIN"},
		"unsigned":   {"x.list", "deb https://example.net/apt stable main", "x.list:1 (signed by nothing)"},
		"off":        {"v.sources", "Enabled: no\nTypes: deb\nURIs: https://example.net/apt\nSuites: stable\n", ""},
		"suite":      {"x.list", "deb https://example.net/apt testing main", ""},
		"not read":   {"x.list.save", "deb https://example.net/apt stable main", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, s := repoRig(t)
			r.file("root/etc/apt/sources.list.d/"+c.file, c.text)
			if c.want == "" {
				r.do(s, wire.Changed)
				return
			}
			got := r.do(s, wire.Failed)
			r.has(c.want, got.Reason)
			if len(r.undos) > 0 || got.Hint == "" {
				t.Errorf("%+v", got)
			}
		})
	}
}

// A source that cannot be read would be in the way of every call of apt.
func TestRepositoryUnreadableIsPutBack(t *testing.T) {
	needRoot(t)
	r, s := repoRig(t)
	old := r.file("root/etc/apt/sources.list.d/vendor.sources", "Types: deb\nURIs: https://example.net/old\nSuites: stable\n")
	before := tree(t, r.path("root"))
	for text, retryable := range map[string]bool{"Could not connect to example.net": true, "E: 404  Not Found": false, "NO_PUBKEY 1234": false} {
		r.file("broken", text)
		got := r.do(s, wire.Failed)
		r.has("it was put back", got.Reason)
		if got.Retryable != retryable {
			t.Errorf("%s: %+v", text, got)
		}
		os.Remove(r.path("root/var/lib/apt/daily_lock"))
		if after := tree(t, r.path("root")); after != before {
			t.Error(cmp.Diff(before, after))
		}
	}
	if b, _ := os.ReadFile(old); !strings.Contains(string(b), "old") {
		t.Errorf("%s", b)
	}
}

// Lists that were fresh stay so; the other way round as well.
func TestRepositoryListsAge(t *testing.T) {
	needRoot(t)
	for _, age := range []time.Duration{time.Minute, 10 * time.Hour} {
		r, s := repoRig(t)
		r.file("root/var/lib/apt/lists/mirror.example.net_x_InRelease", "x")
		date := time.Now().Add(-age)
		for _, p := range []string{"root/var/lib/apt/lists", "root/etc/apt/sources.list.d"} {
			if err := os.Chtimes(r.path(p), date, date); err != nil {
				t.Fatal(err)
			}
		}
		r.do(s, wire.Changed)
		why, err := (&lists{env: r.Env}).old(time.Now())
		if err != nil || (why == "") != (age < time.Hour) {
			t.Errorf("lists of %v ago: %q, %v", age, why, err)
		}
	}
}

func TestListNames(t *testing.T) {
	for uri, want := range map[string]string{
		"https://packages.microsoft.com/repos/code/dists/stable/": "packages.microsoft.com_repos_code_dists_stable_",
		"http://u:p@h.net:8080/a_b~c/dists/x/":                    "h.net:8080_a%5fb%7ec_dists_x_",
	} {
		if got := listName(uri); got != want {
			t.Errorf("%s: %s", uri, got)
		}
	}
	flat := source{uris: []string{"https://h/x/"}, suites: []string{"./"}}
	if got := flat.listNames(); got[0] != "h_x_._" {
		t.Error(got)
	}
}

// What is written is read as the same.
func FuzzSources(f *testing.F) {
	f.Add("Types: deb\nURIs: a\n b\nSigned-By:\n x\n .\n\n#c\nEnabled: no\n", "deb [signed-by=/k a=b ] u s c\ndeb [x\ndeb-src u s")
	f.Fuzz(func(t *testing.T, new, old string) {
		for _, s := range append(parseSources(new), parseOldSources(old)...) {
			s.listNames()
			s.off = false
			if strings.Contains(s.text(), "#") || strings.ContainsAny(s.signedBy, "\n") || len(s.types) == 0 {
				continue
			}
			if again := parseSources(s.text()); len(again) != 1 || !sameSet(again[0].uris, s.uris) || !sameSet(again[0].suites, s.suites) {
				t.Fatalf("%q is read as %+v", s.text(), again)
			}
		}
	})
}
