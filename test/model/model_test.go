package model

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/acmeclient"
	"github.com/acmeca/acmeca/internal/test/http01"
	"github.com/acmeca/acmeca/internal/test/inprocess"
)

// bounded is the number of sequences unless -rapid.checks sets another.
const bounded = "12"

func TestMain(m *testing.M) {
	flag.Parse()
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "rapid.checks" })
	if !set {
		if err := flag.Set("rapid.checks", bounded); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

const (
	lifetime = time.Hour
	// patience bounds the wait for work of the controllers.
	patience = 30 * time.Second
	look     = 5 * time.Millisecond
)

func TestTheServerBehavesAsTheModel(t *testing.T) {
	ctrl.SetLogger(logr.Discard())
	world, err := inprocess.NewWorld(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(world.Stop)
	operator, err := world.NewOperator(t.Context(), inprocess.Options{Edit: func(spec *v1alpha1.AcmeIssuerSpec) {
		hour := metav1.Duration{Duration: lifetime}
		spec.Lifetimes = v1alpha1.Lifetimes{Order: hour, PendingAuthorization: hour, Authorization: hour, ReuseAuthorizations: true}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(operator.Stop)
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		s := newSession(t, operator, world.Responder, runs)
		defer s.end()
		t.Repeat(map[string]func(*rapid.T){
			"":                         s.check,
			"order":                    s.order,
			"prove":                    s.prove,
			"fail a proof":             s.failProof,
			"respond again":            s.respondAgain,
			"finalize":                 s.finalize,
			"finalize with a bad CSR":  s.finalizeBadly,
			"download":                 s.download,
			"revoke":                   s.revoke,
			"deactivate authorization": s.deactivateAuthorization,
			"update the account":       s.update,
			"change the key":           s.changeKey,
			"act as another account":   s.stranger,
			"deactivate the account":   s.deactivate,
			"expire":                   s.expire,
		})
	})
}

// session is a client, and the model of its account.
type session struct {
	operator *inprocess.Operator
	client   *acmeclient.Client
	other    *acmeclient.Client
	model    *account
	key      *ecdsa.PrivateKey
	prefix   string
	jumped   bool
	shown    map[string]acme.State
	ctx      context.Context
	cancel   context.CancelFunc
}

func newSession(t *rapid.T, operator *inprocess.Operator, responder *http01.Responder, run int) *session {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	s := &session{operator: operator, model: &account{state: acme.StateValid}, shown: map[string]acme.State{}, prefix: fmt.Sprintf("r%d", run), ctx: ctx, cancel: cancel}
	var err error
	if s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	h := &http.Client{Transport: operator.Transport(), Timeout: 30 * time.Second}
	for _, c := range []**acmeclient.Client{&s.client, &s.other} {
		*c = acmeclient.NewPersistent(h, responder, look)
		if err := (*c).Register(ctx, operator.DirectoryURL()); err != nil {
			t.Fatalf("registering: %v", err)
		}
	}
	return s
}

func (s *session) end() {
	if s.jumped {
		s.operator.Clock.Jump(-2 * lifetime)
		_ = s.operator.Controllers.Restart() // the next session reports the error
	}
	s.client.HTTP.CloseIdleConnections()
	s.cancel()
}

// post sends a request, and checks the answer's status and the error's type.
func (s *session) post(t *rapid.T, c *acmeclient.Client, url string, payload any, status int, kind acme.ProblemType) []byte {
	t.Helper()
	if s.model.state != acme.StateValid && c == s.client {
		status, kind = http.StatusUnauthorized, acme.Unauthorized
	}
	body, _, err := c.Post(s.ctx, url, payload)
	problem, refused := errors.AsType[*acmeclient.Problem](err)
	switch {
	case err != nil && !refused:
		t.Fatalf("%s: %v", url, err)
	case refused && (problem.Status != status || problem.Type != kind.URN()):
		t.Fatalf("the answer is %v; the model has %d %s", problem, status, kind)
	case !refused && kind != "":
		t.Fatalf("%s: the answer is %s; the model has %d %s", url, body, status, kind)
	}
	return body
}

// ok sends a request that must succeed.
func (s *session) ok(t *rapid.T, url string, payload, into any) {
	t.Helper()
	body := s.post(t, s.client, url, payload, http.StatusOK, "")
	if s.model.state == acme.StateValid && into != nil {
		if err := json.Unmarshal(body, into); err != nil {
			t.Fatalf("%s: %s: %v", url, body, err)
		}
	}
}

// check compares all states. A client never sees an older state after a newer one. So check waits for a state in
// transition, which may show only its predecessor.
func (s *session) check(t *rapid.T) {
	if s.model.state != acme.StateValid {
		s.ok(t, s.client.URL(), nil, nil)
		return
	}
	var document struct {
		Status  acme.State
		Contact []string
	}
	s.ok(t, s.client.URL(), nil, &document)
	if document.Status != s.model.state || !slices.Equal(document.Contact, s.model.contact) {
		t.Fatalf("the account is %v; the model has %v", document, s.model)
	}
	for _, z := range s.model.authorizations {
		s.await(t, z.url, z.state, acme.StatePending, acme.StateValid)
	}
	for _, o := range s.model.orders {
		s.await(t, o.url, o.state(), acme.StatePending, acme.StateReady, acme.StateProcessing)
	}
}

// await polls a resource until it has a state. Until then the resource may show earlier states in order, but none
// before the last one shown.
func (s *session) await(t *rapid.T, url string, want acme.State, before ...acme.State) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(look) {
		var document struct{ Status acme.State }
		s.ok(t, url, nil, &document)
		if s.model.state != acme.StateValid {
			return
		}
		last := s.shown[url]
		s.shown[url] = document.Status
		if document.Status == want {
			return
		}
		now := slices.Index(before, document.Status)
		if now < 0 || now < slices.Index(before, last) || last == want || time.Now().After(end) {
			t.Fatalf("%s is %s after it was %q; the model has %s", url, document.Status, last, want)
		}
	}
}

func pick[T any](t *rapid.T, what string, all []T) T {
	if len(all) == 0 {
		t.Skip("there is no " + what)
	}
	return all[rapid.IntRange(0, len(all)-1).Draw(t, what)]
}

func (s *session) alive(t *rapid.T) {
	if s.model.state != acme.StateValid || s.jumped {
		t.Skip("the account has ended, or everything has expired")
	}
}

const maxOrders = 6

func (s *session) order(t *rapid.T) {
	if s.jumped || len(s.model.orders) >= maxOrders {
		t.Skip("enough")
	}
	names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), 1, 3, rapid.ID[string]).Draw(t, "names")
	var identifiers []map[string]string
	o := &order{}
	for _, n := range names {
		o.names = append(o.names, n+"."+s.prefix+".test")
		identifiers = append(identifiers, map[string]string{"type": "dns", "value": o.names[len(o.names)-1]})
	}
	if s.model.state != acme.StateValid {
		s.ok(t, s.client.Directory.NewOrder, map[string]any{"identifiers": identifiers}, nil)
		return
	}
	created, err := s.client.NewOrder(s.ctx, o.names...)
	if err != nil {
		t.Fatal(err)
	}
	o.url, o.finalize = created.URL, created.Finalize
	if len(created.Authorizations) != len(o.names) {
		t.Fatalf("an order of %d names has %d authorizations", len(o.names), len(created.Authorizations))
	}
	for i, url := range created.Authorizations {
		o.authorizations = append(o.authorizations, s.authorizationAt(t, url, o.names[i]))
	}
	s.model.orders = append(s.model.orders, o)
	s.shown[o.url] = acme.State(created.Status)
	if acme.State(created.Status) != o.state() {
		t.Fatalf("a new order is %s; the model has %s", created.Status, o.state())
	}
}

