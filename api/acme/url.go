package acme

import (
	"strconv"
	"strings"
)

// Base is a URL that an issuer is served under, without a trailing slash: "https://ca.example/team-a/issuer". The
// default issuer also has the bare "https://ca.example".
type Base string

// Bases lists the URLs that an issuer is served under, the preferred one first: for each external URL the short form
// where the issuer is the default one, then the long one.
func Bases(externalURLs []string, namespace, name string, isDefault bool) []Base {
	bases := make([]Base, 0, 2*len(externalURLs))
	for _, u := range externalURLs {
		u = strings.TrimRight(u, "/")
		if isDefault {
			bases = append(bases, Base(u))
		}
		bases = append(bases, Base(u+"/"+namespace+"/"+name))
	}
	return bases
}

// URL is the absolute URL of a path below the base.
func (b Base) URL(path string) string { return string(b) + "/" + path }

// Relative splits an absolute URL into one of the bases and the path below it. It compares exactly, byte by byte: a
// client signs the URL that it was given (RFC 8555 section 6.4), and nothing else names a resource.
func Relative(bases []Base, url string) (Base, string, bool) {
	for _, b := range bases {
		if path, ok := strings.CutPrefix(url, string(b)+"/"); ok && strings.HasPrefix(path, "acme/") {
			return b, path, true
		}
	}
	return "", "", false
}

// The paths of the ACME resources below a Base (RFC 8555 section 7.1).
const (
	DirectoryPath   = "acme/directory"
	NewNoncePath    = "acme/new-nonce"
	NewAccountPath  = "acme/new-account"
	NewOrderPath    = "acme/new-order"
	NewAuthzPath    = "acme/new-authz"
	KeyChangePath   = "acme/key-change"
	RevokeCertPath  = "acme/revoke-cert"
	RenewalInfoPath = "acme/renewal-info"

	// AccountHashPath is what the hashed account URIs of dns-persist-01 begin with below a base. Nothing is served there.
	AccountHashPath = "acme/account-hash/"

	// CRLPrefix and CRLSuffix stand around the name of a CRL shard.
	CRLPrefix = "crl/"
	CRLSuffix = ".crl"

	// CAPrefix and CASuffix stand around the name of a CA certificate.
	CAPrefix = "ca/"
	CASuffix = ".der"

	// NewAccountAlias is Dogtag's name for NewAccountPath, which its clients may have stored.
	NewAccountAlias = "acme/new-acct"

	accountPrefix       = "acme/acct/"
	orderPrefix         = "acme/order/"
	authorizationPrefix = "acme/authz/"
	challengePrefix     = "acme/chall/"
	certificatePrefix   = "acme/cert/"
)

// AccountPath is the path of an account; its URL is the account's key identifier (RFC 8555 section 6.2).
func AccountPath(id string) string { return accountPrefix + id }

// AccountID is the inverse of AccountPath.
func AccountID(path string) (string, bool) {
	id, ok := strings.CutPrefix(path, accountPrefix)
	return id, ok && id != "" && !strings.Contains(id, "/")
}

// OrdersPath is the path of an account's list of orders (RFC 8555 section 7.1.2.1).
func OrdersPath(account string) string { return accountPrefix + account + "/orders" }

// OrderPath is the path of an order.
func OrderPath(id string) string { return orderPrefix + id }

// FinalizePath is where an order's CSR is sent.
func FinalizePath(order string) string { return orderPrefix + order + "/finalize" }

// AuthorizationPath is the path of an authorization.
func AuthorizationPath(id string) string { return authorizationPrefix + id }

// ChallengePath is the path of an authorization's challenge of a type.
func ChallengePath(authorization string, t ChallengeType) string {
	return challengePrefix + authorization + "." + string(t)
}

// ChallengeID splits the last segment of a ChallengePath.
func ChallengeID(segment string) (authorization string, t ChallengeType, ok bool) {
	authorization, kind, ok := strings.Cut(segment, ".")
	return authorization, ChallengeType(kind), ok
}

// RenewalInfoOf is the path of what is said about renewing a certificate (RFC 9773 section 4.1).
func RenewalInfoOf(certID string) string { return RenewalInfoPath + "/" + certID }

// CertificatePath is the path of an order's certificate.
func CertificatePath(order string) string { return certificatePrefix + order }

// ChainPath is the path of an order's certificate with one of its chains, the first of which is that without a number.
func ChainPath(order string, number int) string {
	if number == 0 {
		return CertificatePath(order)
	}
	return CertificatePath(order) + "/" + strconv.Itoa(number)
}
