package stat

import (
	"bufio"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A fixture is one case of testdata/wilcox.txt: numbers by name.
type fixture struct {
	name   string
	values map[string][]float64
	bounds [][]float64 // alpha, lower, upper
}

func (f fixture) one(key string) float64 { return f.values[key][0] }

// fixtures are what R said; testdata/wilcox.R and its first line tell how.
func fixtures(t *testing.T) []fixture {
	t.Helper()
	file, err := os.Open("testdata/wilcox.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var out []fixture
	for lines := bufio.NewScanner(file); lines.Scan(); {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 0 || words[0] == "#":
			continue
		case words[0] == "case":
			out = append(out, fixture{name: words[1], values: map[string][]float64{}})
			continue
		}
		var numbers []float64
		for _, w := range words[1:] {
			v, err := strconv.ParseFloat(w, 64)
			if err != nil {
				t.Fatal(err)
			}
			numbers = append(numbers, v)
		}
		if f := &out[len(out)-1]; words[0] == "bounds" {
			f.bounds = append(f.bounds, numbers)
		} else {
			f.values[words[0]] = numbers
		}
	}
	return out
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(1, math.Abs(b)) }

// nearP also wants the smallest probabilities right, relative to themselves.
func nearP(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Abs(b)+1e-300 }

func TestAsR(t *testing.T) {
	cases := 0
	for _, f := range fixtures(t) {
		if f.values["u"] == nil {
			continue
		}
		cases++
		base, now := f.values["base"], f.values["now"]
		u, p := new(Exact).MannWhitney(base, now)
		if u != f.one("u") || !nearP(p, f.one("p")) {
			t.Errorf("%s: u %v p %v, R says %v %v", f.name, u, p, f.one("u"), f.one("p"))
		}
		s := new(Exact).Shift(base, now)
		if hl := s.HodgesLehmann(); !near(hl, f.one("hl")) {
			t.Errorf("%s: shift %v, R says %v", f.name, hl, f.one("hl"))
		}
		for _, b := range f.bounds {
			if lo, hi := s.Lower(b[0]), s.Upper(b[0]); !near(lo, b[1]) || !near(hi, b[2]) {
				t.Errorf("%s: bounds at %v: %v %v, R says %v %v", f.name, b[0], lo, hi, b[1], b[2])
			}
		}
	}
	if cases < 30 {
		t.Errorf("only %d cases", cases)
	}
}

func TestAdjustAsR(t *testing.T) {
	for _, f := range fixtures(t) {
		if f.name != "adjust" {
			continue
		}
		raw := f.values["raw"]
		for key, got := range map[string][]float64{
			"holm": Holm(raw, 0), "bh": BenjaminiHochberg(raw, 0),
			"holm240": Holm(raw, 240), "bh240": BenjaminiHochberg(raw, 240),
		} {
			if !slices.EqualFunc(got, f.values[key], near) {
				t.Errorf("%s: %v, R says %v", key, got, f.values[key])
			}
		}
		return
	}
	t.Error("no case")
}

func TestOrderAsR(t *testing.T) {
	for _, f := range fixtures(t) {
		if f.name != "order" {
			continue
		}
		x := f.values["x"]
		for i, p := range []float64{0, 0.05, 0.25, 0.5, 0.8, 0.99, 1} {
			if got := Quantile(x, p); !near(got, f.values["quantiles"][i]) {
				t.Errorf("quantile %v: %v, R says %v", p, got, f.values["quantiles"][i])
			}
		}
		if got := MAD(x); !near(got, f.one("mad")) {
			t.Errorf("mad %v, R says %v", got, f.one("mad"))
		}
		return
	}
	t.Error("no case")
}

// TestSmallestP holds the least p-value two samples can have: one over the
// number of ways to choose the second.
func TestSmallestP(t *testing.T) {
	for _, c := range []struct {
		m, n int
		want float64
	}{{3, 3, 1.0 / 20}, {4, 4, 1.0 / 70}, {5, 5, 1.0 / 252}, {8, 8, 1.0 / 12870}, {20, 5, 1.0 / 53130}, {20, 8, 1.0 / 3108105}} {
		if _, p := new(Exact).MannWhitney(ramp(0, c.m), ramp(1000, c.n)); !nearP(p, c.want) {
			t.Errorf("%dv%d: %v, want %v", c.m, c.n, p, c.want)
		}
	}
}

func ramp(from float64, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = from + float64(i)
	}
	return out
}

