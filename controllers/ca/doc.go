// Package ca is the certificate authority as pure code: keys, chains, profiles, certificates, serial numbers and CRLs.
//
// It follows RFC 5280 and, where they make sense in a private network, the CA/Browser Forum's Baseline Requirements.
// What it makes is linted before the CA's key signs it. Nothing here reads a clock, a file or the network, and nothing
// knows Kubernetes: times, keys and identifiers come in as arguments, bytes go out. The only randomness is in new keys and
// in the serial numbers of CA certificates; a subscriber certificate or a CRL made twice from the same input is the same,
// byte by byte.
package ca
