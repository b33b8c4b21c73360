package policy

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"net/netip"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/acmeca/acmeca/api/acme"
)

// The extensions of a CSR that are checked: those of RFC 5280 section 4.2.1, and TLS feature (RFC 7633).
var (
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSubjectAltName   = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidExtKeyUsage      = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidTLSFeature       = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}

	oidServerAuth = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}
	oidClientAuth = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2}
)

// checkExtensions refuses extensions that are reserved for a CA, and extensions that a client would miss if they were ignored (RFC
// 8555 section 7.4). x509 has refused duplicate extensions.
func checkExtensions(extensions []pkix.Extension) *acme.Problem {
	for _, extension := range extensions {
		var problem *acme.Problem
		switch {
		case extension.Id.Equal(oidBasicConstraints):
			problem = checkBasicConstraints(extension.Value)
		case extension.Id.Equal(oidKeyUsage):
			problem = checkKeyUsage(extension.Value)
		case extension.Id.Equal(oidExtKeyUsage):
			problem = checkExtKeyUsage(extension.Value)
		case extension.Id.Equal(oidTLSFeature):
			problem = badCSR("the CSR asks for OCSP must-staple; this CA has CRLs, not OCSP")
		}
		if problem != nil {
			return problem
		}
	}
	return nil
}

func checkBasicConstraints(der []byte) *acme.Problem {
	var constraints struct {
		IsCA       bool `asn1:"optional"`
		MaxPathLen int  `asn1:"optional,default:-1"`
	}
	if rest, err := asn1.Unmarshal(der, &constraints); err != nil || len(rest) > 0 {
		return badCSR("the CSR's basic constraints cannot be read")
	}
	if constraints.IsCA {
		return badCSR("the CSR asks for a CA certificate")
	}
	return nil
}

func checkKeyUsage(der []byte) *acme.Problem {
	var usage asn1.BitString
	if rest, err := asn1.Unmarshal(der, &usage); err != nil || len(rest) > 0 {
		return badCSR("the CSR's key usage cannot be read")
	}
	const keyCertSign, crlSign = 5, 6 // RFC 5280 section 4.2.1.3
	if usage.At(keyCertSign) != 0 || usage.At(crlSign) != 0 {
		return badCSR("the CSR asks for the key usage of a CA")
	}
	return nil
}

func checkExtKeyUsage(der []byte) *acme.Problem {
	var usages []asn1.ObjectIdentifier
	if rest, err := asn1.Unmarshal(der, &usages); err != nil || len(rest) > 0 {
		return badCSR("the CSR's extended key usage cannot be read")
	}
	for _, usage := range usages {
		if !usage.Equal(oidServerAuth) && !usage.Equal(oidClientAuth) {
			return badCSR("the CSR asks for the extended key usage %s; use serverAuth or clientAuth", usage)
		}
	}
	return nil
}

// sanIdentifiers parses the SAN, because x509 skips kinds of name that it does not know.
func sanIdentifiers(extensions []pkix.Extension) (map[acme.Identifier]bool, *acme.Problem) {
	ids := map[acme.Identifier]bool{}
	for _, extension := range extensions {
		if !extension.Id.Equal(oidSubjectAltName) {
			continue
		}
		var names cryptobyte.String
		input := cryptobyte.String(extension.Value)
		if !input.ReadASN1(&names, cryptobyteasn1.SEQUENCE) || !input.Empty() {
			return nil, badCSR("the CSR's subject alternative name cannot be read")
		}
		for !names.Empty() {
			var value cryptobyte.String
			var tag cryptobyteasn1.Tag
			if !names.ReadAnyASN1(&value, &tag) {
				return nil, badCSR("the CSR's subject alternative name cannot be read")
			}
			id, problem := sanIdentifier(tag, value)
			if problem != nil {
				return nil, problem
			}
			ids[id] = true
		}
	}
	return ids, nil
}

// sanIdentifier returns the normalized identifier of a GeneralName (RFC 5280 section 4.2.1.6).
func sanIdentifier(tag cryptobyteasn1.Tag, value []byte) (acme.Identifier, *acme.Problem) {
	switch tag {
	case cryptobyteasn1.Tag(2).ContextSpecific():
		return normalize(acme.Identifier{Type: acme.DNS, Value: string(value)})
	case cryptobyteasn1.Tag(7).ContextSpecific():
		addr, ok := netip.AddrFromSlice(value)
		if !ok {
			return acme.Identifier{}, badCSR("the CSR has an IP address of %d bytes", len(value))
		}
		return normalize(acme.Identifier{Type: acme.IP, Value: addr.String()})
	}
	kinds := map[cryptobyteasn1.Tag]string{0: "otherName", 1: "rfc822Name (e-mail)", 3: "x400Address", 4: "directoryName",
		5: "ediPartyName", 6: "URI", 8: "registeredID"}
	kind, ok := kinds[tag&0x1f]
	if !ok {
		kind = "unknown name"
	}
	return acme.Identifier{}, badCSR("the CSR has a subject alternative name of kind %s; only dNSName and iPAddress are issued", kind)
}

// identifierOf returns the identifier of a common name, which has no type: an address if it parses as one.
func identifierOf(text string) acme.Identifier {
	if _, err := netip.ParseAddr(text); err == nil {
		return acme.Identifier{Type: acme.IP, Value: text}
	}
	return acme.Identifier{Type: acme.DNS, Value: text}
}

func normalize(id acme.Identifier) (acme.Identifier, *acme.Problem) {
	id, problem := id.Normalize()
	if problem != nil {
		return id, badCSR("the CSR has a name that cannot be certified: %s", problem.Detail)
	}
	return id, nil
}
