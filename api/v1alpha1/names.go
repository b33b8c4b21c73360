package v1alpha1

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"math/big"
	"strings"
)

// IssuerLabel, on a Secret or ConfigMap that the controllers made, names its issuer.
const IssuerLabel = "acmeca.dev/issuer"

// nameEncoding encodes bytes in letters and digits.
var nameEncoding = base32.HexEncoding.WithPadding(base32.NoPadding)

// EncodeName encodes bytes in the lower-case letters and digits of object names.
func EncodeName(b []byte) string { return strings.ToLower(nameEncoding.EncodeToString(b)) }

// AccountName returns the name of the AcmeAccount of a key in an issuer. The name depends only on the key, so creation of the object
// decides between concurrent registrations of the same key.
func AccountName(issuer, thumbprint string) string {
	sum := sha256.Sum256([]byte("acmeca.dev/account\x00" + issuer + "\x00" + thumbprint))
	return EncodeName(sum[:15])
}

// unsigned is the digest of a request that a person made through the Kubernetes API.
const unsigned = "unsigned"

// Digest identifies the whole request, signature included. A request whose signature was corrupted therefore differs from the client's
// request.
func (r *SignedRequest) Digest() string {
	if r == nil {
		return unsigned
	}
	protected, payload := r.Parts()
	sum := sha256.Sum256([]byte(protected + "." + payload + "." + r.Signature))
	return hex.EncodeToString(sum[:])
}

// ID identifies the signed contents: each request of a client has its own nonce. Unlike Digest it does not depend on the signature,
// because some algorithms have several valid signatures for the same contents.
func (r *SignedRequest) ID() string {
	protected, payload := r.Parts()
	sum := sha256.Sum256([]byte(protected + "." + payload))
	return EncodeName(sum[:16])
}

// Digest identifies the signed request to revoke.
func (r *Revocation) Digest() string { return r.Request.Digest() }

// SerialText returns a serial number in the form of status.serial.
func SerialText(serial *big.Int) string { return hex.EncodeToString(serial.Bytes()) }
