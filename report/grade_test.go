package report

import (
	"fmt"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

func TestScore(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		target, actual time.Duration
		capped, raw    string
		class          string
	}{
		{900 * s, 900 * s, "100.0", "100.0", "met"},
		{900 * s, 180 * s, "100.0", "500.0", "met"},
		{900 * s, 901 * s, "99.8", "99.8", "acceptable"}, // a ratio cut to two digits would say 99.0
		{9996 * s, 10000 * s, "99.9", "99.9", "acceptable"},
		{995 * s, 1000 * s, "99.5", "99.5", "acceptable"},
		{900 * s, 1000 * s, "90.0", "90.0", "acceptable"},
		{8999 * s, 10000 * s, "89.9", "89.9", "below_target"},
		{895 * s, 1000 * s, "89.5", "89.5", "below_target"},
		{800 * s, 1000 * s, "80.0", "80.0", "below_target"},
		{7999 * s, 10000 * s, "79.9", "79.9", "issues"},
		{1 * s, 10000 * s, "0.0", "0.0", "issues"},
	} {
		got, ok := NewScore(c.target, c.actual)
		if !ok || fmt.Sprintf("%.1f", floor1(got.Capped)) != c.capped || fmt.Sprintf("%.1f", floor1(got.Raw)) != c.raw || got.Class != c.class {
			t.Errorf("%v of %v: %+v, %v; want %+v", c.target, c.actual, got, ok, c)
		}
	}
	for _, c := range [][2]time.Duration{{0, s}, {s, 0}, {-s, s}, {0, 0}} {
		if _, ok := NewScore(c[0], c[1]); ok {
			t.Errorf("%v was graded", c)
		}
	}
}

func TestVarianceClass(t *testing.T) {
	for _, c := range []struct {
		pct   float64
		class string
		print string
	}{
		{-100, "excellent", "-100.0"}, {-0.1, "excellent", "-0.1"}, {0, "excellent", "0.0"}, {9.96, "excellent", "10.0"}, {10, "excellent", "10.0"},
		{10.001, "acceptable", "10.1"}, {10.5, "acceptable", "10.5"}, {11, "acceptable", "11.0"}, {30, "acceptable", "30.0"},
		{30.04, "warning", "30.1"}, {30.5, "warning", "30.5"}, {50, "warning", "50.0"}, {50.01, "critical", "50.1"}, {200, "critical", "200.0"},
	} {
		if got := VarianceClass(c.pct); got != c.class {
			t.Errorf("%v%% is %s, want %s", c.pct, got, c.class)
		}
		if got := fmt.Sprintf("%.1f", ceil1(c.pct)); got != c.print || VarianceClass(ceil1(c.pct)) != c.class {
			t.Errorf("%v%% prints %s, want %s", c.pct, got, c.print)
		}
	}
}

func TestResourceBands(t *testing.T) {
	for _, c := range []struct {
		v     float64
		class string
		of    func(float64) string
	}{
		{0, "excellent", MemoryClass}, {1535.9, "excellent", MemoryClass}, {1536, "normal", MemoryClass}, {2559.9, "normal", MemoryClass},
		{2560, "high", MemoryClass}, {3584, "high", MemoryClass}, {3584.1, "critical", MemoryClass},
		{49.99, "low", CPUClass}, {50, "normal", CPUClass}, {74.99, "normal", CPUClass}, {75, "high", CPUClass}, {90, "high", CPUClass}, {90.01, "critical", CPUClass},
	} {
		if got := c.of(c.v); got != c.class {
			t.Errorf("%v is %s, want %s", c.v, got, c.class)
		}
		if shown := print1(c.v, c.of); c.of(shown) != c.class {
			t.Errorf("%v prints as %v, which is another class", c.v, shown)
		}
	}
	for mb, class := range map[int]string{20000: "excellent", 15361: "excellent", 15360: "good", 10241: "good", 10240: "warning", 5120: "warning", 5119: "critical", 0: "critical"} {
		if got := DiskClass(mb); got != class {
			t.Errorf("disk %d is %s, want %s", mb, got, class)
		}
	}
}

func TestScaledMemory(t *testing.T) {
	for _, c := range []struct {
		used  float64
		total int
		class string
	}{{767, 2048, "excellent"}, {768, 2048, "normal"}, {1280, 2048, "high"}, {1792, 2048, "high"}, {1793, 2048, "critical"},
		{5000, 65536, "excellent"}, {60000, 65536, "critical"}} {
		if got := ScaledMemoryClass(c.used, c.total); got != c.class {
			t.Errorf("%v of %d is %s, want %s", c.used, c.total, got, c.class)
		}
	}
	for mb, want := range map[int]bool{3583: false, 3584: true, 4608: true, 4609: false, 2048: false} {
		if guideMemory(mb) != want {
			t.Errorf("guide bands for %d MiB: %v", mb, !want)
		}
	}
}

func TestTier(t *testing.T) {
	for _, c := range []struct {
		mb, cores int
		name      string
		total     int
	}{
		{1966, 1, "small", 1200}, {3583, 2, "small", 1200}, {3911, 1, "small", 1200}, {3584, 2, "standard", 900}, {3911, 2, "standard", 900},
		{7167, 4, "standard", 900}, {7168, 3, "standard", 900}, {7168, 4, "large", 720}, {14335, 8, "large", 720}, {14336, 7, "large", 720},
		{14336, 8, "xlarge", 600}, {65536, 32, "xlarge", 600}, {0, 0, "small", 1200},
	} {
		got := TierOf(wire.Facts{MemoryMB: c.mb, Cores: c.cores})
		if got.Name != c.name || got.Total != time.Duration(c.total)*time.Second {
			t.Errorf("%d MiB, %d CPUs: %v, want %v", c.mb, c.cores, got, c)
		}
	}
}

