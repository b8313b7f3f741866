// Package stat holds the rank statistics verdicts stand on: exact, one-sided,
// and free of assumptions on how measurements are distributed. Its arguments
// are finite numbers; samples are not changed. Empty samples give NaN.
package stat

import (
	"math"
	"slices"
)

// Median is the middle value, or the mean of the two middle ones.
func Median(x []float64) float64 { return Quantile(x, 0.5) }

// Quantile is the p-quantile, linear between order statistics (type 7 of
// Hyndman and Fan 1996, the default of R).
func Quantile(x []float64, p float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(x))
	at := p * float64(len(x)-1)
	i := int(at)
	if i >= len(x)-1 {
		return sorted[len(x)-1]
	}
	part := at - float64(i)
	if part == 0 {
		return sorted[i]
	}
	return sorted[i] + part*(sorted[i+1]-sorted[i])
}

// normalMAD makes a median deviation of a normal sample its standard deviation.
const normalMAD = 1.4826

// MAD is the median distance to the median, scaled to be the standard deviation
// of a normal sample. Some bad values do not move it.
func MAD(x []float64) float64 {
	middle := Median(x)
	far := make([]float64, len(x))
	for i, v := range x {
		far[i] = math.Abs(v - middle)
	}
	return normalMAD * Median(far)
}
