// Package policy decides which requests an issuer allows: registrations, orders, certificate signing requests. The ACME server calls
// it to answer the client at once. The controllers call it again, because they do not trust the ACME server. The package reads the
// objects that it is given, and never a cluster, a clock or the network.
//
// Its guarantees: a name is allowed only by a rule for it or for a domain above it, and a denial takes precedence. A key of an unknown
// kind is refused. An accepted CSR asks for exactly the order's names, and for nothing reserved for a CA.
package policy
