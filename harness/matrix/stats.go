package matrix

import "math"

// z is the 97.5 % quantile of the normal distribution: intervals cover 95 %.
const z = 1.959963984540054

// Wilson returns the 95 % confidence interval of a rate that was seen k times of n, by E. B. Wilson (1927). It stays
// within 0 and 1 and says something also where k is 0 or n. Of nothing, n = 0, it is all that is possible.
func Wilson(k, n int) (low, high float64) {
	if n == 0 {
		return 0, 1
	}
	total, p := float64(n), float64(k)/float64(n)
	centre := p + z*z/(2*total)
	spread := z * math.Sqrt(p*(1-p)/total+z*z/(4*total*total))
	low, high = (centre-spread)/(1+z*z/total), (centre+spread)/(1+z*z/total)
	// Exactly, where rounding would leave a trace.
	if k == 0 {
		low = 0
	}
	if k == n {
		high = 1
	}
	return low, high
}

// Share is how often something was seen, with its interval.
type Share struct {
	Runs int     `json:"runs"` // in which it was seen
	Of   int     `json:"of"`   // runs that were judged
	Low  float64 `json:"low"`  // Wilson, 95 %
	High float64 `json:"high"`
}

func share(k, n int) Share {
	low, high := Wilson(k, n)
	return Share{k, n, low, high}
}