// ten are the guide's phases with their targets, one after the other.
func ten(changed int) []ran {
	var list []ran
	var at time.Duration
	for _, p := range [][3]int{{120, 160, 15}, {270, 360, 20}, {60, 80, 10}, {30, 40, 5}, {90, 120, 10}, {90, 120, 10}, {90, 120, 10}, {30, 40, 5}, {60, 80, 10}, {60, 80, 60}} {
		s := func(n int) time.Duration { return time.Duration(n) * time.Second }
		list = append(list, ran{begin: at, end: at + s(p[0]), changed: changed, target: wire.Target{Standard: s(p[0]), Small: s(p[1]), Rerun: s(p[2])}})
		at += s(p[0])
	}
	return list
}

func TestRunTarget(t *testing.T) {
	standard, small := wire.Facts{MemoryMB: 3911, Cores: 2}, wire.Facts{MemoryMB: 1966, Cores: 1}
	large, xlarge := wire.Facts{MemoryMB: 7900, Cores: 4}, wire.Facts{MemoryMB: 15900, Cores: 8}
	overlapped := ten(1) // the three editors side by side
	for i := 4; i < 7; i++ {
		overlapped[i].begin, overlapped[i].end = overlapped[4].begin+time.Duration(i), overlapped[6].end
	}
	own := append(ten(1), ran{begin: 2000 * time.Second, end: 2001 * time.Second, changed: 1, target: wire.Target{Standard: 45 * time.Second}})
	for _, c := range []struct {
		name   string
		facts  wire.Facts
		phases []ran
		sec    int
		rule   string
	}{
		{"full on 4 GB", standard, ten(1), 900, "full"},
		{"full on 2 GB", small, ten(1), 1200, "full"},
		{"full on 8 GB", large, ten(1), 720, "full"},
		{"full on 16 GB", xlarge, ten(1), 600, "full"},
		{"full, side by side", standard, overlapped, 900, "full"},
		{"full with a phase of one's own", standard, own, 945, "full"},
		{"rerun", standard, ten(0), 300, "rerun"},
		{"rerun on 16 GB", xlarge, ten(0), 300, "rerun"},
		{"two phases", standard, ten(1)[:2], 390, "partial"},
		{"two phases on 2 GB", small, ten(1)[:2], 520, "partial"},
		{"two phases on 16 GB", xlarge, ten(1)[:2], 390, "partial"},
		{"nine phases, side by side", standard, overlapped[:9], 660, "partial"},
		{"only the editors, side by side", standard, overlapped[4:7], 90, "partial"},
		{"two phases with nothing to do", standard, ten(0)[:2], 35, "rerun"},
		{"no phase", standard, nil, 0, "rerun"},
		{"no targets", standard, []ran{{end: 1, changed: 1}}, 0, "partial"},
	} {
		got, rule := runTarget(c.facts, c.phases)
		if got != time.Duration(c.sec)*time.Second || rule != c.rule {
			t.Errorf("%s: %v %s, want %ds %s", c.name, got, rule, c.sec, c.rule)
		}
	}
}

func TestPhaseAlertLine(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		actual, target time.Duration
		want           string // empty: no warning
	}{
		{450 * s, 300 * s, "Phase 'desktop-install' exceeded expected duration: 450s vs 300s (150%)"},
		{450*s - 1, 300 * s, ""},
		{452 * s, 300 * s, "Phase 'desktop-install' exceeded expected duration: 452s vs 300s (150%)"},
		{600 * s, 300 * s, "Phase 'desktop-install' exceeded expected duration: 600s vs 300s (200%)"},
		{2390 * time.Millisecond, 1500 * time.Millisecond, "Phase 'desktop-install' exceeded expected duration: 2.3s vs 1.5s (159%)"},
		{450 * s, 0, ""},
	} {
		got := ""
		if overTarget(c.actual, c.target) {
			got = phaseAlert("desktop-install", c.actual, c.target)
		}
		if got != c.want {
			t.Errorf("%v of %v: %q, want %q", c.actual, c.target, got, c.want)
		}
	}
}

// The edges belong to the better side: exactly 20 % is acceptable, exactly 50 % no crisis.
func TestRegressionClasses(t *testing.T) {
	for _, c := range []struct {
		now, before float64
		want        string
	}{{85, 100, "improved"}, {99.99, 100, "improved"}, {100, 100, "acceptable"}, {120, 100, "acceptable"}, {120.001, 100, "warning"},
		{120.4, 100, "warning"}, {150, 100, "warning"}, {150.001, 100, "critical"}, {1000, 1, "critical"}, {5, 0, ""}, {0, 5, ""}} {
		second := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
		got := ""
		if pct, ok := Slowdown(second(c.now), second(c.before)); ok {
			got = RegressionClass(pct)
		}
		if got != c.want {
			t.Errorf("%g s after %g s: %q, want %q", c.now, c.before, got, c.want)
		}
	}
}
