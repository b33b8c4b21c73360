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
)

// alpnProtocol is what both sides have to agree on (RFC 8737 section 6.2).
const alpnProtocol = "acme-tls/1"

var (
	oidAcmeIdentifier = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31} // RFC 8737 section 6.1
	oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
)

// tlsALPN01 is RFC 8737 section 3: a TLS server at the name shows a self-signed certificate that holds the digest of
// the key authorization.
func (a *attempt) tlsALPN01(ctx context.Context) (verdict, *failure) {
	conn, failed := a.reach(ctx, a.req.Identifier.Value, a.tlsPort)
	if failed != nil {
		return unproven, failed
	}
	defer hangUp(conn)
	secure := tls.Client(conn, &tls.Config{
		ServerName: serverName(a.req.Identifier),
		NextProtos: []string{alpnProtocol},
		MinVersion: tls.VersionTLS12,
		// The certificate is self-signed; what counts in it is checked below.
		InsecureSkipVerify: true,
	})
	if err := secure.HandshakeContext(ctx); err != nil {
		return unproven, tlsFailure(ctx, err, a.record.AddressUsed)
	}
	state := secure.ConnectionState()
	if state.NegotiatedProtocol != alpnProtocol {
		return unproven, definite(acme.Unauthorized, "the TLS server at %s didn't agree to the protocol %q", a.record.AddressUsed, alpnProtocol)
	}
	if len(state.PeerCertificates) == 0 {
		return unproven, definite(acme.TLS, "the TLS server at %s shows no certificate", a.record.AddressUsed)
	}
	if why := certificateFault(state.PeerCertificates[0], a.req.Identifier, a.keyAuthorization()); why != "" {
		return unproven, definite(acme.IncorrectResponse, "the certificate that %s shows %s", a.record.AddressUsed, why)
	}
	return proven, nil
}

// serverName is the SNI: a name as it is, an address as its reverse name (RFC 8738 section 6), since SNI has no
// addresses.
func serverName(id acme.Identifier) string {
	if id.Type == acme.IP {
		reverse, err := dns.ReverseAddr(id.Value)
		if err != nil {
			return "" // not an address: the certificate won't match either
		}
		return strings.TrimSuffix(reverse, ".")
	}
	return id.Value
}

// certificateFault says what keeps a certificate from proving control (RFC 8737 section 3), or "".
func certificateFault(cert *x509.Certificate, id acme.Identifier, keyAuthorization string) string {
	if why := subjectAltNameFault(cert, id); why != "" {
		return why
	}
	if why := acmeIdentifierFault(cert, keyAuthorization); why != "" {
		return why
	}
	if !bytes.Equal(cert.RawIssuer, cert.RawSubject) ||
		cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) != nil {
		return "isn't self-signed"
	}
	return ""
}

// subjectAltNameFault looks at the extension itself: the parsed certificate leaves kinds of names out that it doesn't
// know.
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
		return "has not exactly one subject alternative name"
	}
	if !isName(names[0], id) {
		return "has another subject alternative name than the identifier"
	}
	return ""
}

// The tags of GeneralName (RFC 5280 section 4.2.1.6).
const (
	tagDNSName   = 2
	tagIPAddress = 7
)

func isName(name asn1.RawValue, id acme.Identifier) bool {
	if name.Class != asn1.ClassContextSpecific || name.IsCompound {
		return false
	}
	switch id.Type {
	case acme.DNS:
		// EqualFold also folds letters beyond ASCII onto it, which the length tells apart.
		return name.Tag == tagDNSName && len(name.Bytes) == len(id.Value) && strings.EqualFold(string(name.Bytes), id.Value)
	case acme.IP:
		addr, ok := netip.AddrFromSlice(name.Bytes)
		return name.Tag == tagIPAddress && ok && addr.String() == id.Value
	}
	return false
}

func acmeIdentifierFault(cert *x509.Certificate, keyAuthorization string) string {
	ext, why := theExtension(cert, oidAcmeIdentifier, "acmeIdentifier")
	if why != "" {
		return why
	}
	if !ext.Critical {
		return "has an acmeIdentifier extension that isn't critical"
	}
	digest := sha256.Sum256([]byte(keyAuthorization))
	want, err := asn1.Marshal(digest[:])
	if err != nil || subtle.ConstantTimeCompare(ext.Value, want) != 1 {
		return "has an acmeIdentifier extension that isn't the digest of the key authorization"
	}
	return ""
}

// theExtension finds the one extension of a kind. The parser refuses two of a kind, but that is no promise of its own.
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
