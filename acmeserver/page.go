package acmeserver

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	_ "embed"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// The page for people is one file, which needs no other: nothing to cache, to be blocked, or to be swapped. The policy
// permits the very style and script that are in it, by their hashes, and nothing else.
var (
	//go:embed page/page.html
	pageHTML string
	//go:embed page/page.css
	pageStyle string
	//go:embed page/page.js
	pageScript string

	pageTemplate = template.Must(template.New("page").Parse(pageHTML))
	pagePolicy   = "default-src 'none'; style-src " + hashSource(pageStyle) + "; script-src " + hashSource(pageScript) +
		"; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

func hashSource(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// pageMaxAge is for how long the page may be cached: it tells whether the issuer can issue.
const pageMaxAge = 10 * time.Second

// pageContent is what the page says of an issuer.
type pageContent struct {
	Style  template.CSS
	Script template.JS

	Name, Namespace, Issuer string
	Fault                   string
	Directory               string
	// Binding is whether an account needs an external key, and HTTP01 whether that challenge is offered, among Challenges.
	Binding, HTTP01 bool
	Challenges      string
	// File is what the roots are called where they are kept; Bundle is their PEM in base64.
	File, Bundle        string
	BundleURL, ChainURL string
	Certificates        []pageCertificate
	Profiles            []pageProfile
	CRLs                []pageLink
	Terms, Website      string
}

type pageCertificate struct {
	Subject, Role, NotAfter, Until string
	// Fingerprint is in parts, between which a line may end.
	Fingerprint []string
	// URL lacks the ending that says the format.
	URL string
}

type pageProfile struct{ Name, Lifetime, Usages, Description string }

type pageLink struct{ Name, URL string }

// page tells people how to trust an issuer, and how to get certificates from it.
func (s *Server) page(c *call) (*answer, error) {
	if c.base == "" {
		return nil, c.issuing() // not set up yet, so that there is nothing to tell
	}
	var html bytes.Buffer
	if err := pageTemplate.Execute(&html, c.pageContent()); err != nil {
		return nil, err
	}
	return &answer{
		status: http.StatusOK, raw: html.Bytes(), contentType: "text/html; charset=utf-8", maxAge: pageMaxAge,
		header: http.Header{
			"Content-Security-Policy": {pagePolicy},
			"Referrer-Policy":         {"no-referrer"},
			"X-Frame-Options":         {"DENY"},
		},
	}, nil
}

func (c *call) pageContent() *pageContent {
	i := c.issuer
	p := &pageContent{
		Style: template.CSS(pageStyle), Script: template.JS(pageScript),
		Name: i.key.Name, Namespace: i.key.Namespace, Issuer: i.key.Name, Directory: c.url(acme.DirectoryPath),
		Binding: i.spec.Account.ExternalAccountBinding.Required, HTTP01: slices.Contains(i.spec.Challenges.Types, acme.HTTP01), Challenges: challengeNames(i.spec.Challenges.Types),
		File: i.key.Name + "-ca.crt", Bundle: base64.StdEncoding.EncodeToString([]byte(i.status.CABundle)), BundleURL: c.longURL("ca.crt"),
		Profiles: pageProfiles(i.spec.Profiles), Terms: i.spec.Account.TermsOfService, Website: i.spec.Account.Website,
	}
	if i.fault != nil {
		p.Fault = i.fault.Detail
	}
	if i.status.IssuingCertificate != nil {
		p.ChainURL = c.longURL(acme.CAPrefix + chainFile)
	}
	for n, root := range i.roots {
		if n == 0 {
			p.Name = cmp.Or(root.Subject.CommonName, p.Name)
		}
		p.Certificates = append(p.Certificates, c.pageCertificate(root, "Root, to be trusted"))
	}
	for n, authority := range i.authorities {
		role := "Intermediate that signs now"
		if n > 0 {
			role = "Intermediate that signed before"
		}
		if !slices.ContainsFunc(i.roots, authority.Equal) {
			p.Certificates = append(p.Certificates, c.pageCertificate(authority, role))
		}
		for number := range max(i.spec.CRL.Shards, 1) {
			shard := v1alpha1.CRLShardName(authority, number)
			p.CRLs = append(p.CRLs, pageLink{shard, c.longURL(acme.CRLPrefix + shard + acme.CRLSuffix)})
		}
	}
	return p
}

// longURL is on the issuer's long base, which has more than the short one.
func (c *call) longURL(path string) string {
	long := "/" + c.issuer.key.Namespace + "/" + c.issuer.key.Name
	return acme.Base(strings.TrimSuffix(string(c.base), long) + long).URL(path)
}

func (c *call) pageCertificate(certificate *x509.Certificate, role string) pageCertificate {
	sum := sha256.Sum256(certificate.Raw)
	var parts []string
	for part := range slices.Chunk(sum[:], 4) {
		parts = append(parts, strings.ReplaceAll(fmt.Sprintf("% X:", part), " ", ":"))
	}
	parts[len(parts)-1] = strings.TrimSuffix(parts[len(parts)-1], ":")
	return pageCertificate{
		Subject: certificate.Subject.String(), Role: role, Fingerprint: parts,
		NotAfter: certificate.NotAfter.UTC().Format(time.RFC3339), Until: certificate.NotAfter.UTC().Format("2 January 2006, 15:04 MST"),
		URL: c.longURL(acme.CAPrefix + v1alpha1.CAName(certificate)),
	}
}

func challengeNames(types []acme.ChallengeType) string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = string(t)
	}
	return strings.Join(names, " or ")
}

func pageProfiles(profiles []v1alpha1.Profile) []pageProfile {
	words := map[v1alpha1.Usage]string{v1alpha1.UsageServerAuth: "TLS servers", v1alpha1.UsageClientAuth: "TLS clients"}
	var shown []pageProfile
	for _, p := range profiles {
		var usages []string
		for _, u := range p.Usages {
			usages = append(usages, words[u])
		}
		shown = append(shown, pageProfile{Name: p.Name, Lifetime: inWords(p.Lifetime.Duration), Usages: strings.Join(usages, " and "), Description: p.Description})
	}
	return shown
}

// inWords says a lifetime as people do.
func inWords(d time.Duration) string {
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if n := d / unit.length; n > 1 && d%unit.length == 0 {
			return fmt.Sprintf("%d %ss", n, unit.name)
		} else if d == unit.length {
			return "1 " + unit.name
		}
	}
	return d.String()
}

// chainFile is the name of the certificates that clients are given after theirs.
const chainFile = "chain.pem"

func encodePEM(certificate *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
}
