package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpsctl/vpsctl/inventory"
)

func TestParsePins(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "map[]",
		"# nothing\n":               "map[]",
		"a_version: 1.10\nb: '2'\n": "map[a_version:1.10 b:2]",
		"a: [1]\n":                  "p:1:4: a: wanted a text",
		"a: 1\na: 2\n":              "p:2:1: \"a\" is there twice",
		"A: 1\n":                    "p:1:1: \"A\" is no name of a variable",
		"- a\n":                     "p:1:1: wanted names with values",
		"a: 1\n---\nb: 2\n":         "p: wanted one YAML document",
		"a: ~\n":                    "p:1:4: a: wanted a text",
		"a: b: c\n":                 "p: mapping values are not allowed in this context",
	} {
		pins, err := parsePins("p", []byte(text))
		got := fmt.Sprint(pins)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func FuzzParsePins(f *testing.F) {
	f.Add([]byte("a: 1\nb: \"x\"\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		pins, err := parsePins("p", text)
		if err != nil || len(pins) == 0 {
			return
		}
		path := filepath.Join(t.TempDir(), pinsFile)
		if err := writePins(path, pins); err != nil {
			t.Fatal(err)
		}
		if back, err := readPins(path); err != nil || len(back) != len(pins) {
			t.Fatalf("%v: %v, %v", pins, back, err)
		}
	})
}

func TestPinsAreWeakerThanTheInventory(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, pinsFile), []byte("a: pinned\nb: pinned\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	hosts := []inventory.Host{{Name: "x", Vars: map[string]inventory.Var{"a": {Value: "own"}}}, {Name: "y"}}
	if err := (&call{}).pinned(dir, hosts); err != nil {
		t.Fatal(err)
	}
	if hosts[0].Vars["a"].Value != "own" || hosts[0].Vars["b"].Value != "pinned" || hosts[1].Vars["a"].Value != "pinned" || hosts[1].Vars["a"].Origin != pinsFile {
		t.Errorf("got %+v", hosts)
	}
}

func TestPinsUpdate(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	answer := func(version, arch string) string {
		return fmt.Sprintf(`{"url": "https://m.test/stable/%s-77/%s/x.tar.gz", "productVersion": "%s", "sha256hash": "%s"}`, version, arch, version, hash)
	}
	answers := map[string]string{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if answers[q.URL.Path] == "" {
			http.Error(w, "no", http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, answers[q.URL.Path])
	}))
	defer s.Close()
	dir := t.TempDir()
	path := filepath.Join(dir, pinsFile)
	first := "antigravity_latest: " + s.URL + "/u\nmine: \"1\"\n"
	if err := os.WriteFile(path, []byte(first), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(code int, more ...string) string {
		t.Helper()
		var out, talk strings.Builder
		got := Main(t.Context(), append([]string{"pins", "update", "-i", filepath.Join(dir, "inventory.yaml")}, more...), streams{strings.NewReader(""), &out, &talk})
		if got != code {
			t.Errorf("exit code %d, want %d\n%s%s", got, code, out.String(), talk.String())
		}
		return out.String() + talk.String()
	}
	answers["/u/linux-x64/stable/latest"] = answer("3.0.1", "linux-x64")
	if said := run(11); !strings.Contains(said, "ask "+s.URL+"/u for linux-arm: it answered 500") || !strings.Contains(said, "by hand") {
		t.Errorf("said %s", said)
	}
	for _, bad := range []string{answer("3.0.2", "linux-arm"), "{", `{"url": "http://m.test/x", "productVersion": "3.0.1", "sha256hash": "` + hash + `"}`,
		`{"url": "https://m.test/x", "productVersion": "3.0.1", "sha256hash": "12"}`, `{"url": "https://m.test/x", "productVersion": "; reboot", "sha256hash": "` + hash + `"}`} {
		answers["/u/linux-arm/stable/latest"] = bad
		run(11)
	}
	if b, _ := os.ReadFile(path); string(b) != first {
		t.Errorf("after answers that were no good: %s", b)
	}
	answers["/u/linux-arm/stable/latest"] = answer("3.0.1", "linux-arm")
	run(0)
	got, err := readPins(path)
	want := map[string]string{"antigravity_latest": s.URL + "/u", "mine": "1", "antigravity_version": "3.0.1-77", "antigravity_sha256_amd64": hash, "antigravity_sha256_arm64": hash,
		"antigravity_url_amd64": "https://m.test/stable/3.0.1-77/linux-x64/x.tar.gz", "antigravity_url_arm64": "https://m.test/stable/3.0.1-77/linux-arm/x.tar.gz"}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v\n%s", err, d)
	}
	// An inventory's own variable says whom to ask, and -e before it.
	if err := os.WriteFile(filepath.Join(dir, "inventory.yaml"), []byte("defaults: {vars: {antigravity_latest: "+s.URL+"/team/}}\nhosts: {alpha: {}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if said := run(11); !strings.Contains(said, "ask "+s.URL+"/team for linux-x64: it answered 500") {
		t.Errorf("said %s", said)
	}
	if said := run(11, "-e", "antigravity_latest="+s.URL+"/mine"); !strings.Contains(said, "ask "+s.URL+"/mine for linux-x64") {
		t.Errorf("said %s", said)
	}
}
