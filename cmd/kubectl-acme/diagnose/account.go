package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/cmd/kubectl-acme/view"
	"github.com/acmeca/acmeca/internal/policy"
)

// Account diagnoses an account.
func Account(f Facts) Diagnosis {
	a := f.Account
	d := Diagnosis{Kind: "Account", Namespace: a.Namespace, Name: a.Name, State: string(a.Status.State)}
	switch state := a.Status.State; {
	case state == v1alpha1.StateClaim:
		d.OK, d.Cause = true, "it is not an account, but reserves a key for account "+a.Spec.KeyClaimFor
	case a.Status.Problem != nil:
		d.fail(a.Status.Problem)
		d.Advice = advise(f, a.Status.Problem, nil)
	case state == acme.StateDeactivated:
		d.Cause, d.Advice = "the client deactivated it permanently", accountAdvice(f)
	case state == acme.StateRevoked:
		d.Cause, d.Advice = "a person deactivated it permanently", accountAdvice(f)
	case state == acme.StateValid:
		d.validAccount(f)
	default:
		d.State = string(acme.StatePending)
		if !d.issuerHolds(f) {
			d.Cause = "its registration is not verified yet"
			d.Advice = "This takes a moment. If it lasts, check that `acmeca controller` runs, and its log"
		}
	}
	return d
}

func (d *Diagnosis) validAccount(f Facts) {
	if d.issuerHolds(f) {
		return
	}
	if limit := f.Issuer.Spec.RateLimits.NewOrders; limit != nil {
		if next, over := overLimit(limit, f.Ordered, f.Now); over {
			d.State, d.Problem = "rate limited", acme.RateLimited
			d.Cause = fmt.Sprintf("it has made %s in %s, the maximum (spec.rateLimits.newOrders); the next order is accepted at %s",
				counted(limit.Count, "order"), limit.Period.Duration, at(next))
			d.Advice = advise(f, &v1alpha1.Problem{Type: acme.RateLimited}, nil)
			return
		}
	}
	for request, handled := range map[string]*v1alpha1.HandledRequest{
		"update": f.Account.Status.Update, "key change": f.Account.Status.KeyChange, "deactivation": f.Account.Status.Deactivation,
	} {
		if handled != nil && handled.Problem != nil {
			d.fail(handled.Problem)
			d.Cause = "it may order, but its last " + request + " was refused: " + d.Cause
			d.Advice = advise(f, handled.Problem, nil)
			return
		}
	}
	d.OK, d.Cause = true, "it has no problem"
	if id := f.Account.Status.ExternalAccountKeyID; id != "" {
		d.Cause += "; it was bound by the external account key " + id
	}
}

// overLimit reports whether a limit is used up, and the time from which one more order fits.
func overLimit(limit *v1alpha1.RateLimit, made []time.Time, now time.Time) (time.Time, bool) {
	period := limit.Period.Duration
	made = slices.DeleteFunc(slices.Clone(made), func(t time.Time) bool { return now.Sub(t) >= period })
	if len(made) < limit.Count {
		return time.Time{}, false
	}
	slices.SortFunc(made, time.Time.Compare)
	return made[len(made)-limit.Count].Add(period), true
}

