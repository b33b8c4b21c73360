// Package perspective validates from another place of the network. The Server runs there (`acmeca validator`), and the
// controllers use the Client. They exchange JSON over HTTPS with certificates on both sides.
//
// The package imports nothing of Kubernetes. validation.Corroboration decides how much the result of a perspective counts.
//
// # Trust
//
// A client with a valid certificate can make the Server do no more than a hostile ACME client can make any validator do:
// the Server's own address policy, ports and resolvers apply, never the client's. The Client accepts "valid" only from a
// server with a valid certificate, in the answer to the request that it sent. All other parts of an answer are bounded and
// made printable, since people read them.
//
// A Server rejects unknown members of a request. Otherwise it would silently skip a check that a newer client requests.
package perspective
