// Package rules evaluates an issuer's rules: expressions in the Common Expression Language (CEL) on an account, its identifiers, the
// profile and the certificate signing request. All of them must be true.
//
// A rule is compiled and type-checked once. Its cost is bounded before and during evaluation, so neither its author nor a client can
// keep the server busy. A rule that cannot be evaluated refuses the request. The package knows neither Kubernetes nor HTTP and reads no
// clock, so both halves of the operator decide alike.
package rules
