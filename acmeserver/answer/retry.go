package answer

import "time"

// Retry-After of all answers but renewal information, where RFC 9773 section 4.3 gives the header a meaning of its own.
const (
	// RetryProcessing is for an order that is being issued, which takes well under a second.
	RetryProcessing = time.Second
	// RetryChallenge is for an authorization that is being validated.
	RetryChallenge = time.Second
	// RetryUnavailable is for requests that the server cannot process now.
	RetryUnavailable = 5 * time.Second
)
