package validation

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/controllers/validation/network"
)

// Defaults of Config.
const (
	DefaultHTTPPort  = 80
	DefaultHTTPSPort = 443
	DefaultTLSPort   = 443
	DefaultTimeout   = 10 * time.Second
)

// Config configures a Validator. Its zero value is usable.
type Config struct {
	// Resolvers are the DNS servers, each an IP address with or without a port, in order of preference. The default is those of
	// /etc/resolv.conf.
	Resolvers []string

	// ResolversOnly is whether TXT records are looked up at the Resolvers alone. Otherwise the authoritative servers of their zone
	// are asked first, if they can be reached.
	ResolversOnly bool

	// ClusterDomain is the suffix of the names of Services, such as "cluster.local". It is appended to names that end in ".svc"; if
	// it is empty, they are looked up as they are.
	ClusterDomain string

	// HTTPPort is the port for http-01, HTTPSPort the other port to which it may be redirected, and TLSPort the port for
	// tls-alpn-01. Zero means the default.
	HTTPPort, HTTPSPort, TLSPort int

	// Timeout of one attempt, including DNS and CAA. Zero means the default.
	Timeout time.Duration

	// Protected lists addresses that are denied like the built-in ones, unless Allow opens them.
	Protected []netip.Prefix
	// Allow opens addresses that are denied by default or by Protected.
	Allow []netip.Prefix
	// Deny closes addresses, and wins over Allow.
	Deny []netip.Prefix

	// CAA is whether CAA records are enforced. CAAIdentities are the issuer domain names of this CA in CAA records. If it is
	// empty, every CAA record that restricts issuance forbids it.
	CAA           bool
	CAAIdentities []string

	// Hosts bounds the connections to each address; nil means no bound.
	Hosts *network.Hosts

	// Dial connects to validation targets, DialDNS ("udp" and "tcp") to DNS servers; nil means a plain net.Dialer.
	Dial, DialDNS network.DialFunc

	// Now is the clock of records; nil means time.Now.
	Now func() time.Time
}

// Validator validates challenges from one place. It is safe for concurrent use. Its only state is the resolver that answered last.
type Validator struct {
	httpPort, httpsPort, tlsPort uint16

	timeout       time.Duration
	policy        network.AddressPolicy
	resolver      *network.Resolver
	resolversOnly bool
	caaEnforced   bool
	caaIdentities []string
	hosts         *network.Hosts
	dial          network.DialFunc
	now           func() time.Time
}

// New returns a Validator, or an error if the configuration is invalid.
func New(c Config) (*Validator, error) {
	v := &Validator{timeout: c.Timeout, caaEnforced: c.CAA, hosts: c.Hosts, dial: c.Dial, now: c.Now, resolversOnly: c.ResolversOnly}
	if v.timeout == 0 {
		v.timeout = DefaultTimeout
	}
	if v.timeout < 0 {
		return nil, fmt.Errorf("timeout %v is negative", v.timeout)
	}
	if v.dial == nil {
		v.dial = new(net.Dialer).DialContext
	}
	if v.now == nil {
		v.now = time.Now
	}
	var err error
	if v.httpPort, err = port(c.HTTPPort, DefaultHTTPPort); err != nil {
		return nil, fmt.Errorf("HTTP port: %w", err)
	}
	if v.httpsPort, err = port(c.HTTPSPort, DefaultHTTPSPort); err != nil {
		return nil, fmt.Errorf("HTTPS port: %w", err)
	}
	if v.tlsPort, err = port(c.TLSPort, DefaultTLSPort); err != nil {
		return nil, fmt.Errorf("TLS port: %w", err)
	}
	if v.policy, err = network.NewAddressPolicy(c.Protected, c.Allow, c.Deny); err != nil {
		return nil, err
	}
	domain, ok := domainName(c.ClusterDomain)
	if c.ClusterDomain != "" && !ok {
		return nil, fmt.Errorf("cluster domain %q is not a domain name", c.ClusterDomain)
	}
	if v.resolver, err = network.NewResolver(c.Resolvers, domain, c.DialDNS, v.timeout/5); err != nil {
		return nil, err
	}
	return v, v.setCAAIdentities(c.CAAIdentities)
}

// Resolvers returns the DNS servers in order of preference.
func (v *Validator) Resolvers() []netip.AddrPort { return v.resolver.Servers() }

// WithCAA returns a copy of the validator with another CAA configuration, as in Config.
func (v *Validator) WithCAA(enforce bool, identities []string) (*Validator, error) {
	other := *v
	other.caaEnforced = enforce
	return &other, other.setCAAIdentities(identities)
}

func (v *Validator) setCAAIdentities(names []string) error {
	v.caaIdentities = nil
	for _, name := range names {
		domain, ok := domainName(name)
		if !ok {
			return fmt.Errorf("CAA identity %q is not a domain name", name)
		}
		v.caaIdentities = append(v.caaIdentities, domain)
	}
	return nil
}

// domainName returns the normal form of a name. It returns false for wildcards and malformed names.
func domainName(name string) (string, bool) {
	id, problem := acme.Identifier{Type: acme.DNS, Value: strings.TrimSuffix(name, ".")}.Normalize()
	return id.Value, problem == nil && !id.Wildcard()
}

