package ca

import (
	"crypto/x509"
	"math/big"
	"net/url"
	"slices"
	"testing"
	"time"

	zx509 "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3/lint"
)

// findings runs every lint of the sources, including the excluded ones.
func findings(tb testing.TB, der []byte, found map[string]bool) {
	tb.Helper()
	registry := must(lint.GlobalRegistry().Filter(lint.FilterOptions{IncludeSources: lintSources}))
	cert := must(zx509.ParseCertificate(der))
	for _, l := range registry.CertificateLints().Lints() {
		if finding(l.LintMetadata, l.Execute(cert, registry.GetConfiguration())) != nil {
			found[l.Name] = true
		}
	}
}

func crlFindings(tb testing.TB, der []byte, found map[string]bool) {
	tb.Helper()
	registry := must(lint.GlobalRegistry().Filter(lint.FilterOptions{IncludeSources: lintSources}))
	crl := must(zx509.ParseRevocationList(der))
	for _, l := range registry.RevocationListLints().Lints() {
		if finding(l.LintMetadata, l.Execute(crl, registry.GetConfiguration())) != nil {
			found[l.Name] = true
		}
	}
}

// Each exclusion permits a certificate or CRL that this CA must be able to issue. Without the exclusions, other lints pass.
func TestLintExclusionsAreThoseNeeded(t *testing.T) {
	found := map[string]bool{}
	for _, algorithm := range []KeyAlgorithm{ECDSAP256, Ed25519} {
		root := must(NewRoot(CAConfig{CommonName: "Root", KeyAlgorithm: algorithm, Lifetime: 30 * 365 * day}, testNow))
		intermediate := must(NewIntermediate(CAConfig{CommonName: "I", KeyAlgorithm: algorithm, Lifetime: 25 * 365 * day}, root, testNow))
		constrained := testCert(caCert("Constrained", func(c *x509.Certificate) {
			c.PermittedDNSDomainsCritical = true
			c.PermittedIPRanges = ipNets("10.0.0.0/8")
		}), root.Key, root)
		for _, pair := range []*KeyPair{root, intermediate, constrained} {
			findings(t, pair.Certificate.Raw, found)
		}
		// A user's CA can have a name with a discouraged encoding.
		brought := testCert(caCert("Brought", func(c *x509.Certificate) {
			c.NotAfter = testNow.Add(10 * 365 * day)
			c.RawSubject = nameWithCountry(12)
		}), testKey(algorithm, "brought"), nil)

		for _, ca := range [][]*KeyPair{{intermediate, root}, {brought}} {
			a := must(LoadAuthority(material(ca...), testNow))
			// The Baseline Requirements shorten lifetimes in steps, by the date of issuance.
			for _, at := range []time.Time{testNow, testNow.Add(300 * day), testNow.Add(3 * 365 * day)} {
				for _, p := range []*Profile{
					testProfile(func(c *ProfileConfig) { c.Lifetime = 5 * 365 * day; c.KeepCommonName = true }),
					testProfile(func(c *ProfileConfig) { c.ExtKeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }),
				} {
					for _, names := range [][]string{
						{"host"}, {"a.corp.internal", "*.a.corp.internal"}, {"10.0.0.1", "fd00::1"}, {"1.0.0.10.in-addr.arpa"}, {"com"},
						{"xn--bcher-kva.test", "a-b.c--d.e", "0.1a"},
						{"2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"},
					} {
						r := testRequest(names...)
						r.CSR = testCSR(testKey(algorithm, "subscriber"), names[0])
						r.FinalizedAt = at
						r.IssuerURL, r.CRLURL = "", ""
						template := must(a.template(p, r))
						template.URIs = []*url.URL{must(url.Parse("spiffe://cluster/ns/shop/sa/web"))}
						der := must(x509.CreateCertificate(nil, template, a.lintIssuer, r.CSR.PublicKey, a.throwAway.key))
						findings(t, der, found)
					}
				}
			}
		}
	}
	crl := CRL{Number: big.NewInt(1), ThisUpdate: testNow, NextUpdate: testNow.Add(365 * day), URLs: []string{crlURL},
		Entries: entriesOf(Entry{Serial: big.NewInt(1), RevokedAt: testNow}, Entry{Serial: big.NewInt(2), RevokedAt: testNow, Reason: CACompromise})}
	a := testAuthority(t, ECDSAP256)
	crlFindings(t, must(a.throwAway.sign(must(a.encodeCRL(crl)))), found)

	for name := range found {
		if _, excluded := lintExclusions[name]; !excluded {
			t.Errorf("lint %s stops a certificate that is to be issued", name)
		}
	}
	for _, name := range sortedKeys(lintExclusions) {
		if !found[name] {
			t.Errorf("nothing needs the exclusion of lint %s", name)
		}
	}
}

