package policy

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/jws/stored"
	"github.com/acmeca/acmeca/internal/pki"
)

// The functions in this file are the checks of a request's contents, one list for each kind of request. The ACME server calls
// them before it stores the request. The controllers call them again on the stored request, because they do not trust the ACME
// server. Each function checks in a fixed order and returns the first fault, so both halves give the same answer.
//
// The caller has verified signature, URL and account, and checks facts in the cluster: uniqueness of keys, rate limits, the
// certificate to replace, the MAC of an external account binding.

// AdmitSize refuses a request that is too large to store. maxPayload is one of v1alpha1.MaxPayload,
// MaxAccountPayload, MaxKeyChangePayload and MaxShortPayload. The problem is malformed with status 413.
func AdmitSize(message *jws.Message, maxPayload int) *acme.Problem {
	for _, part := range []struct {
		name        string
		size, limit int
	}{
		{"protected header", len(message.Protected), v1alpha1.MaxProtected},
		{"payload", len(message.Payload), maxPayload},
		{"signature", len(message.Signature), v1alpha1.MaxSignature},
	} {
		if part.size > part.limit {
			return acme.NewProblem(acme.Malformed, "the %s has %d characters; the limit for this request is %d", part.name, part.size, part.limit).
				WithStatus(http.StatusRequestEntityTooLarge)
		}
	}
	return nil
}

// Registration is an admitted newAccount request.
type Registration struct {
	// Key signed the request.
	Key *jws.Key
	// Contact lists the contact URLs, as sent.
	Contact []string
	// TermsOfService is the URL of the terms that the client agreed to, or "".
	TermsOfService string
	// Binding is the external account binding, or nil. Its MAC is not verified.
	Binding *jws.EAB
}

// AdmitRegistration checks a newAccount request that creates an account (RFC 8555 section 7.3). A request with
// onlyReturnExisting never creates one.
func AdmitRegistration(message *jws.Message, rules *v1alpha1.AccountRules) (*Registration, *acme.Problem) {
	key := message.Header.Key
	if key == nil {
		return nil, acme.NewProblem(acme.Malformed, "a newAccount request must be signed with a \"jwk\"")
	}
	if problem := AdmitSize(message, v1alpha1.MaxAccountPayload); problem != nil {
		return nil, problem
	}
	if problem := CheckKey(key.Public(), KeyOptions{}); problem != nil {
		return nil, problem
	}
	var payload acme.AccountRequest
	if problem := unmarshal(message, &payload); problem != nil {
		return nil, problem
	}
	if payload.OnlyReturnExisting {
		return nil, acme.NewProblem(acme.AccountDoesNotExist, "the key has no account, and the request asks only for an existing one")
	}
	if problem := Contacts(payload.Contact, rules.RequireContact); problem != nil {
		return nil, problem
	}
	if rules.TermsOfService != "" && !payload.TermsOfServiceAgreed {
		return nil, TermsProblem("the terms of service must be agreed to", rules.TermsOfService)
	}
	binding, problem := AdmitBinding(message, payload.ExternalAccountBinding, rules.ExternalAccountBinding.Required)
	if problem != nil {
		return nil, problem
	}
	return &Registration{Key: key, Contact: payload.Contact, TermsOfService: rules.TermsOfService, Binding: binding}, nil
}

// AdmitBinding checks the "externalAccountBinding" member of a newAccount request (RFC 8555 section 7.3.4), but for its MAC. It
// returns nil if the member is absent and not required. null and "" count as absent; every other value must be a binding.
func AdmitBinding(outer *jws.Message, member json.RawMessage, required bool) (*jws.EAB, *acme.Problem) {
	switch text := string(bytes.TrimSpace(member)); text {
	case "", "null", `""`:
		if required {
			return nil, acme.NewProblem(acme.ExternalAccountRequired, "this issuer requires an external account binding")
		}
		return nil, nil
	}
	binding, problem := jws.ParseExternalAccountBinding(member)
	switch {
	case problem != nil:
		return nil, problem
	case binding.URL != outer.Header.URL:
		return nil, acme.NewProblem(acme.Malformed, "the external account binding was made for another URL")
	case !binding.Key.Equal(outer.Header.Key):
		return nil, acme.NewProblem(acme.Malformed, "the external account binding was made for another account key")
	}
	return binding, nil
}

