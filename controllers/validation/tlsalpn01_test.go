package validation

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/acmeca/acmeca/api/acme"
)

// proofCert describes a tls-alpn-01 certificate. newProof returns a valid one, and each test changes it in one way.
type proofCert struct {
	// sans are GeneralNames (RFC 5280 section 4.2.1.6).
	sans       []asn1.RawValue
	extensions []pkix.Extension
	// notSelfSigned means a signature by another key, otherIssuer another name as the issuer.
	notSelfSigned, otherIssuer bool
}

func dnsSAN(name string) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tagDNSName, Bytes: []byte(name)}
}

func ipSAN(address string) asn1.RawValue {
	ip := net.ParseIP(address)
	if v4 := ip.To4(); v4 != nil {
		ip = v4
	}
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tagIPAddress, Bytes: ip}
}

func acmeIdentifier(critical bool, value []byte) pkix.Extension {
	return pkix.Extension{Id: oidAcmeIdentifier, Critical: critical, Value: value}
}

func digestOf(keyAuthorization string) []byte {
	sum := sha256.Sum256([]byte(keyAuthorization))
	der, _ := asn1.Marshal(sum[:])
	return der
}

func newProof(san asn1.RawValue) proofCert {
	return proofCert{sans: []asn1.RawValue{san}, extensions: []pkix.Extension{acmeIdentifier(true, digestOf(testKeyAuth))}}
}

func (p proofCert) make(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	extensions := p.extensions
	if p.sans != nil {
		value, err := asn1.Marshal(p.sans)
		if err != nil {
			t.Fatal(err)
		}
		extensions = append([]pkix.Extension{{Id: oidSubjectAltName, Value: value}}, extensions...)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "proof"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<31, 0), ExtraExtensions: extensions,
	}
	parent, signer := template, crypto.Signer(key)
	if p.notSelfSigned {
		if signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	if p.otherIssuer {
		parent = &x509.Certificate{Subject: pkix.Name{CommonName: "another"}}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// serveTLS completes handshakes, and records their server names.
func serveTLS(t *testing.T, config *tls.Config) (address string, names chan string) {
	t.Helper()
	names = make(chan string, 10)
	certificates := config.Certificates
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		names <- hello.ServerName
		return &certificates[0], nil
	}
	config.Certificates = nil
	return serveRaw(t, func(conn net.Conn) {
		server := tls.Server(conn, config)
		if server.Handshake() == nil {
			io.Copy(io.Discard, server)
		}
	}), names
}

func TestTLSALPN01Certificates(t *testing.T) {
	good := newProof(dnsSAN("a.test"))
	with := func(change func(*proofCert)) proofCert {
		p := newProof(dnsSAN("a.test"))
		change(&p)
		return p
	}
	extra := func(san asn1.RawValue) proofCert {
		return with(func(p *proofCert) { p.sans = append(p.sans, san) })
	}
	extensions := func(list ...pkix.Extension) proofCert {
		return with(func(p *proofCert) { p.extensions = list })
	}
	rawSAN := func(value []byte) proofCert {
		return with(func(p *proofCert) {
			p.sans = nil
			p.extensions = append(p.extensions, pkix.Extension{Id: oidSubjectAltName, Value: value})
		})
	}
	wrong := func(detail string) expectation {
		return expectation{problem: acme.IncorrectResponse, detail: detail}
	}
	fullDigest := digestOf(testKeyAuth)
	for name, c := range map[string]struct {
		cert proofCert
		want expectation
	}{
		"right":                      {good, expectation{}},
		"in another case":            {newProof(dnsSAN("A.Test")), expectation{}},
		"another name":               {newProof(dnsSAN("b.test")), wrong("a subject alternative name other than the identifier")},
		"a wildcard":                 {newProof(dnsSAN("*.test")), wrong("a subject alternative name other than the identifier")},
		"with a final dot":           {newProof(dnsSAN("a.test.")), wrong("a subject alternative name other than the identifier")},
		"a NUL after the name":       {newProof(dnsSAN("a.test\x00.evil")), wrong("a subject alternative name other than the identifier")},
		"the name as an IP address":  {newProof(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tagIPAddress, Bytes: []byte{192, 0, 2, 1}}), wrong("a subject alternative name other than the identifier")},
		"the name as a URI":          {newProof(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte("a.test")}), wrong("a subject alternative name other than the identifier")},
		"the name as e-mail":         {newProof(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 1, Bytes: []byte("a.test")}), wrong("a subject alternative name other than the identifier")},
		"a name beside":              {extra(dnsSAN("b.test")), wrong("not have exactly one")},
		"the name twice":             {extra(dnsSAN("a.test")), wrong("not have exactly one")},
		"an address beside":          {extra(ipSAN("192.0.2.1")), wrong("not have exactly one")},
		"an unknown name beside":     {extra(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 8, Bytes: []byte{42, 3}}), wrong("not have exactly one")},
		"the OID of an early draft":  {extensions(pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 30, 1}, Critical: true, Value: fullDigest}), wrong("no acmeIdentifier")},
		"no subject names":           {with(func(p *proofCert) { p.sans = nil }), wrong("no subjectAltName")},
		"no names in the extension":  {rawSAN([]byte{0x30, 0}), wrong("not have exactly one")},
		"bytes after the extension":  {rawSAN([]byte{0x30, 8, 0x82, 6, 'a', '.', 't', 'e', 's', 't', 5, 0}), wrong("malformed subjectAltName")},
		"no acmeIdentifier":          {extensions(), wrong("no acmeIdentifier")},
		"not critical":               {extensions(acmeIdentifier(false, fullDigest)), wrong("is not critical")},
		"another digest":             {extensions(acmeIdentifier(true, digestOf("x"))), wrong("is not the digest")},
		"the digest without its tag": {extensions(acmeIdentifier(true, fullDigest[2:])), wrong("is not the digest")},
		"the digest cut":             {extensions(acmeIdentifier(true, fullDigest[:33])), wrong("is not the digest")},
		"bytes after the digest":     {extensions(acmeIdentifier(true, append(digestOf(testKeyAuth), 0))), wrong("is not the digest")},
		"an empty acmeIdentifier":    {extensions(acmeIdentifier(true, nil)), wrong("is not the digest")},
		"two acmeIdentifiers":        {extensions(acmeIdentifier(true, fullDigest), acmeIdentifier(true, digestOf("x"))), expectation{problem: acme.TLS}},
		"another signer":             {with(func(p *proofCert) { p.notSelfSigned = true }), wrong("is not self-signed")},
		"another issuer":             {with(func(p *proofCert) { p.otherIssuer = true }), wrong("is not self-signed")},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "a.test. A 192.0.2.1")
			address, names := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{c.cert.make(t)}, NextProtos: []string{alpnProtocol}})
			w.route("192.0.2.1:443", address)
			c.want.check(t, w.validator().Validate(t.Context(), dnsRequest(acme.TLSALPN01, "a.test")))
			if name := <-names; name != "a.test" {
				t.Errorf("the server name is %q", name)
			}
		})
	}
}

