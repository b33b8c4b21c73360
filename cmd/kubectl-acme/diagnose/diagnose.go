package diagnose

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Facts are the objects to diagnose. Missing ones are nil.
type Facts struct {
	Now     time.Time
	Issuer  *v1alpha1.AcmeIssuer
	Account *v1alpha1.AcmeAccount
	Order   *v1alpha1.AcmeOrder
	// Authorizations of the order, in its order; or a single one.
	Authorizations []*v1alpha1.AcmeAuthorization
	// Refusals are the recent refused registrations, the newest first.
	Refusals []Refusal
	// Ordered are the times of the account's orders, if the issuer limits them.
	Ordered []time.Time
}

// Refusal is an Event about a request that was refused.
type Refusal struct {
	Time time.Time
	// Object is the name of the refused object, which may be deleted.
	Object string
	// Reason is the Event's reason, such as "RegistrationRefused". Note is the problem.
	Reason, Note string
}

// Diagnosis is the answer to "why".
type Diagnosis struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	State     string `json:"state"`
	// OK means that nothing has to be done.
	OK bool `json:"ok"`
	// Problem is the type of the problem document, if there is one.
	Problem acme.ProblemType `json:"problem,omitempty"`
	Cause   string           `json:"cause"`
	Advice  string           `json:"advice,omitempty"`
}

// Paragraph returns the diagnosis as text.
func (d Diagnosis) Paragraph() string {
	text := fmt.Sprintf("%s %s is %s: %s", d.Kind, d.Name, d.State, sentence(d.Cause))
	if d.Advice != "" {
		text += " " + sentence(d.Advice)
	}
	return text
}

// counted returns a number with a noun, in singular or plural.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// sentence ends text with a full stop.
func sentence(text string) string {
	if text == "" || strings.ContainsRune(".!?", rune(text[len(text)-1])) {
		return text
	}
	return text + "."
}

func at(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Order diagnoses an order.
func Order(f Facts) Diagnosis {
	o := f.Order
	d := Diagnosis{Kind: "Order", Namespace: o.Namespace, Name: o.Name + " for " + values(o.Spec.Identifiers), State: string(o.Status.State)}
	switch {
	case o.Status.RevokedAt != nil:
		d.State, d.OK = "revoked", true
		d.Cause = fmt.Sprintf("its certificate %s was revoked at %s (%s), as requested by %s", o.Status.Serial, at(o.Status.RevokedAt.Time), reasonName(o), whoRevoked(o))
		d.Advice = "Let the client order another certificate"
		if o.Spec.Pod != nil {
			d.Advice = "Delete the Pod, so that the next one gets another certificate"
		} else if o.CompromisedKey() != "" {
			d.Advice += ", with a new key: this one stays blocked"
		}
	case revocationRefused(o) != nil:
		d.fail(revocationRefused(o))
		d.Cause = "its certificate was issued, and a client's request to revoke it was refused: " + d.Cause
		d.Advice = "`kubectl acme revoke " + o.Name + "` revokes it without the client"
	case o.Status.State == acme.StateValid:
		d.issued(f)
	case o.Status.State == acme.StateInvalid:
		d.failedOrder(f)
	default:
		d.unfinished(f)
	}
	return d
}

func values(ids []v1alpha1.Identifier) string {
	const most = 3
	var out []string
	for _, id := range ids[:min(most, len(ids))] {
		out = append(out, id.Value)
	}
	text := strings.Join(out, ", ")
	if len(ids) > most {
		text += fmt.Sprintf(" and %d more", len(ids)-most)
	}
	return text
}

func reasonName(o *v1alpha1.AcmeOrder) string {
	if o.Spec.Revocation == nil {
		return acme.RevocationReasonNames[0]
	}
	return acme.RevocationReasonNames[o.Spec.Revocation.Reason]
}

func whoRevoked(o *v1alpha1.AcmeOrder) string {
	if o.Spec.Revocation != nil && o.Spec.Revocation.Request != nil {
		return "a client"
	}
	return cmp.Or(o.Annotations[v1alpha1.RevokedByAnnotation], "a person")
}

func revocationRefused(o *v1alpha1.AcmeOrder) *v1alpha1.Problem {
	handled, asked := o.Status.Revocation, o.Spec.Revocation
	if handled == nil || asked == nil || handled.Digest != asked.Digest() {
		return nil
	}
	return handled.Problem
}

// fail sets the problem and the cause.
func (d *Diagnosis) fail(p *v1alpha1.Problem) {
	d.Problem, d.Cause = p.Type, describe(p)
}

// describe returns a problem document with its subproblems as a sentence.
func describe(p *v1alpha1.Problem) string {
	const most = 5
	text := fmt.Sprintf("%s (%s)", strings.TrimSuffix(p.Detail, "."), p.Type)
	var parts []string
	for _, sub := range p.Subproblems[:min(most, len(p.Subproblems))] {
		part := fmt.Sprintf("%s (%s)", sub.Detail, sub.Type)
		if sub.Identifier != nil && !strings.Contains(sub.Detail, sub.Identifier.Value) {
			part = sub.Identifier.Value + ": " + part
		}
		parts = append(parts, part)
	}
	if more := len(p.Subproblems) - most; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, "; ")
	}
	return text
}

