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

// ForAccount narrows a policy to an account: by its external account binding, and for the rules, which are about it.
func (p *Policy) ForAccount(account *v1alpha1.AcmeAccount) *Policy {
	narrowed := *p.For(account.Status.ExternalAccountPolicy)
	narrowed.account = account
	return &narrowed
}

// Rules asks the issuer's own rules. The profile is "" where there is no order yet, and csr nil until that is finalized:
// rules that name them are asked when they are there. The problem is a rejectedIdentifier, or a badCSR where the CSR is at
// fault.
func (p *Policy) Rules(identifiers []acme.Identifier, profile string, csr *x509.CertificateRequest) *acme.Problem {
	request := rules.Request{Identifiers: identifiers, Profile: profile, CSR: csr}
	if p.account != nil {
		request.AccountID, request.Contact = p.account.Name, p.account.Status.Contact
		request.ExternalAccountKeyID = p.account.Status.ExternalAccountKeyID
	}
	return p.rules.Check(request)
}
