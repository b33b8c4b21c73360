// Package store reads and writes accounts, orders and authorizations for the ACME server. Reads are answered from the
// informer caches. On top of the caches, the package guarantees:
//
//   - Read your own writes: an object that this replica has written is shown at once, whether or not the cache has it.
//   - Monotonic reads: no object is shown older than the client has seen it, at this replica or at another one
//     (Positions).
//   - Bounded cost: reads past the caches, and requests that wait for a change, are limited in number.
//
// Errors are the sentinels of this package. The package knows nothing of HTTP, nor of problem documents.
package store
