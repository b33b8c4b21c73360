package policy

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"slices"
	"strings"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/pki"
)

// MaxCSR is the limit of a certificate signing request in bytes of DER. One hundred names of maximum length take 26 KiB.
const MaxCSR = 32 << 10

// CSROptions are conditions on a certificate signing request.
type CSROptions struct {
	// KeyAlgorithms lists the key algorithms of the profile. If empty, all but ECDSA-P521 are accepted.
	KeyAlgorithms []v1alpha1.CertificateKeyAlgorithm
	// CAKeys lists the keys of CA certificates. No other certificate may have one of them.
	CAKeys []crypto.PublicKey
	// AccountKey is the key of the ordering account, or nil. No certificate may have it (RFC 8555 section 11.1).
	AccountKey crypto.PublicKey
}

// ParseCSR reads the DER of a PKCS #10 request (RFC 2986) for a certificate with exactly the given normalized identifiers. The
// problem is badCSR.
//
// An accepted CSR is signed by its own key with a modern algorithm. The key is strong. The names of SAN and common name together are
// the identifiers. The CSR asks for nothing that is reserved for a CA. Other subject attributes and extensions are ignored, because
// they are never copied.
func ParseCSR(der []byte, identifiers []acme.Identifier, o CSROptions) (*x509.CertificateRequest, *acme.Problem) {
	if len(der) > MaxCSR {
		return nil, badCSR("the CSR is larger than %d bytes", MaxCSR)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, unreadableCSR(der, err)
	}
	// The key is checked before the signature, because its size bounds the cost of verification.
	for _, check := range []func() *acme.Problem{
		func() *acme.Problem { return checkCSRKey(csr.PublicKey, o) },
		func() *acme.Problem { return checkCSRSignature(csr) },
		func() *acme.Problem { return checkExtensions(csr.Extensions) },
		func() *acme.Problem { return checkNames(csr, identifiers) },
	} {
		if problem := check(); problem != nil {
			return nil, problem
		}
	}
	return csr, nil
}

// unreadableCSR explains to the client why x509 refused a CSR with err.
func unreadableCSR(der []byte, err error) *acme.Problem {
	reason := "it is not the DER of a valid PKCS #10 request (RFC 2986)"
	switch {
	case bytes.HasPrefix(bytes.TrimSpace(der), []byte("-----BEGIN")):
		reason = "it is PEM; send its DER in base64url"
	case strings.Contains(err.Error(), "trailing data"):
		reason = "it has trailing data"
	case strings.Contains(err.Error(), "duplicate"):
		reason = "it has a duplicate extension"
	}
	return badCSR("the CSR cannot be read: %s", reason)
}

func badCSR(format string, args ...any) *acme.Problem {
	return acme.NewProblem(acme.BadCSR, format, args...)
}

func checkCSRKey(pub crypto.PublicKey, o CSROptions) *acme.Problem {
	allowP521 := slices.Contains(o.KeyAlgorithms, v1alpha1.KeyECDSAP521)
	if problem := CheckKey(pub, KeyOptions{Type: acme.BadCSR, AllowP521: allowP521}); problem != nil {
		return problem
	}
	if algorithm := keyAlgorithm(pub); len(o.KeyAlgorithms) > 0 && !slices.Contains(o.KeyAlgorithms, algorithm) {
		return badCSR("the CSR's key is %s; the profile of the order accepts %s", algorithm, listed(o.KeyAlgorithms))
	}
	if slices.ContainsFunc(o.CAKeys, func(key crypto.PublicKey) bool { return pki.EqualKeys(pub, key) }) {
		return badCSR("the certificate's key is the key of a CA certificate; use another key")
	}
	if o.AccountKey != nil && pki.EqualKeys(pub, o.AccountKey) {
		return badCSR("the certificate's key is the account's key; use another key")
	}
	return nil
}

// keyAlgorithm returns the algorithm of a key that CheckKey accepted.
func keyAlgorithm(pub crypto.PublicKey) v1alpha1.CertificateKeyAlgorithm {
	switch key := pub.(type) {
	case *rsa.PublicKey:
		return v1alpha1.KeyRSA
	case *ecdsa.PublicKey:
		return v1alpha1.CertificateKeyAlgorithm("ECDSA-" + strings.ReplaceAll(key.Curve.Params().Name, "-", ""))
	case ed25519.PublicKey:
		return v1alpha1.KeyEd25519
	}
	return ""
}

func listed(algorithms []v1alpha1.CertificateKeyAlgorithm) string {
	var names []string
	for _, a := range algorithms {
		names = append(names, string(a))
	}
	return strings.Join(names, ", ")
}

// csrAlgorithms lists the accepted signature algorithms. MD5 and SHA-1 are broken, but x509 still verifies SHA-1 in CSRs.
var csrAlgorithms = []x509.SignatureAlgorithm{
	x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
	x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
	x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512,
	x509.PureEd25519,
}

func checkCSRSignature(csr *x509.CertificateRequest) *acme.Problem {
	if !slices.Contains(csrAlgorithms, csr.SignatureAlgorithm) {
		return badCSR("the CSR is signed with %s; use SHA-256, SHA-384, SHA-512 or Ed25519", csr.SignatureAlgorithm)
	}
	if err := csr.CheckSignature(); err != nil {
		return badCSR("the CSR's signature does not verify with its key")
	}
	return nil
}

// checkNames requires that the names of the CSR and of the order are the same set (RFC 8555 section 7.4).
func checkNames(csr *x509.CertificateRequest, identifiers []acme.Identifier) *acme.Problem {
	asked, problem := sanIdentifiers(csr.Extensions)
	if problem != nil {
		return problem
	}
	for _, attribute := range csr.Subject.Names {
		if !attribute.Type.Equal(oidCommonName) {
			continue
		}
		commonName, ok := attribute.Value.(string)
		if !ok {
			return badCSR("the CSR's common name is not a string")
		}
		if commonName == "" {
			continue
		}
		id, problem := normalize(identifierOf(commonName))
		if problem != nil || !slices.Contains(identifiers, id) {
			return badCSR("the CSR's common name %q is not one of the order's names", acme.Printable(commonName, acme.MaxNameLength))
		}
		asked[id] = true
	}
	for _, id := range identifiers {
		if !asked[id] {
			return badCSR("the CSR lacks the order's name %q", id.Value).About(id)
		}
		delete(asked, id)
	}
	for id := range asked {
		return badCSR("the CSR has the name %q, which is not in the order", id.Value).About(id)
	}
	return nil
}

var oidCommonName = asn1.ObjectIdentifier{2, 5, 4, 3}