// AccountUpdate is an admitted account update.
type AccountUpdate struct {
	// Contact lists the new contact URLs, as sent. nil keeps the contacts; an empty list removes them.
	Contact []string
	// TermsOfService is the URL of the terms that the client agreed to, or "" to keep the agreement.
	TermsOfService string
}

// AdmitUpdate checks an account update (RFC 8555 sections 7.3.2 and 7.3.3).
func AdmitUpdate(message *jws.Message, rules *v1alpha1.AccountRules) (*AccountUpdate, *acme.Problem) {
	if problem := AdmitSize(message, v1alpha1.MaxAccountPayload); problem != nil {
		return nil, problem
	}
	var payload acme.AccountRequest
	if problem := unmarshal(message, &payload); problem != nil {
		return nil, problem
	}
	if payload.Contact != nil {
		if problem := Contacts(payload.Contact, rules.RequireContact); problem != nil {
			return nil, problem
		}
	}
	update := &AccountUpdate{Contact: payload.Contact}
	if payload.TermsOfServiceAgreed {
		update.TermsOfService = rules.TermsOfService
	}
	return update, nil
}

// AdmitKeyChange checks a key change (RFC 8555 section 7.3.5) and returns the new key.
func AdmitKeyChange(outer *jws.Message, accountJWK string) (*jws.Key, *acme.Problem) {
	if problem := AdmitSize(outer, v1alpha1.MaxKeyChangePayload); problem != nil {
		return nil, problem
	}
	return KeyChange(outer, accountJWK)
}

// AdmitDeactivation checks a request to deactivate an account or authorization (RFC 8555 sections 7.3.6 and 7.5.2).
func AdmitDeactivation(message *jws.Message) *acme.Problem {
	if problem := AdmitSize(message, v1alpha1.MaxShortPayload); problem != nil {
		return problem
	}
	var payload struct {
		Status acme.State `json:"status"`
	}
	if problem := unmarshal(message, &payload); problem != nil {
		return problem
	}
	if payload.Status != acme.StateDeactivated {
		return acme.NewProblem(acme.Malformed, "the request does not ask for deactivation: \"status\" must be \"deactivated\"")
	}
	return nil
}

// AdmitResponse checks a challenge response (RFC 8555 section 7.5.1): a JSON object, whose members are ignored.
func AdmitResponse(message *jws.Message) *acme.Problem {
	if problem := AdmitSize(message, v1alpha1.MaxShortPayload); problem != nil {
		return problem
	}
	return unmarshal(message, &struct{}{})
}

// AdmitRevocation checks a revocation request (RFC 8555 section 7.6), but not who signed it, and returns its payload.
func AdmitRevocation(message *jws.Message) (*acme.RevocationRequest, *acme.Problem) {
	if problem := AdmitSize(message, v1alpha1.MaxPayload); problem != nil {
		return nil, problem
	}
	var payload acme.RevocationRequest
	if problem := unmarshal(message, &payload); problem != nil {
		return nil, problem
	}
	if problem := acme.CheckRevocationReason(payload.Reason); problem != nil {
		return nil, problem
	}
	return &payload, nil
}

// OrderTerms are the terms of an order that its issuer must admit.
type OrderTerms struct {
	// Identifiers, in any form.
	Identifiers []acme.Identifier
	// Profile is the name of the profile, or "" for the default profile.
	Profile string
	// Times decide the validity. For a new order, Ordered and Finalized are both the present.
	Times pki.OrderTimes
	// Granted names the grants of a stored order by its identifiers. For a new order it is nil, and the grants are found.
	Granted map[acme.Identifier]string
	// Now is the time at which grants must hold.
	Now time.Time
}

