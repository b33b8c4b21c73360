// Package page renders the page for people: how to trust an issuer, and how to get certificates from it.
package page

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"github.com/acmeca/acmeca/acmeserver/issuers"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// The page is one file that loads no other, so that nothing can be cached, blocked or replaced by itself. Policy allows the
// page's own style and script, by their hashes, and nothing else.
var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageStyle string
	//go:embed page.js
	pageScript string

	pageTemplate = template.Must(template.New("page").Parse(pageHTML))

	// Policy is the Content-Security-Policy of the page.
	Policy = "default-src 'none'; style-src " + hashSource(pageStyle) + "; script-src " + hashSource(pageScript) +
		"; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

func hashSource(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// MaxAge is how long the page may be cached. It shows whether the issuer can issue now.
const MaxAge = 10 * time.Second

// ChainFile is the name, below acme.CAPrefix, of the chain that clients get after their certificate.
const ChainFile = "chain.pem"

// content is the data of the template.
type content struct {
	Style  template.CSS
	Script template.JS

	Name, Namespace, Issuer string
	Fault                   string
	Directory               string
	// Binding says that an account needs an external key; HTTP01 says that Challenges include that one.
	Binding, HTTP01 bool
	Challenges      string
	// File is the suggested file name of the roots; Bundle is their PEM in base64.
	File, Bundle        string
	BundleURL, ChainURL string
	Certificates        []certificate
	Profiles            []profile
	CRLs                []CRL
	CRLFileURL          string
	Terms, Website      string
}

type certificate struct {
	Subject, Role, NotAfter, Until string
	// Fingerprint is in parts, between which a line may break.
	Fingerprint []string
	// URL lacks the suffix for the format.
	URL string
}

type profile struct {
	Name, Lifetime, Usages, Description string
	// Default says that orders which name no profile get this one.
	Default bool
}

// CRL is a complete CRL of the issuer.
type CRL struct {
	// Authority is the subject of the CA, and Name the name of the CRL.
	Authority, Name, Number string
	Entries                 int
	NextUpdate              time.Time
	// URL is set by Render.
	URL string
}

// Render returns the HTML page of an issuer. base is the URL under which the client reached the issuer.
func Render(i *issuers.Issuer, base acme.Base, crls []CRL) ([]byte, error) {
	var html bytes.Buffer
	err := pageTemplate.Execute(&html, contentOf(i, base, crls))
	return html.Bytes(), err
}

func contentOf(i *issuers.Issuer, base acme.Base, crls []CRL) *content {
	// The long base serves more than the short one.
	long := "/" + i.Key.Namespace + "/" + i.Key.Name
	longURL := acme.Base(strings.TrimSuffix(string(base), long) + long).URL
	p := &content{
		Style: template.CSS(pageStyle), Script: template.JS(pageScript),
		Name: i.Key.Name, Namespace: i.Key.Namespace, Issuer: i.Key.Name, Directory: base.URL(acme.DirectoryPath),
		Binding: i.Spec.Account.ExternalAccountBinding.Required, HTTP01: slices.Contains(i.Spec.Challenges.Types, acme.HTTP01),
		Challenges: challengeNames(i.Spec.Challenges.Types),
		File:       i.Key.Name + "-ca.crt", Bundle: base64.StdEncoding.EncodeToString([]byte(i.Status.CABundle)), BundleURL: longURL("ca.crt"),
		Profiles: describeProfiles(i.Spec), Terms: i.Spec.Account.TermsOfService, Website: i.Spec.Account.Website,
	}
	if i.Fault != nil {
		p.Fault = i.Fault.Detail
	}
	if i.Status.IssuingCertificate != nil {
		p.ChainURL = longURL(acme.CAPrefix + ChainFile)
	}
	for n, root := range i.Roots {
		if n == 0 {
			p.Name = cmp.Or(root.Subject.CommonName, p.Name)
		}
		p.Certificates = append(p.Certificates, describe(root, "Root, to be trusted", longURL(acme.CAPrefix+v1alpha1.CAName(root))))
	}
	for n, authority := range i.Authorities {
		role := "Intermediate that signs now"
		if n > 0 {
			role = "Intermediate that signed before"
		}
		if !slices.ContainsFunc(i.Roots, authority.Equal) {
			p.Certificates = append(p.Certificates, describe(authority, role, longURL(acme.CAPrefix+v1alpha1.CAName(authority))))
		}
	}
	p.CRLFileURL = longURL(acme.CRLPrefix + acme.CRLFile)
	for _, crl := range crls {
		crl.URL = longURL(acme.CRLPrefix + crl.Name + acme.CRLSuffix)
		p.CRLs = append(p.CRLs, crl)
	}
	return p
}

func describe(c *x509.Certificate, role, url string) certificate {
	sum := sha256.Sum256(c.Raw)
	var parts []string
	for part := range slices.Chunk(sum[:], 4) {
		parts = append(parts, strings.ReplaceAll(fmt.Sprintf("% X:", part), " ", ":"))
	}
	parts[len(parts)-1] = strings.TrimSuffix(parts[len(parts)-1], ":")
	return certificate{
		Subject: c.Subject.String(), Role: role, Fingerprint: parts,
		NotAfter: c.NotAfter.UTC().Format(time.RFC3339), Until: c.NotAfter.UTC().Format("2 January 2006, 15:04 MST"),
		URL: url,
	}
}

func challengeNames(types []acme.ChallengeType) string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = string(t)
	}
	return strings.Join(names, " or ")
}

func describeProfiles(spec *v1alpha1.AcmeIssuerSpec) []profile {
	words := map[v1alpha1.Usage]string{v1alpha1.UsageServerAuth: "TLS servers", v1alpha1.UsageClientAuth: "TLS clients"}
	var shown []profile
	for n, p := range spec.Profiles {
		var usages []string
		for _, u := range p.Usages {
			usages = append(usages, words[u])
		}
		shown = append(shown, profile{
			Name: p.Name, Lifetime: readable(p.Lifetime.Duration), Usages: strings.Join(usages, " and "), Description: p.Description,
			Default: p.Name == spec.DefaultProfile || spec.DefaultProfile == "" && n == 0,
		})
	}
	return shown
}

// readable formats a lifetime for people.
func readable(d time.Duration) string {
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
