package ca

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/acmeca/acmeca/api/acme"
)

var (
	testNow    = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	serialKey  = []byte("0123456789abcdef0123456789abcdef")
	algorithms = []KeyAlgorithm{ECDSAP256, ECDSAP384, ecdsaP521, RSA2048, Ed25519}
)

const (
	day       = 24 * time.Hour
	issuerURL = "http://ca.test/ca.der"
	crlURL    = "http://ca.test/crl/0.crl"
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// keys caches a key for each algorithm and name, since RSA keys take long to make.
var (
	keys     = map[string]crypto.Signer{}
	keysLock sync.Mutex
)

func testKey(algorithm KeyAlgorithm, name string) crypto.Signer {
	keysLock.Lock()
	defer keysLock.Unlock()
	id := string(algorithm) + name
	if keys[id] == nil {
		keys[id] = must(GenerateKey(algorithm))
	}
	return keys[id]
}

// testCert returns a certificate for key, valid or not, signed by issuer; a nil issuer makes it self-signed.
func testCert(template x509.Certificate, key crypto.Signer, issuer *KeyPair) *KeyPair {
	if issuer == nil {
		issuer = &KeyPair{&template, key}
	}
	if template.SerialNumber == nil {
		template.SerialNumber = randomSerial()
	}
	der := must(x509.CreateCertificate(rand.Reader, &template, issuer.Certificate, key.Public(), issuer.Key))
	return &KeyPair{must(x509.ParseCertificate(der)), key}
}

// caCert returns a valid CA certificate for tests to change.
func caCert(name string, edit ...func(*x509.Certificate)) x509.Certificate {
	template := *caTemplate(pkix.Name{CommonName: name})
	template.NotBefore, template.NotAfter = testNow.Add(-day), testNow.Add(1000*day)
	for _, e := range edit {
		e(&template)
	}
	return template
}

// chainPEM returns the PEM of the pairs' certificates.
func chainPEM(pairs ...*KeyPair) []byte {
	var certs []*x509.Certificate
	for _, pair := range pairs {
		certs = append(certs, pair.Certificate)
	}
	return EncodeCertificates(certs...)
}

// material returns the Material of the first pair's CA.
func material(pairs ...*KeyPair) Material {
	return Material{Chain: chainPEM(pairs...), Key: must(pairs[0].KeyPEM()), SerialKey: serialKey}
}

// testAuthority returns an Authority of a root and an intermediate with keys of one algorithm.
func testAuthority(tb testing.TB, algorithm KeyAlgorithm, edit ...func(root *x509.Certificate)) *Authority {
	tb.Helper()
	root := testCert(caCert("Root", edit...), testKey(algorithm, "root"), nil)
	intermediate := testCert(caCert("Intermediate", pathLen(0)), testKey(algorithm, "intermediate"), root)
	return must(LoadAuthority(material(intermediate, root), testNow))
}

func pathLen(n int) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = n, n == 0 }
}

func testProfile(edit ...func(*ProfileConfig)) *Profile {
	c := ProfileConfig{Name: "default", Lifetime: 90 * day, Backdate: time.Hour}
	for _, e := range edit {
		e(&c)
	}
	return must(NewProfile(c))
}

func testCSR(key crypto.Signer, commonName string) *x509.CertificateRequest {
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: commonName, Organization: []string{"Evil"}}}
	return must(x509.ParseCertificateRequest(must(x509.CreateCertificateRequest(rand.Reader, template, key))))
}

// identifiers returns IP identifiers for addresses, and DNS identifiers for other values.
func identifiers(values ...string) []acme.Identifier {
	var ids []acme.Identifier
	for _, value := range values {
		kind := acme.DNS
		if net.ParseIP(value) != nil {
			kind = acme.IP
		}
		ids = append(ids, acme.Identifier{Type: kind, Value: value})
	}
	return ids
}

// testRequest returns a Request with an ECDSA key.
func testRequest(values ...string) Request {
	return Request{
		ID:          "5c3f2a4e-order",
		Identifiers: identifiers(values...),
		CSR:         testCSR(testKey(ECDSAP256, "subscriber"), ""),
		FinalizedAt: testNow,
		IssuerURL:   issuerURL,
		CRLURL:      crlURL,
	}
}

// verify verifies a certificate as a client does that trusts roots.
func verify(cert *x509.Certificate, chain, roots []*x509.Certificate, at time.Time) error {
	options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	for _, c := range chain {
		options.Intermediates.AddCert(c)
	}
	for _, c := range roots {
		options.Roots.AddCert(c)
	}
	_, err := cert.Verify(options)
	return err
}

// wantError requires an error with the words, or no error if the words are empty.
func wantError(t *testing.T, err error, words string) {
	t.Helper()
	if words == "" && err != nil || words != "" && (err == nil || !strings.Contains(err.Error(), words)) {
		t.Errorf("got error %v, want %q in it", err, words)
	}
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func ipNets(cidrs ...string) []*net.IPNet {
	var nets []*net.IPNet
	for _, cidr := range cidrs {
		_, ipNet, err := net.ParseCIDR(cidr)
		nets = append(nets, must(ipNet, err))
	}
	return nets
}

// nameWithCountry returns a distinguished name whose country is of the given string type: 12 is UTF8String, 19 PrintableString.
func nameWithCountry(tag int) []byte {
	return must(asn1.Marshal(pkix.RDNSequence{
		{{Type: asn1.ObjectIdentifier{2, 5, 4, 6}, Value: asn1.RawValue{Tag: tag, Bytes: []byte("DE")}}},
		{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "Brought"}},
	}))
}

func parseIP(id acme.Identifier) net.IP {
	if id.Type != acme.IP {
		return nil
	}
	ip := net.ParseIP(id.Value)
	if v4 := ip.To4(); v4 != nil {
		return v4
	}
	return ip
}
