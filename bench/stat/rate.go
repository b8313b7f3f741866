package stat

import "math"

// UpperRate is the exact one-sided upper bound, at confidence 1-alpha, of a
// probability that came true k times in n independent trials (Clopper and
// Pearson 1934). Without trials it is 1.
func UpperRate(k, n int, alpha float64) float64 {
	if n <= 0 || k >= n {
		return 1
	}
	low, high := float64(k)/float64(n), 1.0
	for range 100 {
		p := (low + high) / 2
		if atMost(k, n, p) > alpha {
			low = p
		} else {
			high = p
		}
	}
	return high
}

// atMost is the probability of at most k of n, each with probability p.
func atMost(k, n int, p float64) (sum float64) {
	all, _ := math.Lgamma(float64(n + 1))
	for i := range k + 1 {
		in, _ := math.Lgamma(float64(i + 1))
		out, _ := math.Lgamma(float64(n - i + 1))
		sum += math.Exp(all - in - out + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
	}
	return sum
}