// crypto/x509 rejects these too, but the check must not depend on that.
func TestTLSALPN01RepeatedExtension(t *testing.T) {
	parsed, err := x509.ParseCertificate(newProof(dnsSAN("a.test")).make(t).Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	id := acme.Identifier{Type: acme.DNS, Value: "a.test"}
	for i, want := range map[int]string{0: "subjectAltName", 1: "acmeIdentifier"} {
		twice := *parsed
		twice.Extensions = append(parsed.Extensions[:len(parsed.Extensions):len(parsed.Extensions)], parsed.Extensions[i])
		if why := certificateFault(&twice, id, testKeyAuth); why != "has more than one "+want+" extension" {
			t.Errorf("got %q", why)
		}
	}
	if why := certificateFault(parsed, acme.Identifier{Type: "e-mail", Value: "a.test"}, testKeyAuth); why == "" {
		t.Error("an unknown identifier type is taken")
	}
	broken := *parsed
	broken.Extensions = []pkix.Extension{{Id: oidSubjectAltName, Value: []byte{0x30, 5, 1}}}
	if why := certificateFault(&broken, id, testKeyAuth); why != "has a malformed subjectAltName extension" {
		t.Errorf("got %q", why)
	}
}

func TestTLSALPN01Addresses(t *testing.T) {
	for _, c := range []struct {
		address, at, name string
		san               asn1.RawValue
		want              expectation
	}{
		{"192.0.2.7", "192.0.2.7:443", "7.2.0.192.in-addr.arpa", ipSAN("192.0.2.7"), expectation{}},
		{"2001:db8::7", "[2001:db8::7]:443", "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", ipSAN("2001:db8::7"), expectation{}},
		{"192.0.2.7", "192.0.2.7:443", "7.2.0.192.in-addr.arpa", ipSAN("192.0.2.8"), expectation{problem: acme.IncorrectResponse}},
		{"192.0.2.7", "192.0.2.7:443", "7.2.0.192.in-addr.arpa", dnsSAN("192.0.2.7"), expectation{problem: acme.IncorrectResponse}},
		{"192.0.2.7", "192.0.2.7:443", "7.2.0.192.in-addr.arpa", dnsSAN("7.2.0.192.in-addr.arpa"), expectation{problem: acme.IncorrectResponse}},
		{"192.0.2.7", "192.0.2.7:443", "7.2.0.192.in-addr.arpa",
			asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tagIPAddress, Bytes: net.ParseIP("192.0.2.7").To16()},
			expectation{problem: acme.IncorrectResponse}},
	} {
		w := newWorld(t)
		address, names := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{newProof(c.san).make(t)}, NextProtos: []string{alpnProtocol}})
		w.route(c.at, address)
		c.want.check(t, w.validator().Validate(t.Context(), ipRequest(acme.TLSALPN01, c.address)))
		if name := <-names; name != c.name {
			t.Errorf("the server name is %q", name)
		}
		equal(t, "dials", w.dials, []string{c.at})
	}
}

