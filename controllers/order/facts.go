package order

import (
	"context"
	"crypto/x509"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/attempts"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/policy"
)

// facts are what a decision about an order rests on, beside the order. They are read once for each reconcile, from the cache
// unless a field says otherwise, and are read-only.
type facts struct {
	now time.Time
	// overBudget is whether the issuer's objects use too many bytes.
	overBudget bool
	// issuer can issue if the order is to be issued, and can revoke if it is to be revoked; nil if not.
	issuer *issuers.Issuer
	// issuerEnding is whether the issuer is gone or being deleted; issuerFault is why an issuer that exists can't issue, if the
	// issuer says so. Both are read live, and only without issuer.
	issuerEnding bool
	issuerFault  string
	// issuerOutdated is whether the issuer was changed since it was loaded. It is read live, with the account, if the order has
	// grants: the ACME server may have seen a new grant first.
	issuerOutdated bool
	// account of the order; nil if there is none. accountLive is whether it was read live.
	account     *v1alpha1.AcmeAccount
	accountLive bool
	// authorizations are those that spec.authorizations names, in that order; nil for one that does not exist.
	authorizations []*v1alpha1.AcmeAuthorization
	// replaced is the order of the certificate that this order replaces; nil if it is not known. taken is whether another order
	// that replaces the same certificate is valid.
	replaced *v1alpha1.AcmeOrder
	taken    bool
	// keyProblem is the problem of a CSR's key that is the key of an account of any issuer, or is known to be compromised.
	keyProblem *acme.Problem
	// caa is the outcome of the CAA checks that are due.
	caa attempts.CAAVerdict

	revocation revocationFacts
}

// revocationFacts are what a decision about a revocation request rests on. All are read live but for authorizations.
type revocationFacts struct {
	// certificate of the order in PEM, which the cache does not hold, and the fingerprint of its key. They are read if the decision
	// needs them.
	certificate, keyFingerprint string
	// account that signed the request by its claim; nil if there is none. authorizations are the account's, if the account is
	// not the order's.
	account        *v1alpha1.AcmeAccount
	authorizations []v1alpha1.AcmeAuthorization
	// owners are the authorizations of the order's account, if the issuer ends authorizations and that account did not sign.
	owners []v1alpha1.AcmeAuthorization
}

// gather reads the facts that the order's stage needs.
func (r *Reconciler) gather(ctx context.Context, order *v1alpha1.AcmeOrder) (facts, error) {
	f := facts{now: r.Clock.Now(), overBudget: r.Budget.Exceeds(order.Namespace, order.Spec.IssuerRef.Name)}
	var err error
	switch stageOf(order) {
	case stageIssue:
		err = r.gatherIssuing(ctx, order, &f)
	case stageRevoke:
		err = r.gatherRevoking(ctx, order, &f)
	case stageRelease:
		f.issuerEnding, err = r.issuerGone(ctx, order)
	}
	return f, err
}

// gatherIssuing reads the facts about an order that is neither valid nor invalid.
func (r *Reconciler) gatherIssuing(ctx context.Context, order *v1alpha1.AcmeOrder, f *facts) error {
	var err error
	if f.account, err = kube.Read[v1alpha1.AcmeAccount](ctx, r.Client, order.Namespace, order.Spec.AccountRef.Name); err != nil {
		return err
	}
	f.issuer, _ = r.Issuers.ReadyToIssue(order.Namespace, order.Spec.IssuerRef.Name)
	if f.issuer == nil {
		return r.readIssuer(ctx, order, f)
	}
	for _, name := range order.Spec.Authorizations {
		// Without a copy: each of an order's authorizations starts a reconcile, which reads all of them.
		authz, err := kube.Read[v1alpha1.AcmeAuthorization](ctx, r.Client, order.Namespace, name, client.UnsafeDisableDeepCopy)
		if err != nil {
			return err
		}
		f.authorizations = append(f.authorizations, authz)
	}
	if f.replaced, f.taken, err = r.Replacements.read(ctx, order); err != nil || !order.Finalized() {
		return err
	}
	if due := caaDue(order, *f); len(due) > 0 {
		f.caa = r.CAA.Verdict(client.ObjectKeyFromObject(order), order.UID, due)
	}
	return r.readKey(ctx, order, f)
}

// readIssuer reads why the order's issuer can't issue.
func (r *Reconciler) readIssuer(ctx context.Context, order *v1alpha1.AcmeOrder, f *facts) error {
	var err error
	if f.issuerEnding, err = kube.IssuerEnding(ctx, r.Client, r.Live, order.Namespace, order.Spec.IssuerRef.Name); err != nil ||
		f.issuerEnding {
		return err
	}
	issuer, err := kube.Read[v1alpha1.AcmeIssuer](ctx, r.Live, order.Namespace, order.Spec.IssuerRef.Name)
	if err != nil || issuer == nil {
		return err
	}
	// After a restart, an issuer that is ready may not be loaded yet.
	if ready := meta.FindStatusCondition(issuer.Status.Conditions, v1alpha1.ConditionReady); ready != nil &&
		ready.Status == metav1.ConditionFalse {
		f.issuerFault = ready.Message
	}
	return nil
}

