package validation

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/controllers/validation/network"
)

// alpnProtocol is the protocol that both sides must negotiate (RFC 8737 section 6.2).
const alpnProtocol = "acme-tls/1"

var (
	oidAcmeIdentifier = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31} // RFC 8737 section 6.1
	oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
)

// tlsALPN01 validates tls-alpn-01 (RFC 8737 section 3): a TLS server at the name presents a self-signed certificate with the
// digest of the key authorization.
func (a *attempt) tlsALPN01(ctx context.Context) (verdict, *failure) {
	conn, failed := a.reach(ctx, a.req.Identifier.Value, a.tlsPort)
	if failed != nil {
		return unproven, failed
	}
	defer network.CloseQuietly(conn)
	secure := tls.Client(conn, &tls.Config{
		ServerName: serverName(a.req.Identifier),
		NextProtos: []string{alpnProtocol},
		MinVersion: tls.VersionTLS12,
		// The certificate is self-signed; certificateFault checks it.
		InsecureSkipVerify: true,
	})
	if err := secure.HandshakeContext(ctx); err != nil {
		return unproven, tlsFailure(ctx, err, a.record.AddressUsed)
	}
	state := secure.ConnectionState()
	if state.NegotiatedProtocol != alpnProtocol {
		return unproven, definite(acme.Unauthorized, "the TLS server at %s did not negotiate the protocol %q", a.record.AddressUsed, alpnProtocol)
	}
	if len(state.PeerCertificates) == 0 {
		return unproven, definite(acme.TLS, "the TLS server at %s presented no certificate", a.record.AddressUsed)
	}
	if why := certificateFault(state.PeerCertificates[0], a.req.Identifier, a.keyAuthorization()); why != "" {
		return unproven, definite(acme.IncorrectResponse, "the certificate of %s %s", a.record.AddressUsed, why)
	}
	return proven, nil
}

// serverName returns the SNI for an identifier: the name, or the reverse name of an address (RFC 8738 section 6), since SNI has
// no addresses.
func serverName(id acme.Identifier) string {
	if id.Type == acme.IP {
		reverse, err := dns.ReverseAddr(id.Value)
		if err != nil {
			return "" // not an address, so the certificate won't match either
		}
		return strings.TrimSuffix(reverse, ".")
	}
	return id.Value
}

// certificateFault returns the reason why a certificate does not prove control (RFC 8737 section 3), or "". The reason is a
// predicate of "the certificate".
func certificateFault(cert *x509.Certificate, id acme.Identifier, keyAuthorization string) string {
	if why := subjectAltNameFault(cert, id); why != "" {
		return why
	}
	if why := acmeIdentifierFault(cert, keyAuthorization); why != "" {
		return why
	}
	if !bytes.Equal(cert.RawIssuer, cert.RawSubject) ||
		cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) != nil {
		return "is not self-signed"
	}
	return ""
}

// subjectAltNameFault checks the subjectAltName extension. It parses the extension, since x509.Certificate omits unknown kinds of
// names.
func subjectAltNameFault(cert *x509.Certificate, id acme.Identifier) string {
	ext, why := theExtension(cert, oidSubjectAltName, "subjectAltName")
	if why != "" {
		return why
	}
	var names []asn1.RawValue
	if rest, err := asn1.Unmarshal(ext.Value, &names); err != nil || len(rest) > 0 {
		return "has a malformed subjectAltName extension"
	}
	if len(names) != 1 {
		return "does not have exactly one subject alternative name"
	}
	if !isName(names[0], id) {
		return "has a subject alternative name other than the identifier"
	}
	return ""
}

// The tags of GeneralName (RFC 5280 section 4.2.1.6).
const (
	tagDNSName   = 2
	tagIPAddress = 7
)

// isName reports whether a GeneralName is the identifier.
func isName(name asn1.RawValue, id acme.Identifier) bool {
	if name.Class != asn1.ClassContextSpecific || name.IsCompound {
		return false
	}
	switch id.Type {
	case acme.DNS:
		// EqualFold also equates some non-ASCII letters with ASCII ones; these differ in length.
		return name.Tag == tagDNSName && len(name.Bytes) == len(id.Value) && strings.EqualFold(string(name.Bytes), id.Value)
	case acme.IP:
		addr, ok := netip.AddrFromSlice(name.Bytes)
		return name.Tag == tagIPAddress && ok && addr.String() == id.Value
	}
	return false
}

// acmeIdentifierFault checks the acmeIdentifier extension.
func acmeIdentifierFault(cert *x509.Certificate, keyAuthorization string) string {
	ext, why := theExtension(cert, oidAcmeIdentifier, "acmeIdentifier")
	if why != "" {
		return why
	}
	if !ext.Critical {
		return "has an acmeIdentifier extension that is not critical"
	}
	digest := sha256.Sum256([]byte(keyAuthorization))
	want, err := asn1.Marshal(digest[:])
	if err != nil || subtle.ConstantTimeCompare(ext.Value, want) != 1 {
		return "has an acmeIdentifier extension that is not the digest of the key authorization"
	}
	return ""
}

// theExtension returns the only extension with an OID. crypto/x509 rejects duplicates, but does not promise to.
func theExtension(cert *x509.Certificate, oid asn1.ObjectIdentifier, name string) (pkix.Extension, string) {
	is := func(e pkix.Extension) bool { return e.Id.Equal(oid) }
	i := slices.IndexFunc(cert.Extensions, is)
	if i < 0 {
		return pkix.Extension{}, "has no " + name + " extension"
	}
	if slices.ContainsFunc(cert.Extensions[i+1:], is) {
		return pkix.Extension{}, "has more than one " + name + " extension"
	}
	return cert.Extensions[i], ""
}