func TestTLSALPN01Handshakes(t *testing.T) {
	cert := []tls.Certificate{newProof(dnsSAN("a.test")).make(t)}
	for name, c := range map[string]struct {
		config *tls.Config
		want   expectation
	}{
		"TLS 1.2":           {&tls.Config{MaxVersion: tls.VersionTLS12, NextProtos: []string{alpnProtocol}}, expectation{}},
		"TLS 1.1":           {&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11, NextProtos: []string{alpnProtocol}}, expectation{problem: acme.TLS}},
		"without ALPN":      {&tls.Config{}, expectation{problem: acme.Unauthorized, detail: "acme-tls/1"}},
		"another protocol":  {&tls.Config{NextProtos: []string{"h2", "http/1.1"}}, expectation{problem: acme.TLS}},
		"among others":      {&tls.Config{NextProtos: []string{"h2", alpnProtocol}}, expectation{}},
		"asks for our name": {&tls.Config{NextProtos: []string{alpnProtocol}, ClientAuth: tls.RequestClientCert}, expectation{}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "a.test. A 192.0.2.1")
			w.config.TLSPort = 5001
			c.config.Certificates = cert
			address, _ := serveTLS(t, c.config)
			w.route("192.0.2.1:5001", address)
			c.want.check(t, w.validator().Validate(t.Context(), dnsRequest(acme.TLSALPN01, "a.test")))
		})
	}
}

func TestTLSALPN01HostilePeers(t *testing.T) {
	for name, c := range map[string]struct {
		peer func(net.Conn)
		want expectation
	}{
		"silent": {func(c net.Conn) { io.Copy(io.Discard, c) }, expectation{problem: acme.Connection, transient: true, detail: "timed out"}},
		"closes": {func(c net.Conn) { c.Read(make([]byte, 10000)) }, expectation{problem: acme.Connection, transient: true}},
		"endless handshake": {func(c net.Conn) {
			c.Read(make([]byte, 10000))
			record := append([]byte{22, 3, 3, 0x40, 0, 2, 0xff, 0xff, 0xff}, make([]byte, 0x4000-4)...)
			for {
				if _, err := c.Write(record); err != nil {
					return
				}
			}
		}, expectation{problem: acme.TLS}},
		"drips": {func(c net.Conn) {
			c.Write([]byte{22, 3, 3, 0, 4, 2, 0, 0xff, 0xff})
			for {
				if _, err := c.Write([]byte{22, 3, 3, 0, 1, 0}); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond) // a pace, not something to wait for
			}
		}, expectation{problem: acme.Connection, transient: true, detail: "timed out"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if c.want.detail == "timed out" {
				w.config.Timeout = 200 * time.Millisecond
			}
			w.route("192.0.2.1:443", serveRaw(t, c.peer))
			c.want.check(t, w.validator().Validate(t.Context(), ipRequest(acme.TLSALPN01, "192.0.2.1")))
		})
	}
}

func TestTLSALPN01DeniedAddress(t *testing.T) {
	for _, r := range []Request{ipRequest(acme.TLSALPN01, "127.0.0.1"), dnsRequest(acme.TLSALPN01, "a.test")} {
		w := newWorld(t, "a.test. A 127.0.0.1", "a.test. AAAA fe80::1")
		expectation{problem: acme.Connection, detail: "loopback"}.check(t, w.validator().Validate(t.Context(), r))
		equal(t, "dials", w.dials, nil)
	}
}

// FuzzTLSALPN01Certificate searches for certificates that make the check panic, or that pass it without the proof.
func FuzzTLSALPN01Certificate(f *testing.F) {
	for _, p := range []proofCert{newProof(dnsSAN("a.test")), newProof(ipSAN("192.0.2.1")), newProof(dnsSAN("b.test")), {}} {
		f.Add(p.make(f).Certificate[0])
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		for _, id := range []acme.Identifier{{Type: acme.DNS, Value: "a.test"}, {Type: acme.IP, Value: "192.0.2.1"}} {
			if certificateFault(cert, id, testKeyAuth) != "" {
				continue
			}
			if len(cert.DNSNames)+len(cert.IPAddresses) != 1 || len(cert.EmailAddresses)+len(cert.URIs) != 0 {
				t.Errorf("a certificate for %v %v passes for %v", cert.DNSNames, cert.IPAddresses, id)
			}
			if cert.VerifyHostname(id.Value) != nil {
				t.Errorf("a certificate that isn't for %v passes", id)
			}
			if certificateFault(cert, id, "another") == "" {
				t.Error("a certificate passes for two key authorizations")
			}
		}
	})
}
