package acmeserver

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/acmeserver/answer"
	"github.com/acmeca/acmeca/acmeserver/issuers"
	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/policy"
	"github.com/acmeca/acmeca/internal/tracing"
)

// call is an HTTP request to an issuer, which anyone may have sent.
type call struct {
	*http.Request
	issuer *issuers.Issuer
	// base is the URL that the client used, and that URLs in the answer begin with.
	base acme.Base
	// path is relative to base. query says that a query followed it, which no URL of the server has.
	path  string
	query bool
	// shown is the newest state that other replicas have shown to the client.
	shown store.Positions
	// route is the pattern that the path matches, and begun the time of the request.
	route string
	begun time.Time
	// span is this call's part of its order's trace; nil if there is none.
	span *tracing.Span
}

func (c *call) url(path string) string { return c.base.URL(path) }

// request is an authenticated call: its signature was verified and its nonce redeemed. Only authenticate makes one, so that
// code which needs authentication does not compile without.
type request struct {
	*call
	message *jws.Message
	// account that signed; nil if the message has a jwk.
	account *v1alpha1.AcmeAccount
	// key that signed.
	key *jws.Key
}

// signer says which keys may sign a request.
type signer int

const (
	byAccount signer = 1 << iota // kid
	byKey                        // jwk
)

// authenticate verifies a POST (RFC 8555 sections 6.2 to 6.5). The nonce is redeemed last, so that nobody can use up the
// nonce of another client.
func (s *Server) authenticate(c *call, by signer) (*request, error) {
	body, err := readBody(c.Request, maxBodyOf(c.path))
	if err != nil {
		return nil, err
	}
	message, problem := jws.Parse(body)
	if problem != nil {
		return nil, problem
	}
	base, path, ok := acme.Relative(c.issuer.Bases, message.Header.URL)
	if !ok || path != c.path || c.query {
		return nil, acme.NewProblem(acme.Unauthorized,
			"the JWS \"url\" %q is not the URL of this request", acme.Printable(message.Header.URL, 256))
	}
	c.base = base
	nonce, badNonce := s.nonces.Open(message.Header.Nonce)
	if badNonce == nil {
		s.follow(c, nonce)
	}
	r := &request{call: c, message: message}
	if err := s.findSigner(r, by); err != nil {
		return nil, err
	}
	if problem := message.Verify(r.key); problem != nil {
		return nil, problem
	}
	if badNonce == nil {
		badNonce = s.redeem(c.Context(), nonce, message.Header.Nonce)
	}
	if badNonce != nil {
		s.metrics.NonceRejected(badNonce)
		return nil, acme.NewProblem(acme.BadNonce, "%v", badNonce)
	}
	if r.account != nil && r.account.Status.State != acme.StateValid {
		return nil, acme.NewProblem(acme.Unauthorized, "the account is %s", r.account.Status.State).WithStatus(http.StatusUnauthorized)
	}
	return r, nil
}

// findSigner sets the key that a request says it is signed with, and its account.
func (s *Server) findSigner(r *request, by signer) (err error) {
	if r.message.Header.Key != nil {
		if by&byKey == 0 {
			return acme.NewProblem(acme.Malformed, "this request must be signed with an account's \"kid\", not with a \"jwk\"")
		}
		r.key = r.message.Header.Key
		return nil
	}
	if by&byAccount == 0 {
		return acme.NewProblem(acme.Malformed, "this request must be signed with a \"jwk\", not with a \"kid\"")
	}
	r.account, r.key, err = s.signingAccount(r.call, r.message.Header.KeyID)
	return err
}

// signingAccount returns the account that a kid names, and its key.
func (s *Server) signingAccount(c *call, kid string) (*v1alpha1.AcmeAccount, *jws.Key, error) {
	unknown := acme.NewProblem(acme.AccountDoesNotExist, "there is no account %q", acme.Printable(kid, 256))
	_, path, ok := acme.Relative(c.issuer.Bases, kid)
	id, isAccount := acme.AccountID(path)
	if !ok || !isAccount {
		return nil, nil, unknown
	}
	account, err := s.accountOf(c.Context(), c.issuer, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, unknown
	}
	if err != nil {
		return nil, nil, err
	}
	if account.Status.JWK == "" {
		return nil, nil, unknown // not accepted yet, or a key claim
	}
	key, problem := s.accountKeys.Parse(account.Status.JWK)
	if problem != nil {
		return nil, nil, problem
	}
	return account, key, nil
}

