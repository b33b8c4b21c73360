package policy

import (
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/policy/rules"
)

func compileRules(spec []v1alpha1.PolicyRule) (*rules.Set, error) {
	list := make([]rules.Rule, len(spec))
	for i, rule := range spec {
		list[i] = rules.Rule(rule)
	}
	set, err := rules.Compile(list)
	if fault, ok := errors.AsType[*rules.Error](err); ok {
		return nil, fmt.Errorf("spec.policy.rules[%d]: %s", fault.Index, fault.Reason)
	}
	return set, err
}

// ForAccount returns the policy for an account: narrowed by its external account key, and with the account in rules.
func (p *Policy) ForAccount(account *v1alpha1.AcmeAccount) *Policy {
	narrowed := *p.For(account.Status.ExternalAccountPolicy)
	narrowed.account = account
	return &narrowed
}

// Rules evaluates the issuer's rules. profile is "" if there is no order yet, and csr is nil before finalization; rules that use them
// are skipped then. The problem is rejectedIdentifier, or badCSR if the rule uses the CSR.
func (p *Policy) Rules(identifiers []acme.Identifier, profile string, csr *x509.CertificateRequest) *acme.Problem {
	request := rules.Request{Identifiers: identifiers, Profile: profile, CSR: csr}
	if p.account != nil {
		request.AccountID, request.Contact = p.account.Name, p.account.Status.Contact
		request.ExternalAccountKeyID = p.account.Status.ExternalAccountKeyID
	}
	return p.rules.Check(request)
}
