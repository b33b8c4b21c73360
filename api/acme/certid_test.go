package acme

import (
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCertIDOfTheRFC(t *testing.T) {
	// RFC 9773 section 4.1 and appendix A.
	key := []byte{0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0, 0xae, 0x2c, 0xde, 0x01, 0xc8, 0xd4}
	const want = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"
	id := NewCertID(key, big.NewInt(0x87654321))
	if id.String() != want {
		t.Fatalf("got %s, want %s", id, want)
	}
	parsed, problem := ParseCertID(want)
	if problem != nil || parsed != id || !parsed.IssuedBy(key) || parsed.IssuedBy(key[1:]) {
		t.Fatalf("parsed %v, %v", parsed, problem)
	}
}

func TestParseCertIDRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":                  "",
		"one part":                 "aYhba4dGQEHhs3uEe6CuLN4ByNQ",
		"three parts":              "aYhb.AIdlQyE.AQ",
		"no key":                   ".AIdlQyE",
		"no serial":                "aYhb.",
		"padding":                  "aYhba4dGQEHhs3uEe6CuLN4ByNQ=.AIdlQyE=",
		"the standard alphabet":    "aYhb+/8.AIdlQyE",
		"a line break":             "aYh\nb.AIdlQyE",
		"loose bits":               "aYhba4dGQEHhs3uEe6CuLN4ByNR.AIdlQyE",
		"a zero serial":            "aYhb.AA",
		"a negative serial":        "aYhb.h2VDIQ",
		"a serial with zeros":      "aYhb.AABlQyE",
		"a serial over 20 bytes":   "aYhb." + certIDEncoding.EncodeToString([]byte(strings.Repeat("a", 21))),
		"a key id of over 64":      certIDEncoding.EncodeToString([]byte(strings.Repeat("a", 65))) + ".AQ",
		"a megabyte":               strings.Repeat("A", 1<<20),
		"what a terminal executes": "\x1b[2J.AQ",
	} {
		t.Run(name, func(t *testing.T) {
			id, problem := ParseCertID(text)
			if problem == nil || problem.Type != Malformed {
				t.Fatalf("got %v, %v", id, problem)
			}
			if len(problem.Detail) > 400 || strings.ContainsAny(problem.Detail, "\x1b\n") {
				t.Errorf("detail %q", problem.Detail)
			}
		})
	}
}

// A certificate has one name, and a name is of one certificate.
func TestCertIDRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 1, maxKeyIdentifier).Draw(t, "key")
		serial := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 1, maxSerial-1).Draw(t, "serial"))
		if serial.Sign() == 0 {
			return
		}
		id := NewCertID(key, serial)
		if parsed, problem := ParseCertID(id.String()); problem != nil || parsed != id {
			t.Fatalf("%s came back as %s, %v", id, parsed, problem)
		}
	})
	if text := (CertID{}).String(); text != "" {
		t.Errorf("no certificate is called %q", text)
	}
}

func FuzzParseCertID(f *testing.F) {
	f.Add("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE")
	f.Add("aYhb.AQ")
	f.Add(".")
	f.Fuzz(func(t *testing.T, text string) {
		id, problem := ParseCertID(text)
		if problem == nil && id.String() != text {
			t.Fatalf("%q is also called %q", text, id)
		}
	})
}
