package report

import (
	"math"
	"slices"
	"testing"
)

func TestSpread(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   Spread
	}{
		{[]float64{3}, Spread{3, 3, 3}},
		{[]float64{3, 1, 2}, Spread{1, 2, 3}},
		{[]float64{4, 1, 3, 2}, Spread{1, 2.5, 4}},
		{[]float64{4, math.NaN(), 3}, Spread{3, 3.5, 4}},
	} {
		if got := SpreadOf(test.values); got != test.want {
			t.Errorf("%v: %v, not %v", test.values, got, test.want)
		}
	}
	if got := SpreadOf(nil); !math.IsNaN(got.Min) || !math.IsNaN(got.Median) || !math.IsNaN(got.Max) {
		t.Errorf("without values: %v", got)
	}
}

func TestRatiosAreOfTheSameRound(t *testing.T) {
	got := Ratios([]float64{1, 6, math.NaN(), 5, 9}, []float64{2, 2, 1, 0})
	if !slices.Equal(got, []float64{0.5, 3}) {
		t.Errorf("%v", got)
	}
	if got := Ratios([]float64{1}, nil); len(got) != 0 {
		t.Errorf("without a peer: %v", got)
	}
}

func TestVerdict(t *testing.T) {
	for what, test := range map[string]struct {
		row                   Row
		target, verdict, text string
	}{
		"at most, met":      {Row{AtMost: 0.75, Rounds: []float64{0.7, 0.75, 0.9}}, "at most 0.75", "met", "0.75"},
		"at most, missed":   {Row{AtMost: 64, Unit: "bytes", Rounds: []float64{64.1}}, "at most 64.0 bytes", "missed", "64.1 bytes"},
		"at least, met":     {Row{AtLeast: 2, Rounds: []float64{1, 2}}, "at least 2.00", "missed", "1.50"},
		"at least, missed":  {Row{AtLeast: 0.65, Rounds: []float64{0.5, 0.65, 0.7}}, "at least 0.65", "met", "0.65"},
		"none in any round": {Row{None: true, Rounds: []float64{0, 0, 0}}, "none", "met", "0.00"},
		"one of three":      {Row{None: true, Rounds: []float64{0, 0, 1}}, "none", "missed", "0.00"},
		"left out":          {Row{AtMost: 1}, "at most 1.00", "not measured", "-"},
		"no target":         {Row{Rounds: []float64{123.4}}, "", "", "123"},
	} {
		text := Quantity(test.row.Spread().Median, test.row.Unit)
		if got := test.row; got.target() != test.target || got.verdict() != test.verdict || text != test.text {
			t.Errorf("%s: %q, %q, %q", what, got.target(), got.verdict(), text)
		}
	}
	if got := (Row{Rounds: []float64{3, 100, 20}}).spread(); got != "3.00 to 100" {
		t.Errorf("%q", got)
	}
	if got := (Row{Rounds: []float64{3}}).spread(); got != "" {
		t.Errorf("one round has a spread: %q", got)
	}
}
