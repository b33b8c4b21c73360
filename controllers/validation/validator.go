package validation

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/acmeca/acmeca/api/acme"
)

// Defaults of Config.
const (
	DefaultHTTPPort  = 80
	DefaultHTTPSPort = 443
	DefaultTLSPort   = 443
	DefaultTimeout   = 10 * time.Second
)

// DialFunc opens a connection, as (*net.Dialer).DialContext does. The address is always an IP address and a port.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Config says how to validate. Its zero value is usable.
type Config struct {
	// Resolvers are the DNS servers to ask, each an IP address with or without a port, in order of preference.
	// Without any, those of /etc/resolv.conf.
	Resolvers []string

	// ClusterDomain is where the names of Services end, such as "cluster.local": it is appended to names that end in
	// ".svc". Without it they are looked up as they are.
	ClusterDomain string

	// HTTPPort is where http-01 is tried, HTTPSPort where it may be redirected to beside HTTPPort, and TLSPort where
	// tls-alpn-01 is tried; zero for the default.
	HTTPPort, HTTPSPort, TLSPort int

	// Timeout of one attempt, DNS and CAA included; zero for the default.
	Timeout time.Duration

	// Protected are addresses that are denied like the built-in ones, unless Allow opens them.
	Protected []netip.Prefix
	// Allow opens addresses that are denied by default or Protected.
	Allow []netip.Prefix
	// Deny closes addresses, whatever Allow says.
	Deny []netip.Prefix

	// CAA is whether CAA records are heeded, CAAIdentities the issuer domain names by which they may name this CA.
	// Without any, every CAA record that restricts issuance forbids it.
	CAA           bool
	CAAIdentities []string

	// Hosts bounds the connections to each address; nil for no bound.
	Hosts *Hosts

	// Dial connects to what is validated, DialDNS ("udp" and "tcp") to the resolvers; nil for a plain net.Dialer.
	Dial, DialDNS DialFunc

	// Now is the clock of records; nil for time.Now.
	Now func() time.Time
}

// Validator validates. It holds no state but a hint which resolver answers, and is safe for concurrent use.
type Validator struct {
	httpPort, httpsPort, tlsPort uint16

	timeout       time.Duration
	policy        addressPolicy
	resolver      *resolver
	caaEnforced   bool
	caaIdentities []string
	hosts         *Hosts
	dial          DialFunc
	now           func() time.Time
}

// New makes a validator, or says what is wrong with the configuration.
func New(c Config) (*Validator, error) {
	v := &Validator{timeout: c.Timeout, caaEnforced: c.CAA, hosts: c.Hosts, dial: c.Dial, now: c.Now}
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
	if v.policy, err = newAddressPolicy(c.Protected, c.Allow, c.Deny); err != nil {
		return nil, err
	}
	if v.resolver, err = newResolver(c.Resolvers, c.DialDNS, v.timeout/5); err != nil {
		return nil, err
	}
	if c.ClusterDomain != "" {
		domain, ok := domainName(c.ClusterDomain)
		if !ok {
			return nil, fmt.Errorf("cluster domain %q is not a domain name", c.ClusterDomain)
		}
		v.resolver.clusterDomain = dns.CanonicalName(domain)
	}
	return v, v.setCAAIdentities(c.CAAIdentities)
}

// Resolvers are the DNS servers that are asked, in order of preference.
func (v *Validator) Resolvers() []netip.AddrPort {
	servers := make([]netip.AddrPort, len(v.resolver.servers))
	for i, server := range v.resolver.servers {
		servers[i] = netip.MustParseAddrPort(server) // as newResolver wrote it
	}
	return servers
}

// WithCAA gives a validator with another idea of CAA: whether it is heeded, and the issuer domain names of the CA.
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

// domainName is the normal form of a name, but of no wildcard.
func domainName(name string) (string, bool) {
	id, problem := acme.Identifier{Type: acme.DNS, Value: strings.TrimSuffix(name, ".")}.Normalize()
	return id.Value, problem == nil && !id.Wildcard()
}