// port returns the configured port, or the standard one if none is configured.
func port(configured, standard int) (uint16, error) {
	if configured == 0 {
		configured = standard
	}
	if configured < 1 || configured > 65535 {
		return 0, fmt.Errorf("%d is not from 1 to 65535", configured)
	}
	return uint16(configured), nil
}

// Request describes one validation.
type Request struct {
	// Identifier of the authorization: normalized, without the "*." of a wildcard.
	Identifier acme.Identifier
	// Wildcard is whether the authorization is for the wildcard below the identifier.
	Wildcard bool
	// Type of the challenge.
	Type acme.ChallengeType
	// Token of the challenge, if its type has one, and Thumbprint of the account's key (RFC 7638), both base64url.
	Token, Thumbprint string
	// AccountURIs are all URLs of the account, for CAA's accounturi (RFC 8657 section 3) and the challenges that name the account.
	// The client uses the first one.
	AccountURIs []string
	// FormerThumbprints are the thumbprints of the account's former keys, newest first. HashPrefixes are the permitted prefixes of
	// hashed account URIs. Both are for dns-persist-01.
	FormerThumbprints, HashPrefixes []string
}

// maxKeyAuthorization bounds a key authorization, and thereby the body that http-01 reads, in bytes.
const maxKeyAuthorization = 128

// Validate makes one attempt. It takes at most the configured timeout, and ends with ctx. It fails for unknown types of challenges
// and identifiers, and for types that don't fit together.
func (v *Validator) Validate(ctx context.Context, req Request) Result {
	return v.run(ctx, req, (*attempt).validate)
}

// CheckCAA checks CAA records alone, for issuance long after the validation. It ignores token and thumbprint of the request. It
// succeeds if CAA is not enforced.
func (v *Validator) CheckCAA(ctx context.Context, req Request) Result {
	return v.run(ctx, req, (*attempt).checkCAA)
}

// attempt is one running validation with its observations so far.
type attempt struct {
	*Validator
	req    Request
	record Record
	// until is as in Result.
	until time.Time
}

func (v *Validator) run(ctx context.Context, req Request, step func(*attempt, context.Context) (verdict, *failure)) Result {
	ctx, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	a := &attempt{Validator: v, req: req, record: Record{Time: v.now()}}
	result := guarded(func() Result {
		if failed := a.checkIdentifier(); failed != nil {
			return conclude(unproven, failed)
		}
		return conclude(step(a, ctx))
	})
	if result.Valid {
		result.Until = a.until
	}
	a.record.DurationMillis = v.now().Sub(a.record.Time).Milliseconds()
	result.Record = a.record
	return result
}

func (a *attempt) validate(ctx context.Context) (verdict, *failure) {
	if failed := a.checkProof(); failed != nil {
		return unproven, failed
	}
	if got, failed := a.challenge(ctx); got != proven || failed != nil {
		return unproven, failed
	}
	return a.checkCAA(ctx)
}

func (a *attempt) challenge(ctx context.Context) (verdict, *failure) {
	switch a.req.Type {
	case acme.HTTP01:
		return a.http01(ctx)
	case acme.DNS01:
		return a.dns01(ctx)
	case acme.DNSAccount01:
		return a.dnsAccount01(ctx)
	case acme.DNSPersist01:
		return a.dnsPersist01(ctx)
	case acme.TLSALPN01:
		return a.tlsALPN01(ctx)
	}
	return unproven, definite(acme.Malformed, "challenge type %q is not supported", acme.Printable(string(a.req.Type), 32))
}

// checkIdentifier normalizes the identifier again, since it becomes a part of URLs and DNS queries.
func (a *attempt) checkIdentifier() *failure {
	id, problem := a.req.Identifier.Normalize()
	if problem != nil {
		problem.Identifier = nil // RFC 8555 section 6.7.1: only subproblems have one
		return &failure{problem: problem}
	}
	if id.Wildcard() || a.req.Wildcard && id.Type != acme.DNS {
		return definite(acme.Malformed, "the identifier of an authorization must not be a wildcard")
	}
	a.req.Identifier = id
	authorized := id
	if a.req.Wildcard {
		authorized.Value = "*." + id.Value
	}
	if !a.req.Type.Allows(authorized) {
		return definite(acme.Malformed, "challenge type %q can't prove control of %q",
			acme.Printable(string(a.req.Type), 32), authorized.Value)
	}
	return nil
}

// checkProof requires a token and a thumbprint that may be a part of a URL.
func (a *attempt) checkProof() *failure {
	if !a.req.Type.HasToken() {
		return nil
	}
	if !base64URL(a.req.Token) || !base64URL(a.req.Thumbprint) || len(a.keyAuthorization()) > maxKeyAuthorization {
		return definite(acme.ServerInternal, "token or thumbprint is not a short base64url string")
	}
	return nil
}

func (a *attempt) keyAuthorization() string {
	return acme.KeyAuthorization(a.req.Token, a.req.Thumbprint)
}

func base64URL(s string) bool {
	return s != "" && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}
