package bench

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/vpsctl/vpsctl/bench/stat"
)

const (
	resamples   = 120
	power       = 0.80   // of the cases in which an effect is to be found
	zPower      = 0.8416 // the normal quantile of power
	zUpper      = 1.6449 // and of 1 - upperLevel
	mostFurther = 96     // sessions; nobody waits for more
)

// wouldSee is the smallest slowdown, in percent of time, that so many sessions
// against so many would have called a regression in four of five cases, on a
// host as noisy as these values: for samples of them the rule's conditions are
// met by every shift above the largest of what each condition lacks. 0 where the
// numbers are too small for the level.
func (t *track) wouldSee(y []float64, base, confirm int, level float64) float64 {
	rng := rand.New(rand.NewPCG(20, uint64(len(y)))) // the same answer for the same data
	need := make([]float64, resamples)
	for i := range need {
		s := t.exact.Shift(resample(rng, y, base), resample(rng, y, confirm))
		need[i] = max(math.Log(regression)-s.HodgesLehmann(), math.Log(surelyAbove)-s.Lower(level))
		if t.certain {
			need[i] = max(need[i], math.Log(regression)-s.Lower(certainLevel))
		}
	}
	if slices.ContainsFunc(need, func(v float64) bool { return math.IsInf(v, 0) }) {
		return 0
	}
	return pct(stat.Quantile(need, power))
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
func (t *track) further(y []float64, hl float64, n int, level float64) int {
	sd, limit := stat.MAD(y), math.Log(regression)
	above, z := math.Log(surelyAbove), math.Sqrt2*math.Erfinv(1-2*level)
	if t.certain {
		above, z = limit, max(z, math.Sqrt2*math.Erfinv(1-2*certainLevel))
	}
	for k := n + 1; k <= n+mostFurther; k++ {
		se := sd * math.Sqrt(math.Pi/3*(1/float64(len(y))+1/float64(k)))
		found := hl >= max(limit, above+z*se)+zPower*se
		cleared := hl+(zUpper+zPower)*se < limit
		if found || cleared {
			return k - n
		}
	}
	return -1
}
