package acme

import (
	"math/big"
	"strings"
	"testing"
)

func TestOrderSerial(t *testing.T) {
	for name, test := range map[string]struct {
		order string
		check uint32
		want  string // in hexadecimal; empty if the name has no serial number
	}{
		"the first":          {strings.Repeat("0", 27), 0, "4000000000000000000000000000000000000000"},
		"the last":           {"3vvvvvv" + strings.Repeat("v", 20), 1<<26 - 1, "7" + strings.Repeat("f", 39)},
		"a digit of each":    {"0000001" + strings.Repeat("0", 19) + "1", 1, "4000000040000000000000000000000004000001"},
		"more check bits":    {strings.Repeat("0", 27), 1 << 26, "4000000000000000000000000000000000000000"},
		"a time after 2106":  {"4000000" + strings.Repeat("0", 20), 0, ""},
		"an authorization":   {strings.Repeat("0", 27) + "-0", 0, ""},
		"a short name":       {strings.Repeat("0", 26), 0, ""},
		"an upper-case name": {strings.Repeat("A", 27), 0, ""},
		"another name":       {strings.Repeat("0", 26) + "z", 0, ""},
		"no name":            {"", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			serial, ok := OrderSerial(test.order, test.check)
			if ok != (test.want != "") || ok && serial.Text(16) != test.want {
				t.Errorf("got %x, %t", serial, ok)
			}
		})
	}
}

func TestOrderOfSerialRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"zero": "0", "negative": "-4000000000000000000000000000000000000000", "an earlier version": "5a" + strings.Repeat("f", 32),
		"20 octets that begin with another bit": "3" + strings.Repeat("f", 39), "a negative number in DER": "8" + strings.Repeat("0", 39),
		"21 octets": "1" + strings.Repeat("0", 40),
	} {
		serial, _ := new(big.Int).SetString(text, 16)
		if order, ok := OrderOfSerial(serial); ok {
			t.Errorf("%s leads to %s", name, order)
		}
	}
}

// Every serial number that leads to an order has the name and the bits of one certificate, and the reverse.
func FuzzOrderOfSerial(f *testing.F) {
	f.Add([]byte{0x5a, 1, 2, 3})
	f.Add([]byte(strings.Repeat("\x5a", 20)))
	f.Add([]byte(strings.Repeat("\xff", 20)))
	f.Fuzz(func(t *testing.T, text []byte) {
		serial := new(big.Int).SetBytes(text)
		name, ok := OrderOfSerial(serial)
		if !ok {
			return
		}
		check := new(big.Int).And(serial, big.NewInt(1<<26-1)).Uint64()
		if again, ok := OrderSerial(name, uint32(check)); !ok || again.Cmp(serial) != 0 || len(again.Bytes()) != 20 {
			t.Errorf("%x leads to %s, which has %x", serial, name, again)
		}
	})
}

func FuzzOrderSerial(f *testing.F) {
	f.Add("1lbqck0abcdefghij0123456789", uint32(7))
	f.Fuzz(func(t *testing.T, name string, check uint32) {
		serial, ok := OrderSerial(name, check)
		if !ok {
			return
		}
		if back, ok := OrderOfSerial(serial); !ok || back != name {
			t.Errorf("%s has %x, which leads to %s", name, serial, back)
		}
	})
}
