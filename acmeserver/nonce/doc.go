// Package nonce makes and redeems the anti-replay nonces of RFC 8555 section 6.5. A nonce is accepted once, by the replica
// that made it; it carries that replica's address, so that another one knows whom to ask.
//
// Nothing is stored for a nonce that is given out: it is a counter, the time and the address, encrypted with a key that the
// replicas share. What is stored is one bit for each of the newest Window nonces, which says whether it was redeemed. Memory
// is fixed, however many nonces are asked for: asking for more makes the oldest unusable early. A client whose nonce is too
// old, or whose maker is gone, gets badNonce with a fresh one and tries again, as RFC 8555 section 6.5 tells it to; nothing
// else is lost.
//
// A nonce also carries a note from the replica that made it to the one that the client brings it to. It reaches that one
// even where the nonce can't be redeemed any more.
//
// The package knows nothing of HTTP, nor how replicas reach each other. The caller redeems a nonce after it has verified
// the signature, so that nobody can use up another's.
package nonce
