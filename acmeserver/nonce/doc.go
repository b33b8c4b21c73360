// Package nonce issues and redeems the anti-replay nonces of RFC 8555 section 6.5. A nonce is accepted once, by the replica
// that issued it. It carries that replica's address, so that other replicas know where to redeem it.
//
// Nothing is stored for a nonce that is issued: it is a counter, the time and the address, encrypted with a key that the
// replicas share. One bit is stored for each of the newest Window nonces: whether it was redeemed. Memory is fixed, however
// many nonces clients ask for. Asking for more makes the oldest nonces expire early. A client whose nonce has expired, or
// was issued by a replica that is gone, gets badNonce with a fresh nonce and retries (RFC 8555 section 6.5).
//
// A nonce also carries a Note from the replica that issued it to the replica that receives it. The note arrives even if the
// nonce can no longer be redeemed.
//
// The package knows nothing of HTTP, nor of how replicas reach each other. The caller redeems a nonce after it has verified
// the signature, so that nobody can use up the nonce of another client.
package nonce
