// Package replica lets the replicas of the ACME server ask each other to redeem a nonce. They know each other by secrets that
// they share: both sides of a connection prove that they have one, by a TLS key that follows from it. So nobody else can
// tell a replica that a nonce was good, nor use one up.
//
// The secrets are rotated in a way that needs no common moment: a new one is known to all well before it is used, and goes
// on being accepted after another one has taken its place.
package replica
