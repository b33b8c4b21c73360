package ca

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/internal/pki"
)

func TestIssue(t *testing.T) {
	for _, caAlgorithm := range algorithms {
		a := testAuthority(t, caAlgorithm)
		for _, algorithm := range algorithms {
			t.Run(fmt.Sprintf("%s for %s", caAlgorithm, algorithm), func(t *testing.T) {
				r := testRequest("a.test", "*.b.test", "10.0.0.1", "fd00::1", "host")
				r.CSR = testCSR(testKey(algorithm, "subscriber"), "a.test")
				cert, err := a.Issue(testProfile(), r)
				if err != nil {
					t.Fatal(err)
				}
				checkIssued(t, cert, a, r)
				if err := verify(cert, a.Chain(), a.TrustAnchors(), testNow); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// checkIssued compares a certificate of the test profile with the request, extension by extension.
func checkIssued(t *testing.T, cert *x509.Certificate, a *Authority, r Request) {
	t.Helper()
	if got := fmt.Sprint(cert.DNSNames, cert.IPAddresses); got != "[a.test *.b.test host] [10.0.0.1 fd00::1]" {
		t.Errorf("names %s", got)
	}
	if len(cert.Subject.Names) > 0 {
		t.Errorf("subject %v", cert.Subject)
	}
	if !pki.EqualKeys(cert.PublicKey, r.CSR.PublicKey) {
		t.Error("the key is not the CSR's")
	}
	if want := testNow.Add(-time.Hour); !cert.NotBefore.Equal(want) || !cert.NotAfter.Equal(want.Add(90*day-time.Second)) {
		t.Errorf("valid from %v to %v", cert.NotBefore, cert.NotAfter)
	}
	usage := x509.KeyUsageDigitalSignature
	if cert.PublicKeyAlgorithm == x509.RSA {
		usage |= x509.KeyUsageKeyEncipherment
	}
	if cert.KeyUsage != usage || !slices.Equal(cert.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) {
		t.Errorf("usages %v and %v", cert.KeyUsage, cert.ExtKeyUsage)
	}
	if cert.IsCA || !cert.BasicConstraintsValid || cert.Version != 3 {
		t.Error("not an end-entity certificate")
	}
	if !bytes.Equal(cert.AuthorityKeyId, a.Certificate().SubjectKeyId) || len(cert.SubjectKeyId) != 20 {
		t.Errorf("key identifiers %x and %x", cert.AuthorityKeyId, cert.SubjectKeyId)
	}
	if fmt.Sprint(cert.IssuingCertificateURL, cert.CRLDistributionPoints, cert.OCSPServer) != "["+issuerURL+"] ["+crlURL+"] []" {
		t.Errorf("URLs %v and %v", cert.IssuingCertificateURL, cert.CRLDistributionPoints)
	}
	if serial := cert.SerialNumber.Bytes(); len(serial) != serialLength || serial[0] != serialPrefix {
		t.Errorf("serial number %x", serial)
	}
	var critical []string
	for _, e := range cert.Extensions {
		if e.Critical {
			critical = append(critical, e.Id.String())
		}
	}
	slices.Sort(critical)
	if !slices.Equal(critical, []string{"2.5.29.15", "2.5.29.17", "2.5.29.19"}) || len(cert.Extensions) != 8 {
		t.Errorf("%d extensions, critical are %v", len(cert.Extensions), critical)
	}
}

func TestIssueIsIdempotent(t *testing.T) {
	for _, algorithm := range algorithms {
		t.Run(string(algorithm), func(t *testing.T) {
			root := testCert(caCert("Root"), testKey(algorithm, "root"), nil)
			m := material(testCert(caCert("Intermediate"), testKey(algorithm, "intermediate"), root), root)
			first := must(must(LoadAuthority(m, testNow)).Issue(testProfile(), testRequest("a.test")))
			// After a restart the controller reads the same CA and the same order.
			second := must(must(LoadAuthority(m, testNow.Add(10*day))).Issue(testProfile(), testRequest("a.test")))
			if !bytes.Equal(first.Raw, second.Raw) {
				t.Error("the certificates differ")
			}
		})
	}
}

// testOrder is the name of an order, as v1alpha1.NewObjectName returns them.
const testOrder = "1lbqck0a0123456789abcdefghi"

// The serial number of an order's certificate leads to the order, and other requests have none that does.
func TestSerialLeadsToTheOrder(t *testing.T) {
	a := testAuthority(t, ECDSAP256)
	for _, order := range []string{testOrder, "", "default", testOrder + "-0"} {
		r := testRequest("a.test")
		r.Order = order
		one, again := must(a.Issue(testProfile(), r)), must(a.Issue(testProfile(), r))
		if !bytes.Equal(one.Raw, again.Raw) {
			t.Errorf("order %q has two certificates", order)
		}
		name, ok := acme.OrderOfSerial(one.SerialNumber)
		if ok != (order == testOrder) || ok && name != order || len(one.SerialNumber.Bytes()) > 20 {
			t.Errorf("order %q has the serial number %x, which leads to %q", order, one.SerialNumber, name)
		}
	}
}

// Different certificates never have the same serial number.
func TestSerialBelongsToTheBytes(t *testing.T) {
	a, b := testAuthority(t, ECDSAP256), testAuthority(t, ECDSAP384)
	otherKey := testCSR(testKey(ECDSAP256, "other"), "")
	seen := map[string]string{}
	for _, test := range []struct {
		name string
		a    *Authority
		p    *Profile
		edit func(*Request)
	}{
		{"first", a, testProfile(), func(*Request) {}},
		{"another order", a, testProfile(), func(r *Request) { r.ID += "x" }},
		{"a named order", a, testProfile(), func(r *Request) { r.Order = testOrder }},
		{"another name of the order", a, testProfile(), func(r *Request) { r.Order = strings.Replace(testOrder, "a", "b", 1) }},
		{"an order again under its name", a, testProfile(), func(r *Request) { r.Order, r.ID = testOrder, "again" }},
		{"a second later under its name", a, testProfile(), func(r *Request) { r.Order, r.FinalizedAt = testOrder, testNow.Add(time.Second) }},
		{"another CA for its name", b, testProfile(), func(r *Request) { r.Order = testOrder }},
		{"another name", a, testProfile(), func(r *Request) { r.Identifiers = identifiers("b.test") }},
		{"one name more", a, testProfile(), func(r *Request) { r.Identifiers = identifiers("a.test", "b.test") }},
		{"another key", a, testProfile(), func(r *Request) { r.CSR = otherKey }},
		{"a second later", a, testProfile(), func(r *Request) { r.FinalizedAt = testNow.Add(time.Second) }},
		{"shorter", a, testProfile(), func(r *Request) { r.NotAfter = testNow.Add(day) }},
		{"no AIA", a, testProfile(), func(r *Request) { r.IssuerURL = "" }},
		{"another shard", a, testProfile(), func(r *Request) { r.CRLURL = "http://ca.test/crl/1.crl" }},
		{"another profile", a, testProfile(func(c *ProfileConfig) { c.ExtKeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), func(*Request) {}},
		{"another CA", b, testProfile(), func(*Request) {}},
	} {
		r := testRequest("a.test")
		test.edit(&r)
		serial := hex.EncodeToString(must(test.a.Issue(test.p, r)).SerialNumber.Bytes())
		if other, ok := seen[serial]; ok {
			t.Errorf("%q has the serial number of %q", test.name, other)
		}
		seen[serial] = test.name
	}
	root := testCert(caCert("Root"), testKey(ECDSAP256, "root"), nil)
	m := material(root)
	m.SerialKey = bytes.Repeat([]byte{1}, MinSerialKey)
	one := must(must(LoadAuthority(material(root), testNow)).Issue(testProfile(), testRequest("a.test")))
	two := must(must(LoadAuthority(m, testNow)).Issue(testProfile(), testRequest("a.test")))
	if one.SerialNumber.Cmp(two.SerialNumber) == 0 {
		t.Error("the serial number does not depend on the secret")
	}
}

func TestCommonName(t *testing.T) {
	long := strings.Repeat("a", 59) + ".test" // 64 bytes
	for _, test := range []struct {
		name, commonName string
		keep             bool
		names            []string
		want             string
	}{
		{"kept", "b.test", true, []string{"a.test", "b.test"}, "b.test"},
		{"not kept by the profile", "a.test", false, []string{"a.test"}, ""},
		{"none in the CSR", "", true, []string{"a.test"}, ""},
		{"not one of the names", "c.test", true, []string{"a.test"}, ""},
		{"in upper case", "A.Test", true, []string{"a.test"}, "a.test"},
		{"an address", "10.0.0.1", true, []string{"10.0.0.1"}, "10.0.0.1"},
		{"64 bytes", long, true, []string{long}, long},
		{"65 bytes", "a" + long, true, []string{"a" + long}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := testRequest(test.names...)
			r.CSR = testCSR(testKey(ECDSAP256, "subscriber"), test.commonName)
			cert := must(testAuthority(t, ECDSAP256).Issue(testProfile(func(c *ProfileConfig) { c.KeepCommonName = test.keep }), r))
			if cert.Subject.CommonName != test.want || len(cert.Subject.Names) > 1 {
				t.Errorf("subject %q", cert.Subject)
			}
			for _, e := range cert.Extensions {
				if e.Id.String() == "2.5.29.17" && e.Critical != (test.want == "") {
					t.Errorf("the SAN is critical: %v", e.Critical)
				}
			}
		})
	}
}

func TestPrepareRefuses(t *testing.T) {
	a := testAuthority(t, ECDSAP256)
	problem := func(kind acme.ProblemType) func(error) bool {
		return func(err error) bool {
			var p *acme.Problem
			return errors.As(err, &p) && p.Type == kind
		}
	}
	lint := func(name string) func(error) bool {
		return func(err error) bool {
			var l *LintError
			return errors.As(err, &l) && l.Lint == name && strings.Contains(err.Error(), name)
		}
	}
	says := func(words string) func(error) bool {
		return func(err error) bool {
			return strings.Contains(err.Error(), words) && !errors.As(err, new(*acme.Problem)) && !errors.As(err, new(*LintError))
		}
	}
	var many []string
	for i := range maxIdentifiers + 1 {
		many = append(many, fmt.Sprintf("a%d.test", i))
	}
	for _, test := range []struct {
		name string
		edit func(*Request)
		is   func(error) bool
	}{
		{"no id", func(r *Request) { r.ID = "" }, says("no id")},
		{"no CSR", func(r *Request) { r.CSR = nil }, says("no CSR")},
		{"CSR without key", func(r *Request) { r.CSR = &x509.CertificateRequest{} }, says("no CSR")},
		{"CSR with a key of no known kind", func(r *Request) { r.CSR = &x509.CertificateRequest{PublicKey: "x"} }, says("key")},
		{"never finalized", func(r *Request) { r.FinalizedAt = time.Time{} }, says("no time of finalization")},
		{"no names", func(r *Request) { r.Identifiers = nil }, says("0 identifiers")},
		{"too many names", func(r *Request) { r.Identifiers = identifiers(many...) }, says("101 identifiers")},
		{"a name twice", func(r *Request) { r.Identifiers = identifiers("a.test", "a.test") }, says("duplicate")},
		{"a name in upper case", func(r *Request) { r.Identifiers = identifiers("A.test") }, says("not normalized")},
		{"a bad name", func(r *Request) { r.Identifiers = identifiers("a b") }, problem(acme.RejectedIdentifier)},
		{"an unknown kind of name", func(r *Request) { r.Identifiers[0].Type = "email" }, problem(acme.UnsupportedIdentifier)},
		{"the CA's key", func(r *Request) { r.CSR = testCSR(testKey(ECDSAP256, "intermediate"), "") }, problem(acme.BadCSR)},
		{"the root's key", func(r *Request) { r.CSR = testCSR(testKey(ECDSAP256, "root"), "") }, problem(acme.BadCSR)},
		{"too long", func(r *Request) { r.NotAfter = testNow.Add(91 * day) }, problem(acme.Malformed)},
		{"start long before the order", func(r *Request) { r.NotBefore = testNow.Add(-day) }, problem(acme.Malformed)},
		{"finalized after the CA", func(r *Request) { r.FinalizedAt = a.NotAfter().Add(time.Second) }, says("expired at 2029-03-27T12:00:00Z")},
		{"asked to outlive the CA", func(r *Request) {
			r.FinalizedAt = a.NotAfter().Add(-day)
			r.NotAfter = a.NotAfter().Add(time.Second)
		}, problem(acme.Malformed)},
		{"asked to be older than the CA", func(r *Request) {
			r.FinalizedAt = testNow.Add(-day)
			r.NotBefore = testNow.Add(-day - time.Minute)
		}, problem(acme.Malformed)},
		{"AIA over TLS", func(r *Request) { r.IssuerURL = "https://ca.test/ca.der" }, lint("e_aia_ca_issuers_must_have_http_only")},
		{"CRL over LDAP", func(r *Request) { r.CRLURL = "ldap://ca.test/crl" }, lint("e_crl_distrib_points_not_http")},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := testRequest("a.test")
			test.edit(&r)
			prepared, err := a.Prepare(testProfile(), r)
			if err == nil || !test.is(err) || prepared != nil {
				t.Errorf("got %v and %v", prepared, err)
			}
			if cert, err := a.Issue(testProfile(), r); err == nil || cert != nil {
				t.Errorf("issued %v", cert)
			}
		})
	}
}

// A certificate's validity is within its CA's if the client requested no times.
func TestIssueWithinTheChain(t *testing.T) {
	a := testAuthority(t, ECDSAP256)
	first, last := a.Certificate().NotBefore, a.NotAfter()
	r := testRequest("a.test")
	r.FinalizedAt = last.Add(-day)
	if cert := must(a.Issue(testProfile(), r)); !cert.NotAfter.Equal(last) {
		t.Errorf("valid until %v", cert.NotAfter)
	}
	r.FinalizedAt = first
	if cert := must(a.Issue(testProfile(), r)); !cert.NotBefore.Equal(first) {
		t.Errorf("valid from %v", cert.NotBefore)
	}
	r.FinalizedAt, r.OrderedAt, r.NotBefore = testNow, testNow.Add(-time.Hour), testNow.Add(-time.Hour)
	if cert := must(a.Issue(testProfile(), r)); !cert.NotBefore.Equal(r.NotBefore) {
		t.Errorf("valid from %v", cert.NotBefore)
	}
}

func TestLeapDayAndYear2050(t *testing.T) {
	root := testCert(caCert("Root", func(c *x509.Certificate) { c.NotAfter = testNow.Add(40 * 365 * day) }), testKey(ECDSAP256, "root"), nil)
	a := must(LoadAuthority(material(root), testNow))
	for _, at := range []time.Time{
		time.Date(2028, 2, 29, 0, 0, 0, 0, time.UTC), time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(2050, 6, 1, 0, 0, 0, 0, time.UTC),
	} {
		r := testRequest("a.test")
		r.FinalizedAt = at
		cert := must(a.Issue(testProfile(func(c *ProfileConfig) { c.Lifetime, c.Backdate = 365*day, 0 }), r))
		if !cert.NotBefore.Equal(at) || cert.NotAfter.Sub(cert.NotBefore) != 365*day-time.Second {
			t.Errorf("valid from %v to %v", cert.NotBefore, cert.NotAfter)
		}
	}
}

func TestPreparedIsSignedOnceAndByItsAuthority(t *testing.T) {
	a, b := testAuthority(t, ECDSAP256), testAuthority(t, ECDSAP256)
	prepared := must(a.Prepare(testProfile(), testRequest("a.test")))
	_, err := b.Sign(prepared)
	wantError(t, err, "another authority")
	cert := must(a.Sign(prepared))
	if !bytes.Equal(cert.RawTBSCertificate, prepared.body.tbs) {
		t.Error("what was signed is not what was linted")
	}
	_, err = a.Sign(prepared)
	wantError(t, err, "signed before")

	prepared = must(a.Prepare(testProfile(), testRequest("a.test")))
	var signed sync.Map
	var wait sync.WaitGroup
	for i := range 20 {
		wait.Go(func() {
			if _, err := a.Sign(prepared); err == nil {
				signed.Store(i, true)
			}
		})
	}
	wait.Wait()
	count := 0
	signed.Range(func(any, any) bool { count++; return true })
	if count != 1 {
		t.Errorf("signed %d times", count)
	}
}

func TestAuthorityIsSafeForConcurrentUse(t *testing.T) {
	a := testAuthority(t, ECDSAP256)
	want := must(a.Issue(testProfile(), testRequest("a.test"))).Raw
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 5 {
				if cert, err := a.Issue(testProfile(), testRequest("a.test")); err != nil || !bytes.Equal(cert.Raw, want) {
					t.Errorf("got another certificate: %v", err)
				}
			}
		})
	}
	wait.Wait()
}
