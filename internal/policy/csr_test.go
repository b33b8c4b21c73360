package policy

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

var (
	csrKey     = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	ids        = []acme.Identifier{{Type: acme.DNS, Value: "a.test"}}
	aName      = []string{"a.test"}
	otherOID   = asn1.ObjectIdentifier{1, 2, 3, 4}
	oidSHA1Sig = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func makeCSR(template x509.CertificateRequest, key crypto.Signer) []byte {
	return must(x509.CreateCertificateRequest(rand.Reader, &template, key))
}

// withExtension asks for a.test and one more extension.
func withExtension(oid asn1.ObjectIdentifier, value any) []byte {
	der, raw := value.([]byte)
	if !raw {
		der = must(asn1.Marshal(value))
	}
	return makeCSR(x509.CertificateRequest{DNSNames: aName, ExtraExtensions: []pkix.Extension{{Id: oid, Value: der}}}, csrKey)
}

// withNames has a SAN of these GeneralNames, which x509 would not make.
func withNames(names ...asn1.RawValue) []byte {
	return makeCSR(x509.CertificateRequest{ExtraExtensions: []pkix.Extension{{
		Id: oidSubjectAltName, Value: must(asn1.Marshal(names)),
	}}}, csrKey)
}

func generalName(tag int, value string) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte(value)}
}

