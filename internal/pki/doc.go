// Package pki decides which public keys are strong enough (CheckKey), when a certificate is valid (ValidityBounds), and which
// identifiers a CA's name constraints permit (NameConstraints). The ACME server asks before it stores a request, and the CA
// asks again before it signs, so both decide the same. The package does not know Kubernetes.
package pki
