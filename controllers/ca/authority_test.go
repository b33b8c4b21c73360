package ca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"
	"time"
)

func extension(value []byte, critical bool, oid ...int) pkix.Extension {
	return pkix.Extension{Id: oid, Critical: critical, Value: value}
}

func TestLoadAuthority(t *testing.T) {
	key := testKey(ECDSAP256, "intermediate")
	root := testCert(caCert("Root"), testKey(ECDSAP256, "root"), nil)
	under := func(issuer *KeyPair, edit ...func(*x509.Certificate)) *KeyPair {
		return testCert(caCert("Intermediate", edit...), key, issuer)
	}
	rootWith := func(edit ...func(*x509.Certificate)) *KeyPair {
		return testCert(caCert("Root", edit...), testKey(ECDSAP256, "root"), nil)
	}
	middle := testCert(caCert("Middle"), testKey(ECDSAP256, "middle"), root)
	tight := testCert(caCert("Tight", pathLen(0)), testKey(ECDSAP256, "middle"), root)
	with := func(m Material, edit func(*Material)) Material { edit(&m); return m }
	good := under(root)
	type cert = x509.Certificate

	for _, test := range []struct {
		name string
		m    Material
		want string
	}{
		{"root alone", material(root), ""},
		{"intermediate alone", material(good), ""},
		{"intermediate and root", material(good, root), ""},
		{"three", material(under(middle), middle, root), ""},
		{"path length 0 in the middle", material(under(tight), tight, root), `certificate 2, "CN=Tight", allows 0 CA certificates below it (its path length), and there are 1`},
		{"path length 1 above", material(under(rootWith(pathLen(1))), rootWith(pathLen(1))), ""},
		{"RSA root", material(testCert(caCert("I"), key, testCert(caCert("Root"), testKey(RSA2048, "root"), nil))), ""},
		{"root given besides", with(material(good), func(m *Material) { m.Roots = chainPEM(root) }), ""},
		{"blank roots", with(material(good), func(m *Material) { m.Roots = []byte("\n") }), ""},

		{"no chain", with(material(good), func(m *Material) { m.Chain = nil }), "no PEM block"},
		{"no key", with(material(good), func(m *Material) { m.Key = nil }), "private key is not PEM"},
		{"other key", with(material(good), func(m *Material) { m.Key = must(root.KeyPEM()) }), "does not belong to the first certificate"},
		{"root first", with(material(good), func(m *Material) { m.Chain = chainPEM(root, good) }), "does not belong to the first certificate"},
		{"short serial key", with(material(good), func(m *Material) { m.SerialKey = serialKey[:31] }), "31 bytes"},
		{"broken roots", with(material(good), func(m *Material) { m.Roots = []byte("x") }), "the roots: "},
		{"foreign roots", with(material(good), func(m *Material) {
			m.Roots = chainPEM(testCert(caCert("Other"), testKey(ECDSAP256, "other"), nil))
		}), `root 1, "CN=Other", did not sign the last certificate`},

		{"not a CA", material(under(root, func(c *cert) { c.IsCA = false; c.MaxPathLen = -1 }), root), `certificate 1, "CN=Intermediate", is not a CA certificate`},
		{"no basic constraints", material(under(root, func(c *cert) { c.BasicConstraintsValid, c.SubjectKeyId = false, []byte{1} })), "CA:TRUE"},
		{"no keyCertSign", material(under(root, func(c *cert) { c.KeyUsage = x509.KeyUsageCRLSign }), root), "lacks keyCertSign"},
		{"no cRLSign", material(under(root, func(c *cert) { c.KeyUsage = x509.KeyUsageCertSign }), root), "lacks cRLSign"},
		{"no key usage", material(under(root, func(c *cert) { c.KeyUsage = 0 }), root), "lacks keyCertSign"},
		{"not yet valid", material(under(root, func(c *cert) { c.NotBefore = testNow.Add(time.Second) }), root), "is not valid before 2026-07-01T12:00:01Z"},
		{"expired", material(under(root, func(c *cert) { c.NotAfter = testNow.Add(-time.Second) }), root), "expired at 2026-07-01T11:59:59Z"},
		{"expires this second", material(under(root, func(c *cert) { c.NotAfter = testNow }), root), ""},
		{"expired root", material(under(rootWith(func(c *cert) { c.NotAfter = testNow.Add(-time.Second) })),
			rootWith(func(c *cert) { c.NotAfter = testNow.Add(-time.Second) })), `certificate 2, "CN=Root", expired`},
		{"root that may sign CRLs alone", material(good, rootWith(func(c *cert) { c.KeyUsage = x509.KeyUsageCRLSign })),
			`certificate 2, "CN=Root", may not sign certificates`},
		{"root without key usage", material(good, rootWith(func(c *cert) { c.KeyUsage = 0 })), ""},
		{"root without cRLSign", material(good, rootWith(func(c *cert) { c.KeyUsage = x509.KeyUsageCertSign })), ""},
		{"expired root besides", with(material(good), func(m *Material) {
			m.Roots = chainPEM(rootWith(func(c *cert) { c.NotAfter = testNow.Add(-time.Second) }))
		}), `root 1, "CN=Root", expired`},
		{"path length 0 above a CA", material(under(rootWith(pathLen(0))), rootWith(pathLen(0))), `"CN=Root", allows 0 CA certificates below it`},
		{"unknown critical extension", material(under(root, func(c *cert) {
			c.ExtraExtensions = []pkix.Extension{extension([]byte{5, 0}, true, 1, 2, 3)}
		})), "critical extension 1.2.3"},
		{"constraint on directory names", material(under(root, func(c *cert) {
			c.ExtraExtensions = []pkix.Extension{extension([]byte{0x30, 8, 0xa0, 6, 0x30, 4, 0xa4, 2, 0x30, 0}, true, 2, 5, 29, 30)}
		})), "name constraints of an unsupported type"},
		{"policies required", material(under(root, func(c *cert) {
			c.ExtraExtensions = []pkix.Extension{extension([]byte{0x30, 3, 0x80, 1, 0}, true, 2, 5, 29, 36)}
		})), "requires certificate policies"},
		{"empty subject", material(testCert(caCert(""), key, root)), "empty subject"},

		{"unrelated second certificate", material(good, testCert(caCert("Other"), testKey(ECDSAP256, "other"), nil)),
			`certificate 1, "CN=Intermediate", is not signed by the next one, "CN=Other": it names "CN=Root" as its issuer`},
		{"root of the same name", material(good, testCert(caCert("Root"), testKey(ECDSAP256, "other"), nil)), "the key identifiers differ"},
		{"root of the same name and key identifier", material(good, testCert(caCert("Root", func(c *cert) {
			c.SubjectKeyId = root.Certificate.SubjectKeyId
		}), testKey(ECDSAP256, "other"), nil)), "ECDSA verification failure"},
		{"something above the root", material(good, root, testCert(caCert("Other"), testKey(ECDSAP256, "other"), nil)),
			`certificate 2, "CN=Root", is not signed by the next one`},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, err := LoadAuthority(test.m, testNow)
			wantError(t, err, test.want)
			if (a == nil) != (err != nil) {
				t.Errorf("got %v with error %v", a, err)
			}
		})
	}
}

