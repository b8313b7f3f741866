package stat

import (
	"math"
	"slices"
)

// Exact does tests and keeps the null distributions they need, which depend on
// the sizes of samples only. Its zero value is ready; it is for one goroutine.
type Exact struct {
	null map[[2]int][]float64
}

func (x *Exact) nullU(m, n int) []float64 {
	if x.null == nil {
		x.null = map[[2]int][]float64{}
	}
	if x.null[[2]int{m, n}] == nil {
		x.null[[2]int{m, n}] = nullU(m, n)
	}
	return x.null[[2]int{m, n}]
}

// MannWhitney asks whether values of now tend to be larger than those of base.
// u counts the pairs in which now is larger, ties as half. p is the exact
// probability of a u this large or larger if both came from one distribution:
// without ties by the counting recursion of Mann and Whitney (1947), with ties
// over all ways of choosing now's values out of the pooled ones, given those
// values.
func (x *Exact) MannWhitney(base, now []float64) (u, p float64) {
	if len(base) == 0 || len(now) == 0 {
		return math.NaN(), math.NaN()
	}
	ranks, tied := midranks(base, now)
	sum := 0
	for _, r := range ranks[len(base):] {
		sum += r
	}
	n := len(now)
	twice := sum - n*(n+1) // twice u
	u = float64(twice) / 2
	if tied {
		return u, permutedTail(ranks, n, sum)
	}
	return u, upperTail(x.nullU(len(base), n), twice/2)
}

// midranks are twice the ranks in the pooled sample, base first: whole numbers,
// because tied values share the mean of their ranks.
func midranks(base, now []float64) (ranks []int, tied bool) {
	pooled := slices.Concat(base, now)
	order := make([]int, len(pooled))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		if pooled[a] < pooled[b] {
			return -1
		}
		if pooled[a] > pooled[b] {
			return 1
		}
		return 0
	})
	ranks = make([]int, len(pooled))
	for i := 0; i < len(order); {
		j := i + 1
		for j < len(order) && pooled[order[j]] == pooled[order[i]] {
			j++
		}
		tied = tied || j > i+1
		for _, k := range order[i:j] {
			ranks[k] = i + 1 + j
		}
		i = j
	}
	return ranks, tied
}

// nullU is the distribution of U, index = u, for samples of m and n values of
// one continuous distribution. The largest value is of the second sample with
// probability n/(m+n) and then exceeds all m of the first. Only sums of
// positive numbers: the smallest tail is as exact as the largest.
func nullU(m, n int) []float64 {
	rows := make([][]float64, n+1) // of i values in the first sample
	for j := range rows {
		rows[j] = []float64{1}
	}
	for i := 1; i <= m; i++ {
		rows[0] = []float64{1}
		for j := 1; j <= n; j++ {
			rows[j] = oneMore(rows[j], rows[j-1], i, j)
		}
	}
	return rows[n]
}

// oneMore is the distribution for i and j values, out of those for i-1 and j,
// and for i and j-1.
func oneMore(lessFirst, lessSecond []float64, i, j int) []float64 {
	out := make([]float64, i*j+1)
	first, second := float64(i)/float64(i+j), float64(j)/float64(i+j)
	for u, p := range lessFirst {
		out[u] += first * p
	}
	for u, p := range lessSecond {
		out[u+i] += second * p
	}
	return out
}

// upperTail is the probability of at least from.
func upperTail(dist []float64, from int) float64 {
	sum := 0.0
	for u := len(dist) - 1; u >= max(from, 0); u-- { // the small ones first
		sum += dist[u]
	}
	return min(sum, 1)
}

// permutedTail is the probability that n of the ranks, drawn without putting
// back, sum up to at least from.
func permutedTail(ranks []int, n, from int) float64 {
	dist := make([][]float64, n+1) // by number drawn, then by sum
	dist[0] = []float64{1}
	for i, r := range ranks {
		left := float64(len(ranks) - i)
		for k := min(i+1, n); k >= 0; k-- {
			stay := scaled(dist[k], 1-float64(n-k)/left)
			if k > 0 {
				stay = addShifted(stay, dist[k-1], r, float64(n-k+1)/left)
			}
			dist[k] = stay
		}
	}
	return upperTail(dist[n], from)
}

func scaled(x []float64, by float64) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = v * max(by, 0)
	}
	return out
}

func addShifted(to, x []float64, shift int, by float64) []float64 {
	if need := len(x) + shift; len(x) > 0 && len(to) < need {
		to = append(to, make([]float64, need-len(to))...)
	}
	for i, v := range x {
		to[i+shift] += v * by
	}
	return to
}
