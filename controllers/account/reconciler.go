// Package account holds the controller of accounts: it verifies registrations, updates, key changes, deactivations and external
// account bindings, and writes the accepted account into status.
package account

import (
	"bytes"
	"context"
	"slices"

	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/audit"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/controllers/verify"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/jws/stored"
	"github.com/acmeca/acmeca/internal/policy"
)

// Reconciler accepts accounts: it verifies what a client signed, and copies what that says into status.
type Reconciler struct {
	Client client.Client
	// Live reads past the cache, where an outdated answer would do harm.
	Live     client.Reader
	Bindings Bindings
	Issuers  *issuers.Registry
	Events   events.EventRecorder
	Clock    clock.PassiveClock
}

// SetupWithManager adds the controller to a manager. It reconciles the accounts of the issuers that come from issuersReady.
func (r *Reconciler) SetupWithManager(mgr manager.Manager, options controller.Options, issuersReady <-chan event.GenericEvent) error {
	return ctrl.NewControllerManagedBy(mgr).Named("account").For(&v1alpha1.AcmeAccount{}).
		WatchesRawSource(source.Channel(issuersReady, kube.OfIssuer(mgr.GetClient(), &v1alpha1.AcmeAccountList{}))).
		WithOptions(options).Complete(kube.RetryConflicts(r))
}

// Reconcile looks at each request in an account's spec that it hasn't looked at before.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	account := &v1alpha1.AcmeAccount{}
	if err := r.Client.Get(ctx, request.NamespacedName, account); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if account.Status.State.Final() {
		return ctrl.Result{}, r.discardRefused(ctx, account)
	}
	if account.Status.ObservedGeneration == account.Generation {
		return ctrl.Result{}, nil
	}
	issuer, ok := r.Issuers.ReadyToIssue(account.Namespace, account.Spec.IssuerRef.Name)
	if !ok {
		return ctrl.Result{}, nil // the issuer's becoming ready wakes its accounts
	}
	base := account.DeepCopy()
	if err := r.judge(ctx, issuer, account); err != nil {
		return ctrl.Result{}, err
	}
	account.Status.ObservedGeneration = account.Generation
	if err := kube.WriteStatus(ctx, r.Client, account, base); err != nil {
		return ctrl.Result{}, err
	}
	audit.Account(ctx, base, account)
	return ctrl.Result{}, nil
}

// judge sets the status that the account's requests deserve. The error is one of the Kubernetes API.
func (r *Reconciler) judge(ctx context.Context, issuer *issuers.Issuer, account *v1alpha1.AcmeAccount) error {
	status := &account.Status
	if account.Spec.KeyClaimFor != "" {
		return r.judgeClaim(ctx, issuer, account)
	}
	if status.State == acme.StatePending {
		problem, err := r.register(ctx, issuer, account)
		if err != nil {
			return err
		}
		if problem != nil {
			status.State, status.Problem = acme.StateInvalid, v1alpha1.ProblemFrom(problem)
			r.refused(account, "Registration", problem)
			return nil
		}
		status.State = acme.StateValid
	}
	if account.Spec.Update != nil {
		r.handle(account, "Update", account.Spec.Update, &status.Update, func(request *v1alpha1.SignedRequest) *acme.Problem {
			return update(issuer, account, request)
		})
	}
	if account.Spec.KeyChange != nil {
		if err := r.handleKeyChange(ctx, issuer, account); err != nil {
			return err
		}
	}
	r.deactivate(issuer, account)
	return nil
}

// handle carries out a request unless it was looked at before, and notes what came of it.
func (r *Reconciler) handle(account *v1alpha1.AcmeAccount, kind string, request *v1alpha1.SignedRequest,
	handled **v1alpha1.HandledRequest, act func(*v1alpha1.SignedRequest) *acme.Problem) {
	if *handled != nil && (*handled).Digest == request.Digest() {
		return
	}
	problem := replayed(account, request)
	if problem == nil {
		problem = act(request)
	}
	*handled = &v1alpha1.HandledRequest{Digest: request.Digest(), Problem: v1alpha1.ProblemFrom(problem)}
	if problem != nil {
		r.refused(account, kind, problem)
		return
	}
	remember(account, request)
}

// replayed refuses a request that was carried out before. Clients sign each request once, with a nonce of its own: what comes again
// comes from an ACME server that has kept it, to put back what the client has changed since.
func replayed(account *v1alpha1.AcmeAccount, request *v1alpha1.SignedRequest) *acme.Problem {
	if request != nil && slices.Contains(account.Status.HandledRequests, request.ID()) {
		return acme.NewProblem(acme.Unauthorized, "the request was carried out before")
	}
	return nil
}

// maxHandled bounds the requests of an account that are remembered: its newest updates and key changes.
const maxHandled = 128

// remember notes a request that was carried out, and so was signed by its client: another could be noted in its place before it
// comes. A person's has no signature to be used again.
func remember(account *v1alpha1.AcmeAccount, request *v1alpha1.SignedRequest) {
	if request == nil {
		return
	}
	before := account.Status.HandledRequests
	account.Status.HandledRequests = append([]string{request.ID()}, before[:min(len(before), maxHandled-1)]...)
}

