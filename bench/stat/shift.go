package stat

import (
	"math"
	"slices"
)

// Shift is by how much values of one sample exceed those of another: the
// differences of all pairs, and the distribution of the rank test turned round
// on them.
type Shift struct {
	sorted []float64 // differences now - base
	null   []float64 // distribution of U
}

// Shift compares now with base.
func (x *Exact) Shift(base, now []float64) Shift {
	s := Shift{sorted: make([]float64, 0, len(base)*len(now))}
	for _, b := range base {
		for _, n := range now {
			s.sorted = append(s.sorted, n-b)
		}
	}
	slices.Sort(s.sorted)
	if len(s.sorted) > 0 {
		s.null = x.nullU(len(base), len(now))
	}
	return s
}

// HodgesLehmann is the median of all pairwise differences (Hodges and Lehmann
// 1963).
func (s Shift) HodgesLehmann() float64 {
	n := len(s.sorted)
	if n == 0 {
		return math.NaN()
	}
	return (s.sorted[(n-1)/2] + s.sorted[n/2]) / 2
}

// Lower is the exact one-sided lower bound of the shift at confidence 1-alpha:
// the smallest shift a one-sided test at alpha does not reject. Minus infinity
// where the samples are too small for alpha. With ties the bound is
// conservative (Noether 1967).
func (s Shift) Lower(alpha float64) float64 {
	if k := s.rank(alpha); k > 0 {
		return s.sorted[k-1]
	}
	return math.Inf(-1)
}

// Upper is the exact one-sided upper bound at confidence 1-alpha, or infinity.
func (s Shift) Upper(alpha float64) float64 {
	if k := s.rank(alpha); k > 0 {
		return s.sorted[len(s.sorted)-k]
	}
	return math.Inf(1)
}

// rank is the smallest k with P(U <= k) >= alpha: below the k-th smallest
// difference lies the true shift with probability P(U <= k-1) < alpha. A sum
// that is alpha but for its last digits counts as alpha, so that both ends of an
// interval are chosen alike; a smallest probability that is alpha will do.
func (s Shift) rank(alpha float64) int {
	const digits = 1e-12
	if len(s.null) > 0 && math.Abs(s.null[0]-alpha) <= digits*alpha {
		return 1
	}
	below := 0.0
	for k, p := range s.null {
		if below += p; below >= alpha*(1-digits) {
			return k
		}
	}
	return 0
}
