package ca

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
)

func foreignCRL(issuer *KeyPair, change func(*x509.RevocationList)) []byte {
	list := &x509.RevocationList{Number: big.NewInt(7), ThisUpdate: testNow, NextUpdate: testNow.Add(day)}
	list.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: big.NewInt(5), RevocationTime: testNow}}
	if change != nil {
		change(list)
	}
	return must(x509.CreateRevocationList(rand.Reader, list, issuer.Certificate, issuer.Key))
}

func crlPEM(ders ...[]byte) []byte {
	var out []byte
	for _, der := range ders {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})...)
	}
	return out
}

func TestReadCRLs(t *testing.T) {
	root := testCert(caCert("Root"), testKey(ECDSAP256, "root"), nil)
	other := testCert(caCert("Other"), testKey(RSA2048, "other"), nil)
	namesake := testCert(caCert("Root"), testKey(ECDSAP256, "namesake"), nil)
	authorities := []*x509.Certificate{root.Certificate, other.Certificate}
	good := foreignCRL(root, nil)
	for name, c := range map[string]struct {
		data []byte
		want int    // CRLs
		says string // "" if they are read
	}{
		"DER":             {good, 1, ""},
		"PEM":             {crlPEM(good), 1, ""},
		"several":         {crlPEM(good, foreignCRL(other, nil), good), 3, ""},
		"text around PEM": {slices.Concat([]byte("issued today\n"), crlPEM(good), []byte("\n# end\n")), 1, ""},
		"nothing":         {nil, 0, "CRL 1 cannot be read"},
		"garbage":         {[]byte("x"), 0, "CRL 1 cannot be read"},
		"trailing data":   {append(bytes.Clone(good), 0), 0, "cannot be read"},
		"a certificate":   {root.CertificatePEM(), 0, `a block of type "CERTIFICATE"`},
		"broken PEM":      {[]byte("-----BEGIN X509 CRL-----\n"), 0, "there are 0 CRLs"},
		"too many":        {crlPEM(slices.Repeat([][]byte{good}, 17)...), 0, "there are 17 CRLs"},
		"unknown issuer":  {foreignCRL(testCert(caCert("New"), testKey(ECDSAP256, "new"), nil), nil), 0, `is of "CN=New", which is no CA above`},
		"another key":     {crlPEM(good, foreignCRL(namesake, nil)), 0, `CRL 2 of "CN=Root" does not verify`},
		"a delta": {foreignCRL(root, func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: []int{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}}
		}), 0, "only complete CRLs are published"},
	} {
		t.Run(name, func(t *testing.T) {
			crls, err := ReadCRLs(c.data, authorities)
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Fatalf("%v, want %q", err, c.says)
				}
				return
			}
			if err != nil || len(crls) != c.want {
				t.Fatalf("%d CRLs, %v", len(crls), err)
			}
			if !bytes.Equal(crls[0].DER, good) || !crls[0].Issuer.Equal(root.Certificate) || crls[0].Number.Int64() != 7 || !crls[0].NextUpdate.Equal(testNow.Add(day)) {
				t.Errorf("%+v", crls[0])
			}
		})
	}
}

func TestForeignCRLs(t *testing.T) {
	root := testCert(caCert("Root"), testKey(ECDSAP256, "root"), nil)
	other := testCert(caCert("Other"), testKey(RSA2048, "other"), nil)
	read := func(issuer *KeyPair, number int64, at time.Time) *ForeignCRL {
		der := foreignCRL(issuer, func(l *x509.RevocationList) {
			l.Number, l.ThisUpdate, l.NextUpdate = big.NewInt(number), at, at.Add(day)
		})
		return must(ReadCRLs(der, []*x509.Certificate{root.Certificate, other.Certificate}))[0]
	}
	first, second, third := read(root, 1, testNow), read(root, 2, testNow.Add(-time.Hour)), read(other, 1, testNow)
	newest := NewestCRLs([]*ForeignCRL{first, third, second, first})
	if len(newest) != 2 || !slices.Contains(newest, second) || !slices.Contains(newest, third) {
		t.Errorf("the newest of each CA: %v", newest)
	}
	numberless := *first
	numberless.Number = nil
	if numberless.Compare(second) <= 0 || second.Compare(&numberless) >= 0 || first.Compare(second) >= 0 {
		t.Error("numbers decide if both have one, and times otherwise")
	}
	revoked := &x509.Certificate{RawIssuer: root.Certificate.RawSubject, SerialNumber: big.NewInt(5)}
	if !first.Lists(revoked) || third.Lists(revoked) {
		t.Error("a CRL lists the certificates of its issuer alone")
	}
	revoked.SerialNumber = big.NewInt(6)
	if first.Lists(revoked) {
		t.Error("another serial number is listed")
	}
}

func FuzzReadCRLs(f *testing.F) {
	root := testCert(caCert("Root"), testKey(ECDSAP256, "root"), nil)
	f.Add(foreignCRL(root, nil))
	f.Add(crlPEM(foreignCRL(root, nil), foreignCRL(root, nil)))
	f.Fuzz(func(t *testing.T, data []byte) {
		crls, err := ReadCRLs(data, []*x509.Certificate{root.Certificate})
		if (err == nil) != (len(crls) > 0) {
			t.Fatalf("%d CRLs, %v", len(crls), err)
		}
		for _, crl := range crls {
			if crl.NextUpdate.IsZero() || !crl.Issuer.Equal(root.Certificate) {
				t.Fatalf("%+v", crl)
			}
		}
	})
}

// A root lists CA certificates, which may have a reason that others may not have.
func TestRootCRL(t *testing.T) {
	root := testCert(caCert("Root"), testKey(ECDSAP256, "root"), nil)
	a := must(LoadAuthority(Material{Chain: root.CertificatePEM(), Key: must(root.KeyPEM()), SerialKey: serialKey}, testNow))
	crl := CRL{Number: big.NewInt(1), ThisUpdate: testNow, NextUpdate: testNow.Add(day), Entries: entriesOf(Entry{Serial: big.NewInt(5), RevokedAt: testNow, Reason: CACompromise})}
	got := must(ParseCRL(must(a.SignCRL(crl)), root.Certificate))
	if len(got.Entries) != 1 || got.Entries[0].Reason() != CACompromise || got.Entries[0].Reason().String() != "cACompromise" || len(got.URLs) != 0 {
		t.Errorf("%+v", got)
	}
	if _, problem := ParseReason(int(CACompromise)); problem == nil {
		t.Error("a client can revoke a certificate as a compromised CA")
	}
}

func TestDistributionPoints(t *testing.T) {
	const url = "http://acme.test/ns/ca/crl/0123456789.crl"
	root := must(NewRoot(CAConfig{CommonName: "Root", KeyAlgorithm: ECDSAP256, Lifetime: 5000 * day, CRLURL: url}, testNow))
	next := must(NewRoot(CAConfig{CommonName: "Root 2", KeyAlgorithm: ECDSAP256, Lifetime: 5000 * day}, testNow))
	intermediate := must(NewIntermediate(CAConfig{CommonName: "I", KeyAlgorithm: ECDSAP256, Lifetime: 2000 * day, CRLURL: url}, root, testNow))
	cross := must(CrossSign(next.Certificate, root, url, testNow))
	if len(root.Certificate.CRLDistributionPoints) != 0 {
		t.Error("a root names a CRL, which nobody can use")
	}
	for _, c := range []*x509.Certificate{intermediate.Certificate, cross} {
		if !slices.Equal(c.CRLDistributionPoints, []string{url}) {
			t.Errorf("%s names %q", c.Subject, c.CRLDistributionPoints)
		}
	}
}
