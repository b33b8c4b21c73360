package acmeserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/jws/stored"
	"github.com/acmeca/acmeca/internal/policy"
)

// accountDocument is RFC 8555 section 7.1.2's.
type accountDocument struct {
	Status                 acme.State      `json:"status"`
	Contact                []string        `json:"contact,omitempty"`
	TermsOfServiceAgreed   bool            `json:"termsOfServiceAgreed,omitempty"`
	ExternalAccountBinding json.RawMessage `json:"externalAccountBinding,omitempty"`
	Orders                 string          `json:"orders"`
	// Key is shown by other servers too, though RFC 8555 doesn't have it.
	Key json.RawMessage `json:"key,omitempty"`
}

func (c *call) accountAnswer(status int, account *v1alpha1.AcmeAccount) *answer {
	return &answer{
		status:   status,
		location: c.url(acme.AccountPath(account.Name)),
		body: accountDocument{
			Status:                 account.Status.State,
			Contact:                account.Status.Contact,
			TermsOfServiceAgreed:   policy.Agreed(account, c.issuer.spec.Account.TermsOfService) && account.Status.TermsOfServiceAgreed != "",
			ExternalAccountBinding: bindingOf(account),
			Orders:                 c.url(acme.OrdersPath(account.Name)),
			Key:                    json.RawMessage(account.Status.JWK),
		},
	}
}

