package stat

import "math"

// leastSide is how many values a change has on each side at least.
const leastSide = 3

// Change is where a series most likely changed: the index of the first value
// after it, chosen to make the energy distance of the two sides largest (the
// first step of E-divisive, Matteson and James 2014, with exponent 1). It always
// finds the worst place, also where nothing changed: it dates a change that is
// known, and is no test. -1 for series too short to have one.
func Change(x []float64) int {
	n := len(x)
	if n < 2*leastSide {
		return -1
	}
	var left, cross, right float64 // sums of |a-b| over pairs
	for i := range x {
		right += distances(x[i], x[:i])
	}
	at, best := -1, math.Inf(-1)
	for k := 1; k <= n-leastSide; k++ { // x[k-1] changes sides
		toLeft, toRight := distances(x[k-1], x[:k-1]), distances(x[k-1], x[k:])
		left, right, cross = left+toLeft, right-toRight, cross-toLeft+toRight
		if k < leastSide {
			continue
		}
		a, b := float64(k), float64(n-k)
		apart := 2*cross/(a*b) - 2*left/(a*(a-1)) - 2*right/(b*(b-1))
		if q := a * b / (a + b) * apart; q > best {
			at, best = k, q
		}
	}
	return at
}

func distances(v float64, to []float64) (sum float64) {
	for _, w := range to {
		sum += math.Abs(v - w)
	}
	return sum
}