// accountOf returns an account of an issuer.
func (s *Server) accountOf(ctx context.Context, i *issuers.Issuer, id string) (*v1alpha1.AcmeAccount, error) {
	key, err := objectKey(i, id, "account")
	if err != nil {
		return nil, err
	}
	account, err := s.store.Accounts.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	if account.Spec.IssuerRef.Name != i.Key.Name {
		return nil, store.NotFound("account")
	}
	return account, nil
}

func readBody(r *http.Request, limit int64) ([]byte, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/jose+json" {
		return nil, acme.NewProblem(acme.Malformed, "the Content-Type must be application/jose+json").WithStatus(http.StatusUnsupportedMediaType)
	}
	tooLarge := acme.NewProblem(acme.Malformed, "the request is larger than %d bytes", limit).WithStatus(http.StatusRequestEntityTooLarge)
	if r.ContentLength > limit {
		return nil, tooLarge
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	switch {
	case err != nil:
		return nil, acme.NewProblem(acme.Malformed, "the request could not be read")
	case int64(len(body)) > limit:
		return nil, tooLarge
	}
	return body, nil
}

// unmarshal reads the payload of a request that must have one.
func (r *request) unmarshal(into any) error {
	if r.message.IsPOSTAsGET() {
		return acme.NewProblem(acme.Malformed, "this resource requires a JSON payload, not a POST-as-GET")
	}
	if problem := acme.Unmarshal(r.message.Body, into); problem != nil {
		return problem
	}
	return nil
}

// requirePOSTAsGET refuses a payload (RFC 8555 section 6.3).
func (r *request) requirePOSTAsGET() error {
	if !r.message.IsPOSTAsGET() {
		return acme.NewProblem(acme.Malformed, "this resource is read with POST-as-GET, whose payload is empty")
	}
	return nil
}

// requireOwner refuses access to objects of other accounts. owner and issuer are the object's references.
func (r *request) requireOwner(owner, issuer v1alpha1.ObjectRef, kind string) error {
	if issuer.Name != r.issuer.Key.Name {
		return store.NotFound(kind)
	}
	if owner.Name != r.account.Name {
		return acme.NewProblem(acme.Unauthorized, "this %s belongs to another account", kind)
	}
	return nil
}

// requireIssuer refuses steps towards a certificate while the issuer cannot issue.
func (c *call) requireIssuer() error {
	if c.issuer.Fault != nil {
		return c.issuer.Fault
	}
	return nil
}

// requireRoom refuses to create accounts, orders and authorizations while the issuer's storage is full.
func (c *call) requireRoom() error {
	if c.issuer.StorageFull {
		return answer.StorageFull()
	}
	return nil
}

// requireReserve refuses to store requests while the issuer's storage is more than full. Orders in flight can be finished until
// then.
func (c *call) requireReserve() error {
	if c.issuer.StorageExceeded {
		return answer.StorageFull()
	}
	return nil
}

// requireTerms refuses steps towards a certificate if the account has not agreed to the current terms of service.
func (r *request) requireTerms() error {
	if problem := policy.Terms(r.account, r.issuer.Spec.Account.TermsOfService); problem != nil {
		return problem
	}
	return nil
}

// policy returns the issuer's policy for the account. The issuer must be able to issue.
func (r *request) policy() *policy.Policy { return r.issuer.Policy.ForAccount(r.account) }

// trace makes the call a part of an object's trace.
func (s *Server) trace(c *call, object client.Object) {
	c.span = s.tracer.Continue(object.GetAnnotations(), c.route, c.begun)
}

// objectKey returns the name of an issuer's object from a segment of the path. A segment that cannot be a name is not
// looked up.
func objectKey(i *issuers.Issuer, id, kind string) (types.NamespacedName, error) {
	if !isID(id) {
		return types.NamespacedName{}, store.NotFound(kind)
	}
	return types.NamespacedName{Namespace: i.Key.Namespace, Name: id}, nil
}

// isID reports whether text has the form of an object's name.
func isID(text string) bool {
	if text == "" || len(text) > 63 {
		return false
	}
	for _, c := range []byte(text) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return text[0] != '-' && text[len(text)-1] != '-'
}

// withoutManagedFields makes the API server drop the managed fields of an object (docs/decisions/0140). They cost more than a
// third of each later write, and a third of the object's size.
var withoutManagedFields = map[string]any{"managedFields": []struct{}{{}}}

// specPatch returns a merge patch of a spec.
func specPatch(spec map[string]any) []byte { return mustPatch(withoutManagedFields, spec) }

func mustPatch(metadata, spec map[string]any) []byte {
	patch, err := json.Marshal(map[string]any{"metadata": metadata, "spec": spec})
	if err != nil {
		panic(err) // unreachable: strings, numbers and our own types marshal
	}
	return patch
}

func rfc3339(t metav1.Time) string { return t.UTC().Format(time.RFC3339) }
