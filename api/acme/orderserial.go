package acme

import (
	"math/big"
	"strings"
)

// The serial number of an order's certificate leads to the order, so that no index of serial numbers is needed. It has 20 octets, the
// maximum of RFC 5280 section 4.1.2.2, and these bits:
//
//	 2  01, so that the number is positive and always has the same length
//	32  the time in the order's name: seconds since 1970
//	100 the rest of the order's name
//	26  that depend on the certificate
const (
	orderSerialBits     = 159 // without the leading zero
	orderTimeBits       = 32
	orderCheckBits      = 26
	orderDigitBits      = 5
	orderTimeDigits     = 7
	orderNameDigits     = 27
	orderDigits         = "0123456789abcdefghijklmnopqrstuv" // base32hex (RFC 4648 section 7) in lower case
	orderSerialFirstBit = 1
)

// OrderSerial returns the serial number for a certificate of the order with a name. The lowest 26 bits of check count. ok is false if the
// name is not one that v1alpha1.NewObjectName returns before the year 2106.
func OrderSerial(name string, check uint32) (serial *big.Int, ok bool) {
	if len(name) != orderNameDigits || strings.Trim(name, orderDigits) != "" {
		return nil, false
	}
	digits := func(text string) *big.Int {
		n := new(big.Int)
		for i := range len(text) {
			n.Lsh(n, orderDigitBits).Or(n, big.NewInt(int64(strings.IndexByte(orderDigits, text[i]))))
		}
		return n
	}
	at := digits(name[:orderTimeDigits])
	if at.BitLen() > orderTimeBits {
		return nil, false
	}
	serial = big.NewInt(orderSerialFirstBit)
	serial.Lsh(serial, orderTimeBits).Or(serial, at)
	rest := name[orderTimeDigits:]
	serial.Lsh(serial, uint(orderDigitBits*len(rest))).Or(serial, digits(rest)) //nolint:gosec // a constant length
	serial.Lsh(serial, orderCheckBits).Or(serial, big.NewInt(int64(check&(1<<orderCheckBits-1))))
	return serial, true
}

// OrderOfSerial returns the name of the order that a serial number leads to. ok is false for other serial numbers: those of earlier
// versions, and of other CAs. The caller checks that the order has a certificate with this number.
func OrderOfSerial(serial *big.Int) (name string, ok bool) {
	if serial.Sign() <= 0 || serial.BitLen() != orderSerialBits {
		return "", false
	}
	text := make([]byte, orderNameDigits)
	rest := new(big.Int).Rsh(serial, orderCheckBits)
	rest.SetBit(rest, orderSerialBits-orderCheckBits-1, 0) // the first bit
	for i := orderNameDigits - 1; i >= 0; i-- {
		text[i] = orderDigits[new(big.Int).And(rest, big.NewInt(1<<orderDigitBits-1)).Int64()]
		rest.Rsh(rest, orderDigitBits)
	}
	return string(text), true
}
