package wire

import (
	"encoding/json"
	"strings"
	"testing"
)

// A plan comes early only when everybody on the host may see all of it.
func TestEarly(t *testing.T) {
	step := func(s Step) *Plan { return &Plan{Phases: []Phase{{ID: "a"}, {ID: "b", Steps: []Step{{}, s}}}} }
	for name, c := range map[string]struct {
		plan  *Plan
		early bool
	}{
		"a script":              {step(Step{Run: &Run{Script: "echo"}}), true},
		"a readable file":       {step(Step{File: &File{Path: "/x", Content: []byte("x"), Mode: "0644"}}), true},
		"a file as it is":       {step(Step{File: &File{Path: "/x", Content: []byte("x")}}), true},
		"secrets":               {&Plan{Secrets: map[string]string{"a": "secret"}}, false},
		"a step with a secret":  {step(Step{Run: &Run{Script: "echo"}, Secrets: []string{"a"}}), false},
		"a sensitive file":      {step(Step{File: &File{Path: "/x", Content: []byte("x"), Sensitive: true}}), false},
		"a file for some":       {step(Step{File: &File{Path: "/x", Content: []byte("x"), Mode: "0640"}}), false},
		"a look at such a file": {step(Step{Look: &Step{File: &File{Path: "/x", Mode: "600"}}}), false},
		"an archive":            {step(Step{Archive: &Archive{Content: []byte("x")}}), false},
		"a password":            {step(Step{Packages: &Packages{Debconf: []Debconf{{Type: "string"}, {Type: "password", Value: "x"}}}}), false},
		"a large one":           {step(Step{Run: &Run{Script: strings.Repeat("echo\n", 6000)}}), false},
	} {
		doc, err := json.Marshal(c.plan)
		if err != nil {
			t.Fatal(err)
		}
		value, sum := c.plan.Early(append(doc, '\n'))
		if (value != "") != c.early || (sum != "") != c.early {
			t.Errorf("%s: %q, %q", name, value, sum)
		}
		if c.early && string(FromEarly(value, sum)) != string(doc)+"\n" {
			t.Errorf("%s: came as %q", name, FromEarly(value, sum))
		}
	}
	value, sum := (&Plan{}).Early([]byte("{}"))
	_, other := (&Plan{}).Early([]byte("{ }"))
	for _, wrong := range [][2]string{{"", sum}, {value, ""}, {value, other}, {"!", sum}, {value[:1], sum}} {
		if doc := FromEarly(wrong[0], wrong[1]); doc != nil {
			t.Errorf("%q is read as %q", wrong, doc)
		}
	}
}