// authorizationAt returns the authorization of an order for a name: a valid one if there is one, otherwise a new one.
func (s *session) authorizationAt(t *rapid.T, url, name string) *authorization {
	for _, z := range s.model.authorizations {
		if z.url == url {
			if z.name != name || z.state != acme.StateValid {
				t.Fatalf("authorization %s is %s for %s, and is used for %s", url, z.state, z.name, name)
			}
			return z
		}
	}
	if s.model.usable(name) != nil {
		t.Fatalf("a new authorization was created for %s, despite a valid one", name)
	}
	var document struct {
		Identifier struct{ Value string }
		Challenges []acmeclient.Challenge
	}
	s.ok(t, url, nil, &document)
	if document.Identifier.Value != name {
		t.Fatalf("%s is for %s, not for %s", url, document.Identifier.Value, name)
	}
	z := &authorization{name: name, state: acme.StatePending, url: url}
	for _, c := range document.Challenges {
		if c.Type == string(acme.HTTP01) {
			z.challenge, z.token = c.URL, c.Token
		}
	}
	s.model.authorizations = append(s.model.authorizations, z)
	return z
}

func (s *session) pending() (all []*authorization) {
	for _, z := range s.model.authorizations {
		if z.state == acme.StatePending {
			all = append(all, z)
		}
	}
	return all
}