// TestEveryChoice counts: every way of choosing now's values out of the pooled
// ones, with few values (many ties) and with many (none).
func TestEveryChoice(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		m, n, values := 1+rng.IntN(6), 1+rng.IntN(6), 2+rng.IntN(40)
		base, now := draw(rng, m, values), draw(rng, n, values)
		u, p := new(Exact).MannWhitney(base, now)
		if wantU, wantP := counted(base, now); u != wantU || !near(p, wantP) {
			t.Fatalf("%v against %v: u %v p %v, counted %v %v", now, base, u, p, wantU, wantP)
		}
	}
}

func draw(rng *rand.Rand, n, values int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = float64(rng.IntN(values))
	}
	return out
}

func counted(base, now []float64) (u, p float64) {
	pooled := slices.Concat(base, now)
	u = pairs(base, now)
	ways, large := 0, 0
	for set := range 1 << len(pooled) {
		var a, b []float64
		for i, v := range pooled {
			if set>>i&1 == 1 {
				b = append(b, v)
			} else {
				a = append(a, v)
			}
		}
		if len(b) != len(now) {
			continue
		}
		ways++
		if pairs(a, b) >= u {
			large++
		}
	}
	return u, float64(large) / float64(ways)
}

func pairs(base, now []float64) (u float64) {
	for _, b := range base {
		for _, n := range now {
			if n > b {
				u++
			} else if n == b {
				u += 0.5
			}
		}
	}
	return u
}

// TestOneDistribution holds that the two ways to the null distribution agree
// where there are no ties, at sizes nobody can count out.
func TestOneDistribution(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		m, n := 1+rng.IntN(40), 1+rng.IntN(20)
		ranks := rng.Perm(m + n)
		sum := 0
		for i := range ranks {
			ranks[i] = 2 * (ranks[i] + 1)
			if i >= m {
				sum += ranks[i]
			}
		}
		if a, b := upperTail(nullU(m, n), (sum-n*(n+1))/2), permutedTail(ranks, n, sum); !near(a, b) {
			t.Errorf("%dv%d: %v and %v", m, n, a, b)
		}
	}
}

// TestProperties holds what must be so for any two samples.
func TestProperties(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for i := range 500 {
		m, n := 1+rng.IntN(25), 1+rng.IntN(12)
		values := 4 + rng.IntN(20) // half of them with many ties
		if i%2 == 0 {
			values = 1 << 30
		}
		base, now := draw(rng, m, values), draw(rng, n, values)
		if err := holds(base, now); err != "" {
			t.Fatalf("%v against %v: %s", now, base, err)
		}
	}
}

func holds(base, now []float64) string {
	u, p := new(Exact).MannWhitney(base, now)
	back, _ := new(Exact).MannWhitney(now, base)
	s, r := new(Exact).Shift(base, now), new(Exact).Shift(now, base)
	up := slices.Clone(now)
	for i := range up {
		up[i] += 3
	}
	_, higher := new(Exact).MannWhitney(base, up)
	moved := new(Exact).Shift(base, up)
	switch {
	case u+back != float64(len(base)*len(now)):
		return fmt.Sprintf("u %v and, exchanged, %v", u, back)
	case p <= 0 || p > 1 || math.IsNaN(p):
		return fmt.Sprintf("p %v", p)
	case higher > p+1e-12:
		return fmt.Sprintf("p grows from %v to %v for larger values", p, higher)
	case s.HodgesLehmann() != -r.HodgesLehmann():
		return "the shift back is another one"
	case moved.HodgesLehmann() != s.HodgesLehmann()+3:
		return "the shift does not move with the values"
	}
	for _, a := range []float64{0.2, 0.05, 0.001} {
		lo, hi := s.Lower(a), s.Upper(a)
		switch {
		case lo != -r.Upper(a):
			return "the bound exchanged is another one"
		case lo > s.HodgesLehmann() || hi < s.HodgesLehmann():
			return "the shift is outside of its bounds"
		case !math.IsInf(lo, 0) && moved.Lower(a) != lo+3:
			return "the bound does not move with the values"
		case a > 0.001 && s.Lower(0.001) > lo:
			return "the surer bound is the narrower one"
		}
	}
	return ""
}

