package acmeserver

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/acmeserver/answer"
	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/jws/stored"
	"github.com/acmeca/acmeca/internal/policy"
)

// accountDocument is an account (RFC 8555 section 7.1.2).
type accountDocument struct {
	Status                 acme.State      `json:"status"`
	Contact                []string        `json:"contact,omitempty"`
	TermsOfServiceAgreed   bool            `json:"termsOfServiceAgreed,omitempty"`
	ExternalAccountBinding json.RawMessage `json:"externalAccountBinding,omitempty"`
	Orders                 string          `json:"orders"`
	// Key is not in RFC 8555, but other servers show it too.
	Key json.RawMessage `json:"key,omitempty"`
}

func (c *call) accountAnswer(status int, account *v1alpha1.AcmeAccount) *answer.Answer {
	return &answer.Answer{
		Status:   status,
		Location: c.url(acme.AccountPath(account.Name)),
		Body: accountDocument{
			Status:                 account.Status.State,
			Contact:                account.Status.Contact,
			TermsOfServiceAgreed:   policy.Agreed(account, c.issuer.Spec.Account.TermsOfService) && account.Status.TermsOfServiceAgreed != "",
			ExternalAccountBinding: verifiedBinding(account),
			Orders:                 c.url(acme.OrdersPath(account.Name)),
			Key:                    json.RawMessage(account.Status.JWK),
		},
	}
}

// verifiedBinding returns the external account binding as the client sent it, or nil if the controllers have verified none
// (RFC 8555 section 7.3.4).
func verifiedBinding(account *v1alpha1.AcmeAccount) json.RawMessage {
	if account.Status.ExternalAccountKeyID == "" || account.Spec.Registration == nil {
		return nil
	}
	message, problem := stored.Parse(account.Spec.Registration)
	if problem != nil {
		return nil
	}
	var payload acme.AccountRequest
	if acme.Unmarshal(message.Body, &payload) != nil {
		return nil
	}
	return payload.ExternalAccountBinding
}

// newAccount creates an account, or returns the account of the key (RFC 8555 sections 7.3 and 7.3.1).
func (s *Server) newAccount(r *request) (*answer.Answer, error) {
	var payload acme.AccountRequest
	if err := r.unmarshal(&payload); err != nil {
		return nil, err
	}
	name := r.accountName(r.key)
	known, err := s.store.Accounts.GetCached(r.Context(), name)
	refused := err == nil && known.Status.State == acme.StateInvalid
	if err == nil && !refused || payload.OnlyReturnExisting {
		return s.existingAccount(r, name)
	}
	if err := r.checkRegistration(); err != nil {
		return nil, err
	}
	if refused {
		// A refused registration is about to be removed. This request is judged independently of it.
		if err := s.store.Accounts.AwaitRemoval(r.Context(), name); err != nil {
			return nil, err
		}
	}
	account, err := s.storeAccount(r, payload, name)
	if errors.Is(err, store.ErrExists) {
		return s.existingAccount(r, name) // a concurrent request with this key was faster
	} else if err != nil {
		return nil, err
	}
	if account, err = s.awaitVerdict(r.Context(), account); err != nil {
		return nil, err
	}
	return r.accountAnswer(http.StatusCreated, account), nil
}

// accountName returns the name of the object that claims a key for an account.
func (r *request) accountName(key *jws.Key) types.NamespacedName {
	return types.NamespacedName{Namespace: r.issuer.Key.Namespace, Name: v1alpha1.AccountName(r.issuer.Key.Name, key.Thumbprint())}
}

// storeAccount creates the account of the key that signed, if the client's address may have one more.
func (s *Server) storeAccount(r *request, payload acme.AccountRequest, name types.NamespacedName) (*v1alpha1.AcmeAccount, error) {
	origin := s.origin(r)
	unlock, err := s.lockLimit(r.Context(), r.issuer.Spec.RateLimits.NewAccounts, r.issuer.Key.String(), origin)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := s.limitAccounts(r, origin); err != nil {
		return nil, err
	}
	account := &v1alpha1.AcmeAccount{Spec: v1alpha1.AcmeAccountSpec{
		IssuerRef:            v1alpha1.ObjectRef{Name: r.issuer.Key.Name},
		JWK:                  string(r.key.JSON()),
		Registration:         stored.Request(r.message),
		RegisteredFrom:       origin,
		Contact:              payload.Contact,
		TermsOfServiceAgreed: payload.TermsOfServiceAgreed,
	}}
	account.Namespace, account.Name = name.Namespace, name.Name
	if err := s.store.Accounts.Create(r.Context(), account); err != nil {
		return nil, err
	}
	s.noteRegistration(r, origin, account)
	return account, nil
}

