// Package rules evaluates an issuer's own rules, which are expressions in the Common Expression Language (CEL): what
// they say of an account, its identifiers, the profile and the certificate signing request must be true.
//
// A rule is compiled and type-checked once, and what it may cost is bounded before and while it runs, so that neither who
// writes one nor who sends an order can keep the server busy. One that can't be evaluated refuses. The package knows
// neither Kubernetes nor HTTP, and reads no clock: the same request is judged the same in both halves of the operator.
package rules
