package acmeserver

import (
	"bytes"
	"crypto/x509"
	"errors"
	"net/http"
	"slices"

	"github.com/acmeca/acmeca/acmeserver/answer"
	"github.com/acmeca/acmeca/acmeserver/issuers"
	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// crlFile returns the complete CRLs of all CAs of the issuer in PEM. Programs that verify certificates read the CRLs of a whole
// chain from one file. A CRL that the operator makes must not be missing: some programs would refuse the certificates of the CA,
// and others accept revoked ones.
func (s *Server) crlFile(c *call) (*answer.Answer, error) {
	signing := slices.Concat(c.issuer.Authorities[:min(1, len(c.issuer.Authorities))], issuers.ParseCertificates([]byte(c.issuer.Status.RetiredCertificates)))
	var text bytes.Buffer
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
			text.Write(v1alpha1.EncodeCRL(crl))
		}
	}
	if text.Len() == 0 {
		return nil, store.NotFound("CRL")
	}
	return &answer.Answer{Status: http.StatusOK, Raw: text.Bytes(), ContentType: "application/x-pem-file"}, nil
}

// withCRL returns the CAs of an issuer that can have a CRL, the one that issues first.
func withCRL(i *issuers.Issuer) []*x509.Certificate {
	all := slices.Concat(i.Authorities, i.Roots)
	if issuing := i.Status.IssuingCertificate; issuing != nil {
		all = append(all, issuers.ParseCertificates([]byte(issuing.Chain))...)
	}
	return v1alpha1.DistinctCAs(all)
}
