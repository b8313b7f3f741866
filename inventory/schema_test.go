package inventory

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

const schemaFile = "../docs/schema/inventory.schema.json"

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func asJSON(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestExampleLoadsAndFollowsTheSchema(t *testing.T) {
	const name = "../inventory.example.yaml"
	inv, err := Load(t.Context(), name, Options{SSHConfig: "none"})
	if err != nil {
		t.Fatal(err)
	}
	if w := inv.Warnings(); len(w) > 0 {
		t.Errorf("warnings: %q", w)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := schema(t).Validate(asJSON(t, string(b))); err != nil {
		t.Error(err)
	}
	want := map[string]string{"alpha": "", "beta": "", "build-1": "bastion", "build-2": "bastion", "bastion": ""}
	for _, h := range inv.Hosts() {
		got := ""
		if h.Jump != nil {
			got = h.Jump.Host.Name
		}
		if got != want[h.Name] {
			t.Errorf("%s jumps through %q, want %q", h.Name, got, want[h.Name])
		}
	}
}

// TestSchemaKnowsEverySetting keeps the table in the code and the schema equal.
func TestSchemaKnowsEverySetting(t *testing.T) {
	b, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Defs struct {
			Settings struct {
				Properties map[string]any `json:"properties"`
			} `json:"settings"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	want := []string{"vars"}
	for _, s := range settings {
		want = append(want, s.key)
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(doc.Defs.Settings.Properties)); !slices.Equal(got, want) {
		t.Errorf("the schema has %v, the code %v", got, want)
	}
}

// TestSchemaRefuses has the mistakes of one file that a schema can see, too.
func TestSchemaRefuses(t *testing.T) {
	s := schema(t)
	for _, file := range []string{"keys", "names", "reach"} {
		ar, err := txtar.ParseFile(filepath.Join("testdata/mistakes", file+".txtar"))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cases(ar) {
			switch c.name {
			case "duplicate-keys", "keys-that-are-no-words", "merge-key", "tags", "values", // gone once YAML is JSON
				"collisions", "jumps", "ssh-chain": // beyond a schema
				continue
			}
			if err := s.Validate(asJSON(t, c.yaml)); err == nil {
				t.Errorf("%s: the schema sees nothing wrong in\n%s", c.name, c.yaml)
			}
		}
	}
}
