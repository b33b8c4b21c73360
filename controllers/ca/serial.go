package ca

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

const (
	// serialPrefix is the first byte of every serial number: below 0x80, so that the number is positive, and not 0, so that
	// all have the same length (RFC 5280 section 4.1.2.2).
	serialPrefix = 0x5a
	// serialLength leaves 128 bits after the prefix, twice what the Baseline Requirements ask for (section 7.1).
	serialLength = 1 + 16

	// MinSerialKey is the least length of Material.SerialKey in bytes.
	MinSerialKey = 32
)

// placeholderSerial stands in for the serial number while the rest of the to-be-signed bytes is hashed.
func placeholderSerial() *big.Int { return serialFrom(make([]byte, serialLength-1)) }

func serialFrom(random []byte) *big.Int {
	return new(big.Int).SetBytes(append([]byte{serialPrefix}, random[:serialLength-1]...))
}

// randomSerial is the serial number of a CA certificate, which is made once and needs no repetition.
func randomSerial() *big.Int {
	random := make([]byte, serialLength-1)
	rand.Read(random) // never fails (Go 1.24)
	return serialFrom(random)
}

// setSerial replaces the placeholder in a to-be-signed certificate by the serial number that belongs to it: 128 bits of an
// HMAC over the request's id and the hash of all the other to-be-signed bytes.
//
// So the same request gives the same serial, whoever computes it and how often; another profile, CA, validity or key gives
// another one, so that a serial never stands on different bytes; and nobody without the key can foresee one.
func setSerial(key []byte, id string, tbs []byte) error {
	serial, err := serialContents(tbs)
	if err != nil {
		return err
	}
	rest := sha256.Sum256(tbs)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("acmeca certificate serial number\x00"))
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(id))))
	mac.Write([]byte(id))
	mac.Write(rest[:])
	copy(serial[1:], mac.Sum(nil))
	return nil
}

// serialContents finds the placeholder's bytes inside tbs, so that they can be written over.
func serialContents(tbs []byte) ([]byte, error) {
	var body, serial cryptobyte.String
	input := cryptobyte.String(tbs)
	version := cryptobyteasn1.Tag(0).Constructed().ContextSpecific()
	if !input.ReadASN1(&body, cryptobyteasn1.SEQUENCE) || !body.SkipASN1(version) ||
		!body.ReadASN1(&serial, cryptobyteasn1.INTEGER) || len(serial) != serialLength || serial[0] != serialPrefix {
		return nil, errors.New("the to-be-signed certificate has no place for the serial number")
	}
	return serial, nil
}
