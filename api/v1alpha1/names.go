package v1alpha1

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"math/big"
	"strings"
)

// IssuerLabel tells, on a Secret or ConfigMap that the controllers made, which issuer it belongs to.
const IssuerLabel = "acmeca.dev/issuer"

// nameEncoding writes bytes as lower-case letters and digits, fit for an object's name.
var nameEncoding = base32.HexEncoding.WithPadding(base32.NoPadding)

// EncodeName writes bytes in letters and digits that an object's name may have.
func EncodeName(b []byte) string { return strings.ToLower(nameEncoding.EncodeToString(b)) }

// AccountName is the name of the AcmeAccount of a key in an issuer, from the key's thumbprint. Since it follows from the
// key, creating the object is what decides between two that register the same key at once.
func AccountName(issuer, thumbprint string) string {
	sum := sha256.Sum256([]byte("acmeca.dev/account\x00" + issuer + "\x00" + thumbprint))
	return EncodeName(sum[:15])
}

// unsigned is the digest of a person's request, which has no signature.
const unsigned = "unsigned"

// Digest tells one request from another: what stands under a signature counts too, else a request that was garbled on its
// way would be taken for the client's own.
func (r *SignedRequest) Digest() string {
	if r == nil {
		return unsigned
	}
	sum := sha256.Sum256([]byte(r.Protected + "." + r.Payload + "." + r.Signature))
	return hex.EncodeToString(sum[:])
}

// ID tells what a client signed from everything else that it signed: each has a nonce of its own. Other than the digest it doesn't
// depend on the signature, of which some algorithms have several for the same text.
func (r *SignedRequest) ID() string {
	sum := sha256.Sum256([]byte(r.Protected + "." + r.Payload))
	return EncodeName(sum[:16])
}

// Digest tells one request to revoke from another.
func (r *Revocation) Digest() string { return r.Request.Digest() }

// SerialText is a serial number as status.serial has it.
func SerialText(serial *big.Int) string { return hex.EncodeToString(serial.Bytes()) }