// resign gives a CSR the signature of ecdsa-with-SHA1.
func resign(der []byte) []byte {
	var csr struct {
		Info      asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	must(asn1.Unmarshal(der, &csr))
	sum := sha1.Sum(csr.Info.FullBytes)
	csr.Algorithm.Algorithm = oidSHA1Sig
	csr.Signature.Bytes = must(ecdsa.SignASN1(rand.Reader, csrKey, sum[:]))
	csr.Signature.BitLength = 8 * len(csr.Signature.Bytes)
	return must(asn1.Marshal(csr))
}

func corrupt(der []byte) []byte {
	der = bytes.Clone(der)
	der[len(der)-1] ^= 1
	return der
}

func subject(commonNames ...string) pkix.Name {
	var name pkix.Name
	for _, cn := range commonNames {
		name.ExtraNames = append(name.ExtraNames, pkix.AttributeTypeAndValue{Type: oidCommonName, Value: cn})
	}
	return name
}

func TestParseCSR(t *testing.T) {
	type request = x509.CertificateRequest
	made := func(template request) []byte { return makeCSR(template, csrKey) }
	plain := made(request{DNSNames: aName})
	two := []acme.Identifier{{Type: acme.DNS, Value: "*.a.test"}, {Type: acme.IP, Value: "fd00::1"}}
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	ca := struct {
		IsCA bool
	}{true}

	for _, test := range []struct {
		name string
		der  []byte
		ids  []acme.Identifier
		want string // a part of the problem's detail; "" accepts
	}{
		{"names in SAN", plain, ids, ""},
		{"name in common name alone", made(request{Subject: pkix.Name{CommonName: "a.test"}}), ids, ""},
		{"name in both, upper case", made(request{Subject: pkix.Name{CommonName: "A.test"}, DNSNames: []string{"a.TEST"}}), ids, ""},
		{"name twice", made(request{DNSNames: []string{"a.test", "A.test"}}), ids, ""},
		{"empty common name", made(request{Subject: subject(""), DNSNames: aName}), ids, ""},
		{"wildcard and address", made(request{DNSNames: []string{"*.a.test"}, IPAddresses: []net.IP{net.ParseIP("fd00::1")}}), two, ""},
		{"address in common name", made(request{Subject: subject("FD00:0::1"), DNSNames: []string{"*.a.test"}}), two, ""},
		{"IPv4 address", made(request{IPAddresses: []net.IP{{10, 0, 0, 1}}}), []acme.Identifier{{Type: acme.IP, Value: "10.0.0.1"}}, ""},
		{"other attributes", made(request{Subject: pkix.Name{Organization: []string{"O"}, Country: []string{"DE"}}, DNSNames: aName}), ids, ""},
		{"RSA", makeCSR(request{DNSNames: aName}, rsaKey), ids, ""},
		{"RSA-PSS", makeCSR(request{DNSNames: aName, SignatureAlgorithm: x509.SHA384WithRSAPSS}, rsaKey), ids, ""},
		{"Ed25519", makeCSR(request{DNSNames: aName}, edKey), ids, ""},
		{"CA:FALSE", withExtension(oidBasicConstraints, struct{}{}), ids, ""},
		{"digitalSignature", withExtension(oidKeyUsage, asn1.BitString{Bytes: []byte{0x80}, BitLength: 1}), ids, ""},
		{"serverAuth and clientAuth", withExtension(oidExtKeyUsage, []asn1.ObjectIdentifier{oidServerAuth, oidClientAuth}), ids, ""},
		{"unknown extension", withExtension(otherOID, "x"), ids, ""},

		{"name missing", plain, []acme.Identifier{ids[0], {Type: acme.DNS, Value: "b.test"}}, `lacks the order's name "b.test"`},
		{"name too many", made(request{DNSNames: []string{"a.test", "b.test"}}), ids, `the name "b.test", which is not`},
		{"address too many", made(request{DNSNames: aName, IPAddresses: []net.IP{{10, 0, 0, 1}}}), ids, `the name "10.0.0.1"`},
		{"wildcard instead of its base", made(request{DNSNames: []string{"*.a.test"}}), ids, "lacks"},
		{"name as the wrong type", withNames(generalName(2, "10.0.0.1")), []acme.Identifier{{Type: acme.IP, Value: "10.0.0.1"}}, "IP address"},
		{"no names at all", made(request{}), ids, "lacks"},
		{"no identifiers", plain, nil, "not in the order"},
		{"common name outside the order", made(request{Subject: subject("b.test"), DNSNames: aName}), ids, "common name \"b.test\""},
		{"one common name of two outside", made(request{Subject: subject("b.test", "a.test"), DNSNames: aName}), ids, "common name \"b.test\""},
		{"common name for people", made(request{Subject: subject("Web Server"), DNSNames: aName}), ids, "common name"},
		{"e-mail", made(request{DNSNames: aName, EmailAddresses: []string{"a@a.test"}}), ids, "e-mail"},
		{"URI", made(request{DNSNames: aName, URIs: []*url.URL{{Scheme: "spiffe", Host: "a.test"}}}), ids, "URI"},
		{"otherName", withNames(generalName(2, "a.test"), asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: []byte{6, 1, 42}}), ids, "otherName"},
		{"directoryName", withNames(generalName(2, "a.test"), asn1.RawValue{Class: 2, Tag: 4, IsCompound: true, Bytes: []byte{0x30, 0}}), ids, "directoryName"},
		{"registeredID", withNames(generalName(2, "a.test"), generalName(8, "\x2a")), ids, "registeredID"},
		{"name of no known kind", withNames(generalName(2, "a.test"), generalName(9, "x")), ids, "unknown name"},
		{"constructed dNSName", withNames(asn1.RawValue{Class: 2, Tag: 2, IsCompound: true, Bytes: []byte("a.test")}), ids, "kind unknown name"},
		{"SAN that is no sequence", makeCSR(request{ExtraExtensions: []pkix.Extension{{Id: oidSubjectAltName, Value: []byte{4, 0}}}}, csrKey), ids, "cannot be read"},
		{"empty SAN", withNames(), ids, "lacks"},
		{"name with a NUL", withNames(generalName(2, "a.test\x00.b.test")), ids, "name that cannot"},
		{"name in UTF-8", withNames(generalName(2, "\u00e4.test")), ids, "cannot be read"},
		{"name with a final dot", withNames(generalName(2, "a.test.")), ids, "dot"},
		{"IPv4-mapped address", withNames(generalName(7, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x0a\x00\x00\x01")), ids, "IPv4-mapped"},
		{"address of 5 bytes", withNames(generalName(7, "12345")), ids, "cannot be read"},
		{"extension twice", makeCSR(request{DNSNames: aName, ExtraExtensions: []pkix.Extension{
			{Id: otherOID, Value: []byte{5, 0}}, {Id: otherOID, Value: []byte{5, 0}}}}, csrKey), ids, "duplicate"},

		{"CA:TRUE", withExtension(oidBasicConstraints, ca), ids, "CA certificate"},
		{"bad basic constraints", withExtension(oidBasicConstraints, []byte{1}), ids, "basic constraints"},
		{"basic constraints with a tail", withExtension(oidBasicConstraints, []byte{0x30, 0, 0}), ids, "basic constraints"},
		{"keyCertSign", withExtension(oidKeyUsage, asn1.BitString{Bytes: []byte{0x04}, BitLength: 6}), ids, "key usage of a CA"},
		{"cRLSign", withExtension(oidKeyUsage, asn1.BitString{Bytes: []byte{0x82}, BitLength: 7}), ids, "key usage of a CA"},
		{"bad key usage", withExtension(oidKeyUsage, []byte{3, 0}), ids, "key usage"},
		{"codeSigning", withExtension(oidExtKeyUsage, []asn1.ObjectIdentifier{oidServerAuth, {1, 3, 6, 1, 5, 5, 7, 3, 3}}), ids, "1.3.6.1.5.5.7.3.3"},
		{"anyExtendedKeyUsage", withExtension(oidExtKeyUsage, []asn1.ObjectIdentifier{{2, 5, 29, 37, 0}}), ids, "2.5.29.37.0"},
		{"bad extended key usage", withExtension(oidExtKeyUsage, []byte{2, 1, 1}), ids, "extended key usage"},
		{"must-staple", withExtension(oidTLSFeature, []int{5}), ids, "must-staple"},

		{"nothing", nil, ids, "cannot be read"},
		{"text", []byte("-----BEGIN CERTIFICATE REQUEST-----"), ids, "cannot be read"},
		{"truncated", plain[:len(plain)-1], ids, "cannot be read"},
		{"trailing data", append(bytes.Clone(plain), 0), ids, "trailing"},
		{"too large", make([]byte, MaxCSR+1), ids, "larger than"},
		{"too large by an extension", withExtension(otherOID, make([]byte, MaxCSR)), ids, "larger than"},
		{"wrong signature", corrupt(plain), ids, "signature"},
		{"SHA-1", resign(plain), ids, "ECDSA-SHA1"},
		{"P-224", makeCSR(request{DNSNames: aName}, must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))), ids, "P-224"},
		{"P-521", makeCSR(request{DNSNames: aName}, must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))), ids, "P-521"},
	} {
		t.Run(test.name, func(t *testing.T) {
			csr, problem := ParseCSR(test.der, test.ids, CSROptions{})
			if test.want == "" {
				if problem != nil {
					t.Fatalf("refused: %v", problem)
				}
				if !bytes.Equal(csr.Raw, test.der) {
					t.Error("another CSR came out")
				}
				return
			}
			if problem == nil || !strings.Contains(problem.Detail, test.want) {
				t.Fatalf("got %v, want %q in it", problem, test.want)
			}
			if problem.Type != acme.BadCSR || problem.Status != 400 || csr != nil {
				t.Errorf("got type %s, status %d and CSR %v", problem.Type, problem.Status, csr)
			}
		})
	}
}

