package acme

import (
	"encoding/base64"
	"math/big"
	"strings"
)

// CertID identifies a certificate (RFC 9773 section 4.1). The zero CertID identifies none.
type CertID struct {
	// authorityKey is the key identifier of the issuing certificate, and serial the content octets of the DER serial number.
	authorityKey, serial string
}

// The maximum lengths of the parts of a CertID in bytes. A serial number has at most 20 (RFC 5280 section 4.1.2.2). A key
// identifier can be any digest.
const (
	maxKeyIdentifier = 64
	maxSerial        = 20
)

var certIDEncoding = base64.RawURLEncoding.Strict()

// NewCertID returns the CertID for the key identifier in a certificate's authority key identifier extension, and its serial
// number, which must be positive.
func NewCertID(authorityKeyID []byte, serial *big.Int) CertID {
	content := serial.Bytes()
	if len(content) > 0 && content[0] >= 0x80 {
		content = append([]byte{0}, content...) // a leading zero keeps it positive
	}
	return CertID{string(authorityKeyID), string(content)}
}

// ParseCertID reads a CertID. It accepts only the canonical form, so each certificate has one CertID. The problem is malformed.
func ParseCertID(text string) (CertID, *Problem) {
	refused := func(why string) (CertID, *Problem) {
		return CertID{}, NewProblem(Malformed, "%q is not a certificate identifier (RFC 9773 section 4.1): %s", Printable(text, 128), why)
	}
	key, serial, _ := strings.Cut(text, ".")
	if certIDEncoding.EncodedLen(maxKeyIdentifier) < len(key) || certIDEncoding.EncodedLen(maxSerial) < len(serial) {
		return refused("it is too long")
	}
	authorityKey, err := certIDEncoding.DecodeString(key)
	if err != nil || len(authorityKey) == 0 || strings.ContainsAny(key, "\r\n") {
		return refused("the key identifier is not in base64url without padding")
	}
	content, err := certIDEncoding.DecodeString(serial)
	if err != nil || len(content) == 0 || strings.ContainsAny(serial, "\r\n") {
		return refused("the serial number is not in base64url without padding")
	}
	if content[0] >= 0x80 || content[0] == 0 && (len(content) == 1 || content[1] < 0x80) {
		return refused("the serial number is not the shortest form of a positive number")
	}
	return CertID{string(authorityKey), string(content)}, nil
}

// Serial returns the serial number of the certificate.
func (c CertID) Serial() *big.Int { return new(big.Int).SetBytes([]byte(c.serial)) }

// IssuedBy reports whether the CertID names a key identifier as the issuer's.
func (c CertID) IssuedBy(keyID []byte) bool { return c.authorityKey == string(keyID) }

func (c CertID) String() string {
	if c == (CertID{}) {
		return ""
	}
	return certIDEncoding.EncodeToString([]byte(c.authorityKey)) + "." + certIDEncoding.EncodeToString([]byte(c.serial))
}