// register verifies a newAccount request (RFC 8555 section 7.3) and fills in status from it.
func (r *Reconciler) register(ctx context.Context, issuer *issuers.Issuer, account *v1alpha1.AcmeAccount) (*acme.Problem, error) {
	if account.Spec.Registration == nil {
		return acme.NewProblem(acme.Unauthorized, "the account has no signed registration"), nil
	}
	message, problem := stored.Parse(account.Spec.Registration)
	if problem != nil {
		return problem, nil
	}
	key := message.Header.Key
	if key == nil {
		return acme.NewProblem(acme.Malformed, "a registration is signed with a jwk"), nil
	}
	if account.Name != v1alpha1.AccountName(issuer.Name, key.Thumbprint()) || !bytes.Equal(key.JSON(), []byte(account.Spec.JWK)) {
		return acme.NewProblem(acme.Unauthorized, "the account isn't that of the key which signed the registration"), nil
	}
	if problem := verify.SignedFor(issuer, message, acme.NewAccountPath, acme.NewAccountAlias); problem != nil {
		return problem, nil
	}
	if problem := message.Verify(key); problem != nil {
		return problem, nil
	}
	if problem := policy.CheckKey(key.Public(), policy.KeyOptions{}); problem != nil {
		return problem, nil
	}
	var payload acme.AccountRequest
	if problem := acme.Unmarshal(message.Body, &payload); problem != nil {
		return problem, nil
	}
	if problem := policy.Contacts(payload.Contact, issuer.Spec.Account.RequireContact); problem != nil {
		return problem, nil
	}
	status := &account.Status
	if terms := issuer.Spec.Account.TermsOfService; terms != "" {
		if !payload.TermsOfServiceAgreed {
			return acme.NewProblem(acme.UserActionRequired, "the terms of service must be agreed to: %s", terms), nil
		}
		status.TermsOfServiceAgreed = terms
	}
	status.JWK, status.Thumbprint, status.Contact = string(key.JSON()), key.Thumbprint(), payload.Contact
	bound, problem, err := r.bind(ctx, issuer, account, message, payload)
	status.ExternalAccountKeyID, status.ExternalAccountPolicy = bound.KeyID, bound.Policy
	return problem, err
}

// bind ties the account to an external one (RFC 8555 section 7.3.4), where it asks for that or has to.
func (r *Reconciler) bind(ctx context.Context, issuer *issuers.Issuer, account *v1alpha1.AcmeAccount, outer *jws.Message, payload acme.AccountRequest) (Binding, *acme.Problem, error) {
	if !slices.ContainsFunc([]byte(payload.ExternalAccountBinding), func(b byte) bool { return b == '{' }) {
		if issuer.Spec.Account.ExternalAccountBinding.Required {
			return Binding{}, acme.NewProblem(acme.ExternalAccountRequired, "this issuer takes accounts with an external account binding only"), nil
		}
		return Binding{}, nil, nil
	}
	return r.Bindings.Bind(ctx, issuer, account, outer, payload.ExternalAccountBinding)
}

// update carries out an account update (RFC 8555 section 7.3.2 and 7.3.3).
func update(issuer *issuers.Issuer, account *v1alpha1.AcmeAccount, request *v1alpha1.SignedRequest) *acme.Problem {
	message, problem := verify.AccountRequest(issuer, account, request, acme.AccountPath(account.Name))
	if problem != nil {
		return problem
	}
	var payload acme.AccountRequest
	if problem := acme.Unmarshal(message.Body, &payload); problem != nil {
		return problem
	}
	if payload.Contact != nil {
		if problem := policy.Contacts(payload.Contact, issuer.Spec.Account.RequireContact); problem != nil {
			return problem
		}
		account.Status.Contact = payload.Contact
	}
	if payload.TermsOfServiceAgreed {
		account.Status.TermsOfServiceAgreed = issuer.Spec.Account.TermsOfService
	}
	return nil
}

// deactivate ends an account (RFC 8555 section 7.3.6).
func (r *Reconciler) deactivate(issuer *issuers.Issuer, account *v1alpha1.AcmeAccount) {
	asked := account.Spec.Deactivation
	if asked == nil {
		return
	}
	carryOut := func(*v1alpha1.SignedRequest) *acme.Problem {
		if problem := verify.Deactivation(issuer, account, asked, acme.AccountPath(account.Name)); problem != nil {
			return problem
		}
		account.Status.State = verify.EndState(asked)
		return nil
	}
	r.handle(account, "Deactivation", asked.Request, &account.Status.Deactivation, carryOut)
}

// discardRefused removes an account that was never accepted, so that its key can be registered properly. The ACME server
// has been told of the verdict by its watch.
func (r *Reconciler) discardRefused(ctx context.Context, account *v1alpha1.AcmeAccount) error {
	if account.Status.State != acme.StateInvalid || account.DeletionTimestamp != nil {
		return nil
	}
	return client.IgnoreNotFound(r.Client.Delete(ctx, account, client.Preconditions{UID: &account.UID}))
}

// refused tells of it in an Event, which names the issuer too: the account may be gone by the time someone looks.
func (r *Reconciler) refused(account *v1alpha1.AcmeAccount, what string, problem *acme.Problem) {
	issuer := &v1alpha1.AcmeIssuer{}
	issuer.Namespace, issuer.Name = account.Namespace, account.Spec.IssuerRef.Name
	r.Events.Eventf(account, issuer, "Warning", what+"Refused", what, "%s", problem.Error())
}