func (s *session) prove(t *rapid.T) {
	s.alive(t)
	z := pick(t, "pending authorization", s.pending())
	s.client.Answer(z.token)
	s.ok(t, z.challenge, struct{}{}, nil)
	z.state, z.responded = acme.StateValid, true
	s.await(t, z.url, z.state, acme.StatePending)
}

func (s *session) failProof(t *rapid.T) {
	s.alive(t)
	z := pick(t, "pending authorization", s.pending())
	s.ok(t, z.challenge, struct{}{}, nil) // no responder answers
	z.state, z.responded = acme.StateInvalid, true
	s.await(t, z.url, z.state, acme.StatePending)
	s.model.settle()
}

// respondAgain changes nothing, regardless of the first response's outcome.
func (s *session) respondAgain(t *rapid.T) {
	s.alive(t)
	z := pick(t, "authorization", s.model.authorizations)
	if z.state == acme.StatePending {
		t.Skip("there was no response")
	}
	s.ok(t, z.challenge, struct{}{}, nil)
}

func (s *session) csr(t *rapid.T, names ...string) string {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, s.key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(der)
}

func (s *session) finalize(t *rapid.T) {
	s.alive(t)
	o := pick(t, "order", s.model.orders)
	csr := s.csr(t, o.names...)
	if again := rapid.Bool().Draw(t, "the same again"); again && o.csr != "" {
		csr = o.csr
	}
	payload := map[string]any{"csr": csr}
	switch {
	case o.state() == acme.StateReady:
		s.ok(t, o.finalize, payload, nil)
		o.csr, o.finished = csr, acme.StateValid
		var document acmeclient.Order
		s.await(t, o.url, acme.StateValid, acme.StatePending, acme.StateReady, acme.StateProcessing)
		s.ok(t, o.url, nil, &document)
		o.certificate = document.Certificate
	case o.csr == csr:
		s.ok(t, o.finalize, payload, nil)
	default:
		s.post(t, s.client, o.finalize, payload, http.StatusForbidden, acme.OrderNotReady)
	}
}

func (s *session) finalizeBadly(t *rapid.T) {
	s.alive(t)
	o := pick(t, "order", s.model.orders)
	payload := map[string]any{"csr": s.csr(t, append([]string{"evil.test"}, o.names...)...)}
	if o.state() == acme.StateReady {
		s.post(t, s.client, o.finalize, payload, http.StatusBadRequest, acme.BadCSR)
		return
	}
	s.post(t, s.client, o.finalize, payload, http.StatusForbidden, acme.OrderNotReady)
}

func (s *session) issued() (all []*order) {
	for _, o := range s.model.orders {
		if o.certificate != "" {
			all = append(all, o)
		}
	}
	return all
}

