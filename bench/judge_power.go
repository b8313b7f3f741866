package bench

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/vpsctl/vpsctl/bench/stat"
)

const (
	resamples   = 120
	power       = 0.80 // of the cases in which an effect is to be found
	zPower      = 0.8416
	zUpper      = 1.6449
	mostFurther = 96 // sessions; nobody waits for more
)

// wouldSee is the smallest slowdown, as a logarithm, that so many sessions
// against so many would have called a regression in four of five cases, on a
// host as noisy as these values: for samples of them the rule's conditions are
// met by every shift above the largest of what each condition lacks. 0 where the
// numbers are too small for the level.
func wouldSee(x *stat.Exact, y []float64, base, confirm int, level float64) float64 {
	rng := rand.New(rand.NewPCG(20, uint64(len(y)))) // the same answer for the same data
	need := make([]float64, resamples)
	for i := range need {
		s := x.Shift(resample(rng, y, base), resample(rng, y, confirm))
		need[i] = max(math.Log(regression)-s.HodgesLehmann(), math.Log(surelyAbove)-s.Lower(level))
	}
	if slices.ContainsFunc(need, func(v float64) bool { return math.IsInf(v, 0) }) {
		return 0
	}
	return stat.Quantile(need, power)
}

func resample(rng *rand.Rand, y []float64, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = y[rng.IntN(len(y))]
	}
	return out
}

// further is how many more sessions than n would settle a slowdown of hl, if it
// stays as it is: as a regression, or as less than one. -1: none would, because
// it is too near to the limit. By the normal approximation of the shift's
// spread (the rank test has 3/pi of the efficiency of the t-test).
func further(y []float64, hl float64, n int, level float64) int {
	sd := stat.MAD(y)
	z := math.Sqrt2 * math.Erfinv(1-2*level)
	limit := math.Log(regression)
	for k := n + 1; k <= n+mostFurther; k++ {
		se := sd * math.Sqrt(math.Pi/3*(1/float64(len(y))+1/float64(k)))
		found := hl >= max(limit, math.Log(surelyAbove)+z*se)+zPower*se
		cleared := hl+(zUpper+zPower)*se < limit
		if found || cleared {
			return k - n
		}
	}
	return -1
}