// Issuer diagnoses an issuer.
func Issuer(f Facts) Diagnosis {
	i := f.Issuer
	d := Diagnosis{Kind: "Issuer", Namespace: i.Namespace, Name: i.Name, State: "not ready"}
	ready := meta.FindStatusCondition(i.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil {
		d.Cause = "no controller has processed it"
		d.Advice = "Check that `acmeca controller` runs (kubectl get pods -n acmeca-system), and its log"
		return d
	}
	d.Cause = ready.Message
	switch ready.Reason {
	case v1alpha1.ReasonReady:
		d.State, d.OK = "ready", true
		d.refusals(f)
	case v1alpha1.ReasonDegraded:
		d.State = "degraded"
		d.Advice = "Correct the fault that the message names; issuance continues meanwhile"
	case v1alpha1.ReasonSuspended:
		d.State = "suspended"
		d.Advice = fmt.Sprintf("Orders wait, and continue when spec.suspend is false: kubectl patch acmeissuer %s -n %s --type merge -p '{\"spec\":{\"suspend\":false}}'", i.Name, i.Namespace)
	case v1alpha1.ReasonInvalidSpec:
		d.Advice = "Correct the field that the message names, with `kubectl edit acmeissuer " + i.Name + "`"
	case v1alpha1.ReasonSecretUnavailable:
		d.Advice = "Create or correct that Secret in namespace " + i.Namespace + "; it is read again within a minute"
	case v1alpha1.ReasonCAUnavailable:
		d.Advice = "Create or correct that Secret in namespace " + i.Namespace + "; it is read again within a minute, and waiting orders continue then"
		if i.Spec.CA.SelfSigned != nil {
			d.Advice = "Restore that Secret, which has the CA's key, from a backup. " + d.Advice
		}
	}
	return d
}

// refusals adds refused registrations. Their accounts are deleted, so a user finds them only here.
func (d *Diagnosis) refusals(f Facts) {
	if len(f.Refusals) == 0 {
		return
	}
	last := Refused(f.Refusals[0])
	d.OK, d.Problem, d.Advice = false, last.Problem, last.Advice
	d.Cause = fmt.Sprintf("%s; but %d registrations were refused recently, the last one, of account %s, at %s: %s", d.Cause, len(f.Refusals), last.Name, at(f.Refusals[0].Time), last.Cause)
}

// Refused diagnoses an account that was refused and deleted.
func Refused(r Refusal) Diagnosis {
	kind, detail, _ := strings.Cut(r.Note, ": ")
	d := Diagnosis{Kind: "Account", Name: r.Object, State: "refused"}
	problem := &v1alpha1.Problem{Type: acme.ProblemType(kind), Detail: detail}
	d.fail(problem)
	d.Advice = advise(Facts{}, problem, nil)
	return d
}

// NoName diagnoses a text that can't be a name in a certificate.
func NoName(name string, why error) Diagnosis {
	return Diagnosis{Kind: "Name", Name: name, State: "refused", Problem: acme.RejectedIdentifier, Cause: why.Error(),
		Advice: "Let the client request a valid name"}
}

// Name diagnoses a name without an order or authorization: it was refused, or never requested.
func Name(name string, issuers []v1alpha1.AcmeIssuer) Diagnosis {
	d := Diagnosis{Kind: "Name", Name: name, State: "unknown", Cause: "no order or authorization exists for it"}
	if len(issuers) == 0 {
		d.Cause += ", and no issuer exists in this namespace"
		d.Advice = "Select the issuer's namespace with -n"
		return d
	}
	var taken []string
	for i := range issuers {
		issuer := &issuers[i]
		p, err := wouldRefuse(issuer, name)
		switch {
		case err != nil:
			d.Cause += fmt.Sprintf("; issuer %s: %v", issuer.Name, err)
		case p != nil:
			d.State, d.Problem = "refused", p.Type
			d.Cause += fmt.Sprintf("; issuer %s refuses it: %s (%s)", issuer.Name, p.Detail, p.Type)
			d.Advice = advise(Facts{Issuer: issuer}, v1alpha1.ProblemFrom(p), nil)
		default:
			taken = append(taken, issuer.Name+" ("+issuer.Status.DirectoryURL+")")
		}
	}
	if len(taken) > 0 {
		d.State = "unknown"
		d.Cause += "; it can be ordered from " + strings.Join(taken, ", ")
		d.Advice = "The client has not requested it, or was refused for another reason (its account, a rate limit): check its log, and the directory that it uses"
	}
	return d
}

// wouldRefuse returns the problem with which the issuer's policy refuses a name, or nil. The error means that the policy is invalid.
func wouldRefuse(issuer *v1alpha1.AcmeIssuer, name string) (*acme.Problem, error) {
	id := acme.Identifier{Type: acme.DNS, Value: name}
	if _, err := netip.ParseAddr(name); err == nil {
		id.Type = acme.IP
	}
	id, problem := id.Normalize()
	if problem != nil {
		return problem, nil
	}
	p, err := policy.New(&issuer.Spec)
	if err != nil {
		return nil, err
	}
	if c := issuer.Status.IssuingCertificate; c != nil {
		p = p.Under(view.Certificates(c.Chain))
	}
	return p.Identifiers([]acme.Identifier{id}), nil
}
