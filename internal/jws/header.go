package jws

import (
	"net/url"

	"github.com/go-jose/go-jose/v4"

	"github.com/acmeca/acmeca/api/acme"
)

// Header is the protected header of a request (RFC 8555 section 6.2): exactly one of KeyID and Key is set.
type Header struct {
	// Algorithm is one of Algorithms.
	Algorithm string
	// Nonce is the nonce to redeem (RFC 8555 section 6.5). It is empty in the inner request of a key change.
	Nonce string
	// URL is the URL that the client signed. The caller compares it with the URL of the request (RFC 8555 section 6.4).
	URL string
	// KeyID is the URL of the account.
	KeyID string
	// Key is the key that signed the request. It is set if the request has no account yet, or is signed by a certificate's key.
	Key *Key
}

// form describes the protected header of one of the three kinds of JWS in RFC 8555.
type form struct {
	algorithms []jose.SignatureAlgorithm
	// nonce is true if the header must have a nonce, and false if it must not. jwk and kid are true for the allowed members:
	// the header must have exactly one of these.
	nonce, jwk, kid bool
	// checkKeyID checks a kid.
	checkKeyID func(string) *acme.Problem
}

var (
	requestForm   = form{algorithms: signatureAlgorithms, nonce: true, jwk: true, kid: true, checkKeyID: checkAccountURL}
	keyChangeForm = form{algorithms: signatureAlgorithms, jwk: true}
	bindingForm   = form{algorithms: macAlgorithms, kid: true, checkKeyID: checkBindingKeyID}
)

// parseHeader reads a protected header. A missing nonce is the last fault to report, because clients answer badNonce by sending
// the same request again.
func (f form) parseHeader(protected []byte) (Header, *acme.Problem) {
	o, problem := parseObject("the protected header", protected)
	if problem != nil {
		return Header{}, problem
	}
	if problem := o.refuse("is not supported", "crit", "b64"); problem != nil {
		return Header{}, problem
	}
	var h Header
	if h.Algorithm, problem = o.text("alg"); problem != nil {
		return Header{}, problem
	}
	if problem := checkAlgorithm(h.Algorithm, f.algorithms); problem != nil {
		return Header{}, problem
	}
	if h.URL, problem = o.text("url"); problem != nil {
		return Header{}, problem
	}
	if !isURL(h.URL) {
		return Header{}, malformed("\"url\" in the protected header is not a URL")
	}
	if problem := f.parseSigner(o, &h); problem != nil {
		return Header{}, problem
	}
	if h.Nonce, problem = f.parseNonce(o); problem != nil {
		return Header{}, problem
	}
	return h, nil
}

// parseSigner reads jwk or kid. RFC 8555 section 6.2 requires exactly one of them.
func (f form) parseSigner(o object, h *Header) *acme.Problem {
	if !f.jwk {
		if problem := o.refuse("is not allowed here (RFC 8555 section 7.3.4)", "jwk"); problem != nil {
			return problem
		}
	}
	if !f.kid {
		if problem := o.refuse("is not allowed here (RFC 8555 section 7.3.5)", "kid"); problem != nil {
			return problem
		}
	}
	var problem *acme.Problem
	switch jwk, kid := o.has("jwk"), o.has("kid"); {
	case jwk && kid:
		return malformed("the protected header has both \"jwk\" and \"kid\"")
	case jwk:
		if h.Key, problem = ParseKey(o.members["jwk"]); problem != nil {
			return problem
		}
		return h.Key.checkAlgorithm(h.Algorithm)
	case kid:
		if h.KeyID, problem = o.text("kid"); problem != nil {
			return problem
		}
		return f.checkKeyID(h.KeyID)
	}
	return malformed("the protected header lacks %s", f.signerMembers())
}

// signerMembers names the allowed members for the signer.
func (f form) signerMembers() string {
	switch {
	case f.jwk && f.kid:
		return "\"jwk\" or \"kid\""
	case f.jwk:
		return "\"jwk\""
	}
	return "\"kid\""
}

// parseNonce reads the nonce, or requires its absence.
func (f form) parseNonce(o object) (string, *acme.Problem) {
	if !f.nonce {
		return "", o.refuse("is not allowed here (RFC 8555 section 7.3.4 and 7.3.5)", "nonce")
	}
	if !o.has("nonce") {
		return "", acme.NewProblem(acme.BadNonce, "the protected header has no \"nonce\"")
	}
	nonce, problem := o.text("nonce")
	if problem != nil {
		return "", problem
	}
	// A nonce in another encoding is malformed, not a badNonce (RFC 8555 section 6.5.2).
	_, problem = decode("\"nonce\" in the protected header", nonce)
	return nonce, problem
}

// checkAlgorithm refuses every algorithm but the one for the key.
func (k *Key) checkAlgorithm(algorithm string) *acme.Problem {
	return checkAlgorithm(algorithm, []jose.SignatureAlgorithm{k.algorithm})
}

func checkAccountURL(kid string) *acme.Problem {
	if !isURL(kid) {
		return malformed("\"kid\" in the protected header is not the URL of an account")
	}
	return nil
}

// isURL reports whether text is an absolute http or https URL.
func isURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}
