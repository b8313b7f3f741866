package phases

import "testing"

// TestPlanOfVerify: the phase verification alone, which asks about what the
// other phases of the request are.
func TestPlanOfVerify(t *testing.T) {
	cat, err := Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := cat.Plan(Request{Host: "alpha", Verb: "verify", Skip: []string{"ide-cursor"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Phases) != 1 || p.Phases[0].ID != verification || len(p.Phases[0].Needs) != 0 || p.Exclusive {
		t.Fatalf("%+v", p)
	}
	skipped, critical := 0, 0
	for _, s := range p.Phases[0].Steps {
		if s.Assert == nil || s.Assert.Hint == "" {
			t.Errorf("%s is no question with a suggestion", s.Name)
			continue
		}
		if s.Skip != "" {
			skipped++
		}
		if s.Assert.Critical {
			critical++
		}
	}
	if n := len(p.Phases[0].Steps); n != 15 || critical != 8 || skipped != 1 {
		t.Errorf("%d checks, %d critical, %d skipped; want 15, 8 and 1", n, critical, skipped)
	}
}
