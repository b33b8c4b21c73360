package jws

// Algorithms returns the accepted "alg" values of requests.
func Algorithms() []string { return algorithmNames(signatureAlgorithms) }

// MACAlgorithms returns the accepted "alg" values of external account bindings.
func MACAlgorithms() []string { return algorithmNames(macAlgorithms) }
