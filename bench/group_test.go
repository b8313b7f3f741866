package bench

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestGroup(t *testing.T) {
	for _, c := range []struct {
		notes Notes
		want  Group
	}{
		{Notes{}, Group{}},
		{Notes{PeerGroup: "ams", Provider: "aws", Plan: "t3.small"}, Group{"ams", FromVars}},
		{Notes{Provider: "aws", Plan: "t3.small", Region: "eu-west-1", Mirror: "mirror.example.net"}, Group{"aws/t3.small/eu-west-1/mirror.example.net", FromCloud}},
		{Notes{Provider: "AWS", Plan: "Standard_B2s"}, Group{"aws/standard_b2s/?/?", FromCloud}},
		{Notes{Provider: "hetzner", Region: "fsn1", Mirror: "mirror.example.net"}, Group{}}, // which plan?
		{Notes{Plan: "m1.small", Region: "RegionOne"}, Group{}},                             // whose?
		{Notes{Provider: "--", Plan: "t3.small"}, Group{}},
		{Notes{Provider: "=a/b", Plan: "x\u202ey", Region: strings.Repeat("z", 200)}, Group{"a-b/x-y/" + strings.Repeat("z", 60) + "/?", FromCloud}},
	} {
		if got := c.notes.Group(); got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.notes, got, c.want)
		}
	}
}

// TestCloudPeers: what clouds say makes peers where the inventory says nothing,
// and never mixes with what it says.
func TestCloudPeers(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	all := map[string][]Session{}
	add := func(host, group, plan, mirror string, level float64) {
		all[host] = life{host: host, group: group, noise: 0.03, metrics: []string{"cpu/x"}, level: from(0, level), edit: func(_ int, s *Session) {
			s.Notes.Provider, s.Notes.Plan, s.Notes.Region, s.Notes.Mirror = "hetzner", plan, "fsn1", mirror
		}}.sessions(r, 9)
	}
	for _, h := range []string{"a1", "a2", "a3"} {
		add(h, "", "cx22", "mirror.example", 1)
	}
	add("a4", "", "cx22", "mirror.example", 1.6)
	add("b1", "", "cx32", "mirror.example", 2)
	add("c1", "", "cx22", "other.example", 2)
	add("d1", "hetzner/cx22/fsn1/mirror.example", "cx22", "mirror.example", 2) // the inventory's words are another group
	add("lone", "", "", "mirror.example", 2)
	groups, others := PeerGroups(all)
	if len(groups) != 4 || len(others) != 1 || others[0].Name != "lone" {
		t.Fatalf("%+v, others %+v", groups, others)
	}
	if g := groups[0]; g.Name != "hetzner/cx22/fsn1/mirror.example" || g.From != FromCloud || strings.Join(g.Hosts, " ") != "a1 a2 a3 a4" || groups[1].From != FromVars {
		t.Errorf("%+v", groups)
	}
	if out := Outliers(groups); len(out) != 1 || out[0].Host != "a4" {
		t.Errorf("%+v", out)
	}
	j := begin(all, Question{})
	if n := len(j.peersOf(j.records["a1"])); n != 3 {
		t.Errorf("a verdict counts %d peers", n)
	}
}
