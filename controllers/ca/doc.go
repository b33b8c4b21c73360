// Package ca is the certificate authority as pure code: keys, chains, profiles, certificates, serial numbers and CRLs.
//
// It follows RFC 5280 and, where they make sense in a private network, the CA/Browser Forum's Baseline Requirements.
// Every certificate and CRL is linted before the CA's key signs it. The package reads no clock, file or network, and
// imports nothing of Kubernetes: callers pass times, keys and identifiers, and get bytes. Randomness is in new keys and in
// the serial numbers of CA certificates alone. The to-be-signed bytes of a subscriber certificate or a CRL made twice from the
// same input are equal, and with a key in memory so is the signature. An ECDSA key that is elsewhere signs differently each time
// (docs/decisions/0200).
package ca
