// Package jws parses and verifies the signed requests of RFC 8555 section 6.2: the flattened JWS that a client sends, and the
// two kinds of JWS inside one, of a key change and of an external account binding. The ACME server calls it for every POST. The
// controllers call it again for every stored request, so both refuse the same requests.
//
// The package checks the raw JSON first and leaves the cryptography to go-jose. It refuses everything that is not known to be
// correct: unknown algorithms, keys that do not fit the algorithm, critical extensions, duplicate members, second signatures.
// The caller compares URLs, redeems nonces and finds the account's key. The package knows neither HTTP handling nor Kubernetes.
package jws