func (d *Diagnosis) issued(f Facts) {
	o := f.Order
	d.OK, d.Cause = true, "the certificate "+o.Status.Serial+" was issued"
	if o.Status.NotAfter == nil {
		return
	}
	if end := o.Status.NotAfter.Time; f.Now.After(end) {
		d.State, d.OK = "expired", false
		d.Cause = "its certificate " + o.Status.Serial + " expired at " + at(end)
		d.Advice = "Check whether a later order for the name exists, and whether the client still runs"
		if o.Spec.Pod != nil {
			d.Advice = "Check whether a later order of the Pod exists, and whether the Pod still runs"
		}
	} else {
		d.Cause += " and is valid until " + at(end)
	}
}

func (d *Diagnosis) failedOrder(f Facts) {
	p := f.Order.Status.Problem
	if p == nil {
		d.Cause, d.Advice = "the controllers gave no reason", "Check `kubectl describe acmeorder "+f.Order.Name+"` and the controller's log"
		return
	}
	d.fail(p)
	d.Advice = advise(f, p, failedAuthorization(f.Authorizations))
}

// failedAuthorization returns the first failed authorization, which is the cause of a failed order, or nil.
func failedAuthorization(authorizations []*v1alpha1.AcmeAuthorization) *v1alpha1.AcmeAuthorization {
	i := slices.IndexFunc(authorizations, func(a *v1alpha1.AcmeAuthorization) bool { return a != nil && a.Status.State.Final() })
	if i < 0 {
		return nil
	}
	return authorizations[i]
}

// unfinished describes the next step of an order.
func (d *Diagnosis) unfinished(f Facts) {
	d.State = cmp.Or(d.State, string(acme.StatePending))
	o := f.Order
	if d.issuerHolds(f) {
		return
	}
	if o.Spec.Pod != nil {
		d.Cause = "it records a certificate of a Pod, which is being issued"
		d.Advice = "`kubectl acme why pod/" + o.Spec.Pod.Name + " -n " + o.Spec.Pod.Namespace + "` explains what the Pod waits for"
		return
	}
	if d.accountHolds(f) {
		return
	}
	for i, authz := range f.Authorizations {
		if authz == nil {
			d.Cause = fmt.Sprintf("its authorization %s doesn't exist", o.Spec.Authorizations[i])
			d.Advice = "It was deleted: the order will fail, and the client has to order again"
			return
		}
		if authz.Status.State != acme.StateValid {
			d.waitsFor(f, authz)
			return
		}
	}
	ready := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case !o.Finalized():
		d.OK = true
		d.Cause = "every name is proved, and the client has not finalized yet" + until(o.Status.Expires)
		d.Advice = "If the client has stopped, its log has the reason. A refused CSR (badCSR) does not change the order: " +
			"the CSR needs exactly the names of the order, and a key that the profile allows"
	case ready != nil && ready.Reason != v1alpha1.ReasonAuthorized:
		d.Cause = fmt.Sprintf("the client has finalized; %s (%s)", ready.Message, ready.Reason)
	default:
		d.Cause = "the client has finalized, and the certificate is being issued"
		d.Advice = "If this takes more than a few seconds, check that `acmeca controller` runs, and its log"
	}
}

func until(t *metav1.Time) string {
	if t == nil {
		return ""
	}
	return " (possible until " + at(t.Time) + ")"
}

