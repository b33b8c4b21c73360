package report

import (
	"fmt"
	"math"
	"slices"
)

// Row is a measurement in several rounds, with its target.
type Row struct {
	// Part names the part of the run that measured the row.
	Part string `json:"part"`
	What string `json:"what"`
	// Unit follows the values; "" for a ratio or a count.
	Unit string `json:"unit,omitempty"`
	// AtMost or AtLeast is the target. A row without either informs only.
	AtMost  float64 `json:"atMost,omitempty"`
	AtLeast float64 `json:"atLeast,omitempty"`
	// None makes 0 in every round the target.
	None bool `json:"none,omitempty"`
	// Rounds has a value for each round.
	Rounds []float64 `json:"rounds"`
	// Note has the medians behind a ratio, or says how the row was measured.
	Note string `json:"note,omitempty"`
}

// Met reports whether the median meets the target.
func (w Row) Met() bool {
	median := w.Spread().Median
	switch {
	case math.IsNaN(median):
		return false
	case w.None:
		return w.Spread().Max == 0
	case w.AtMost > 0:
		return median <= w.AtMost
	default:
		return median >= w.AtLeast
	}
}

// HasTarget reports whether the row has a target.
func (w Row) HasTarget() bool { return w.AtMost > 0 || w.AtLeast > 0 || w.None }

// Spread is the least, the middle and the greatest value of several rounds.
type Spread struct{ Min, Median, Max float64 }

// Spread returns the spread over the rounds. Without a round, all values are NaN.
func (w Row) Spread() Spread { return SpreadOf(w.Rounds) }

// SpreadOf returns the spread of the values that are numbers.
func SpreadOf(values []float64) Spread {
	sorted := slices.DeleteFunc(slices.Sorted(slices.Values(values)), math.IsNaN)
	if len(sorted) == 0 {
		return Spread{math.NaN(), math.NaN(), math.NaN()}
	}
	n := len(sorted)
	return Spread{sorted[0], (sorted[(n-1)/2] + sorted[n/2]) / 2, sorted[n-1]}
}

// Ratios divides the values of two series, round by round. Rounds that one of them lacks are left out.
func Ratios(a, b []float64) (ratios []float64) {
	for i := range min(len(a), len(b)) {
		if !math.IsNaN(a[i]) && !math.IsNaN(b[i]) && b[i] != 0 {
			ratios = append(ratios, a[i]/b[i])
		}
	}
	return ratios
}

// number formats a value with three digits at least.
func number(v float64) string {
	switch size := math.Abs(v); {
	case math.IsNaN(v):
		return "-"
	case size < 10:
		return fmt.Sprintf("%.2f", v)
	case size < 100:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.0f", v)
	}
}

// Quantity formats a value with its unit.
func Quantity(v float64, unit string) string {
	if unit == "" {
		return number(v)
	}
	return number(v) + " " + unit
}

// target returns the target as text.
func (w Row) target() string {
	switch {
	case w.None:
		return "none"
	case w.AtMost > 0:
		return "at most " + Quantity(w.AtMost, w.Unit)
	case w.AtLeast > 0:
		return "at least " + Quantity(w.AtLeast, w.Unit)
	default:
		return ""
	}
}

// verdict compares the median with the target.
func (w Row) verdict() string {
	switch {
	case !w.HasTarget():
		return ""
	case len(w.Rounds) == 0:
		return "not measured"
	case w.Met():
		return "met"
	default:
		return "missed"
	}
}

// spread returns the least and the greatest value as text.
func (w Row) spread() string {
	if len(w.Rounds) < 2 {
		return ""
	}
	s := w.Spread()
	return number(s.Min) + " to " + number(s.Max)
}
