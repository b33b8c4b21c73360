package published

import (
	"encoding/asn1"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Summary describes a CRL for people.
type Summary struct {
	// Number is nil if the CRL has none.
	Number  *big.Int
	Entries int
}

var oidCRLNumber = asn1.ObjectIdentifier{2, 5, 29, 20}

// summaryOf reads the number of a CRL and counts the entries, without decoding them. It is zero if the CRL can't be read.
func summaryOf(der []byte) (s Summary) {
	var list, signed, entries cryptobyte.String
	input := cryptobyte.String(der)
	if !input.ReadASN1(&list, cryptobyteasn1.SEQUENCE) || !list.ReadASN1(&signed, cryptobyteasn1.SEQUENCE) ||
		!signed.SkipOptionalASN1(cryptobyteasn1.INTEGER) ||
		!signed.SkipASN1(cryptobyteasn1.SEQUENCE) || !signed.SkipASN1(cryptobyteasn1.SEQUENCE) {
		return Summary{}
	}
	for range 2 { // thisUpdate, nextUpdate
		var tag cryptobyteasn1.Tag
		isTime := signed.PeekASN1Tag(cryptobyteasn1.UTCTime) || signed.PeekASN1Tag(cryptobyteasn1.GeneralizedTime)
		if isTime && !signed.ReadAnyASN1(&cryptobyte.String{}, &tag) {
			return Summary{}
		}
	}
	if signed.PeekASN1Tag(cryptobyteasn1.SEQUENCE) && !signed.ReadASN1(&entries, cryptobyteasn1.SEQUENCE) {
		return Summary{}
	}
	for ; !entries.Empty(); s.Entries++ {
		if !entries.SkipASN1(cryptobyteasn1.SEQUENCE) {
			return Summary{}
		}
	}
	s.Number = crlNumber(signed)
	return s
}

// crlNumber reads the number of a CRL from its extensions (RFC 5280 section 5.2.3); nil if there is none.
func crlNumber(signed cryptobyte.String) (number *big.Int) {
	var explicit, extensions cryptobyte.String
	if !signed.ReadASN1(&explicit, cryptobyteasn1.Tag(0).ContextSpecific().Constructed()) ||
		!explicit.ReadASN1(&extensions, cryptobyteasn1.SEQUENCE) {
		return nil
	}
	for !extensions.Empty() {
		var extension, value cryptobyte.String
		var id asn1.ObjectIdentifier
		if !extensions.ReadASN1(&extension, cryptobyteasn1.SEQUENCE) || !extension.ReadASN1ObjectIdentifier(&id) ||
			!extension.SkipOptionalASN1(cryptobyteasn1.BOOLEAN) || !extension.ReadASN1(&value, cryptobyteasn1.OCTET_STRING) {
			return nil
		}
		if !id.Equal(oidCRLNumber) {
			continue
		}
		if number = new(big.Int); !value.ReadASN1Integer(number) {
			return nil
		}
	}
	return number
}