// RequestedTerms returns the terms of a newOrder request.
func RequestedTerms(request *acme.OrderRequest, now time.Time) OrderTerms {
	terms := OrderTerms{
		Profile: request.Profile, Now: now,
		Times: pki.OrderTimes{Ordered: now, Finalized: now, NotBefore: request.NotBefore, NotAfter: request.NotAfter},
	}
	for _, id := range request.Identifiers {
		terms.Identifiers = append(terms.Identifiers, id.Identifier)
	}
	return terms
}

// clockSkew is the accepted difference between the clocks of the ACME server, which admits an order, and of the API server, which writes
// the time of its creation.
const clockSkew = time.Minute

// StoredTerms returns the terms of a stored order. An order that is not finalized is judged as if it were finalized when it was ordered.
// Grants must hold now.
func StoredTerms(order *v1alpha1.AcmeOrder, now time.Time) OrderTerms {
	created := order.CreationTimestamp.Time
	terms := OrderTerms{
		Identifiers: order.Names(), Profile: order.Spec.Profile, Now: now,
		Granted: map[acme.Identifier]string{},
		Times:   pki.OrderTimes{Ordered: created.Add(-clockSkew), Finalized: created},
	}
	for i, id := range terms.Identifiers {
		if name := order.Grant(i); name != "" {
			terms.Granted[id] = name
		}
	}
	if order.Spec.Finalization != nil {
		terms.Times.Finalized = order.Spec.Finalization.Time.Time
	}
	if order.Spec.NotBefore != nil {
		terms.Times.NotBefore = order.Spec.NotBefore.Time
	}
	if order.Spec.NotAfter != nil {
		terms.Times.NotAfter = order.Spec.NotAfter.Time
	}
	return terms
}

// AdmittedOrder is an order that its issuer admits.
type AdmittedOrder struct {
	// Identifiers in normalized form, without duplicates.
	Identifiers []acme.Identifier
	Profile     v1alpha1.Profile
	// Granted names the grant of each identifier, or is empty for an identifier without one.
	Granted []string
}

// AdmitOrder checks the terms of an order (RFC 8555 section 7.4), by the policy for an account (ForAccount).
func (p *Policy) AdmitOrder(terms OrderTerms) (*AdmittedOrder, *acme.Problem) {
	profile, problem := p.Profile(terms.Profile)
	if problem != nil {
		return nil, problem
	}
	identifiers, problem := normalizeAll(terms.Identifiers, profile)
	if problem != nil {
		return nil, problem
	}
	granted, problem := p.granted(terms, identifiers, profile.Name)
	if problem != nil {
		return nil, problem
	}
	if problem := p.identifiers(identifiers, granted); problem != nil {
		return nil, problem
	}
	if problem := p.Rules(identifiers, profile.Name, nil); problem != nil {
		return nil, problem
	}
	if _, _, problem := ValidityBounds(profile).Period(terms.Times); problem != nil {
		return nil, problem
	}
	return &AdmittedOrder{Identifiers: identifiers, Profile: profile, Granted: granted}, nil
}

// AdmitCSR checks the CSR of an admitted order and returns it. The profile decides the key algorithms, whatever o says.
func (p *Policy) AdmitCSR(der []byte, order *AdmittedOrder, o CSROptions) (*x509.CertificateRequest, *acme.Problem) {
	o.KeyAlgorithms = order.Profile.KeyAlgorithms
	csr, problem := ParseCSR(der, order.Identifiers, o)
	if problem != nil {
		return nil, problem
	}
	if problem := p.Rules(order.Identifiers, order.Profile.Name, csr); problem != nil {
		return nil, problem
	}
	return csr, nil
}

// AdmitFinalization checks a finalize request (RFC 8555 section 7.4) and returns the DER of its CSR, which AdmitCSR checks.
func AdmitFinalization(message *jws.Message) ([]byte, *acme.Problem) {
	if problem := AdmitSize(message, v1alpha1.MaxPayload); problem != nil {
		return nil, problem
	}
	if message.IsPOSTAsGET() {
		return nil, acme.NewProblem(acme.Malformed, "a finalize request must contain a CSR")
	}
	return acme.FinalizeCSR(message.Body)
}

