package bench

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestFoldBeside: what the host was doing stands beside each repeat, where it was
// measured; where it was not, nothing stands there. The frequency is the mean.
func TestFoldBeside(t *testing.T) {
	f := NewFold(Session{Host: "web1", Depth: Default})
	f.Exclude("")
	f.Exclude("3 min after a provision")
	for _, line := range []string{
		`{"host":{"method":3,"cpu_model":"A","cores":2,"memory_mb":4096,"disk":"ext4","virt":"kvm","kernel":"6.12","hostname":"a","load1":0.1,"psi_cpu_avg10":-1}}`,
		`{"got":{"metric":"cpu/x","unit":"ops/s","better":"higher","value":1,"seconds":1,"steal_pct":0,"mhz":2000}}`,
		`{"got":{"metric":"cpu/x","unit":"ops/s","better":"higher","value":2,"seconds":1,"steal_pct":4.5,"mhz":3000}}`,
		`{"got":{"metric":"net/rtt","unit":"us","better":"lower","value":80,"seconds":1}}`,
		`{"got":{"metric":"cpu/y","unit":"ops/s","better":"higher","value":1,"seconds":1,"mhz":2200}}`,
		`{"got":{"metric":"cpu/y","unit":"ops/s","better":"higher","value":1,"seconds":1,"steal_pct":1}}`,
		`{"end":{"seconds":57.2,"steal_pct":0.1,"busy":"spinner"}}`,
	} {
		if _, err := f.Take(line + "\n"); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	s, err := f.Session(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if x := s.metric("cpu/x"); !slices.Equal(x.Steal, []float64{0, 4.5}) || !slices.Equal(x.MHz, []float64{2000, 3000}) {
		t.Errorf("%+v", x)
	}
	for _, name := range []string{"net/rtt", "cpu/y"} { // never, and not beside each
		b, err := json.Marshal(s.metric(name))
		if err != nil || strings.Contains(string(b), "steal") || strings.Contains(string(b), "mhz") {
			t.Errorf("%s %v", b, err)
		}
	}
	if math.Abs(s.Around.MHz-2400) > 1e-9 {
		t.Errorf("%g MHz, want the mean of 2000, 3000 and 2200", s.Around.MHz)
	}
	if s.Excluded != "3 min after a provision; busy: spinner" {
		t.Errorf("excluded: %q", s.Excluded)
	}
	s.ID, s.Start = "20261123-101502-x7k2", time.Now()
	line, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	fits(t, "bench-session", line)
}
