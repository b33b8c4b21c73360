package acme

import (
	"strconv"
	"strings"
)

// Base is a base URL of an issuer, without a trailing slash, such as "https://ca.example/team-a/issuer". The default issuer also has
// the short form "https://ca.example".
type Base string

// Bases returns the base URLs of an issuer, the preferred one first. For each external URL these are the short form, if the issuer is
// the default issuer, and the long form.
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

// URL returns the absolute URL of a path below the base.
func (b Base) URL(path string) string { return string(b) + "/" + path }

// Relative splits an absolute URL into one of the bases and the path below it. The comparison is exact, because a client signs the
// URL that the server returned (RFC 8555 section 6.4).
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

	// AccountHashPath is the prefix of the hashed account URIs of dns-persist-01 below a base. Nothing is served there.
	AccountHashPath = "acme/account-hash/"

	// CRLPrefix and CRLSuffix enclose the name of a CRL shard.
	CRLPrefix = "crl/"
	CRLSuffix = ".crl"
	// CRLFile follows CRLPrefix in the URL of all CRLs of an issuer, in PEM.
	CRLFile = "all.pem"

	// CAPrefix and CASuffix enclose the name of a CA certificate.
	CAPrefix = "ca/"
	CASuffix = ".der"

	// NewAccountAlias is Dogtag's name for NewAccountPath. Its clients may have stored it.
	NewAccountAlias = "acme/new-acct"

	accountPrefix       = "acme/acct/"
	orderPrefix         = "acme/order/"
	authorizationPrefix = "acme/authz/"
	challengePrefix     = "acme/chall/"
	certificatePrefix   = "acme/cert/"
)

// AccountPath returns the path of an account. The URL of the account is its key identifier (RFC 8555 section 6.2).
func AccountPath(id string) string { return accountPrefix + id }

// AccountID is the inverse of AccountPath.
func AccountID(path string) (string, bool) {
	id, ok := strings.CutPrefix(path, accountPrefix)
	return id, ok && id != "" && !strings.Contains(id, "/")
}

// OrdersPath returns the path of an account's list of orders (RFC 8555 section 7.1.2.1).
func OrdersPath(account string) string { return accountPrefix + account + "/orders" }

// OrderPath returns the path of an order.
func OrderPath(id string) string { return orderPrefix + id }

// FinalizePath returns the path of an order's finalize resource.
func FinalizePath(order string) string { return orderPrefix + order + "/finalize" }

// AuthorizationPath returns the path of an authorization.
func AuthorizationPath(id string) string { return authorizationPrefix + id }

// ChallengePath returns the path of an authorization's challenge of a type.
func ChallengePath(authorization string, t ChallengeType) string {
	return challengePrefix + authorization + "." + string(t)
}

// ChallengeID splits the last segment of a ChallengePath.
func ChallengeID(segment string) (authorization string, t ChallengeType, ok bool) {
	authorization, kind, ok := strings.Cut(segment, ".")
	return authorization, ChallengeType(kind), ok
}

// RenewalInfoOf returns the path of a certificate's renewal information (RFC 9773 section 4.1).
func RenewalInfoOf(certID string) string { return RenewalInfoPath + "/" + certID }

// CertificatePath returns the path of an order's certificate.
func CertificatePath(order string) string { return certificatePrefix + order }

// ChainPath returns the path of an order's certificate with one of its chains. Number 0 is the default chain at CertificatePath.
func ChainPath(order string, number int) string {
	if number == 0 {
		return CertificatePath(order)
	}
	return CertificatePath(order) + "/" + strconv.Itoa(number)
}
