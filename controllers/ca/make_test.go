package ca

import (
	"bytes"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/acmeca/acmeca/internal/pki"
)

func TestMakeCA(t *testing.T) {
	for _, algorithm := range []KeyAlgorithm{ECDSAP256, ECDSAP384, RSA2048, Ed25519} {
		t.Run(string(algorithm), func(t *testing.T) {
			root := must(NewRoot(CAConfig{CommonName: "Corp Root", Organization: "Corp", KeyAlgorithm: algorithm,
				Lifetime: 3650 * day, Backdate: time.Hour}, testNow.Add(time.Millisecond)))
			intermediate := must(NewIntermediate(CAConfig{CommonName: "Corp Root Intermediate", Organization: "Corp",
				KeyAlgorithm: algorithm, Lifetime: 365 * day, Backdate: time.Hour}, root, testNow))

			for _, c := range []*x509.Certificate{root.Certificate, intermediate.Certificate} {
				if c.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign || !c.IsCA || len(c.ExtKeyUsage) > 0 {
					t.Errorf("%s: key usage %v, CA %v", name(c), c.KeyUsage, c.IsCA)
				}
				if serial := c.SerialNumber.Bytes(); len(serial) != 17 || serial[0] != serialPrefix {
					t.Errorf("%s: serial number %x", name(c), serial)
				}
				if !c.NotBefore.Equal(testNow.Add(-time.Hour)) {
					t.Errorf("%s: valid from %v", name(c), c.NotBefore)
				}
				for _, extension := range c.Extensions {
					id := extension.Id.String()
					if critical := id == "2.5.29.15" || id == "2.5.29.19"; extension.Critical != critical {
						t.Errorf("%s: extension %s is critical: %v", name(c), id, extension.Critical)
					}
				}
			}
			r, i := root.Certificate, intermediate.Certificate
			if r.Subject.String() != "CN=Corp Root,O=Corp" || i.Subject.String() != "CN=Corp Root Intermediate,O=Corp" {
				t.Errorf("subjects %s and %s", r.Subject, i.Subject)
			}
			if r.MaxPathLen != -1 || i.MaxPathLen != 0 || !i.MaxPathLenZero {
				t.Errorf("path lengths %d and %d", r.MaxPathLen, i.MaxPathLen)
			}
			if want := r.NotBefore.Add(3650*day - time.Second); !r.NotAfter.Equal(want) {
				t.Errorf("root valid until %v, want %v", r.NotAfter, want)
			}
			if len(r.SubjectKeyId) != 20 || !bytes.Equal(i.AuthorityKeyId, r.SubjectKeyId) || bytes.Equal(i.SubjectKeyId, r.SubjectKeyId) {
				t.Errorf("key identifiers %x, %x, %x", r.SubjectKeyId, i.AuthorityKeyId, i.SubjectKeyId)
			}
			if err := verify(i, nil, []*x509.Certificate{r}, testNow); err != nil {
				t.Error(err)
			}

			back := must(ParseKeyPair(intermediate.CertificatePEM(), must(intermediate.KeyPEM())))
			if !back.Certificate.Equal(i) || !pki.EqualKeys(back.Key.Public(), intermediate.Key.Public()) {
				t.Error("the pair does not come back")
			}
		})
	}
}

func TestIntermediateNeverOutlivesRoot(t *testing.T) {
	root := testCert(caCert("Root"), testKey(ECDSAP256, "root"), nil)
	c := CAConfig{CommonName: "I", KeyAlgorithm: ECDSAP256, Lifetime: 5000 * day, Backdate: 10 * day}
	cert := must(NewIntermediate(c, root, testNow)).Certificate
	if !cert.NotAfter.Equal(root.Certificate.NotAfter) || !cert.NotBefore.Equal(root.Certificate.NotBefore) {
		t.Errorf("valid from %v to %v", cert.NotBefore, cert.NotAfter)
	}
	_, err := NewIntermediate(CAConfig{CommonName: "I", KeyAlgorithm: ECDSAP256, Lifetime: day}, root, root.Certificate.NotAfter.Add(time.Second))
	wantError(t, err, `the CA "CN=Root" would have expired at 2029-03-27`)
	_, err = NewIntermediate(c, &KeyPair{root.Certificate, testKey(ECDSAP256, "other")}, testNow)
	wantError(t, err, "does not belong")
}

