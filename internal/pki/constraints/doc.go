// Package constraints reads the name constraints of a chain of CA certificates (RFC 5280 section 4.2.1.10). Both halves
// of the operator hold names against them: the ACME server to refuse at once what can't be certified, the CA before it signs.
// It imports nothing of Kubernetes.
package constraints
