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
	// Nonce is to be redeemed (RFC 8555 section 6.5); empty in the inner request of a key change.
	Nonce string
	// URL is what the client asked for, to be compared with what it was sent to (RFC 8555 section 6.4).
	URL string
	// KeyID is the URL of the account.
	KeyID string
	// Key signed the request, where that is no account's or a new account's.
	Key *Key
}

// form is one of the three forms of JWS in RFC 8555, by what its protected header has to hold.
type form struct {
	algorithms []jose.SignatureAlgorithm
	// nonce, jwk, kid are about the members of that name: the nonce must be there or must not; of jwk and kid exactly one
	// that is allowed must be there.
	nonce, jwk, kid bool
	// checkKeyID looks at a kid.
	checkKeyID func(string) *acme.Problem
}

var (
	requestForm   = form{algorithms: signatureAlgorithms, nonce: true, jwk: true, kid: true, checkKeyID: checkAccountURL}
	keyChangeForm = form{algorithms: signatureAlgorithms, jwk: true}
	bindingForm   = form{algorithms: macAlgorithms, kid: true, checkKeyID: checkBindingKeyID}
)

// parseHeader reads a protected header. What makes a request unreadable comes first; a missing nonce comes last, since a
// client answers badNonce by sending the same again.
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

// parseSigner reads jwk or kid (RFC 8555 section 6.2: one of them, never both).
func (f form) parseSigner(o object, h *Header) *acme.Problem {
	if !f.jwk {
		if problem := o.refuse("must not be there (RFC 8555 section 7.3.4)", "jwk"); problem != nil {
			return problem
		}
	}
	if !f.kid {
		if problem := o.refuse("must not be there (RFC 8555 section 7.3.5)", "kid"); problem != nil {
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
	return malformed("the protected header has neither \"jwk\" nor \"kid\", or not the one that is needed here")
}

func (f form) parseNonce(o object) (string, *acme.Problem) {
	if !f.nonce {
		return "", o.refuse("must not be there (RFC 8555 section 7.3.4 and 7.3.5)", "nonce")
	}
	if !o.has("nonce") {
		return "", acme.NewProblem(acme.BadNonce, "the protected header has no \"nonce\"")
	}
	nonce, problem := o.text("nonce")
	if problem != nil {
		return "", problem
	}
	// RFC 8555 section 6.5.2: another encoding is malformed, not a bad nonce.
	_, problem = decode("\"nonce\" in the protected header", nonce)
	return nonce, problem
}

// checkAlgorithm holds a key to its one algorithm.
func (k *Key) checkAlgorithm(algorithm string) *acme.Problem {
	return checkAlgorithm(algorithm, []jose.SignatureAlgorithm{k.algorithm})
}

func checkAccountURL(kid string) *acme.Problem {
	if !isURL(kid) {
		return malformed("\"kid\" in the protected header is not the URL of an account")
	}
	return nil
}

// isURL reports whether text is an absolute URL of a web server.
func isURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}
