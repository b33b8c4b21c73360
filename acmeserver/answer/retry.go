package answer

import "time"

// Retry-After of all answers but renewal information, where RFC 9773 section 4.3 gives the header a meaning of its own.
// Authorizations never have it: HAProxy counts it against its retries, and clients poll at their own pace without it.
const (
	// RetryProcessing is for an order that is being issued, which takes well under a second.
	RetryProcessing = time.Second
	// RetryChallenge is for a challenge whose first attempt failed (RFC 8555 section 8.2 requires the header). It is longer
	// than the pauses between the first attempts. HAProxy gives up after about four of these intervals, which must be longer
	// than all attempts take.
	RetryChallenge = 5 * time.Second
	// RetryUnavailable is for requests that the server cannot process now. nginx-acme retries up to 60 seconds.
	RetryUnavailable = 5 * time.Second
	// RetryStorage is for requests that are refused until certificates expire or a person acts. It is as long as nginx-acme
	// retries.
	RetryStorage = time.Minute
	// maxRetry bounds the header of rate limits. acme.sh gives up if the header exceeds 600 seconds, and a client that
	// comes back too early costs one cheap request.
	maxRetry = 10 * time.Minute
)