// checkRegistration refuses at once a registration that the controllers would refuse.
func (r *request) checkRegistration() error {
	if err := r.requireIssuer(); err != nil {
		return err
	}
	if err := r.requireRoom(); err != nil {
		return err
	}
	if _, problem := policy.AdmitRegistration(r.message, &r.issuer.Spec.Account); problem != nil {
		return problem
	}
	return nil
}

// accountWithKey returns the account of a key: the object that is named after the key, or the account that this object
// claims the key for. The error is store.ErrNotFound if the key has no account.
func (s *Server) accountWithKey(ctx context.Context, name types.NamespacedName, key *jws.Key) (*v1alpha1.AcmeAccount, error) {
	account, err := s.store.Accounts.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	if claimed := account.Spec.KeyClaimFor; claimed != "" {
		if account, err = s.store.Accounts.Get(ctx, types.NamespacedName{Namespace: name.Namespace, Name: claimed}); err != nil {
			return nil, err
		}
	}
	if account, err = s.awaitVerdict(ctx, account); err != nil {
		return nil, err
	}
	if account.Status.Thumbprint != key.Thumbprint() {
		return nil, acme.NewProblem(acme.Unauthorized, "this key is a former key of an account")
	}
	return account, nil
}

// existingAccount answers with the account of the key that signed (RFC 8555 section 7.3.1).
func (s *Server) existingAccount(r *request, name types.NamespacedName) (*answer.Answer, error) {
	account, err := s.accountWithKey(r.Context(), name, r.key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, acme.NewProblem(acme.AccountDoesNotExist, "this key has no account here")
	}
	if err != nil {
		return nil, err
	}
	if account.Status.State != acme.StateValid {
		return nil, acme.NewProblem(acme.Unauthorized, "the account is %s", account.Status.State).WithStatus(http.StatusUnauthorized)
	}
	return r.accountAnswer(http.StatusOK, account), nil
}

// awaitVerdict waits until the controllers have accepted or refused a registration. They remove a refused one, which may
// happen before the wait begins. An account that they hold stays pending, with a problem (docs/decisions/0148).
func (s *Server) awaitVerdict(ctx context.Context, account *v1alpha1.AcmeAccount) (*v1alpha1.AcmeAccount, error) {
	ctx, cancel := context.WithTimeout(ctx, verdictTimeout)
	defer cancel()
	undecided := func(a *v1alpha1.AcmeAccount) bool { return a.Pending() && a.Status.Problem == nil }
	key := client.ObjectKeyFromObject(account)
	decided, err := s.store.Accounts.Await(ctx, key, func(a *v1alpha1.AcmeAccount) bool { return !undecided(a) })
	if errors.Is(err, store.ErrNotFound) {
		last, known := s.store.Accounts.LastState(account.UID)
		if !known || last.Status.State != acme.StateInvalid {
			return nil, answer.Unavailable("the account was removed meanwhile; try again")
		}
		decided, err = last, nil
	}
	switch {
	case err != nil:
		return nil, err
	case undecided(decided):
		return nil, answer.Unavailable("the account has not been verified yet; try again")
	case decided.Status.State == acme.StateInvalid, decided.Pending():
		return nil, refusal(decided.Status.Problem)
	}
	return decided, nil
}

// refusal returns the error with which the controllers refused a request; nil if they did not.
func refusal(p *v1alpha1.Problem) error {
	if p == nil {
		return nil
	}
	problem := p.ACME()
	if problem.Status == 0 {
		problem.Status = http.StatusForbidden
	}
	return problem
}

// account returns, updates or deactivates an account (RFC 8555 sections 7.3.2, 7.3.3 and 7.3.6).
func (s *Server) account(r *request) (*answer.Answer, error) {
	if r.PathValue("id") != r.account.Name {
		return nil, acme.NewProblem(acme.Unauthorized, "this is another account")
	}
	if r.message.IsPOSTAsGET() {
		return r.accountAnswer(http.StatusOK, r.account), nil
	}
	var payload acme.AccountRequest
	if err := r.unmarshal(&payload); err != nil {
		return nil, err
	}
	switch {
	case payload.Status == acme.StateDeactivated:
		return s.deactivateAccount(r)
	case payload.Contact == nil && !payload.TermsOfServiceAgreed:
		// Other values of status, and unknown fields, are ignored (RFC 8555 section 7.3.2).
		return r.accountAnswer(http.StatusOK, r.account), nil
	}
	return s.updateAccount(r, payload.TermsOfServiceAgreed)
}

