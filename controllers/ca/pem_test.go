// As in cmd/acmeca.
//
//go:debug x509negativeserial=1

package ca

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
)

func TestParseCertificatesRefusesNegativeSerial(t *testing.T) {
	pair := testCert(x509.Certificate{SerialNumber: big.NewInt(0x55), Subject: pkix.Name{CommonName: "A"}}, testKey(ECDSAP256, "a"), nil)
	serial := []byte{2, 1, 0x55} // INTEGER, one byte
	if bytes.Count(pair.Certificate.Raw, serial) != 1 {
		t.Fatal("the serial number isn't there once")
	}
	der := bytes.Replace(pair.Certificate.Raw, serial, []byte{2, 1, 0xd5}, 1)
	_, err := ParseCertificates(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	if err == nil || !strings.Contains(err.Error(), "certificate 1 has a negative serial number") {
		t.Errorf("got %v", err)
	}
}
