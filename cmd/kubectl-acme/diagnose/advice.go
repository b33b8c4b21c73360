package diagnose

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// advise returns advice on a problem. authz is the failed authorization, or nil.
func advise(f Facts, p *v1alpha1.Problem, authz *v1alpha1.AcmeAuthorization) string {
	if len(p.Subproblems) > 0 {
		sub := p.Subproblems[0]
		return advise(f, &v1alpha1.Problem{Type: sub.Type, Detail: sub.Detail, Identifier: sub.Identifier}, authz)
	}
	if text := adviseOnDetail(f, p); text != "" {
		return text
	}
	switch p.Type {
	case acme.Connection, acme.TLS, acme.IncorrectResponse, acme.Unauthorized, acme.DNSProblem:
		if authz != nil {
			return adviseOnChallenge(f, p, authz)
		}
	case acme.CAA:
		return adviseOnCAA(f)
	case acme.RejectedIdentifier:
		return "The issuer's spec.policy refuses it: add the domain to spec.policy.dns.allow (or a range to spec.policy.ip.allow), remove it from deny, " +
			"or use another issuer. A name that the CA's own name constraints exclude needs another CA"
	case acme.UnsupportedIdentifier:
		return "Only DNS names and IP addresses can be certified"
	case acme.BadCSR, acme.BadPublicKey:
		return "Let the client create a new key and CSR: with exactly the names of the order, and a key that the profile allows (spec.profiles[].keyAlgorithms)"
	case acme.InvalidProfile:
		return "Let the client use a profile that the directory lists, or add the profile to spec.profiles"
	case acme.ExternalAccountRequired:
		return "Create a key with `kubectl acme eab create` and register the client with it"
	case acme.UserActionRequired:
		return "Let the client agree to the terms of service (certbot: --agree-tos, lego: --accept-tos)"
	case acme.RateLimited:
		return "Wait until the period ends, or raise the limit in spec.rateLimits of the issuer. If the client orders in a loop, fix the client"
	case acme.InvalidContact, acme.UnsupportedContact:
		return "Register with a contact such as mailto:admin@example.com"
	case acme.AccountDoesNotExist:
		return "Let the client register again, and include accounts in the cluster's backups"
	case acme.ServerInternal:
		return "The client is not at fault: check the controller's log, and then let the client order again"
	}
	return "Correct the named fault, and let the client order again"
}

// adviseOnDetail recognizes problems by their detail where the type is too general. The details are those of the controllers.
func adviseOnDetail(f Facts, p *v1alpha1.Problem) string {
	says := func(text string) bool { return strings.Contains(p.Detail, text) }
	switch {
	case says("was not finished before it expired"):
		return "The client stopped before it was finished: let it order again. The order lasts " + lifetime(f, orderLifetime) + " (spec.lifetimes.order)"
	case says("not proved in time"):
		return "The client never reported a challenge as ready: check its log, and let it order again. The authorization lasts " + lifetime(f, pendingLifetime) +
			" (spec.lifetimes.pendingAuthorization)"
	case says("was revoked, but not by this account"):
		return "Another client has the certificate's key, or controls its names: find out who revoked the certificate, and let the client prove control of the names again " +
			"(spec.lifetimes.endAuthorizationsOnRevocation)"
	case says("the account is "):
		return accountAdvice(f)
	case says("the issuer ") && says("was deleted"):
		return "Apply the AcmeIssuer again under the same name, or configure the client for another directory"
	case says("external account binding is not accepted"):
		return bindingAdvice
	case says("offers no suitable challenge"):
		return "Add one to spec.challenges.types: wildcards need dns-01, addresses http-01 or tls-alpn-01"
	case says("is outside the limits of this account's external account key"):
		return "The external account key that bound the account restricts it: register with a key made by `kubectl acme eab create` with other --allow-dns, --allow-ip"
	case says("the grant ") && says("does not authorize"):
		return "The grant was taken back, changed, or has ended: let the client order again, which asks for proof of control of what is not granted. " +
			"To grant it again, change spec.grants of the issuer. `kubectl acme revoke --granted-by` revokes what was issued"
	case says("is not granted to this account"):
		return "The issuer certifies only what spec.grants gives the account: add a grant, or set spec.policy.ungranted to Challenge"
	case says("is known to be compromised"):
		return "Let the client create a new key: this one was revoked with keyCompromise and stays blocked"
	case says("this CA may not connect to"):
		return deniedAdvice
	case says(" redirects "), says("redirects from"):
		return "Check the redirects of the server for the name: http-01 follows a few redirects, only to ports 80 and 443 (spec.validation.httpPort and httpsPort) of reachable names"
	case says("too many validations"):
		return "The account has too many concurrent validations: let the client order fewer certificates at a time, and retry"
	}
	return ""
}

