package diagnose

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// advise says what to do about a problem. The authorization is the one that failed, nil where none did.
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
		return "The issuer's spec.policy refuses it: add the domain to spec.policy.dns.allow (or a range to spec.policy.ip.allow), take it out of deny, " +
			"or have the client ask another issuer. What the CA's own name constraints exclude takes another CA"
	case acme.UnsupportedIdentifier:
		return "Only DNS names and IP addresses can be certified"
	case acme.BadCSR, acme.BadPublicKey:
		return "Have the client make a new key and CSR: exactly the names of the order, and a key that the profile takes (spec.profiles[].keyAlgorithms)"
	case acme.InvalidProfile:
		return "Have the client ask for a profile that the directory lists, or add it to spec.profiles"
	case acme.ExternalAccountRequired:
		return "Make a key with `kubectl acme eab create` and register the client with it"
	case acme.UserActionRequired:
		return "Have the client agree to the terms of service (certbot: --agree-tos, lego: --accept-tos)"
	case acme.RateLimited:
		return "Wait until the time is over, or raise the limit in spec.rateLimits of the issuer; a client that orders in a loop has a fault of its own"
	case acme.InvalidContact, acme.UnsupportedContact:
		return "Register with a contact such as mailto:admin@example.com"
	case acme.AccountDoesNotExist:
		return "Have the client register again; accounts have to be in backups of the cluster"
	case acme.ServerInternal:
		return "This isn't the client's fault: see the controller's log, then have the client order again"
	}
	return "Mend what it names, and have the client order again"
}

// adviseOnDetail knows problems by what the controllers say, where their types are too general.
func adviseOnDetail(f Facts, p *v1alpha1.Problem) string {
	says := func(text string) bool { return strings.Contains(p.Detail, text) }
	switch {
	case says("was not finished before it expired"):
		return "The client gave up, or was stopped, before it was done: have it order again. It had " + lifetime(f, orderLifetime) + " (spec.lifetimes.order)"
	case says("not proved in time"):
		return "The client never said that a challenge was ready: see its log, and have it order again. It had " + lifetime(f, pendingLifetime) +
			" (spec.lifetimes.pendingAuthorization)"
	case says("the account is "):
		return accountAdvice(f)
	case says("the issuer ") && says("was deleted"):
		return "Apply the AcmeIssuer again under the same name, or point the client to another directory"
	case says("external account binding is not accepted"):
		return bindingAdvice
	case says("offers no suitable challenge"):
		return "Add one to spec.challenges.types: wildcards need dns-01, addresses http-01 or tls-alpn-01"
	case says("is outside the limits of this account's external account key"):
		return "The external account key that bound the account restricts it: register with a key made by `kubectl acme eab create` with other --allow-dns, --allow-ip"
	case says("is known to be compromised"):
		return "Have the client make a new key: this one was revoked with keyCompromise, and is blocked for good"
	case says("this CA may not connect to"):
		return deniedAdvice
	case says(" redirects "), says("redirects from"):
		return "See where what answers for the name redirects to: http-01 follows few redirects, to the ports 80 and 443 (spec.validation.httpPort and httpsPort) of names that can be reached"
	case says("too many validations"):
		return "The account has too much under way at once: have the client order less at a time, and try again"
	}
	return ""
}

const (
	bindingAdvice = "`kubectl acme eab list` shows the keys, and which are used or expired: give the client one that is unused, or make one with `kubectl acme eab create`; " +
		"see too that the client was given the HMAC in full"
	deniedAdvice = "The issuer doesn't connect to that address: point the name elsewhere, or open the range in spec.validation.allowedCIDRs " +
		"(and take it out of deniedCIDRs) if validation is really to reach it"
)

func orderLifetime(l v1alpha1.Lifetimes) string   { return l.Order.Duration.String() }
func pendingLifetime(l v1alpha1.Lifetimes) string { return l.PendingAuthorization.Duration.String() }

func lifetime(f Facts, of func(v1alpha1.Lifetimes) string) string {
	if f.Issuer == nil {
		return "the time that its issuer gave it"
	}
	return of(f.Issuer.Spec.Lifetimes)
}

func accountAdvice(f Facts) string {
	if f.Account != nil && f.Account.Status.State == acme.StateDeactivated {
		return "The client deactivated its account: have it register a new one, with a new account key"
	}
	return "A person ended the account: if that was a mistake, have the client register a new one, with a new account key"
}

func adviseOnCAA(f Facts) string {
	identities := "the issuer's spec.validation.caaIdentities, which has none"
	if f.Issuer != nil && len(f.Issuer.Spec.Validation.CAAIdentities) > 0 {
		identities = fmt.Sprintf("%q", f.Issuer.Spec.Validation.CAAIdentities[0])
	}
	return "Have a CAA record of the domain name this issuer (issue " + identities + "), or set spec.validation.caa to off if CAA isn't meant for it"
}

// adviseOnChallenge says what to look at for a challenge that failed.
func adviseOnChallenge(f Facts, p *v1alpha1.Problem, authz *v1alpha1.AcmeAuthorization) string {
	name := authz.Spec.Identifier.Value
	var kind acme.ChallengeType
	reached, resolver := "", "the issuer's resolvers"
	if c := authz.Status.Challenge; c != nil {
		kind = c.Type
		if c.Record != nil {
			reached, resolver = c.Record.AddressUsed, cmp.Or(c.Record.Resolver, resolver)
		}
	}
	txt := kind == acme.DNS01 || kind == acme.DNSAccount01 || kind == acme.DNSPersist01
	switch {
	case p.Type == acme.DNSProblem && !txt:
		return fmt.Sprintf("Create the A or AAAA record of %s, or, if it exists elsewhere, name servers that know it in spec.validation.resolvers (%s was asked)", name, resolver)
	case txt:
		return fmt.Sprintf("See what `dig TXT %s%s @%s` answers: the record has to be there before the client says that it is ready "+
			"(let it wait longer for DNS to spread), at the servers that are asked (spec.validation.resolvers)", recordLabel(kind), name, host(resolver))
	case p.Type == acme.Connection:
		return fmt.Sprintf("Nothing usable answers at %s: see that the client, or its Ingress or Gateway, listens there while it is validated, that the name leads to it, "+
			"and that firewalls and NetworkPolicies let the controller through", cmp.Or(reached, name+":"+port(f, kind)))
	case p.Type == acme.TLS, kind == acme.TLSALPN01:
		return fmt.Sprintf("What answers at %s has to be the client itself, or a proxy that passes TLS with ALPN acme-tls/1 through to it", cmp.Or(reached, name+":"+port(f, kind)))
	}
	return fmt.Sprintf("Something else than the client answers at %s: see where %s leads, whether an Ingress or proxy passes /.well-known/acme-challenge/ on, "+
		"and whether another client uses the name", cmp.Or(reached, name+":"+port(f, kind)), name)
}

// recordLabel is where below a name its TXT record is.
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

// host is an address without the port, for dig.
func host(resolver string) string {
	if i := strings.LastIndex(resolver, ":"); i > 0 && !strings.Contains(resolver, " ") {
		return strings.Trim(resolver[:i], "[]")
	}
	return resolver
}
