package policy

import (
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

// MaxCSR bounds a certificate signing request in bytes of DER: one hundred names of the greatest length take 26 KiB.
const MaxCSR = 32 << 10

// CSROptions says what a certificate signing request is held against.
type CSROptions struct {
	// KeyAlgorithms that the profile takes; without any, all but ECDSA on the curve P-521.
	KeyAlgorithms []v1alpha1.CertificateKeyAlgorithm
	// CAKeys are those of CA certificates, which no other certificate may have.
	CAKeys []crypto.PublicKey
	// AccountKey is the key of the account that orders, which no certificate may have (RFC 8555 section 11.1); nil for none.
	AccountKey crypto.PublicKey
}

// ParseCSR reads the DER of a PKCS #10 request (RFC 2986) for a certificate with exactly these identifiers, which are
// normalized ones. The problem, nearly always a badCSR, says what is wrong with it.
//
// A request that gets through is signed by its own key with a modern algorithm; the key is good; its names, those of the SAN
// and the common name together, are the identifiers; and it asks for nothing that makes a CA. Other attributes of its
// subject and other extensions are let pass, since nothing of them is ever copied.
func ParseCSR(der []byte, identifiers []acme.Identifier, o CSROptions) (*x509.CertificateRequest, *acme.Problem) {
	if len(der) > MaxCSR {
		return nil, badCSR("the CSR is larger than %d bytes", MaxCSR)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, badCSR("the CSR cannot be read: %v", err)
	}
	// The key comes before the signature, which costs what the key's size says.
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

func badCSR(format string, args ...any) *acme.Problem {
	return acme.NewProblem(acme.BadCSR, format, args...)
}

func checkCSRKey(pub crypto.PublicKey, o CSROptions) *acme.Problem {
	allowP521 := slices.Contains(o.KeyAlgorithms, v1alpha1.KeyECDSAP521)
	if problem := CheckKey(pub, KeyOptions{Type: acme.BadCSR, AllowP521: allowP521}); problem != nil {
		return problem
	}
	if algorithm := keyAlgorithm(pub); len(o.KeyAlgorithms) > 0 && !slices.Contains(o.KeyAlgorithms, algorithm) {
		return badCSR("the CSR's key is %s, and the order's profile takes %s", algorithm, listed(o.KeyAlgorithms))
	}
	if slices.ContainsFunc(o.CAKeys, func(key crypto.PublicKey) bool { return pki.EqualKeys(pub, key) }) {
		return badCSR("the certificate's key is that of a CA certificate; use another one")
	}
	if o.AccountKey != nil && pki.EqualKeys(pub, o.AccountKey) {
		return badCSR("the certificate's key is the account's key; use another one")
	}
	return nil
}

// keyAlgorithm names the algorithm of a key that CheckKey has let through.
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

// csrAlgorithms are the signatures that a CSR may have. MD5 and SHA-1 are broken, and x509 still checks SHA-1 in CSRs.
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
		return badCSR("the CSR's signature is not that of its key")
	}
	return nil
}

// checkNames compares the names of the CSR with the order's as sets (RFC 8555 section 7.4).
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
