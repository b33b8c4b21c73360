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

// Account tells of an account.
func Account(f Facts) Diagnosis {
	a := f.Account
	d := Diagnosis{Kind: "Account", Namespace: a.Namespace, Name: a.Name, State: string(a.Status.State)}
	switch state := a.Status.State; {
	case state == v1alpha1.StateClaim:
		d.OK, d.Cause = true, "it is no account, but keeps a key for account "+a.Spec.KeyClaimFor
	case a.Status.Problem != nil:
		d.fail(a.Status.Problem)
		d.Advice = advise(f, a.Status.Problem, nil)
	case state == acme.StateDeactivated:
		d.Cause, d.Advice = "the client deactivated it, for good", accountAdvice(f)
	case state == acme.StateRevoked:
		d.Cause, d.Advice = "a person ended it, for good", accountAdvice(f)
	case state == acme.StateValid:
		d.validAccount(f)
	default:
		d.State = string(acme.StatePending)
		if !d.issuerHolds(f) {
			d.Cause = "its registration hasn't been verified"
			d.Advice = "That takes a moment; if it lasts, see whether `acmeca controller` runs, and what its log says"
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
			d.Cause = fmt.Sprintf("it has made %s in %s, which is as many as it may (spec.rateLimits.newOrders); the next one is taken at %s",
				counted(limit.Count, "order"), limit.Period.Duration, at(next))
			d.Advice = advise(f, &v1alpha1.Problem{Type: acme.RateLimited}, nil)
			return
		}
	}
	for what, handled := range map[string]*v1alpha1.HandledRequest{
		"update": f.Account.Status.Update, "key change": f.Account.Status.KeyChange, "deactivation": f.Account.Status.Deactivation,
	} {
		if handled != nil && handled.Problem != nil {
			d.fail(handled.Problem)
			d.Cause = "it may order, but its last " + what + " was refused: " + d.Cause
			d.Advice = advise(f, handled.Problem, nil)
			return
		}
	}
	d.OK, d.Cause = true, "nothing is wrong with it"
	if id := f.Account.Status.ExternalAccountKeyID; id != "" {
		d.Cause += "; it was bound by the external account key " + id
	}
}

// overLimit says from when one more fits under a limit that is used up.
func overLimit(limit *v1alpha1.RateLimit, made []time.Time, now time.Time) (time.Time, bool) {
	period := limit.Period.Duration
	made = slices.DeleteFunc(slices.Clone(made), func(t time.Time) bool { return now.Sub(t) >= period })
	if len(made) < limit.Count {
		return time.Time{}, false
	}
	slices.SortFunc(made, time.Time.Compare)
	return made[len(made)-limit.Count].Add(period), true
}

// Issuer tells of an issuer.
func Issuer(f Facts) Diagnosis {
	i := f.Issuer
	d := Diagnosis{Kind: "Issuer", Namespace: i.Namespace, Name: i.Name, State: "not ready"}
	ready := meta.FindStatusCondition(i.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil {
		d.Cause = "no controller has looked at it"
		d.Advice = "See whether `acmeca controller` runs (kubectl get pods -n acmeca-system), and what its log says"
		return d
	}
	d.Cause = ready.Message
	switch ready.Reason {
	case v1alpha1.ReasonReady:
		d.State, d.OK = "ready", true
		d.refusals(f)
	case v1alpha1.ReasonDegraded:
		d.State = "degraded"
		d.Advice = "See to what the message names; issuance goes on meanwhile"
	case v1alpha1.ReasonSuspended:
		d.State = "suspended"
		d.Advice = fmt.Sprintf("Orders wait, and go on when spec.suspend is false: kubectl patch acmeissuer %s -n %s --type merge -p '{\"spec\":{\"suspend\":false}}'", i.Name, i.Namespace)
	case v1alpha1.ReasonInvalidSpec:
		d.Advice = "Mend the field that the message names, with `kubectl edit acmeissuer " + i.Name + "`"
	case v1alpha1.ReasonSecretUnavailable:
		d.Advice = "Create or mend that Secret in namespace " + i.Namespace + "; it is read again within a minute"
	case v1alpha1.ReasonCAUnavailable:
		d.Advice = "Create or mend that Secret in namespace " + i.Namespace + "; it is read again within a minute, and orders that wait go on then"
		if i.Spec.CA.SelfSigned != nil {
			d.Advice = "Restore that Secret from a backup: the CA's key is in it. " + d.Advice
		}
	}
	return d
}

// refusals tells of registrations that were refused: the accounts are gone, and the issuer is where a person looks.
func (d *Diagnosis) refusals(f Facts) {
	if len(f.Refusals) == 0 {
		return
	}
	last := Refused(f.Refusals[0])
	d.OK, d.Problem, d.Advice = false, last.Problem, last.Advice
	d.Cause = fmt.Sprintf("%s; but %d registrations were refused lately, the last one, of account %s, at %s: %s", d.Cause, len(f.Refusals), last.Name, at(f.Refusals[0].Time), last.Cause)
}

// Refused tells of an account that was refused, and is gone.
func Refused(r Refusal) Diagnosis {
	kind, detail, _ := strings.Cut(r.Note, ": ")
	d := Diagnosis{Kind: "Account", Name: r.Object, State: "refused"}
	problem := &v1alpha1.Problem{Type: acme.ProblemType(kind), Detail: detail}
	d.fail(problem)
	d.Advice = advise(Facts{}, problem, nil)
	return d
}

// NoName tells of what can't be a name in a certificate.
func NoName(name string, why error) Diagnosis {
	return Diagnosis{Kind: "Name", Name: name, State: "refused", Problem: acme.RejectedIdentifier, Cause: why.Error(),
		Advice: "Have the client ask for a name that can be certified"}
}

// Name tells of a name that there is no order and no authorization for, so that it was refused, or never asked for.
func Name(name string, issuers []v1alpha1.AcmeIssuer) Diagnosis {
	d := Diagnosis{Kind: "Name", Name: name, State: "unknown", Cause: "there is no order and no authorization for it"}
	if len(issuers) == 0 {
		d.Cause += ", and no issuer"
		d.Advice = "Look in the issuer's namespace with -n"
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
		d.Cause += "; it may be ordered from " + strings.Join(taken, ", ")
		d.Advice = "The client hasn't asked, or was refused for what isn't the name's fault (its account, a rate limit): see which directory it uses, and its log"
	}
	return d
}

// wouldRefuse is what the issuer's policy says to a name; the error says that it is no name at all, or that the policy can't
// be used.
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
