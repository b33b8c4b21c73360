package policy

import (
	"github.com/acmeca/acmeca/api/acme"
)

// MaxClientAnswer is the size of the largest answer that all known clients read, in bytes. NGINX's own client refuses larger ones.
const MaxClientAnswer = 64 << 10

const (
	// maxAnswerName is the length of the longest identifier in an answer: a wildcard.
	maxAnswerName = len("*.") + acme.MaxNameLength
	// maxResource is the length of the longest path of a resource below a base URL.
	maxResource = 64
	// otherFields is the size of an order's fields that don't grow with its identifiers, without URLs.
	otherFields = 2048
	// otherDER is the size of a certificate without its names, with an RSA key of 4096 bits and the longest URLs of a CRL and a CA.
	otherDER = 4096
)

// OrderSize returns a bound on the size of an order as clients read it, in bytes: with the longest names, and URLs below base.
func OrderSize(base acme.Base, identifiers int) int {
	url := len(base) + maxResource
	identifier := len(`{"type":"dns","value":""},`) + maxAnswerName
	authorization := len(`"",`) + url
	return identifiers*(identifier+authorization) + 2*url + otherFields
}

// ChainSize returns a bound on the size of a certificate with its chain in PEM, in bytes: with the longest names.
func ChainSize(identifiers, chainPEM int) int {
	const tag = 4 // bytes before a name in the certificate
	der := identifiers*(tag+maxAnswerName) + otherDER
	const lineDER, linePEM = 48, 65
	return (der/lineDER+1)*linePEM + 64 + chainPEM // 64 bytes for the lines around the certificate
}
