package policy

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// AdmitPod checks the names that a rule of spec.podCertificates granted to a Pod, and its request. The rule stands in for the allow
// lists and for challenges. Everything that denies still holds: deny lists, name constraints, wildcards, and the rules of
// spec.policy, for which the account is empty.
func (p *Policy) AdmitPod(names []acme.Identifier, profile string, csr *x509.CertificateRequest, caKeys []crypto.PublicKey) *acme.Problem {
	granted := *p
	granted.allowNames, granted.account, granted.binding = nil, nil, nil
	for _, id := range names {
		reason := granted.nameRefusal(id, true)
		if cert := p.constraints.Check(id); reason == "" && cert != nil {
			reason = fmt.Sprintf("is outside the name constraints of the CA certificate %q", cert.Subject.String())
		}
		if reason != "" {
			return acme.NewProblem(acme.RejectedIdentifier, "%q %s", id.Value, reason).About(id)
		}
	}
	terms, problem := p.Profile(profile)
	if problem != nil {
		return problem
	}
	if problem := checkCSRKey(csr.PublicKey, CSROptions{KeyAlgorithms: terms.KeyAlgorithms, CAKeys: caKeys}); problem != nil {
		return problem
	}
	if problem := checkCSRSignature(csr); problem != nil {
		return problem
	}
	return granted.Rules(names, terms.Name, csr)
}

// AcceptsKey reports whether a profile accepts keys of a key's algorithm.
func AcceptsKey(profile v1alpha1.Profile, key crypto.PublicKey) bool {
	accepted := profile.KeyAlgorithms
	if len(accepted) == 0 {
		accepted = []v1alpha1.CertificateKeyAlgorithm{v1alpha1.KeyECDSAP256, v1alpha1.KeyECDSAP384, v1alpha1.KeyRSA, v1alpha1.KeyEd25519}
	}
	return slices.Contains(accepted, keyAlgorithm(key))
}
