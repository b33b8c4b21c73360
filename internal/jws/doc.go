// Package jws reads and verifies the signed requests of RFC 8555 section 6.2: the flattened JWS that a client sends, and
// the two that stand inside of one, of a key change and of an external account binding. The ACME server calls it for every
// POST and the controllers call it again for every stored request, so both refuse the same.
//
// It looks at the raw JSON first and leaves the cryptography to go-jose. Everything is refused that isn't known to be
// right: unknown algorithms, keys that don't fit the algorithm, critical extensions, doubled members, second signatures.
// The caller compares URLs, redeems nonces and finds the account's key; the package knows neither HTTP nor Kubernetes.
package jws
