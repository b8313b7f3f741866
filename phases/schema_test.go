package phases

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/vpsctl/vpsctl/payload/wire"
)

func schema(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile(filepath.Join("..", "docs", "schema", name))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON turns YAML into what a JSON document would hold.
func asJSON(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(jsonKeys(v))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// jsonKeys makes keys that are numbers in YAML, such as ports, texts.
func jsonKeys(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = jsonKeys(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = jsonKeys(v[k])
		}
	case map[any]any:
		m := map[string]any{}
		for k, x := range v {
			m[fmt.Sprint(k)] = jsonKeys(x)
		}
		return m
	}
	return v
}

// everyKey is a phase with every key of the format.
const everyKey = `
schema: 1
id: my-tools
title: My tools
needs: [system-prep]
requires: {os: [debian-13], arch: [amd64, arm64], memory: 1800MiB, disk: 10GiB}
target: {standard: 60s, small: 1m20s, rerun: 10s}
budget: 3m
parallel: false
vars: {username: , editor: vim, tabs: 4, wrap: true, level: {type: float, default: 0.5, doc: how much}, kind: {default: a, one_of: [a, b]}}
steps:
  - {name: packages, packages: [vim, tmux]}
  - {name: more, packages: {names: ["{{ .editor }}"], recommends: "{{ .wrap }}"}, on_change: [{restart: ssh}, {run: "true"}]}
  - {name: motd, file: {path: /etc/motd, content: "{{ .host }}\n", mode: "0644", owner: "root:root", validate: "test -s %s", sensitive: true}, on_change: [{reload: ssh}], guard: true}
  - {name: conf, file: {path: /etc/conf, source: conf.tmpl}, as: root}
  - {name: gone, file: {path: /etc/gone, state: absent}}
  - {name: dir, file: {path: /srv/dir, state: directory, mode: "0750"}}
  - {name: link, file: {path: /srv/link, state: link, target: dir}}
  - {name: service, service: {name: ssh, enabled: true, state: running}}
  - {name: account, user: {name: "{{ .username }}", group: g, groups: [sudo], shell: /bin/bash, home: /home/x, comment: c, authorized_keys: ["@connection"], password: token, must_change: false}, guard: {login: "{{ .username }}", window: 30s}}
  - {name: ask, assert: {check: "true", critical: true, hint: "nothing to do"}, of: system-prep}
  - {name: preseeded, packages: {names: [xfce4, code], debconf: {code/add-microsoft-repo: false, shared/dm: {value: lightdm, type: select, owner: lightdm}, code/password: {secret: token}}}}
  - {name: ini, file: {path: /etc/x.ini, keys: {"": {max: 8}, Globals: {level: high, tls: true, old: null}}}}
  - {name: repo, apt_repository: {name: vendor, uris: ["https://example.net/apt"], suites: [stable], components: [main], architectures: [amd64], key: {url: "https://example.net/key.asc", fingerprint: "CB63 519C AEAD 3101 CBB6  7B07 EA92 D4FE 3F72 C8CC"}}, on_change: [{run: "true"}]}
  - {name: flat, apt_repository: {name: flat, uris: ["http://example.net/apt"], suites: [./], path: /etc/apt/sources.list.d/f.sources, key: {file: key.gpg, path: /usr/share/keyrings/f.gpg, fingerprint: [CB63519CAEAD3101CBB67B07EA92D4FE3F72C8CC]}}}
  - {name: tool, archive: {url: "https://example.net/t.tgz", sha256: "0000000000000000000000000000000000000000000000000000000000000000", dest: /opt/tool, strip: 1, owner: "root:root"}, budget: 5m}
  - {name: own tool, archive: {file: t.tar, dest: /opt/own}}
  - {name: kernel, run: "true", check: "true", reboot: "{{ .wrap }}"}
  - {name: own, script: own.sh, args: [a], check: "true", undo: "true", apt: true, when: "true", secrets: [token], timeout: 5m, retries: 3, optional: true}
`

// TestPhaseSchema: the schema takes what the loader takes.
func TestPhaseSchema(t *testing.T) {
	s := schema(t, "phase.schema.json")
	dir := one(t, everyKey)
	write(t, filepath.Join(dir, "my-tools", "conf.tmpl"), "{{ .editor }}\n")
	write(t, filepath.Join(dir, "my-tools", "own.sh"), "true\n")
	write(t, filepath.Join(dir, "my-tools", "key.gpg"), "\xc6")
	write(t, filepath.Join(dir, "my-tools", "t.tar"), "x")
	c := load(t, dir)
	q := request()
	q.Secrets["token"] = "0123456789"
	p, _ := mustPlan(t, c, q)
	if err := s.Validate(asJSON(t, []byte(everyKey))); err != nil {
		t.Error(err)
	}
	for _, id := range IDs() {
		if body, err := builtin.ReadFile("builtin/" + id + "/" + phaseFile); err == nil {
			if err := s.Validate(asJSON(t, body)); err != nil {
				t.Errorf("%s: %v", id, err)
			}
		}
	}
	checkPlan(t, p)
}

// TestPhaseSchemaRefuses: the mistakes that a schema can tell are told by it.
func TestPhaseSchemaRefuses(t *testing.T) {
	s := schema(t, "phase.schema.json")
	for _, name := range []string{"head", "kinds", "sources", "steps", "vars"} {
		ar, err := txtar.ParseFile("testdata/mistakes/" + name + ".txtar")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(asJSON(t, ar.Files[0].Data)); err == nil {
			t.Errorf("%s: the schema takes %s", name, ar.Files[0].Name)
		}
	}
}

// TestPlanSchema: what is shown of a plan is what the schema says.
func TestPlanSchema(t *testing.T) {
	p, _ := mustPlan(t, load(t, ""), request())
	checkPlan(t, p)
	q := request()
	q.Only = []string{"verification"}
	p, _ = mustPlan(t, load(t, ""), q)
	checkPlan(t, p)
}

func checkPlan(t *testing.T, p wire.Plan) {
	t.Helper()
	p.Secrets = nil
	b, err := json.Marshal(map[string]any{"schema": 1, "plans": []wire.Plan{p}})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema(t, "plan.schema.json").Validate(doc); err != nil {
		t.Error(err)
	}
}

// TestSchemaKnowsEveryKey: loader and schema have the same keys.
func TestSchemaKnowsEveryKey(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "docs", "schema", "phase.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	type object struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	var doc struct {
		object
		Defs map[string]object `json:"$defs"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	kind := func(name string) map[string]json.RawMessage {
		var o object
		if err := json.Unmarshal(doc.Defs["step"].Properties[name], &o); err != nil {
			t.Fatal(err)
		}
		return o.Properties
	}
	for name, test := range map[string]struct {
		keys []string
		has  map[string]json.RawMessage
	}{
		"phase": {phaseKeys, doc.Properties},
		"step":  {slices.Concat(stepKeys, stepKinds, runKeys), doc.Defs["step"].Properties},
		"file":  {fileKeys, kind("file")},
		"user":  {userKeys, kind("user")},
	} {
		if d := cmp.Diff(slices.Sorted(slices.Values(test.keys)), sortedKeys(test.has)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}