func port(configured, standard int) (uint16, error) {
	if configured == 0 {
		configured = standard
	}
	if configured < 1 || configured > 65535 {
		return 0, fmt.Errorf("%d is not from 1 to 65535", configured)
	}
	return uint16(configured), nil
}

// Request is one validation to be done.
type Request struct {
	// Identifier as its authorization names it: normalized, and a wildcard's without "*.".
	Identifier acme.Identifier
	// Wildcard is whether the authorization is for the wildcard below the identifier.
	Wildcard bool
	// Type of the challenge.
	Type acme.ChallengeType
	// Token of the challenge, where its type has one, and the RFC 7638 thumbprint of the account's key, both base64url.
	Token, Thumbprint string
	// AccountURIs are the URLs under which the account is known, for CAA's accounturi (RFC 8657 section 3) and the
	// challenges that name the account. The first is the one that the client uses.
	AccountURIs []string
	// FormerThumbprints are those of keys that the account had before, the newest first, and HashPrefixes what hashed
	// account URIs may begin with. Both are for dns-persist-01.
	FormerThumbprints, HashPrefixes []string
}

// maxKeyAuthorization bounds a key authorization in bytes, and with it what http-01 reads of a body.
const maxKeyAuthorization = 128

// Validate makes one attempt. It takes no longer than the configured timeout, and ends early when ctx does. What it
// can't do is denied: a challenge or identifier type that it doesn't know, or that don't fit together.
func (v *Validator) Validate(ctx context.Context, req Request) Result {
	return v.run(ctx, req, (*attempt).validate)
}

// CheckCAA checks CAA records alone, as is due again when a certificate is issued long after the validation. It needs
// of the request all but token and thumbprint, and succeeds where CAA isn't enforced.
func (v *Validator) CheckCAA(ctx context.Context, req Request) Result {
	return v.run(ctx, req, (*attempt).checkCAA)
}

// attempt is one validation under way, and what it has seen so far.
type attempt struct {
	*Validator
	req    Request
	record Record
	// until is when the proof ceases to count by itself; zero for never.
	until time.Time
}

func (v *Validator) run(ctx context.Context, req Request, step func(*attempt, context.Context) (verdict, *failure)) (result Result) {
	ctx, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	a := &attempt{Validator: v, req: req, record: Record{Time: v.now()}}
	defer func() {
		// What a hostile peer sends must not bring the controller down again at every restart.
		if cause := recover(); cause != nil {
			result = conclude(unproven, definite(acme.ServerInternal, "the validation failed in an unforeseen way: %v", cause))
		}
		a.record.DurationMillis = v.now().Sub(a.record.Time).Milliseconds()
		result.Record = a.record
	}()
	if failed := a.checkIdentifier(); failed != nil {
		return conclude(unproven, failed)
	}
	result = conclude(step(a, ctx))
	if result.Valid {
		result.Until = a.until
	}
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

// checkIdentifier doesn't rely on the caller having normalized: the identifier ends up in URLs and DNS queries.
func (a *attempt) checkIdentifier() *failure {
	id, problem := a.req.Identifier.Normalize()
	if problem != nil {
		problem.Identifier = nil // RFC 8555 section 6.7.1: only subproblems name theirs
		return &failure{problem: problem}
	}
	if id.Wildcard() || a.req.Wildcard && id.Type != acme.DNS {
		return definite(acme.Malformed, "an authorization names the domain of a wildcard, not the wildcard")
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

func (a *attempt) checkProof() *failure {
	if !a.req.Type.HasToken() {
		return nil
	}
	if !base64URL(a.req.Token) || !base64URL(a.req.Thumbprint) || len(a.keyAuthorization()) > maxKeyAuthorization {
		return definite(acme.ServerInternal, "token or thumbprint isn't a short base64url string")
	}
	return nil
}

func (a *attempt) keyAuthorization() string {
	return acme.KeyAuthorization(a.req.Token, a.req.Thumbprint)
}

func base64URL(s string) bool {
	return s != "" && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}
