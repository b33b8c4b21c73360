package acmeserver

import (
	"bufio"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/acmeca/acmeca/acmeserver/answer"
	"github.com/acmeca/acmeca/acmeserver/issuers"
	"github.com/acmeca/acmeca/acmeserver/page"
	"github.com/acmeca/acmeca/acmeserver/published"
	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// crlFile returns the complete CRLs of all CAs of the issuer in PEM. Programs that verify certificates read the CRLs of a whole
// chain from one file. A CRL that the operator makes must not be missing: some programs would refuse the certificates of the CA,
// and others accept revoked ones.
func (s *Server) crlFile(c *call) (*answer.Answer, error) {
	signing := slices.Concat(c.issuer.Authorities[:min(1, len(c.issuer.Authorities))],
		issuers.ParseCertificates([]byte(c.issuer.Status.RetiredCertificates)))
	var crls []*published.CRL
	var tag []byte
	var modified time.Time
	for _, authority := range withCRL(c.issuer) {
		crl, err := s.published.CRL(c.Context(), c.issuer.Key, v1alpha1.CAName(authority), s.now())
		switch {
		case errors.Is(err, store.ErrNotFound) && slices.ContainsFunc(signing, authority.Equal):
			return nil, answer.Unavailable("the CRL of %s is not published yet", authority.Subject)
		case errors.Is(err, store.ErrNotFound): // the root of a CA that was brought may have no CRL
		case err != nil:
			return nil, err
		}
		if err == nil {
			crls = append(crls, crl)
			tag = append(tag, crl.Tag...)
			if crl.ThisUpdate.After(modified) {
				modified = crl.ThisUpdate
			}
		}
	}
	if len(crls) == 0 {
		return nil, store.NotFound("CRL")
	}
	sum := sha256.Sum256(tag)
	result := &answer.Answer{Status: http.StatusOK, Stream: inPEM(crls), ContentType: "application/x-pem-file", MaxAge: crlMaxAge}
	return result.Cacheable(c.Request, hex.EncodeToString(sum[:16]), modified, nil), nil
}

// inPEM returns the CRLs in PEM, which is made while it is sent.
func inPEM(crls []*published.CRL) *answer.Stream {
	stream := &answer.Stream{Send: func(w io.Writer) error {
		for _, crl := range crls {
			err := crl.Send(w, func(w io.Writer) error {
				buffered := bufio.NewWriterSize(w, 64<<10)
				if err := v1alpha1.WriteCRL(buffered, crl.DER); err != nil {
					return err
				}
				return buffered.Flush()
			})
			if err != nil {
				return err
			}
		}
		return nil
	}}
	for _, crl := range crls {
		stream.Size += v1alpha1.CRLSize(len(crl.DER))
	}
	return stream
}

// withCRL returns the CAs of an issuer that can have a CRL, the one that issues first.
func withCRL(i *issuers.Issuer) []*x509.Certificate {
	all := slices.Concat(i.Authorities, i.Roots)
	if issuing := i.Status.IssuingCertificate; issuing != nil {
		all = append(all, issuers.ParseCertificates([]byte(issuing.Chain))...)
	}
	return v1alpha1.DistinctCAs(all)
}

// describeCRLs returns the complete CRLs of the issuer for the page. A CRL that can't be read is left out.
func (s *Server) describeCRLs(c *call) []page.CRL {
	var described []page.CRL
	for _, authority := range withCRL(c.issuer) {
		name := v1alpha1.CAName(authority)
		crl, err := s.published.CRL(c.Context(), c.issuer.Key, name, s.now())
		if err != nil {
			continue
		}
		summary := crl.Summary()
		described = append(described, page.CRL{Authority: authority.Subject.String(), Name: name, Number: fmt.Sprint(summary.Number),
			Entries: summary.Entries, NextUpdate: crl.NextUpdate})
	}
	return described
}