func (s *session) download(t *rapid.T) {
	o := pick(t, "certificate", s.issued())
	body := s.post(t, s.client, o.certificate, nil, http.StatusOK, "")
	if s.model.state != acme.StateValid {
		return
	}
	block, _ := pem.Decode(body)
	if block == nil || o.der != nil && !bytes.Equal(o.der, block.Bytes) {
		t.Fatalf("another certificate: %s", body)
	}
	o.der = block.Bytes
	certificate, err := x509.ParseCertificate(o.der)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(certificate.DNSNames)
	if want := slices.Sorted(slices.Values(o.names)); !slices.Equal(certificate.DNSNames, want) || !s.key.PublicKey.Equal(certificate.PublicKey) {
		t.Fatalf("the certificate is for %v; the order is for %v", certificate.DNSNames, want)
	}
}

func (s *session) revoke(t *rapid.T) {
	o := pick(t, "certificate", s.issued())
	if o.der == nil {
		t.Skip("it wasn't downloaded")
	}
	payload := map[string]any{"certificate": base64.RawURLEncoding.EncodeToString(o.der)}
	if o.revoked {
		s.post(t, s.client, s.client.Directory.RevokeCert, payload, http.StatusBadRequest, acme.AlreadyRevoked)
		return
	}
	s.ok(t, s.client.Directory.RevokeCert, payload, nil)
	o.revoked = o.revoked || s.model.state == acme.StateValid
}

func (s *session) deactivateAuthorization(t *rapid.T) {
	s.alive(t)
	z := pick(t, "authorization", s.model.authorizations)
	payload := map[string]any{"status": "deactivated"}
	if !z.end() {
		s.post(t, s.client, z.url, payload, http.StatusBadRequest, acme.Malformed)
		return
	}
	s.ok(t, z.url, payload, nil)
	s.model.settle()
}

func (s *session) update(t *rapid.T) {
	contact := []string{"mailto:" + rapid.SampledFrom([]string{"a", "b"}).Draw(t, "contact") + "@model.test"}
	s.ok(t, s.client.URL(), map[string]any{"contact": contact}, nil)
	if s.model.state == acme.StateValid {
		s.model.contact = contact
	}
}

func (s *session) changeKey(t *rapid.T) {
	s.alive(t)
	if err := s.client.ChangeKey(s.ctx); err != nil {
		t.Fatal(err)
	}
}

// stranger acts as another account, which has no access to this account's resources.
func (s *session) stranger(t *rapid.T) {
	var urls []string
	for _, o := range s.model.orders {
		urls = append(urls, o.url, o.finalize)
		if o.certificate != "" {
			urls = append(urls, o.certificate)
		}
	}
	for _, z := range s.model.authorizations {
		urls = append(urls, z.url, z.challenge)
	}
	url := pick(t, "resource", append(urls, s.client.URL()))
	var payload any
	if strings.HasSuffix(url, "/finalize") {
		payload = map[string]any{"csr": s.csr(t, "a.test")}
	}
	s.post(t, s.other, url, payload, http.StatusForbidden, acme.Unauthorized)
}

func (s *session) deactivate(t *rapid.T) {
	s.rarely(t)
	s.ok(t, s.client.URL(), map[string]any{"status": "deactivated"}, nil)
	s.model.deactivate()
}

// rarely skips most actions that end everything, so that sequences get longer.
func (s *session) rarely(t *rapid.T) {
	s.alive(t)
	if rapid.IntRange(0, 3).Draw(t, "rarely") != 3 {
		t.Skip("not yet")
	}
}

func (s *session) expire(t *rapid.T) {
	s.rarely(t)
	s.jumped = true
	s.operator.Clock.Jump(2 * lifetime)
	if err := s.operator.Controllers.Restart(); err != nil { // timers do not jump with the clock
		t.Fatal(err)
	}
	s.model.expire()
}