// The linted signature is by a throw-away key, so lints that verify it with other keys cost much and find nothing.
func TestSignaturesAreNotLinted(t *testing.T) {
	registry := must(lints())
	for _, name := range lintsOfSignatures {
		if lint.GlobalRegistry().CertificateLints().ByName(name) == nil {
			t.Errorf("zlint has no lint %s", name)
		}
		if registry.CertificateLints().ByName(name) != nil {
			t.Errorf("lint %s runs for each certificate", name)
		}
	}
}

// A lint counts from a date on. No lint may begin to stop certificates and CRLs that pass today.
func TestLintsPassInTheYearsToCome(t *testing.T) {
	dates := []time.Time{testNow, testNow.Add(10 * 365 * day), testNow.Add(20 * 365 * day)}
	for _, l := range lint.GlobalRegistry().CertificateLints().Lints() {
		dates = append(dates, l.EffectiveDate.Add(day), l.IneffectiveDate.Add(day))
	}
	for _, l := range lint.GlobalRegistry().RevocationListLints().Lints() {
		dates = append(dates, l.EffectiveDate.Add(day), l.IneffectiveDate.Add(day))
	}
	slices.SortFunc(dates, time.Time.Compare)
	dates = slices.DeleteFunc(slices.Compact(dates), func(at time.Time) bool { return at.Before(testNow) })
	if len(dates) < 5 { // 2027-03-15 (clientAuth) and 2029-03-15 are in zlint 3.7.3
		t.Fatalf("lints have no dates to come: %s", dates)
	}
	for _, algorithm := range []KeyAlgorithm{ECDSAP256, RSA2048, Ed25519} {
		root := must(NewRoot(CAConfig{CommonName: "Root", KeyAlgorithm: algorithm, Lifetime: 60 * 365 * day}, testNow))
		for _, at := range dates {
			lintAt(t, algorithm, root, at)
		}
	}
}

// lintAt issues from an intermediate that is made at a time, with profiles of short and long lifetimes and of each usage.
func lintAt(t *testing.T, algorithm KeyAlgorithm, root *KeyPair, at time.Time) {
	t.Helper()
	intermediate := must(NewIntermediate(CAConfig{CommonName: "I", KeyAlgorithm: algorithm, Lifetime: 10 * 365 * day}, root, at))
	a := must(LoadAuthority(material(intermediate, root), at))
	for _, usages := range [][]x509.ExtKeyUsage{
		{x509.ExtKeyUsageServerAuth}, {x509.ExtKeyUsageClientAuth}, {x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	} {
		for _, lifetime := range []time.Duration{day, 5 * 365 * day} {
			p := testProfile(func(c *ProfileConfig) { c.Lifetime, c.ExtKeyUsages, c.KeepCommonName = lifetime, usages, true })
			for _, names := range [][]string{{"host", "*.a.corp.internal", "nas.home.arpa"}, {"10.0.0.1", "fd00::1"}} {
				r := testRequest(names...)
				r.CSR = testCSR(testKey(algorithm, "subscriber"), names[0])
				r.FinalizedAt = at
				if _, err := a.Issue(p, r); err != nil {
					t.Errorf("%s, %s, %v for %s at %s: %v", algorithm, names, usages, lifetime, at.Format(time.DateOnly), err)
				}
			}
		}
	}
	if _, err := a.SignCRL(CRL{Number: big.NewInt(1), ThisUpdate: at, NextUpdate: at.Add(7 * day), URLs: []string{crlURL},
		Entries: entriesOf(Entry{Serial: big.NewInt(1), RevokedAt: at, Reason: 1})}); err != nil {
		t.Errorf("%s: CRL at %s: %v", algorithm, at.Format(time.DateOnly), err)
	}
}