// issuerHolds reports whether the issuer blocks the object, and describes why.
func (d *Diagnosis) issuerHolds(f Facts) bool {
	if f.Issuer == nil {
		d.Cause = "its issuer doesn't exist"
		d.Advice = "Apply the AcmeIssuer again under the same name: its accounts and the Secrets of its CA still exist"
		return true
	}
	issuer := Issuer(Facts{Issuer: f.Issuer, Now: f.Now})
	if issuer.State == "ready" || issuer.State == "degraded" {
		return false
	}
	d.Cause = fmt.Sprintf("it waits for its issuer %s, which is %s: %s", f.Issuer.Name, issuer.State, issuer.Cause)
	d.Advice = issuer.Advice
	return true
}

// accountHolds reports whether the account blocks the object, and describes why.
func (d *Diagnosis) accountHolds(f Facts) bool {
	switch {
	case f.Account == nil:
		d.Cause, d.Advice = "its account doesn't exist", "Restore the AcmeAccount from a backup, or let the client register again"
	case f.Account.Status.State.Final():
		a := Account(f)
		d.Cause, d.Advice = "its account is "+a.State+": "+a.Cause, a.Advice
	default:
		return false
	}
	return true
}

// waitsFor describes the next step of an authorization, or why it failed.
func (d *Diagnosis) waitsFor(f Facts, authz *v1alpha1.AcmeAuthorization) {
	f.Authorizations = []*v1alpha1.AcmeAuthorization{authz}
	one := Authorization(f)
	d.Problem, d.Advice, d.OK = one.Problem, one.Advice, one.OK
	d.Cause = "control of " + authz.Authorized().Value + " is not proved: " + one.Cause
}

// Authorization diagnoses an authorization.
func Authorization(f Facts) Diagnosis {
	authz := f.Authorizations[0]
	d := Diagnosis{Kind: "Authorization", Namespace: authz.Namespace, Name: authz.Name + " for " + authz.Authorized().Value,
		State: string(authz.Status.State)}
	tried := authz.Status.Challenge
	switch state := authz.Status.State; {
	case state == acme.StateValid:
		d.OK, d.Cause = true, "control was proved"
		if tried != nil {
			d.Cause += " by " + string(tried.Type)
		}
		if t := authz.Status.Expires; t != nil {
			d.Cause += ", valid until " + at(t.Time)
		}
	case state == acme.StateExpired:
		d.OK, d.Cause = true, "it has expired"
		d.Advice = "A new order creates a new authorization"
	case authz.Status.Problem != nil:
		d.fail(authz.Status.Problem)
		if tried != nil && tried.State == acme.StateInvalid {
			d.Cause = fmt.Sprintf("%s failed after %s: %s", tried.Type, counted(max(tried.Attempts, 1), "attempt"), d.Cause)
		}
		d.Advice = advise(f, authz.Status.Problem, authz)
	case state.Final():
		d.Cause = "the client deactivated it"
		if authz.Spec.Deactivation != nil && authz.Spec.Deactivation.Request == nil {
			d.Cause = "a person deactivated it"
		}
		d.Advice = "A new order creates a new authorization"
	default:
		d.pending(f, authz)
	}
	return d
}

func (d *Diagnosis) pending(f Facts, authz *v1alpha1.AcmeAuthorization) {
	d.State = string(acme.StatePending)
	if d.issuerHolds(f) || d.accountHolds(f) {
		return
	}
	tried := authz.Status.Challenge
	switch {
	case authz.Spec.Response == nil:
		d.OK, d.Cause = true, "the client has chosen none of the offered challenges"
		if len(authz.Spec.Challenges) > 0 {
			d.Cause += " (" + authz.Offered() + ")"
		}
		d.Cause += until(authz.Status.Expires)
		d.Advice = "The client has to act: check in its log why it waits, such as for DNS propagation or a failing self-check"
	case tried != nil && tried.Problem != nil:
		d.fail(tried.Problem)
		d.Cause = fmt.Sprintf("attempt %d of %s failed and will be retried: %s", tried.Attempts, tried.Type, d.Cause)
		d.Advice = advise(f, tried.Problem, authz)
	default:
		d.Cause = string(authz.Spec.Response.Type) + " is in progress"
		d.Advice = "If this takes more than a minute, check that `acmeca controller` runs, and its log"
	}
}