const (
	bindingAdvice = "`kubectl acme eab list` shows which keys are unused, used or expired. Give the client an unused key, or create one with `kubectl acme eab create`. " +
		"Check that the client has the complete HMAC key"
	deniedAdvice = "The issuer must not connect to that address: point the name elsewhere, or allow the range in spec.validation.allowedCIDRs " +
		"(and remove it from deniedCIDRs) if validation should reach it"
)

func orderLifetime(l v1alpha1.Lifetimes) string   { return l.Order.Duration.String() }
func pendingLifetime(l v1alpha1.Lifetimes) string { return l.PendingAuthorization.Duration.String() }

func lifetime(f Facts, of func(v1alpha1.Lifetimes) string) string {
	if f.Issuer == nil {
		return "as long as its issuer sets"
	}
	return of(f.Issuer.Spec.Lifetimes)
}

func accountAdvice(f Facts) string {
	if f.Account != nil && f.Account.Status.State == acme.StateDeactivated {
		return "The client deactivated its account: let it register a new one, with a new account key"
	}
	return "A person deactivated the account: if that was a mistake, let the client register a new one, with a new account key"
}

func adviseOnCAA(f Facts) string {
	identities := "the issuer's spec.validation.caaIdentities, which has none"
	if f.Issuer != nil && len(f.Issuer.Spec.Validation.CAAIdentities) > 0 {
		identities = fmt.Sprintf("%q", f.Issuer.Spec.Validation.CAAIdentities[0])
	}
	return "Name this issuer in a CAA record of the domain (issue " + identities + "), or set spec.validation.caa to off if CAA does not apply to this issuer"
}

// adviseOnChallenge returns advice on a failed challenge.
func adviseOnChallenge(f Facts, p *v1alpha1.Problem, authz *v1alpha1.AcmeAuthorization) string {
	name := authz.Spec.Identifier.Value
	var kind acme.ChallengeType
	reached, resolver, authority := "", "the issuer's resolvers", ""
	if c := authz.Status.Challenge; c != nil {
		kind = c.Type
		if c.Record != nil {
			reached, resolver, authority = c.Record.AddressUsed, cmp.Or(c.Record.Resolver, resolver), c.Record.AuthoritativeServer
		}
	}
	txt := kind == acme.DNS01 || kind == acme.DNSAccount01 || kind == acme.DNSPersist01
	switch {
	case p.Type == acme.DNSProblem && !txt:
		return fmt.Sprintf("Create the A or AAAA record of %s. If it exists elsewhere, set spec.validation.resolvers to servers that know it (%s was queried)", name, resolver)
	case txt:
		return fmt.Sprintf("Check the answer of `dig TXT %s%s @%s`: the queried servers (spec.validation.resolvers) must have the record before the client reports it as ready "+
			"(increase the client's wait for DNS propagation)", recordLabel(kind), name, host(cmp.Or(authority, resolver)))
	case p.Type == acme.Connection:
		return fmt.Sprintf("Nothing usable answers at %s: check that the client, or its Ingress or Gateway, listens there during validation, that the name resolves to it, "+
			"and that firewalls and NetworkPolicies admit the controller", cmp.Or(reached, name+":"+port(f, kind)))
	case p.Type == acme.TLS, kind == acme.TLSALPN01:
		return fmt.Sprintf("The server at %s must be the client itself, or a proxy that passes TLS with ALPN acme-tls/1 through to it", cmp.Or(reached, name+":"+port(f, kind)))
	}
	return fmt.Sprintf("Another server than the client answers at %s: check the address of %s, whether an Ingress or proxy forwards /.well-known/acme-challenge/, "+
		"and whether another client uses the name", cmp.Or(reached, name+":"+port(f, kind)), name)
}

// recordLabel returns the labels of the TXT record below a name.
func recordLabel(kind acme.ChallengeType) string {
	switch kind {
	case acme.DNSAccount01:
		return "LABEL-OF-THE-ACCOUNT._acme-challenge."
	case acme.DNSPersist01:
		return "_validation-persist."
	}
	return "_acme-challenge."
}

func port(f Facts, kind acme.ChallengeType) string {
	number := int32(80)
	if f.Issuer != nil {
		number = f.Issuer.Spec.Validation.HTTPPort
		if kind == acme.TLSALPN01 {
			number = f.Issuer.Spec.Validation.TLSPort
		}
	}
	return fmt.Sprint(number)
}

// host returns an address without the port, for dig.
func host(resolver string) string {
	if i := strings.LastIndex(resolver, ":"); i > 0 && !strings.Contains(resolver, " ") {
		return strings.Trim(resolver[:i], "[]")
	}
	return resolver
}
