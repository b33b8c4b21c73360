// Package pods decides which Pods get certificates from an issuer, and with which names: the rules of spec.podCertificates. It is pure.
//
// Nothing is granted by default. No decision rests on annotations, which the author of a Pod writes.
package pods