func TestCheckIssuingWantsAKeyIdentifier(t *testing.T) {
	cert := *testCert(caCert("Root"), testKey(ECDSAP256, "root"), nil).Certificate
	cert.SubjectKeyId = nil // x509 makes none without
	wantError(t, checkChain([]*x509.Certificate{&cert}, testNow), "no subject key identifier")
	cert.Version = 1
	wantError(t, checkChain([]*x509.Certificate{&cert}, testNow), "version 1")
}

func TestLoadAuthorityWeak(t *testing.T) {
	weak := must(rsa.GenerateKey(rand.Reader, 1024))
	_, err := LoadAuthority(material(testCert(caCert("Weak"), weak, nil)), testNow)
	wantError(t, err, "not fit for a CA: the RSA key has 1024 bits")
	p224 := must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	_, err = LoadAuthority(material(testCert(caCert("Weak"), p224, nil)), testNow)
	wantError(t, err, "P-224")
}

func TestAuthorityAccessors(t *testing.T) {
	root := testCert(caCert("Root"), testKey(ECDSAP256, "root"), nil)
	middle := testCert(caCert("Middle", func(c *x509.Certificate) { c.NotAfter = testNow.Add(30 * day) }), testKey(ECDSAP256, "middle"), root)
	issuing := testCert(caCert("Issuing"), testKey(ECDSAP256, "issuing"), middle)
	r, m, i := root.Certificate, middle.Certificate, issuing.Certificate
	type certs = []*x509.Certificate
	withRoots := func(m Material, roots ...*KeyPair) Material { m.Roots = chainPEM(roots...); return m }

	for _, test := range []struct {
		name           string
		m              Material
		chain, anchors certs
		notAfter       time.Time
	}{
		{"three", material(issuing, middle, root), certs{i, m}, certs{r}, m.NotAfter},
		{"without the root", material(issuing, middle), certs{i, m}, certs{m}, m.NotAfter},
		{"issuing certificate alone", material(issuing), certs{i}, certs{i}, i.NotAfter},
		{"root alone", material(root), certs{r}, certs{r}, r.NotAfter},
		{"root besides", withRoots(material(issuing, middle), root), certs{i, m}, certs{r}, m.NotAfter},
		{"root twice", withRoots(material(issuing, middle, root), root), certs{i, m}, certs{r}, m.NotAfter},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := must(LoadAuthority(test.m, testNow))
			if !a.Certificate().Equal(test.chain[0]) {
				t.Errorf("certificate %s", name(a.Certificate()))
			}
			if !bytes.Equal(a.ChainPEM(), EncodeCertificates(test.chain...)) {
				t.Errorf("chain\n%s", a.ChainPEM())
			}
			if !bytes.Equal(a.TrustAnchorsPEM(), EncodeCertificates(test.anchors...)) {
				t.Errorf("trust anchors\n%s", a.TrustAnchorsPEM())
			}
			if !a.NotAfter().Equal(test.notAfter) {
				t.Errorf("not after %v", a.NotAfter())
			}
		})
	}
}

func TestCheckProfile(t *testing.T) {
	both := testProfile(func(c *ProfileConfig) {
		c.ExtKeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	})
	for _, test := range []struct {
		name   string
		usages []x509.ExtKeyUsage
		p      *Profile
		want   string
	}{
		{"open", nil, both, ""},
		{"any", []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, both, ""},
		{"both", []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, both, ""},
		{"one of two", []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, both, `"CN=Root" does not allow clientAuth`},
		{"that one", []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, testProfile(), ""},
		{"another", []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}, testProfile(), "does not allow serverAuth"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := testAuthority(t, ECDSAP256, func(c *x509.Certificate) { c.ExtKeyUsage = test.usages })
			wantError(t, a.CheckProfile(test.p), test.want)
			_, err := a.Prepare(test.p, testRequest("a.test"))
			wantError(t, err, test.want)
		})
	}
}
