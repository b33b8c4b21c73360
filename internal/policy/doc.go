// Package policy decides what an issuer allows: which identifiers, on which profile, asked for with which key and which
// certificate signing request. Both halves call it: the ACME server to answer the client at once, the controllers because
// they don't take the ACME server's word. It reads objects that it is given and never a cluster, a clock or the network.
//
// Its guarantees: a name is allowed only by a rule for it or for a domain above it, and a denial wins; a key of an unknown
// kind is refused; a CSR that gets through asks for exactly the order's names and for nothing that only a CA has.
package policy