func TestParseCSROptions(t *testing.T) {
	der := makeCSR(x509.CertificateRequest{DNSNames: aName}, csrKey)
	for _, test := range []struct {
		name    string
		der     []byte
		options CSROptions
		want    string
	}{
		{"another account key", der, CSROptions{AccountKey: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).Public()}, ""},
		{"account key of another kind", der, CSROptions{AccountKey: ed25519.PublicKey(make([]byte, 32))}, ""},
		{"the account key", der, CSROptions{AccountKey: csrKey.Public()}, "account's key"},
		{"P-521 opened", makeCSR(x509.CertificateRequest{DNSNames: aName}, must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))),
			CSROptions{KeyAlgorithms: []v1alpha1.CertificateKeyAlgorithm{v1alpha1.KeyECDSAP521}}, ""},
		{"P-521 not named", makeCSR(x509.CertificateRequest{DNSNames: aName}, must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))),
			CSROptions{KeyAlgorithms: []v1alpha1.CertificateKeyAlgorithm{v1alpha1.KeyECDSAP256, v1alpha1.KeyECDSAP384}}, "P-521"},
		{"an algorithm that the profile names", der, CSROptions{KeyAlgorithms: []v1alpha1.CertificateKeyAlgorithm{v1alpha1.KeyRSA, v1alpha1.KeyECDSAP256}}, ""},
		{"an algorithm that the profile doesn't name", der, CSROptions{KeyAlgorithms: []v1alpha1.CertificateKeyAlgorithm{v1alpha1.KeyRSA, v1alpha1.KeyEd25519}},
			"is ECDSA-P256; the profile of the order accepts RSA, Ed25519"},
		{"RSA where the profile wants another", makeCSR(x509.CertificateRequest{DNSNames: aName}, must(rsa.GenerateKey(rand.Reader, 2048))),
			CSROptions{KeyAlgorithms: []v1alpha1.CertificateKeyAlgorithm{v1alpha1.KeyECDSAP384}}, "is RSA"},
		{"Ed25519 where the profile wants another", makeCSR(x509.CertificateRequest{DNSNames: aName}, ed25519.NewKeyFromSeed(make([]byte, 32))),
			CSROptions{KeyAlgorithms: []v1alpha1.CertificateKeyAlgorithm{v1alpha1.KeyECDSAP384}}, "is Ed25519"},
		{"a CA's key", der, CSROptions{CAKeys: []crypto.PublicKey{ed25519.PublicKey(make([]byte, 32)), csrKey.Public()}}, "the key of a CA certificate"},
		{"another than the CA's key", der, CSROptions{CAKeys: []crypto.PublicKey{ed25519.PublicKey(make([]byte, 32))}}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, problem := ParseCSR(test.der, ids, test.options)
			if (problem == nil) != (test.want == "") || problem != nil && !strings.Contains(problem.Detail, test.want) {
				t.Errorf("got %v, want %q", problem, test.want)
			}
		})
	}
}

