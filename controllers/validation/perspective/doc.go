// Package perspective has a validation done at another place of the network: the Server is at that place (`acmeca
// validator`), the Client is what the controllers ask it by. They speak JSON over HTTPS, in which both sides have
// certificates.
//
// It may not know Kubernetes. It doesn't decide what a perspective's word is worth: that is validation.Corroboration's.
//
// # Who trusts whom
//
// The Server does for a client with the right certificate what a hostile ACME client can make any validator do, and no
// more: its own address policy, ports and resolvers count, never those of the client. The Client takes "valid" from who
// has the right certificate, in an answer to the very request that it sent. What else an answer holds is bounded and
// made printable, since people read it.
//
// A Server refuses members of a request that it doesn't know: a newer client may ask for a check that an older server
// would otherwise leave out in silence.
package perspective