// StoredCSR returns the DER of the CSR in an order's finalize request, or nil if there is none. The request is not verified.
func StoredCSR(order *v1alpha1.AcmeOrder) []byte {
	if order.Spec.Finalization == nil {
		return nil
	}
	message, problem := stored.Parse(&order.Spec.Finalization.Request)
	if problem != nil {
		return nil
	}
	csr, _ := AdmitFinalization(message)
	return csr
}

// AdmitIdentifier checks the identifier of an authorization, and returns it in normalized form. A policy rule on profile or csr is
// not evaluated.
func (p *Policy) AdmitIdentifier(id acme.Identifier) (acme.Identifier, *acme.Problem) {
	normal, problem := id.Normalize()
	if problem != nil {
		return normal, problem
	}
	if problem := p.Identifiers([]acme.Identifier{normal}); problem != nil {
		return normal, problem
	}
	return normal, p.Rules([]acme.Identifier{normal}, "", nil)
}

// normalizeAll returns the identifiers of an order in normalized form, without duplicates. If several are refused, the problem
// has a subproblem for each.
func normalizeAll(asked []acme.Identifier, profile v1alpha1.Profile) ([]acme.Identifier, *acme.Problem) {
	switch {
	case len(asked) == 0:
		return nil, acme.NewProblem(acme.Malformed, "the order has no identifiers")
	case len(asked) > 2*profile.MaxIdentifiers: // bounds the work
		return nil, tooManyIdentifiers(profile)
	}
	var identifiers []acme.Identifier
	var refused []acme.Problem
	seen := map[acme.Identifier]bool{}
	for _, id := range asked {
		normal, problem := id.Normalize()
		switch {
		case problem != nil:
			refused = append(refused, *problem)
		case !seen[normal]:
			seen[normal] = true
			identifiers = append(identifiers, normal)
		}
	}
	switch {
	case len(refused) == 1:
		return nil, &refused[0]
	case len(refused) > 1:
		problem := acme.NewProblem(refused[0].Type, "%d of %d identifiers are refused", len(refused), len(asked))
		problem.Subproblems = refused
		return nil, problem
	case len(identifiers) > profile.MaxIdentifiers:
		return nil, tooManyIdentifiers(profile)
	}
	return identifiers, nil
}

func tooManyIdentifiers(profile v1alpha1.Profile) *acme.Problem {
	return acme.NewProblem(acme.Malformed, "an order on profile %q can have at most %d identifiers", profile.Name, profile.MaxIdentifiers)
}

// unmarshal reads the payload of a request that is not a POST-as-GET.
func unmarshal(message *jws.Message, into any) *acme.Problem {
	if message.IsPOSTAsGET() {
		return acme.NewProblem(acme.Malformed, "this request needs a JSON payload, and is a POST-as-GET")
	}
	return acme.Unmarshal(message.Body, into)
}

// AccountKeyUsed is the problem with a certificate key that is the key of an account (RFC 8555 section 11.1).
func AccountKeyUsed() *acme.Problem {
	return badCSR("the certificate's key is the key of an account; use another key")
}

// KeyCompromised is the problem with a certificate key that is known to be compromised.
func KeyCompromised() *acme.Problem {
	return badCSR("the certificate's key is known to be compromised; generate a new key")
}

// AlreadyReplaced is the problem with an order that replaces a certificate which another order replaces (RFC 9773 section 5).
func AlreadyReplaced() *acme.Problem {
	return acme.NewProblem(acme.AlreadyReplaced, "another order already replaces this certificate")
}

// CAKeys returns the public keys of CA certificates, each once, for CSROptions.
func CAKeys(certificates ...[]*x509.Certificate) []crypto.PublicKey {
	var keys []crypto.PublicKey
	for _, certificate := range slices.Concat(certificates...) {
		known := func(key crypto.PublicKey) bool { return pki.EqualKeys(key, certificate.PublicKey) }
		if !slices.ContainsFunc(keys, known) {
			keys = append(keys, certificate.PublicKey)
		}
	}
	return keys
}