func TestCAConfigErrors(t *testing.T) {
	good := CAConfig{CommonName: "Root", KeyAlgorithm: ECDSAP256, Lifetime: day}
	for _, test := range []struct {
		name string
		edit func(*CAConfig)
		want string
	}{
		{"no name", func(c *CAConfig) { c.CommonName = "" }, "common name"},
		{"long name", func(c *CAConfig) { c.CommonName = strings.Repeat("x", 65) }, "common name"},
		{"long organization", func(c *CAConfig) { c.Organization = strings.Repeat("x", 65) }, "organization"},
		{"no lifetime", func(c *CAConfig) { c.Lifetime = 0 }, "must be longer than its backdating"},
		{"negative backdate", func(c *CAConfig) { c.Backdate = -1 }, "backdating"},
		{"unknown algorithm", func(c *CAConfig) { c.KeyAlgorithm = "RSA-1024" }, "unknown key algorithm"},
		{"a name that no lint lets pass", func(c *CAConfig) { c.CommonName = "Root\x01" }, "lint e_subject_dn_not_printable_characters"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := good
			test.edit(&c)
			_, err := NewRoot(c, testNow)
			wantError(t, err, test.want)
			root := testCert(caCert("Root"), testKey(ECDSAP256, "root"), nil)
			_, err = NewIntermediate(c, root, testNow)
			wantError(t, err, test.want)
		})
	}
	pair := testCert(caCert("Root"), testKey(ECDSAP256, "root"), nil)
	_, err := ParseKeyPair(pair.CertificatePEM(), must(MarshalKeyPEM(testKey(ECDSAP256, "other"))))
	wantError(t, err, "does not belong")
	_, err = ParseKeyPair(nil, must(pair.KeyPEM()))
	wantError(t, err, "certificate")
	_, err = ParseKeyPair(pair.CertificatePEM(), nil)
	wantError(t, err, "key")
}

// Clients that trust only the old root, and clients that trust only the new one, verify certificates under the new root.
func TestRootRotation(t *testing.T) {
	for _, algorithms := range [][2]KeyAlgorithm{{ECDSAP256, ECDSAP256}, {RSA2048, Ed25519}} {
		oldRoot := testCert(caCert("Root"), testKey(algorithms[0], "root"), nil)
		newRoot := must(NewRoot(CAConfig{CommonName: "Root", KeyAlgorithm: algorithms[1], Lifetime: 5000 * day}, testNow))
		intermediate := must(NewIntermediate(CAConfig{CommonName: "I", KeyAlgorithm: algorithms[1], Lifetime: 2000 * day}, newRoot, testNow))
		cross := must(CrossSign(newRoot.Certificate, oldRoot, "", testNow))
		a := must(LoadAuthority(material(intermediate, newRoot), testNow))
		cert := must(a.Issue(testProfile(), testRequest("a.test")))

		if err := verify(cert, a.Chain(), a.TrustAnchors(), testNow); err != nil {
			t.Errorf("who trusts the new root: %v", err)
		}
		old := []*x509.Certificate{oldRoot.Certificate}
		if err := verify(cert, append(a.Chain(), cross), old, testNow); err != nil {
			t.Errorf("who trusts the old root: %v", err)
		}
		if verify(cert, a.Chain(), old, testNow) == nil {
			t.Error("the old root vouches without the cross-certificate")
		}
		if !cross.NotAfter.Equal(oldRoot.Certificate.NotAfter) || !cross.NotBefore.Equal(newRoot.Certificate.NotBefore) ||
			!bytes.Equal(cross.RawSubject, newRoot.Certificate.RawSubject) || !bytes.Equal(cross.SubjectKeyId, newRoot.Certificate.SubjectKeyId) {
			t.Errorf("cross-certificate %v", cross)
		}
		// LoadAuthority accepts the chain through the old root too.
		viaOld := must(LoadAuthority(Material{Chain: EncodeCertificates(intermediate.Certificate, cross, oldRoot.Certificate),
			Key: must(intermediate.KeyPEM()), SerialKey: serialKey}, testNow))
		if !must(viaOld.Issue(testProfile(), testRequest("a.test"))).Equal(cert) {
			t.Error("the chain above the issuing certificate changes the certificate")
		}
	}
	_, err := CrossSign(testCert(caCert("New"), testKey(ECDSAP256, "new"), nil).Certificate,
		testCert(caCert("Old"), testKey(ECDSAP256, "old"), nil), "", testNow.Add(2000*day))
	wantError(t, err, "would have expired")
	_, err = CrossSign(testCert(caCert("New"), testKey(ECDSAP256, "new"), nil).Certificate,
		&KeyPair{testCert(caCert("Old"), testKey(ECDSAP256, "old"), nil).Certificate, testKey(ECDSAP256, "other")}, "", testNow)
	wantError(t, err, "does not belong")
}