// A hundred names of the greatest length fit into the bound.
func TestParseCSRLargest(t *testing.T) {
	label := strings.Repeat("a", 61) + "."
	var many []acme.Identifier
	var names []string
	for i := range 100 {
		name := string(rune('0'+i/10)) + string(rune('0'+i%10)) + strings.Repeat(label, 4) + "b.c"
		many, names = append(many, acme.Identifier{Type: acme.DNS, Value: name}), append(names, name)
	}
	if len(names[0]) != acme.MaxNameLength {
		t.Fatalf("the names have %d bytes", len(names[0]))
	}
	if _, problem := ParseCSR(makeCSR(x509.CertificateRequest{DNSNames: names}, csrKey), many, CSROptions{}); problem != nil {
		t.Error(problem)
	}
}

func TestCheckKeyProblem(t *testing.T) {
	p521 := must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)).Public()
	if problem := CheckKey(p521, KeyOptions{AllowP521: true}); problem != nil {
		t.Error(problem)
	}
	if problem := CheckKey(p521, KeyOptions{}); problem == nil || problem.Type != acme.BadPublicKey || problem.Status != 400 {
		t.Errorf("got %v, want badPublicKey", problem)
	}
	if problem := CheckKey(nil, KeyOptions{Type: acme.BadCSR}); problem == nil || problem.Type != acme.BadCSR {
		t.Errorf("got %v, want badCSR", problem)
	}
	if _, err := KeyFingerprint("no key"); err == nil {
		t.Error("a string has a fingerprint")
	}
}

// FuzzParseCSR looks for panics, and for requests that get through with other names than the order's.
func FuzzParseCSR(f *testing.F) {
	f.Add(makeCSR(x509.CertificateRequest{DNSNames: aName}, csrKey))
	f.Add(makeCSR(x509.CertificateRequest{Subject: subject("a.test"), IPAddresses: []net.IP{{10, 0, 0, 1}}}, csrKey))
	f.Add(withExtension(oidBasicConstraints, struct{}{}))
	f.Add(withExtension(oidExtKeyUsage, []asn1.ObjectIdentifier{oidServerAuth}))
	f.Add(withNames(generalName(2, "a.test"), generalName(8, "\x2a")))
	f.Fuzz(func(t *testing.T, der []byte) {
		csr, problem := ParseCSR(der, ids, CSROptions{})
		if (csr == nil) == (problem == nil) {
			t.Fatalf("got %v and %v", csr, problem)
		}
		if problem != nil {
			return
		}
		for _, name := range csr.DNSNames {
			if !strings.EqualFold(name, ids[0].Value) {
				t.Errorf("%q got through", name)
			}
		}
		if len(csr.IPAddresses)+len(csr.EmailAddresses)+len(csr.URIs) > 0 {
			t.Error("another kind of name got through")
		}
	})
}

// FuzzCSRExtensions signs its CSRs, so that the code after the check of the signature runs. FuzzParseCSR can't sign.
func FuzzCSRExtensions(f *testing.F) {
	san := must(asn1.Marshal([]asn1.RawValue{generalName(2, "a.test")}))
	f.Add(san, []byte{0x30, 0}, []byte{3, 2, 7, 0x80}, []byte{0x30, 0}, []byte("a.test"))
	f.Add(must(asn1.Marshal([]asn1.RawValue{generalName(2, "A.test"), generalName(7, "1234")})), []byte{}, []byte{}, []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, san, constraints, usage, extendedUsage, commonName []byte) {
		template := x509.CertificateRequest{Subject: subject(strings.ToValidUTF8(string(commonName), ""))}
		for oid, value := range map[*asn1.ObjectIdentifier][]byte{
			&oidSubjectAltName: san, &oidBasicConstraints: constraints, &oidKeyUsage: usage, &oidExtKeyUsage: extendedUsage,
		} {
			if len(value) > 0 {
				template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: *oid, Value: value})
			}
		}
		der, err := x509.CreateCertificateRequest(rand.Reader, &template, csrKey)
		if err != nil {
			t.Skip()
		}
		csr, problem := ParseCSR(der, ids, CSROptions{})
		if problem != nil {
			return
		}
		if cn := csr.Subject.CommonName; cn != "" && !strings.EqualFold(cn, "a.test") {
			t.Errorf("common name %q got through", cn)
		}
		if len(csr.IPAddresses)+len(csr.EmailAddresses)+len(csr.URIs) > 0 {
			t.Error("another kind of name got through")
		}
		for _, name := range csr.DNSNames {
			if !strings.EqualFold(name, "a.test") {
				t.Errorf("%q got through", name)
			}
		}
	})
}
