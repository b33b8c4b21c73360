package acme

import (
	"encoding/base64"
	"math/big"
	"strings"
)

// CertID names a certificate to its CA (RFC 9773 section 4.1). The zero CertID names none.
type CertID struct {
	// authorityKey is the key identifier of the certificate that signed, and serial the content of the DER serial number.
	authorityKey, serial string
}

// The longest parts of a CertID in bytes. A serial number has 20 at most (RFC 5280 section 4.1.2.2); a key identifier can be
// any digest.
const (
	maxKeyIdentifier = 64
	maxSerial        = 20
)

var certIDEncoding = base64.RawURLEncoding.Strict()

// NewCertID names a certificate by the key identifier in its authority key identifier extension, and its serial number,
// which is positive.
func NewCertID(authorityKeyID []byte, serial *big.Int) CertID {
	content := serial.Bytes()
	if len(content) > 0 && content[0] >= 0x80 {
		content = append([]byte{0}, content...) // so that it isn't read as negative
	}
	return CertID{string(authorityKeyID), string(content)}
}

// ParseCertID reads the one form that each certificate's name has, so that a certificate has one name; the problem is
// malformed.
func ParseCertID(text string) (CertID, *Problem) {
	refused := func(why string) (CertID, *Problem) {
		return CertID{}, NewProblem(Malformed, "%q is not a certificate's identifier as RFC 9773 section 4.1 has it: %s", Printable(text, 128), why)
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

// Serial is the certificate's serial number.
func (c CertID) Serial() *big.Int { return new(big.Int).SetBytes([]byte(c.serial)) }

// IssuedBy reports whether the certificate was signed with the key that has this identifier.
func (c CertID) IssuedBy(keyID []byte) bool { return c.authorityKey == string(keyID) }

func (c CertID) String() string {
	if c == (CertID{}) {
		return ""
	}
	return certIDEncoding.EncodeToString([]byte(c.authorityKey)) + "." + certIDEncoding.EncodeToString([]byte(c.serial))
}