// readKey reads the facts about the CSR's key. A CSR that can't be parsed is refused anyway.
func (r *Reconciler) readKey(ctx context.Context, order *v1alpha1.AcmeOrder, f *facts) error {
	csr, err := x509.ParseCertificateRequest(policy.StoredCSR(order))
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	if key, problem := jws.NewKey(csr.PublicKey); problem == nil { // no account can have another key
		var accounts v1alpha1.AcmeAccountList
		if err := r.Client.List(ctx, &accounts, client.MatchingFields{kube.IndexThumbprint: key.Thumbprint()}, client.Limit(1),
			client.UnsafeDisableDeepCopy); err != nil {
			return err
		}
		if len(accounts.Items) > 0 {
			f.keyProblem = policy.AccountKeyUsed()
			return nil
		}
	}
	f.keyProblem, err = r.CompromisedKeys.Fault(ctx, order, csr.PublicKey)
	return err
}

// gatherRevoking reads the facts about an order whose certificate is to be revoked.
func (r *Reconciler) gatherRevoking(ctx context.Context, order *v1alpha1.AcmeOrder, f *facts) error {
	var err error
	if f.account, err = kube.Read[v1alpha1.AcmeAccount](ctx, r.Client, order.Namespace, order.Spec.AccountRef.Name); err != nil {
		return err
	}
	f.issuer, _ = r.Issuers.Loaded(order.Namespace, order.Spec.IssuerRef.Name)
	if f.issuer == nil {
		f.issuerEnding, err = r.issuerGone(ctx, order)
		return err
	}
	if order.Spec.Revocation.Request == nil && !order.ReportsCompromise() {
		return nil
	}
	full, err := kube.Read[v1alpha1.AcmeOrder](ctx, r.Live, order.Namespace, order.Name)
	if err != nil || full == nil {
		return err
	}
	f.revocation.certificate, f.revocation.keyFingerprint = full.Status.Certificate, keyFingerprint(full)
	if order.Spec.Revocation.Request == nil {
		return nil
	}
	name, byAccount := revokingAccount(f.issuer, order)
	if name != order.Spec.AccountRef.Name && f.issuer.Spec.Lifetimes.EndAuthorizationsOnRevocation {
		if f.revocation.owners, err = r.authorizationsOf(ctx, order.Namespace, order.Spec.AccountRef.Name); err != nil {
			return err
		}
	}
	if !byAccount {
		return nil
	}
	f.revocation.account, err = kube.Read[v1alpha1.AcmeAccount](ctx, r.Live, order.Namespace, name)
	if err != nil || f.revocation.account == nil || name == order.Spec.AccountRef.Name {
		return err
	}
	f.revocation.authorizations, err = r.authorizationsOf(ctx, order.Namespace, name)
	return err
}

// keyFingerprint returns the fingerprint of the key of an order's certificate, or "" if there is no certificate that can be read.
func keyFingerprint(order *v1alpha1.AcmeOrder) string {
	certificates, err := ca.ParseCertificates([]byte(order.Status.Certificate))
	if err != nil || len(certificates) == 0 {
		return order.Status.KeyFingerprint
	}
	fingerprint, _ := issuers.KeyFingerprint(certificates[0].PublicKey) // a certificate's key can be encoded
	return fingerprint
}

// authorizationsOf lists the cached authorizations of an account, to be read only.
func (r *Reconciler) authorizationsOf(ctx context.Context, namespace, account string) ([]v1alpha1.AcmeAuthorization, error) {
	var list v1alpha1.AcmeAuthorizationList
	err := r.Client.List(ctx, &list, client.InNamespace(namespace), client.MatchingFields{kube.IndexAccount: account},
		client.UnsafeDisableDeepCopy)
	return list.Items, err
}

// issuerGone reports whether there is no issuer for an order that is being deleted, and so no CRL for the order.
func (r *Reconciler) issuerGone(ctx context.Context, order *v1alpha1.AcmeOrder) (bool, error) {
	if order.DeletionTimestamp == nil || !order.OwesRevocation() {
		return false, nil
	}
	issuer, err := kube.Read[v1alpha1.AcmeIssuer](ctx, r.Live, order.Namespace, order.Spec.IssuerRef.Name)
	return err == nil && issuer == nil, err
}

// readLive replaces the cached account, and compares the loaded issuer with the stored one: their watches may lag behind the
// order watch.
func (r *Reconciler) readLive(ctx context.Context, order *v1alpha1.AcmeOrder, f *facts) error {
	var err error
	if len(order.Spec.Grants) > 0 && f.issuer != nil {
		issuer, err := kube.Read[v1alpha1.AcmeIssuer](ctx, r.Live, order.Namespace, order.Spec.IssuerRef.Name)
		if err != nil {
			return err
		}
		f.issuerOutdated = issuer != nil && issuer.Generation != f.issuer.Generation
	}
	f.account, err = kube.Read[v1alpha1.AcmeAccount](ctx, r.Live, order.Namespace, order.Spec.AccountRef.Name)
	f.accountLive = err == nil
	return err
}
