package pki

import (
	"testing"
	"time"
)

func TestEarlierAndLater(t *testing.T) {
	first := time.Unix(0, 0)
	second := first.Add(time.Second)
	for _, pair := range [][2]time.Time{{first, second}, {second, first}} {
		if got := Earlier(pair[0], pair[1]); !got.Equal(first) {
			t.Errorf("earlier of %v: got %v", pair, got)
		}
		if got := Later(pair[0], pair[1]); !got.Equal(second) {
			t.Errorf("later of %v: got %v", pair, got)
		}
	}
}
