// Package replica lets the replicas of the ACME server redeem each other's nonces. Replicas authenticate each other by shared
// secrets: both sides of a TLS connection prove possession of a key that is derived from a secret. Nobody else can tell a
// replica that a nonce was good, nor use one up.
//
// Secrets are rotated without a moment at which all replicas must switch. All replicas know a new secret well before it is
// used, and accept it until well after it was replaced.
package replica
