package validation

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/controllers/validation/network"
)

const persistLabel = "_validation-persist."

const (
	// maxPersistShown bounds a TXT value in a record, in bytes: enough for its account and parameters.
	maxPersistShown = 256
	// hashLength is the length of a hashed account URI's last part, in bytes: 256 bits in base64url.
	hashLength = 43
	// maxUntil is the last second of the year 9999. RFC 3339 has no later times, so a later one counts as no bound.
	maxUntil = 253402300799
)

// dnsPersist01 validates dns-persist-01 (draft-ietf-acme-dns-persist-02): a TXT record below the name permits an account to get
// certificates for the name from this CA. The record stays after the challenge, and each attempt reads it.
func (a *attempt) dnsPersist01(ctx context.Context) (verdict, *failure) {
	name := persistLabel + a.req.Identifier.Value
	return a.proveByTXT(ctx, name, func(ans network.Answer) (verdict, *failure) { return a.permitIn(name, ans) })
}

// permitIn reports proven if a TXT record of the name permits the request.
func (a *attempt) permitIn(name string, ans network.Answer) (verdict, *failure) {
	accepted := a.accountHashes()
	var forThisCA int
	var first *failure
	var best time.Time
	found := false
	for _, rr := range ans.Records {
		text := textOf(rr)
		a.record.addRecord(fmt.Sprintf("TXT %q", acme.Printable(text, maxPersistShown)))
		permit, named, failed := a.parsePersist(text)
		if !named {
			continue
		}
		forThisCA++
		if failed == nil {
			failed = a.checkPersist(permit, accepted)
		}
		switch {
		case failed == nil && (!found || outlasts(permit.until, best)):
			found, best = true, permit.until
		case failed != nil && first == nil:
			first = failed
		}
	}
	switch {
	case found:
		a.until = best
		return proven, nil
	case forThisCA == 0:
		return unproven, definite(acme.Unauthorized, "none of the %d TXT records of %q names this CA, as one of: %s",
			len(ans.Records), name, strings.Join(a.caaIdentities, ", "))
	}
	first.problem.Detail = acme.Printable(fmt.Sprintf("the TXT record of %q %s", name, first.problem.Detail), acme.MaxDetail)
	return unproven, first
}

// outlasts reports whether a permission until t ends later than one until u; zero is no end.
func outlasts(t, u time.Time) bool { return !u.IsZero() && (t.IsZero() || t.After(u)) }

// permit is the content of a dns-persist-01 record.
type permit struct {
	// account is the hashed account URI without its prefix.
	account  string
	wildcard bool
	until    time.Time
}

// parsePersist parses a record. named reports whether it names this CA. Records for other CAs are ignored, even malformed ones.
// The detail of a failure is a predicate of "the record".
func (a *attempt) parsePersist(text string) (p permit, named bool, failed *failure) {
	issuer, _, _ := strings.Cut(text, ";")
	if !slices.Contains(a.caaIdentities, strings.TrimSuffix(strings.ToLower(trimWSP(issuer)), ".")) {
		return permit{}, false, nil
	}
	malformed := func(format string, args ...any) (permit, bool, *failure) {
		return permit{}, true, definite(acme.Malformed, format, args...)
	}
	value, ok := parseIssueValue(text)
	if !ok {
		return malformed("is not an issue-value (RFC 8659 section 4.2)")
	}
	seen := map[string]bool{}
	for _, parameter := range value.parameters {
		tag := strings.ToLower(parameter.tag)
		switch tag {
		case "accounturi":
			if p.account, ok = a.accountHash(parameter.value); !ok {
				return malformed("has an accounturi that is not a hashed account URI of this CA, such as %s", a.exampleHashedAccountURI())
			}
		case "policy":
			p.wildcard = strings.EqualFold(parameter.value, "wildcard")
		case "persistuntil":
			if p.until, ok = parseUntil(parameter.value); !ok {
				return malformed("has a persistUntil that is not a number of seconds")
			}
		default:
			continue // unknown parameters are ignored
		}
		if seen[tag] {
			return malformed("has the parameter %q twice", tag)
		}
		seen[tag] = true
	}
	if !seen["accounturi"] {
		return malformed("has no accounturi")
	}
	return p, true, nil
}

// parseUntil returns the time of seconds since 1970, or zero, which is no bound, for a time after maxUntil.
func parseUntil(s string) (time.Time, bool) {
	if s == "" || len(s) > 18 || strings.Trim(s, "0123456789") != "" {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	if seconds > maxUntil {
		return time.Time{}, true
	}
	return time.Unix(seconds, 0).UTC(), true
}

// accountHash returns a hashed account URI of this CA without its prefix.
func (a *attempt) accountHash(uri string) (string, bool) {
	for _, prefix := range a.req.HashPrefixes {
		account, ok := strings.CutPrefix(uri, prefix)
		hash, known := strings.CutPrefix(account, acme.HashedAccountURIAlgorithm+"/")
		if ok && known && len(hash) == hashLength && base64URL(hash) {
			return account, true
		}
	}
	return "", false
}

// exampleHashedAccountURI returns the form of hashed account URIs, for problems.
func (a *attempt) exampleHashedAccountURI() string {
	if len(a.req.HashPrefixes) == 0 {
		return "none"
	}
	return a.req.HashPrefixes[0] + acme.HashedAccountURIAlgorithm + "/..."
}

// checkPersist returns a failure if a record that names this CA does not permit the request.
func (a *attempt) checkPersist(p permit, accepted map[string]bool) *failure {
	switch {
	case !accepted[p.account]:
		return definite(acme.Unauthorized, "names another account")
	case !p.until.IsZero() && a.now().After(p.until):
		return definite(acme.Unauthorized, "expired at %s", p.until.Format(time.RFC3339))
	case a.req.Wildcard && !p.wildcard:
		return definite(acme.Unauthorized, "has no policy=wildcard")
	}
	return nil
}

// accountHashes returns all hashes that name the account: for its current and former keys, each of its URLs, the domain and any
// domain.
func (a *attempt) accountHashes() map[string]bool {
	accepted := map[string]bool{}
	for _, thumbprint := range append([]string{a.req.Thumbprint}, a.req.FormerThumbprints...) {
		for _, account := range a.req.AccountURIs {
			for _, domain := range []string{a.req.Identifier.Value, acme.AnyDomain} {
				accepted[acme.HashedAccountURI("", domain, thumbprint, account)] = true
			}
		}
	}
	return accepted
}