// TestBoundsAndTestAgree holds that the lower bound at alpha is above d exactly
// where the test at alpha rejects a shift of d, without ties.
func TestBoundsAndTestAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for range 300 {
		m, n := 4+rng.IntN(20), 4+rng.IntN(10)
		base, now := draw(rng, m, 1<<30), draw(rng, n, 1<<30)
		s := new(Exact).Shift(base, now)
		for _, alpha := range []float64{0.05, 0.004} {
			lower := s.Lower(alpha)
			for _, d := range []float64{lower - 0.25, lower + 0.25} {
				if math.IsInf(d, 0) {
					continue
				}
				less := slices.Clone(now)
				for i := range less {
					less[i] -= d
				}
				if _, p := new(Exact).MannWhitney(base, less); (p < alpha) != (d < lower) {
					t.Fatalf("%dv%d at %v: lower bound %v, but p %v for a shift of %v", m, n, alpha, lower, p, d)
				}
			}
		}
	}
}

// TestCoverage holds that the true shift is below the lower bound as seldom as
// promised, with ties too.
func TestCoverage(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for _, values := range []int{5, 1 << 30} {
		var x Exact
		missed, trials := 0, 4000
		for range trials {
			if x.Shift(draw(rng, 12, values), draw(rng, 8, values)).Lower(0.05) > 0 {
				missed++
			}
		}
		// 5 % of 4000 are 200; four standard deviations of that are 55
		if missed > 255 {
			t.Errorf("%d values: %d of %d bounds above the truth", values, missed, trials)
		}
	}
}

func TestNothing(t *testing.T) {
	if u, p := new(Exact).MannWhitney(nil, []float64{1}); !math.IsNaN(u) || !math.IsNaN(p) {
		t.Errorf("%v %v", u, p)
	}
	s := new(Exact).Shift(nil, nil)
	if !math.IsNaN(s.HodgesLehmann()) || !math.IsInf(s.Lower(0.05), -1) || !math.IsInf(s.Upper(0.05), 1) {
		t.Errorf("%v", s)
	}
	if !math.IsNaN(Median(nil)) || !math.IsNaN(MAD(nil)) || len(Holm(nil, 5)) != 0 {
		t.Error("an empty sample has no median")
	}
}

func BenchmarkMannWhitney(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, ties := range []int{10, 1 << 30} {
		b.Run(fmt.Sprintf("30v12/%d-values", ties), func(b *testing.B) {
			base, now := draw(rng, 30, ties), draw(rng, 12, ties)
			for b.Loop() {
				new(Exact).MannWhitney(base, now) // nothing kept
			}
		})
	}
}

// TestChange holds that a change is dated where it was made, among noise, and
// that the running sums are those of the definition.
func TestChange(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for _, at := range []int{3, 10, 27, 37} {
		x := make([]float64, 40)
		for i := range x {
			x[i] = 0.05 * rng.NormFloat64()
			if i >= at {
				x[i] += 0.4
			}
		}
		if got := Change(x); got != at {
			t.Errorf("a change at %d was dated %d", at, got)
		}
	}
	for n := range 30 {
		x := draw(rng, n, 1<<20)
		if got, want := Change(x), divided(x); got != want {
			t.Errorf("%v: %d, by definition %d", x, got, want)
		}
	}
}

func divided(x []float64) int {
	mean := func(a, b []float64, pairs int) (sum float64) {
		for _, v := range a {
			for _, w := range b {
				sum += math.Abs(v-w) / float64(pairs)
			}
		}
		return sum
	}
	at, best := -1, math.Inf(-1)
	for k := leastSide; k <= len(x)-leastSide; k++ {
		a, b := x[:k], x[k:]
		n, m := len(a), len(b)
		e := 2*mean(a, b, n*m) - mean(a, a, n*(n-1)) - mean(b, b, m*(m-1))
		if q := float64(n*m) / float64(n+m) * e; q > best {
			at, best = k, q
		}
	}
	return at
}

// TestUpperRate holds what R's binom.test(k, n, alternative = "less") says.
func TestUpperRate(t *testing.T) {
	for _, f := range fixtures(t) {
		if f.name != "rate" {
			continue
		}
		for i, k := range f.values["k"] {
			n := int(f.values["n"][i])
			if got, want := UpperRate(int(k), n, 0.05), f.values["upper"][i]; math.Abs(got-want) > 1e-9 {
				t.Errorf("%v of %d: %v, R says %v", k, n, got, want)
			}
		}
		return
	}
	t.Error("no case")
}