func (s *Server) updateAccount(r *request, agreed bool) (*answer.Answer, error) {
	if err := r.requireReserve(); err != nil {
		return nil, err
	}
	update, problem := policy.AdmitUpdate(r.message, &r.issuer.Spec.Account)
	if problem != nil {
		return nil, problem
	}
	spec := map[string]any{"update": stored.Request(r.message)}
	if update.Contact != nil {
		spec["contact"] = update.Contact
	}
	if agreed {
		spec["termsOfServiceAgreed"] = true
	}
	return s.changeAccount(r, spec, func(status *v1alpha1.AcmeAccountStatus) *v1alpha1.HandledRequest { return status.Update })
}

func (s *Server) deactivateAccount(r *request) (*answer.Answer, error) {
	if problem := policy.AdmitDeactivation(r.message); problem != nil {
		return nil, problem
	}
	spec := map[string]any{"deactivation": v1alpha1.Deactivation{Request: stored.Request(r.message)}}
	return s.changeAccount(r, spec, func(status *v1alpha1.AcmeAccountStatus) *v1alpha1.HandledRequest { return status.Deactivation })
}

// changeAccount stores a request, and waits until the controllers have carried it out or refused it. outcome returns the
// field of the status that they write.
func (s *Server) changeAccount(
	r *request, spec map[string]any, outcome func(*v1alpha1.AcmeAccountStatus) *v1alpha1.HandledRequest,
) (*answer.Answer, error) {
	key := client.ObjectKeyFromObject(r.account)
	if _, err := s.store.Accounts.Patch(r.Context(), key, specPatch(spec)); err != nil {
		return nil, err
	}
	digest := stored.Request(r.message).Digest()
	decided := func(a *v1alpha1.AcmeAccount) bool {
		h := outcome(&a.Status)
		return h != nil && h.Digest == digest
	}
	ctx, cancel := context.WithTimeout(r.Context(), verdictTimeout)
	defer cancel()
	account, err := s.store.Accounts.Await(ctx, key, decided)
	if err != nil {
		return nil, err
	}
	if !decided(account) {
		return nil, errNotVerifiedYet()
	}
	if err := refusal(outcome(&account.Status).Problem); err != nil {
		return nil, err
	}
	return r.accountAnswer(http.StatusOK, account), nil
}

func errNotVerifiedYet() error {
	return answer.Unavailable("the request has not been verified yet; try again")
}

// keyChange replaces the key of an account (RFC 8555 section 7.3.5). An object named after the new key claims it, so that
// two accounts cannot get the same key, even by concurrent requests.
func (s *Server) keyChange(r *request) (*answer.Answer, error) {
	if r.message.IsPOSTAsGET() {
		return nil, acme.NewProblem(acme.Malformed, "the payload of a key change must be a request that is signed with the new key")
	}
	if err := r.requireReserve(); err != nil {
		return nil, err
	}
	key, problem := policy.AdmitKeyChange(r.message, r.account.Status.JWK)
	if problem != nil {
		return nil, problem
	}
	name := r.accountName(key)
	if err := s.claimKey(r, name, key); err != nil {
		return nil, err
	}
	spec := map[string]any{"keyChange": stored.Request(r.message)}
	return s.changeAccount(r, spec, func(status *v1alpha1.AcmeAccountStatus) *v1alpha1.HandledRequest { return status.KeyChange })
}

// claimKey creates the claim of a new key for an account, unless the account has claimed the key before.
func (s *Server) claimKey(r *request, name types.NamespacedName, key *jws.Key) error {
	unlock, err := s.lock(r.Context(), "keys", r.account.Namespace, r.account.Name)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.limitKeyChanges(r, name.Name); err != nil {
		return err
	}
	claim := &v1alpha1.AcmeAccount{Spec: v1alpha1.AcmeAccountSpec{
		IssuerRef: r.account.Spec.IssuerRef, JWK: string(key.JSON()), KeyClaimFor: r.account.Name,
		KeyChange: stored.Request(r.message),
	}}
	claim.Namespace, claim.Name = name.Namespace, name.Name
	err = s.store.Accounts.Create(r.Context(), claim)
	if !errors.Is(err, store.ErrExists) {
		return err
	}
	holder, err := s.store.Accounts.Get(r.Context(), name)
	if err == nil && holder.Spec.KeyClaimFor != r.account.Name {
		return keyTaken(r, holder)
	}
	return err
}

// keyTaken returns the problem of a key that another account has, with that account's URL.
func keyTaken(r *request, holder *v1alpha1.AcmeAccount) error {
	id := holder.Name
	if holder.Spec.KeyClaimFor != "" {
		id = holder.Spec.KeyClaimFor
	}
	problem := acme.NewProblem(acme.Malformed, "the new key belongs to another account").WithStatus(http.StatusConflict)
	return &answer.LocatedProblem{Problem: problem, Location: r.url(acme.AccountPath(id))}
}
