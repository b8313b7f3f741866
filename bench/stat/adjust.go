package stat

import (
	"cmp"
	"slices"
)

// Holm adjusts p-values so that calling all those at most alpha true is wrong
// about any of them with a probability of at most alpha, whatever they have in
// common (Holm 1979). family is how many tests there were in all; tests beyond
// len(p) count as having found nothing.
func Holm(p []float64, family int) []float64 {
	order := ascending(p)
	out := make([]float64, len(p))
	worst, family := 0.0, max(family, len(p))
	for i, at := range order {
		worst = max(worst, min(1, p[at]*float64(family-i)))
		out[at] = worst
	}
	return out
}

// BenjaminiHochberg adjusts p-values to false discovery rates (Benjamini and
// Hochberg 1995), for putting findings in order. family is as in Holm.
func BenjaminiHochberg(p []float64, family int) []float64 {
	order := ascending(p)
	out := make([]float64, len(p))
	best, family := 1.0, max(family, len(p))
	for i := len(order) - 1; i >= 0; i-- {
		best = min(best, p[order[i]]*float64(family)/float64(i+1))
		out[order[i]] = best
	}
	return out
}

func ascending(p []float64) []int {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p[a], p[b]) })
	return order
}
