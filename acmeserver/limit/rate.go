package limit

import (
	"slices"
	"time"
)

// Wait returns the time until one more event fits under a limit of count events in a period, or zero if it fits now. past
// holds the times of earlier events; Wait reorders it.
func Wait(count int, period time.Duration, past []time.Time, now time.Time) time.Duration {
	past = slices.DeleteFunc(past, func(t time.Time) bool { return now.Sub(t) >= period })
	if len(past) < count {
		return 0
	}
	slices.SortFunc(past, time.Time.Compare)
	return past[len(past)-count].Add(period).Sub(now)
}