// bindingOf is the external account binding as the client sent it, where the controllers have verified that (RFC 8555
// section 7.3.4).
func bindingOf(account *v1alpha1.AcmeAccount) json.RawMessage {
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

// newAccount makes an account, or finds the one that the key has (RFC 8555 section 7.3 and 7.3.1).
func (s *Server) newAccount(r *signed) (*answer, error) {
	var payload acme.AccountRequest
	if err := r.unmarshal(&payload); err != nil {
		return nil, err
	}
	key := types.NamespacedName{Namespace: r.issuer.key.Namespace, Name: v1alpha1.AccountName(r.issuer.key.Name, r.key.Thumbprint())}
	known, err := s.accounts.getCached(r.Context(), key)
	refused := err == nil && known.Status.State == acme.StateInvalid
	if err == nil && !refused || payload.OnlyReturnExisting {
		return s.existingAccount(r, key)
	}
	if err := r.checkRegistration(payload); err != nil {
		return nil, err
	}
	if refused {
		// What was refused isn't an account, and is about to be removed: this request is to be judged by itself.
		if err := s.accounts.AwaitGone(r.Context(), key); err != nil {
			return nil, err
		}
	}
	account, err := s.storeAccount(r, payload, key)
	if apierrors.IsAlreadyExists(err) {
		return s.existingAccount(r, key) // another request with this key was quicker
	} else if err != nil {
		return nil, err
	}
	if account, err = s.verdict(r.Context(), account); err != nil {
		return nil, err
	}
	return r.accountAnswer(http.StatusCreated, account), nil
}

// storeAccount makes the account of the key that signed, where the address may have one more.
func (s *Server) storeAccount(r *signed, payload acme.AccountRequest, key types.NamespacedName) (*v1alpha1.AcmeAccount, error) {
	origin := s.origin(r)
	defer s.turns.take(r.issuer.spec.RateLimits.NewAccounts, r.issuer.key.String(), origin)()
	if err := s.limitAccounts(r, origin); err != nil {
		return nil, err
	}
	account := &v1alpha1.AcmeAccount{Spec: v1alpha1.AcmeAccountSpec{
		IssuerRef:            v1alpha1.ObjectRef{Name: r.issuer.key.Name},
		JWK:                  string(r.key.JSON()),
		Registration:         stored.Request(r.message),
		RegisteredFrom:       origin,
		Contact:              payload.Contact,
		TermsOfServiceAgreed: payload.TermsOfServiceAgreed,
	}}
	account.Namespace, account.Name = key.Namespace, key.Name
	return account, s.accounts.Create(r.Context(), account)
}

// checkRegistration refuses at once what the controllers would refuse.
func (r *signed) checkRegistration(payload acme.AccountRequest) error {
	if err := r.issuing(); err != nil {
		return err
	}
	rules := r.issuer.spec.Account
	if problem := policy.CheckKey(r.key.Public(), policy.KeyOptions{}); problem != nil {
		return problem
	}
	if problem := policy.Contacts(payload.Contact, rules.RequireContact); problem != nil {
		return problem
	}
	if rules.TermsOfService != "" && !payload.TermsOfServiceAgreed {
		return policy.TermsProblem("the terms of service must be agreed to", rules.TermsOfService)
	}
	bound := bytes.HasPrefix(bytes.TrimSpace(payload.ExternalAccountBinding), []byte("{"))
	if rules.ExternalAccountBinding.Required && !bound {
		return acme.NewProblem(acme.ExternalAccountRequired, "this issuer takes accounts with an external account binding only")
	}
	if bound {
		if _, problem := jws.ParseExternalAccountBinding(payload.ExternalAccountBinding); problem != nil {
			return problem
		}
	}
	return nil
}

// accountWithKey finds the account that has a key: the object that is named after the key, or the one that this claims
// the key for. The error is a 404 where the key has no account.
func (s *Server) accountWithKey(ctx context.Context, name types.NamespacedName, key *jws.Key) (*v1alpha1.AcmeAccount, error) {
	account, err := s.accounts.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	if claimed := account.Spec.KeyClaimFor; claimed != "" {
		if account, err = s.accounts.Get(ctx, types.NamespacedName{Namespace: name.Namespace, Name: claimed}); err != nil {
			return nil, err
		}
	} else if account, err = s.verdict(ctx, account); err != nil {
		return nil, err
	}
	if account.Status.Thumbprint != key.Thumbprint() {
		return nil, acme.NewProblem(acme.Unauthorized, "this key belonged to an account that has another one now")
	}
	return account, nil
}

// existingAccount answers with the account that a key has (RFC 8555 section 7.3.1).
func (s *Server) existingAccount(r *signed, name types.NamespacedName) (*answer, error) {
	account, err := s.accountWithKey(r.Context(), name, r.key)
	if isNotFound(err) {
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

// verdict waits until the controllers have accepted or refused a registration. They remove what they refuse, which may be over
// before this begins to wait.
func (s *Server) verdict(ctx context.Context, account *v1alpha1.AcmeAccount) (*v1alpha1.AcmeAccount, error) {
	ctx, cancel := context.WithTimeout(ctx, awaitVerdict)
	defer cancel()
	pending := func(a *v1alpha1.AcmeAccount) bool { return a.Status.State == acme.StatePending || a.Status.State == "" }
	judged, err := s.accounts.Await(ctx, client.ObjectKeyFromObject(account), func(a *v1alpha1.AcmeAccount) bool { return !pending(a) })
	if isNotFound(err) {
		last, known := s.accounts.Last(account.UID)
		if !known || last.Status.State != acme.StateInvalid {
			return nil, unavailable("the account was removed meanwhile; try again")
		}
		judged, err = last, nil
	}
	switch {
	case err != nil:
		return nil, err
	case pending(judged):
		return nil, unavailable("the account has not been verified yet; try again")
	case judged.Status.State == acme.StateInvalid:
		return nil, handled(judged.Status.Problem)
	}
	return judged, nil
}

// handled makes an error of what the controllers said of a request.
func handled(p *v1alpha1.Problem) error {
	if p == nil {
		return nil
	}
	problem := p.ACME()
	if problem.Status == 0 {
		problem.Status = http.StatusForbidden
	}
	return problem
}

// account shows, updates or deactivates an account (RFC 8555 section 7.3.2, 7.3.3 and 7.3.6).
func (s *Server) account(r *signed) (*answer, error) {
	if id := r.PathValue("id"); id != r.account.Name {
		return nil, acme.NewProblem(acme.Unauthorized, "this is another account")
	}
	if r.message.IsPOSTAsGET() {
		return r.accountAnswer(http.StatusOK, r.account), nil
	}
	var payload acme.AccountRequest
	if err := r.unmarshal(&payload); err != nil {
		return nil, err
	}
	if payload.Status == acme.StateDeactivated {
		return s.deactivateAccount(r)
	}
	// Other changes of the status, and of what isn't known, are ignored (RFC 8555 section 7.3.2).
	if payload.Contact == nil && !payload.TermsOfServiceAgreed {
		return r.accountAnswer(http.StatusOK, r.account), nil
	}
	return s.updateAccount(r, payload)
}

func (s *Server) updateAccount(r *signed, payload acme.AccountRequest) (*answer, error) {
	if payload.Contact != nil {
		if problem := policy.Contacts(payload.Contact, r.issuer.spec.Account.RequireContact); problem != nil {
			return nil, problem
		}
	}
	spec := map[string]any{"update": stored.Request(r.message)}
	if payload.Contact != nil {
		spec["contact"] = slices.Clone(payload.Contact)
	}
	if payload.TermsOfServiceAgreed {
		spec["termsOfServiceAgreed"] = true
	}
	account, err := s.changeAccount(r, spec, func(status *v1alpha1.AcmeAccountStatus) *v1alpha1.HandledRequest { return status.Update })
	if err != nil {
		return nil, err
	}
	return r.accountAnswer(http.StatusOK, account), nil
}

func (s *Server) deactivateAccount(r *signed) (*answer, error) {
	spec := map[string]any{"deactivation": v1alpha1.Deactivation{Request: stored.Request(r.message)}}
	account, err := s.changeAccount(r, spec, func(status *v1alpha1.AcmeAccountStatus) *v1alpha1.HandledRequest { return status.Deactivation })
	if err != nil {
		return nil, err
	}
	return r.accountAnswer(http.StatusOK, account), nil
}

// changeAccount stores a client's request, and waits until the controllers have carried it out or refused it.
func (s *Server) changeAccount(r *signed, spec map[string]any, outcome func(*v1alpha1.AcmeAccountStatus) *v1alpha1.HandledRequest) (*v1alpha1.AcmeAccount, error) {
	key := client.ObjectKeyFromObject(r.account)
	if _, err := s.accounts.Patch(r.Context(), key, specPatch(spec)); err != nil {
		return nil, err
	}
	digest := stored.Request(r.message).Digest()
	mine := func(a *v1alpha1.AcmeAccount) bool {
		h := outcome(&a.Status)
		return h != nil && h.Digest == digest
	}
	ctx, cancel := context.WithTimeout(r.Context(), awaitVerdict)
	defer cancel()
	account, err := s.accounts.Await(ctx, key, mine)
	if err != nil {
		return nil, err
	}
	if !mine(account) {
		return nil, unavailable("the request has not been verified yet; try again")
	}
	return account, handled(outcome(&account.Status).Problem)
}

// withoutManagedFields has the API server stop to keep who set which field of an object (docs/decisions/0140): it costs more
// than a third of each later write, and a third of the object's size.
var withoutManagedFields = map[string]any{"managedFields": []struct{}{{}}}

// specPatch is a merge patch of a spec.
func specPatch(spec map[string]any) []byte {
	patch, err := json.Marshal(map[string]any{"metadata": withoutManagedFields, "spec": spec})
	if err != nil {
		panic(err) // strings, numbers and our own types marshal
	}
	return patch
}

func isNotFound(err error) bool {
	problem, ok := errors.AsType[*acme.Problem](err)
	return ok && problem.Status == http.StatusNotFound
}
