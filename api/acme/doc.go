// Package acme is the vocabulary of RFC 8555: identifiers, problem documents, states, challenge types and the URLs of
// its resources. It knows neither Kubernetes nor HTTP handling nor cryptography beyond the digest of a key
// authorization, and imports the standard library alone, so that every other package can share it.
package acme
