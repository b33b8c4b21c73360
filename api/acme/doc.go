// Package acme contains the vocabulary of RFC 8555: identifiers, problem documents, states, challenge types, payloads and resource
// URLs. It imports only the standard library, so every other package can use it. It knows neither Kubernetes nor HTTP handling, nor
// cryptography beyond digests.
package acme
