package order

import (
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/controllers/verify"
)

// proofs are the state of an order's authorizations.
type proofs struct {
	// complete is whether each identifier has a valid authorization.
	complete bool
	// missing is whether the account, or an authorization that was stored before the order, is not in the cache yet.
	missing bool
	// problem is why an identifier can never be authorized. It rests on the cached account if granted is set.
	problem *acme.Problem
	granted bool
	// until is the first time at which a grant ends; zero for never.
	until time.Time
}

// proofsOf checks that each identifier of an order has a grant, or an authorization that is valid now.
func proofsOf(order *v1alpha1.AcmeOrder, f facts) proofs {
	if len(order.Spec.Authorizations) != len(order.Spec.Identifiers) {
		return proofs{problem: acme.NewProblem(acme.Malformed, "the order has %d authorizations for %d identifiers",
			len(order.Spec.Authorizations), len(order.Spec.Identifiers))}
	}
	p := proofs{complete: true}
	var refused []acme.Problem
	for i, authz := range f.authorizations {
		identifier := order.Spec.Identifiers[i].ACME()
		if byGrant(order, i, authz) {
			if problem := p.addGrant(order, f, i); problem != nil {
				refused = append(refused, *problem.About(identifier))
			}
			continue
		}
		if authz == nil && order.Awaits(i) {
			p.complete = false // the client has not chosen a challenge
			continue
		}
		if authz == nil && f.now.Sub(requestedAt(order, f.now)) < kube.MissingGrace {
			return proofs{missing: true}
		}
		if problem := authorizationProblem(order, f, order.Spec.Authorizations[i], authz, identifier); problem != nil {
			refused = append(refused, *problem.About(identifier))
		}
		p.complete = p.complete && authz != nil && authz.Status.State == acme.StateValid
	}
	p.problem = compound(refused, "%d of %d identifiers were not authorized", len(order.Spec.Identifiers))
	return p
}

// byGrant reports whether a grant authorizes an identifier. An authorization that the client has deactivated is stored, and does not
// count any more, whatever is granted.
func byGrant(order *v1alpha1.AcmeOrder, identifier int, authz *v1alpha1.AcmeAuthorization) bool {
	return order.Grant(identifier) != "" && (authz == nil || !authz.Finished())
}

// addGrant adds the grant of an identifier to the proofs. The problem is why the grant does not authorize the account any more.
func (p *proofs) addGrant(order *v1alpha1.AcmeOrder, f facts, identifier int) *acme.Problem {
	p.granted = true
	if f.account == nil {
		p.missing = f.now.Sub(order.CreationTimestamp.Time) < kube.MissingGrace
		if p.missing {
			return nil
		}
		return verify.NoAccount(order.Spec.AccountRef.Name)
	}
	name, allowed := order.Grant(identifier), f.issuer.Policy.ForAccount(f.account)
	profile, problem := allowed.Profile(order.Spec.Profile)
	if problem != nil {
		return problem
	}
	if problem := allowed.CheckGrant(name, order.Spec.Identifiers[identifier].ACME(), profile.Name, f.now); problem != nil {
		return problem
	}
	if end := allowed.GrantExpires(name); !end.IsZero() && (p.until.IsZero() || end.Before(p.until)) {
		p.until = end
	}
	return nil
}

// compound returns the problem of one of several identifiers, or a problem with a subproblem for each; nil if there is none. The
// format takes the number of problems and of identifiers.
func compound(problems []acme.Problem, format string, of int) *acme.Problem {
	switch len(problems) {
	case 0:
		return nil
	case 1:
		return &problems[0]
	}
	problem := acme.NewProblem(acme.Compound, format, len(problems), of).WithStatus(403)
	problem.Subproblems = problems
	return problem
}

// requestedAt is when an order's client last made a request that needs the authorizations. A time far in the future does not count:
// the order would wait for it.
func requestedAt(order *v1alpha1.AcmeOrder, now time.Time) time.Time {
	created := order.CreationTimestamp.Time
	if f := order.Spec.Finalization; f != nil && f.Time.After(created) && f.Time.Time.Before(now.Add(kube.MissingGrace)) {
		return f.Time.Time
	}
	return created
}

// authorizationProblem returns why an authorization can't authorize an identifier, now or ever; nil if it is pending. Only the state
// "valid", of an authorization of the same account and issuer that covers the identifier, authorizes.
func authorizationProblem(
	order *v1alpha1.AcmeOrder, f facts, name string, authz *v1alpha1.AcmeAuthorization, identifier acme.Identifier,
) *acme.Problem {
	if authz == nil {
		return acme.NewProblem(acme.Unauthorized, "the authorization %s does not exist", name)
	}
	if authz.Spec.AccountRef != order.Spec.AccountRef || authz.Spec.IssuerRef != order.Spec.IssuerRef {
		return acme.NewProblem(acme.Unauthorized, "the authorization belongs to another account or issuer")
	}
	if problem := verify.Coverage(f.issuer, authz, identifier); problem != nil {
		return problem
	}
	switch authz.Status.State {
	case acme.StatePending:
		return nil
	case acme.StateValid:
		if authz.Status.Expires == nil || !f.now.Before(authz.Status.Expires.Time) {
			return acme.NewProblem(acme.Unauthorized, "the authorization has expired")
		}
		return nil
	}
	if authz.Status.Problem != nil {
		problem := authz.Status.Problem.ACME()
		problem.Status = 403
		return problem
	}
	return acme.NewProblem(acme.Unauthorized, "the authorization is %s", authz.Status.State)
}

// authorizedSince is when the newest of an order's authorizations became valid, or when the order was created, if later.
func authorizedSince(order *v1alpha1.AcmeOrder, f facts) time.Time {
	newest := order.CreationTimestamp.Time
	for _, authz := range f.authorizations {
		if authz == nil {
			continue
		}
		if c := authz.Status.Challenge; c != nil && c.ValidatedAt != nil && c.ValidatedAt.After(newest) {
			newest = c.ValidatedAt.Time
		}
	}
	return newest
}
