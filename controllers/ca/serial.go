package ca

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/acmeca/acmeca/api/acme"
)

const (
	// serialPrefix is the first byte of every serial number that does not lead to an order. It is below 0x80, so that the number is
	// positive, and not 0, so that all these numbers have the same length (RFC 5280 section 4.1.2.2).
	serialPrefix = 0x5a
	// serialLength is in bytes: 128 bits after the prefix, twice the minimum of the Baseline Requirements (section 7.1).
	serialLength = 1 + 16

	// MinSerialKey is the minimum length of Material.SerialKey in bytes.
	MinSerialKey = 32
)

// placeholderSerial returns the serial number that stands in the to-be-signed bytes while they are hashed. It leads to the order with a
// name (acme.OrderOfSerial), if the name is one that an order has.
func placeholderSerial(order string) *big.Int {
	if serial, ok := acme.OrderSerial(order, 0); ok {
		return serial
	}
	return serialFrom(make([]byte, serialLength-1))
}

func serialFrom(random []byte) *big.Int {
	return new(big.Int).SetBytes(append([]byte{serialPrefix}, random[:serialLength-1]...))
}

// randomSerial returns a random serial number for a CA certificate, which is never issued a second time.
func randomSerial() *big.Int {
	random := make([]byte, serialLength-1)
	rand.Read(random) // never fails
	return serialFrom(random)
}

// setSerial replaces the placeholder in a to-be-signed certificate by bits of an HMAC over the request's id and the hash of all
// to-be-signed bytes: by 128 bits, or by 26 bits beside the name of the order.
//
// The same request therefore yields the same serial number in every process and attempt. Two orders never share one, since their names
// differ. Another profile, CA, validity or key of one order yields another number, but for one case in 2^26.
func setSerial(key []byte, r *Request, tbs []byte) error {
	serial, err := serialContents(tbs, placeholderSerial(r.Order))
	if err != nil {
		return err
	}
	rest := sha256.Sum256(tbs)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("acmeca certificate serial number\x00"))
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(r.ID))))
	mac.Write([]byte(r.ID))
	mac.Write(rest[:])
	sum := mac.Sum(nil)
	if number, ok := acme.OrderSerial(r.Order, binary.BigEndian.Uint32(sum)); ok {
		number.FillBytes(serial)
	} else {
		copy(serial[1:], sum)
	}
	return nil
}

// serialContents returns the placeholder's bytes inside tbs. Writing to them changes tbs.
func serialContents(tbs []byte, placeholder *big.Int) ([]byte, error) {
	var body, serial cryptobyte.String
	input := cryptobyte.String(tbs)
	version := cryptobyteasn1.Tag(0).Constructed().ContextSpecific()
	if !input.ReadASN1(&body, cryptobyteasn1.SEQUENCE) || !body.SkipASN1(version) ||
		!body.ReadASN1(&serial, cryptobyteasn1.INTEGER) || !bytes.Equal(serial, placeholder.Bytes()) {
		return nil, errors.New("the to-be-signed certificate has no place for the serial number")
	}
	return serial, nil
}
