package acmeserver

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/policy"
	"github.com/acmeca/acmeca/internal/tracing"
)

// call is a request to an issuer.
type call struct {
	*http.Request
	issuer *issuer
	// base that URLs in the answer are on: the one that the client used.
	base acme.Base
	// path below the base, and whether a query followed it. No URL of ours has one.
	path  string
	query bool
	// shown is what the client has seen of what replicas show.
	shown positions
	// route is the pattern that the path matches, and begun is when the call came.
	route string
	begun time.Time
	// span is this call's part of its order's trace; nil where it has none.
	span *tracing.Span
}

func (c *call) url(path string) string { return c.base.URL(path) }

// signed is a call whose signature has been verified and whose nonce has been redeemed. Nothing but authenticate makes
// one, so that what isn't authenticated doesn't compile.
type signed struct {
	*call
	message *jws.Message
	// account that signed; nil where the message has a jwk.
	account *v1alpha1.AcmeAccount
	// key that signed.
	key *jws.Key
}

// signer says who may sign a request.
type signer int

const (
	byAccount signer = 1 << iota // kid
	byKey                        // jwk
)

// maxBody bounds a request in bytes.
const maxBody = jws.MaxMessage

// authenticate reads a POST (RFC 8555 section 6.2 to 6.5). The nonce is redeemed last, so that nobody uses up another's.
func (s *Server) authenticate(c *call, who signer) (*signed, error) {
	body, err := readBody(c.Request)
	if err != nil {
		return nil, err
	}
	message, problem := jws.Parse(body)
	if problem != nil {
		return nil, problem
	}
	base, path, ok := acme.Relative(c.issuer.bases, message.Header.URL)
	if !ok || path != c.path || c.query {
		return nil, acme.NewProblem(acme.Unauthorized, "the request was signed for another URL than the one it was sent to, or for one that this server isn't reached by: %q",
			acme.Printable(message.Header.URL, 256))
	}
	c.base = base
	nonce, badNonce := s.nonces.Open(message.Header.Nonce)
	if badNonce == nil {
		s.follow(c, nonce)
	}
	r := &signed{call: c, message: message}
	if message.Header.Key != nil {
		if who&byKey == 0 {
			return nil, acme.NewProblem(acme.Malformed, "this request has to be signed with an account's \"kid\", not with a \"jwk\"")
		}
		r.key = message.Header.Key
	} else {
		if who&byAccount == 0 {
			return nil, acme.NewProblem(acme.Malformed, "this request has to be signed with a \"jwk\", not with a \"kid\"")
		}
		if r.account, r.key, err = s.signingAccount(c, message.Header.KeyID); err != nil {
			return nil, err
		}
	}
	if problem := message.Verify(r.key); problem != nil {
		return nil, problem
	}
	if badNonce == nil {
		badNonce = s.redeem(c.Context(), nonce, message.Header.Nonce)
	}
	if badNonce != nil {
		s.metrics.nonceRejected(badNonce)
		return nil, acme.NewProblem(acme.BadNonce, "%v", badNonce)
	}
	if r.account != nil && r.account.Status.State != acme.StateValid {
		return nil, acme.NewProblem(acme.Unauthorized, "the account is %s", r.account.Status.State).WithStatus(http.StatusUnauthorized)
	}
	return r, nil
}

// signingAccount finds the account that a kid names, and its key.
func (s *Server) signingAccount(c *call, kid string) (*v1alpha1.AcmeAccount, *jws.Key, error) {
	unknown := acme.NewProblem(acme.AccountDoesNotExist, "there is no account %q", acme.Printable(kid, 256))
	_, path, ok := acme.Relative(c.issuer.bases, kid)
	id, isAccount := acme.AccountID(path)
	if !ok || !isAccount {
		return nil, nil, unknown
	}
	account, err := s.accountOf(c.Context(), c.issuer, id)
	if problem, ok := errors.AsType[*acme.Problem](err); ok && problem.Status == http.StatusNotFound {
		return nil, nil, unknown
	}
	if err != nil {
		return nil, nil, err
	}
	if account.Status.JWK == "" {
		return nil, nil, unknown // not accepted, or a key claim
	}
	key, problem := s.keys.Parse(account.Status.JWK)
	if problem != nil {
		return nil, nil, problem
	}
	return account, key, nil
}

// accountOf finds an account of an issuer.
func (s *Server) accountOf(ctx context.Context, i *issuer, id string) (*v1alpha1.AcmeAccount, error) {
	key, err := keyOf(i.key.Namespace, id, "account")
	if err != nil {
		return nil, err
	}
	account, err := s.accounts.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	if account.Spec.IssuerRef.Name != i.key.Name {
		return nil, notFound("account")
	}
	return account, nil
}

func readBody(r *http.Request) ([]byte, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/jose+json" {
		return nil, acme.NewProblem(acme.Malformed, "the Content-Type has to be application/jose+json").WithStatus(http.StatusUnsupportedMediaType)
	}
	tooLarge := acme.NewProblem(acme.Malformed, "the request is larger than %d bytes", maxBody).WithStatus(http.StatusRequestEntityTooLarge)
	if r.ContentLength > maxBody {
		return nil, tooLarge
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, acme.NewProblem(acme.Malformed, "the request could not be read")
	case len(body) > maxBody:
		return nil, tooLarge
	}
	return body, nil
}

// unmarshal reads the payload of a request that has one.
func (r *signed) unmarshal(into any) error {
	if r.message.IsPOSTAsGET() {
		return acme.NewProblem(acme.Malformed, "this resource takes a JSON payload, not a POST-as-GET")
	}
	if problem := acme.Unmarshal(r.message.Body, into); problem != nil {
		return problem
	}
	return nil
}

// reading refuses a payload on a resource that can only be read (RFC 8555 section 6.3).
func (r *signed) reading() error {
	if !r.message.IsPOSTAsGET() {
		return acme.NewProblem(acme.Malformed, "this resource is read with POST-as-GET, whose payload is empty")
	}
	return nil
}

// owns keeps an account to what is its own.
func (r *signed) owns(owner v1alpha1.ObjectRef, in v1alpha1.ObjectRef, kind string) error {
	if in.Name != r.issuer.key.Name {
		return notFound(kind)
	}
	if owner.Name != r.account.Name {
		return acme.NewProblem(acme.Unauthorized, "this %s belongs to another account", kind)
	}
	return nil
}

// traced makes the call a part of the trace that an object belongs to.
func (s *Server) traced(c *call, object client.Object) {
	c.span = s.tracer.Continue(object.GetAnnotations(), c.route, c.begun)
}

// issuing keeps what leads to issuance from an issuer that can't issue.
func (c *call) issuing() error {
	if c.issuer.fault != nil {
		return c.issuer.fault
	}
	return nil
}

// agreeing keeps from issuance an account that hasn't agreed to the present terms of service.
func (r *signed) agreeing() error {
	if problem := policy.Terms(r.account, r.issuer.spec.Account.TermsOfService); problem != nil {
		return problem
	}
	return nil
}

// policy is what the account that signed may have, where the issuer can issue.
func (r *signed) policy() *policy.Policy {
	return r.issuer.policy.ForAccount(r.account)
}
