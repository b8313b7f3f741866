package bench

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const benchstat = "golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da"

// sample is n values around a middle, rounded so that some are equal.
func sample(r *rand.Rand, n int, middle, noise float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = math.Round(middle * math.Exp(noise*r.NormFloat64()))
	}
	return out
}

// TestAsBenchstat: what benchstat says of our Go benchmark format is what our
// table says: medians, intervals, deltas and p-values.
func TestAsBenchstat(t *testing.T) {
	if testing.Short() {
		t.Skip("fetches and builds benchstat")
	}
	r := rand.New(rand.NewPCG(3, 1))
	base, current := Side{Name: "old", Host: "web1"}, Side{Name: "new", Host: "web1"}
	for i, n := range [][2]int{{3, 3}, {4, 4}, {20, 8}, {20, 20}, {7, 12}, {6, 6}, {12, 5}} {
		m := Metric{Name: fmt.Sprintf("disk/%d/qd1", i), Unit: "MB/s", Better: Higher}
		if i%2 == 1 {
			m.Unit, m.Better = "ns", Lower
		}
		m.Values = sample(r, n[0], 600, 0.04)
		base.Metrics = append(base.Metrics, m)
		m.Values = sample(r, n[1], 600*(1+0.03*float64(i)), 0.04)
		current.Metrics = append(current.Metrics, m)
	}
	var text bytes.Buffer
	if err := Benchfmt(&text, []Side{base, current}); err != nil {
		t.Fatal(err)
	}
	theirs := runBenchstat(t, text.Bytes())
	rows := Table(base, current)
	if len(theirs) != len(rows) {
		t.Fatalf("benchstat has %d rows, we have %d", len(theirs), len(rows))
	}
	significant := 0
	for _, row := range rows {
		agree(t, row, theirs[benchfmtName(row.Metric)[len("Benchmark"):]])
		if row.Differs {
			significant++
		}
	}
	if significant == 0 || significant == len(rows) {
		t.Errorf("%d of %d rows differ: both kinds were to be tried", significant, len(rows))
	}
}

// agree compares a row with benchstat's: base, its ±, current, its ±, delta, p.
func agree(t *testing.T, row Row, theirs []string) {
	t.Helper()
	if len(theirs) != 7 {
		t.Fatalf("%s: benchstat says %q", row.Metric, theirs)
	}
	scale := map[string]float64{"MB/s": 1e6, "ns": 1e-9}[row.Unit]
	for i, s := range []*Summary{row.Base, row.Current} {
		median, err := strconv.ParseFloat(theirs[1+2*i], 64)
		if err != nil || math.Abs(median-s.Median*scale) > 1e-9*median {
			t.Errorf("%s: median %v, benchstat's is %s", row.Metric, s.Median*scale, theirs[1+2*i])
		}
		if ours := strings.TrimPrefix(asTheirs(s).SpreadText(), "± "); ours != theirs[2+2*i] {
			t.Errorf("%s: interval ± %s, benchstat's is ± %s", row.Metric, ours, theirs[2+2*i])
		}
	}
	delta := "~"
	if row.Differs {
		delta = fmt.Sprintf("%+.2f%%", *row.DeltaPct)
	}
	if delta != theirs[5] {
		t.Errorf("%s: delta %s, benchstat's is %s", row.Metric, delta, theirs[5])
	}
	if p := fmt.Sprintf("p=%.3f n=%s", *row.P, row.counts()); p != theirs[6] {
		t.Errorf("%s: %s, benchstat has %s", row.Metric, p, theirs[6])
	}
}

// asTheirs is a summary with benchstat's interval, which leaves an end off where
// 95 % remain: of 8 values the 8th. Ours has as much on either side.
func asTheirs(s *Summary) *Summary {
	if s.N != 8 {
		return s
	}
	short := *s
	short.High = &slices.Sorted(slices.Values(s.Values))[6]
	return &short
}

func runBenchstat(t *testing.T, text []byte) map[string][]string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "bench.txt")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	defer stop()
	build := exec.CommandContext(ctx, "go", "install", benchstat)
	build.Dir, build.Env = dir, append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("benchstat could not be fetched: %v: %s", err, out)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "benchstat"), "-format", "csv", "-col", "side", file)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("benchstat refuses our format: %v\n%s", err, text)
	}
	rows := map[string][]string{}
	lines := csv.NewReader(bytes.NewReader(out))
	lines.FieldsPerRecord = -1
	all, err := lines.ReadAll()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, l := range all {
		if strings.HasPrefix(l[0], "Disk/") {
			rows[l[0]] = l
		}
	}
	return rows
}

// TestMedianOrder: the intervals are those of published tables of order
// statistics (Conover 1999, table A3: n and the rank of the lower end at 95 %).
func TestMedianOrder(t *testing.T) {
	for n, want := range map[int]int{1: 0, 5: 0, 6: 1, 8: 1, 9: 2, 11: 2, 12: 3, 15: 4, 17: 5, 20: 6, 25: 8, 30: 10, 40: 14, 50: 18} {
		if got := medianOrder(n); got != want {
			t.Errorf("n = %d: order statistic %d, want %d", n, got, want)
		}
	}
}

func TestTableOfOneSide(t *testing.T) {
	a := Side{Metrics: []Metric{{Name: "cpu/x", Unit: "ops/s", Better: Higher, Values: []float64{2, 3}}, {Name: "cpu/zero", Unit: "ops/s", Values: []float64{0, math.NaN()}}}}
	b := Side{Metrics: []Metric{{Name: "cpu/x", Unit: "Mops/s", Better: Higher, Values: []float64{2}}}}
	rows := Table(a, b)
	if len(rows) != 3 {
		t.Fatalf("%d rows, want 3: another unit is another metric", len(rows))
	}
	for _, r := range rows {
		if r.DeltaPct != nil || r.P != nil || r.DeltaText() != "" {
			t.Errorf("%s %s has a delta of nothing", r.Metric, r.Unit)
		}
	}
	if rows[2].Base != nil {
		t.Error("zero and NaN make a summary")
	}
}

// TestWorse: percentages are time taken, whichever way a metric gets better.
func TestWorse(t *testing.T) {
	for _, c := range []struct {
		better    Direction
		base, now float64
		want      float64
	}{{Lower, 100, 125, 25}, {Higher, 125, 100, 25}, {Higher, 100, 200, -50}} {
		m := func(v float64) Side {
			return Side{Metrics: []Metric{{Name: "cpu/x", Unit: "u", Better: c.better, Values: []float64{v}}}}
		}
		if got, ok := Table(m(c.base), m(c.now))[0].WorsePct(); !ok || math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s is better, %v to %v: %v %% worse, want %v", c.better, c.base, c.now, got, c.want)
		}
	}
}
