//go:build linux

package main

import (
	"strings"
	"testing"
)

func TestRow(t *testing.T) {
	r := row{"disk", "disk/x", "against/fio/x", 0.10}
	for _, c := range []struct {
		pairs []pair
		want  string
	}{
		{[]pair{{100, 100}, {300, 290}, {10, 20}}, "| disk/x | 3 | 100 | 100 | 1.000 | 0.50 to 1.03 | within 10 % | yes |\n"},
		{[]pair{{111, 100}, {222, 200}, {1, 1}, {99, 10}}, "| disk/x | 4 | 105 | 55 | 1.110 | 1.00 to 9.90 | within 10 % | **no**, but within noise |\n"},
		{[]pair{{111, 100}, {120, 100}}, "| disk/x | 2 | 115.5 | 100 | 1.155 | 1.11 to 1.20 | within 10 % | **no** |\n"},
		{[]pair{{89, 100}}, "| disk/x | 1 | 89 | 100 | 0.890 | 0.89 to 0.89 | within 10 % | **no** |\n"},
	} {
		if got := r.line(c.pairs); got != c.want {
			t.Errorf("%v: %s", c.pairs, got)
		}
	}
	r.within = 0
	if got := r.line([]pair{{3, 1}}); !strings.HasSuffix(got, "| stated |  |\n") {
		t.Error(got)
	}
}

// TestAround holds the ranks against the table of the sign test: 5 % on both sides.
func TestAround(t *testing.T) {
	for n, k := range map[int]int{1: 1, 5: 1, 6: 1, 7: 1, 8: 1, 9: 2, 14: 3, 20: 6, 50: 18} {
		ranks := make([]float64, n)
		for i := range ranks {
			ranks[i] = float64(i + 1)
		}
		if low, high := around(ranks); low != float64(k) || high != float64(n+1-k) {
			t.Errorf("of %d: the %g-th to the %g-th, want the %d-th", n, low, high, k)
		}
	}
}

func TestRowsOf(t *testing.T) {
	if got := rowsOf("net/"); len(got) != 4 || got[0].net() != "up/1" {
		t.Errorf("%v", got)
	}
	if got := rowsOf(""); len(got) != len(rows) {
		t.Errorf("%d of %d", len(got), len(rows))
	}
}

func TestSamples(t *testing.T) {
	got, err := samples(`{"at":{"metric":"a","n":1,"of":2}}
{"got":{"metric":"a","value":2}}
{"got":{"metric":"a","value":3}}
`)
	if err != nil || len(got["a"]) != 2 || got["a"][1] != 3 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := samples("no\n"); err == nil {
		t.Error("nonsense was read")
	}
}

func TestIperfWords(t *testing.T) {
	got, err := parseIperf(`{"end":{"sum_sent":{"bits_per_second":5e8},"sum_received":{"bits_per_second":9.5e8}}}`)
	if err != nil || got != 950 {
		t.Errorf("%g, %v", got, err)
	}
	for _, bad := range []string{"", "{}", `{"error":"the server is busy","end":{"sum_received":{"bits_per_second":1}}}`} {
		if _, err := parseIperf(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}
