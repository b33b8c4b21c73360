package trust

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	xacme "golang.org/x/crypto/acme"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
	"github.com/acmeca/acmeca/internal/jws/stored"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/suite"
)

// A party has an ACME account and a real client, golang.org/x/crypto/acme.
type party struct {
	*xacme.Client
	wire *wire
}

// newcomer returns a party without an account.
func newcomer() *party {
	GinkgoHelper()
	w := &wire{transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: suite.Roots(acmeca)}}}
	DeferCleanup(w.transport.CloseIdleConnections)
	return &party{wire: w, Client: &xacme.Client{
		Key: certificates.NewKey(), DirectoryURL: acmeca.DirectoryURL(), HTTPClient: &http.Client{Transport: w, Timeout: 30 * time.Second},
	}}
}

func newParty(ctx context.Context) *party {
	GinkgoHelper()
	p := newcomer()
	p.register(ctx)
	return p
}

func (p *party) register(ctx context.Context) {
	GinkgoHelper()
	_, err := p.Register(ctx, &xacme.Account{Contact: []string{"mailto:someone@client.test"}}, xacme.AcceptTOS)
	Expect(err).NotTo(HaveOccurred())
}

// wire is a party's connection to the ACME server. A captured ACME server may withhold requests.
type wire struct {
	transport *http.Transport
	withhold  bool
	last      []byte
}

var errWithheld = errors.New("the ACME server keeps this request to itself")

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(request *http.Request) (*http.Response, error) {
	if !w.withhold || request.Method != http.MethodPost {
		return w.transport.RoundTrip(request)
	}
	var err error
	if w.last, err = io.ReadAll(request.Body); err != nil {
		return nil, err
	}
	return nil, errWithheld
}

// withheld returns a genuine request of the party that a captured ACME server has received and not carried out.
func (p *party) withheld(send func() error) *v1alpha1.SignedRequest {
	GinkgoHelper()
	p.wire.withhold = true
	defer func() { p.wire.withhold = false }()
	Expect(send()).To(MatchError(errWithheld))
	message, problem := jws.Parse(p.wire.last)
	Expect(problem).To(BeNil())
	return stored.Request(message)
}

// signedAs returns a request with the party's account as its "kid", signed with any key.
func (p *party) signedAs(key crypto.Signer, path string, payload any) *v1alpha1.SignedRequest {
	GinkgoHelper()
	return sign(key, jwstest.Header{"kid": string(p.KID)}, path, payload)
}

// sign returns a request for a path below the issuer's base.
func sign(key crypto.Signer, header jwstest.Header, path string, payload any) *v1alpha1.SignedRequest {
	GinkgoHelper()
	header["url"], header["nonce"] = url(path), "bm9uY2U"
	var request v1alpha1.SignedRequest
	Expect(json.Unmarshal(jwstest.Sign(GinkgoTB(), key, header, payload), &request)).To(Succeed())
	return &request
}

func url(path string) string { return acmeca.BaseURL() + "/" + path }

// account returns the party's AcmeAccount.
func (p *party) account(ctx context.Context) *v1alpha1.AcmeAccount {
	GinkgoHelper()
	account := &v1alpha1.AcmeAccount{}
	account.Namespace, account.Name = local.Namespace, path.Base(string(p.KID))
	return refresh(ctx, account)
}

// A pursuit is a party's order, as the client and kubectl see it.
type pursuit struct {
	*v1alpha1.AcmeOrder
	client *xacme.Order
}

// order creates an order, and proves nothing yet.
func (p *party) order(ctx context.Context, names ...string) pursuit {
	GinkgoHelper()
	order, err := p.AuthorizeOrder(ctx, xacme.DomainIDs(names...))
	Expect(err).NotTo(HaveOccurred())
	object := &v1alpha1.AcmeOrder{}
	object.Namespace, object.Name = local.Namespace, path.Base(order.URI)
	return pursuit{refresh(ctx, object), order}
}

// readyOrder returns an order whose names are proved.
func (p *party) readyOrder(ctx context.Context, names ...string) pursuit {
	GinkgoHelper()
	order := p.order(ctx, names...)
	for _, authorization := range order.client.AuthzURLs {
		challenge := p.challenge(ctx, authorization)
		p.respond(challenge)
		_, err := p.Accept(ctx, challenge)
		Expect(err).NotTo(HaveOccurred())
		_, err = p.WaitAuthorization(ctx, authorization)
		Expect(err).NotTo(HaveOccurred())
	}
	_, err := p.WaitOrder(ctx, order.client.URI)
	Expect(err).NotTo(HaveOccurred())
	refresh(ctx, order.AcmeOrder)
	return order
}

// challenge returns the http-01 challenge of an authorization.
func (p *party) challenge(ctx context.Context, authorization string) *xacme.Challenge {
	GinkgoHelper()
	a, err := p.GetAuthorization(ctx, authorization)
	Expect(err).NotTo(HaveOccurred())
	for _, c := range a.Challenges {
		if c.Type == string(acme.HTTP01) {
			return c
		}
	}
	Fail("http-01 is not offered")
	return nil
}

// respond publishes the proof of control of a name.
func (p *party) respond(challenge *xacme.Challenge) {
	GinkgoHelper()
	response, err := p.HTTP01ChallengeResponse(challenge.Token)
	Expect(err).NotTo(HaveOccurred())
	responder.Put(challenge.Token, response)
}

// finalize returns the certificate of a ready order.
func (p *party) finalize(ctx context.Context, order pursuit) *x509.Certificate {
	GinkgoHelper()
	var names []string
	for _, id := range order.Spec.Identifiers {
		names = append(names, id.Value)
	}
	key := certificates.NewKey()
	chain, _, err := p.CreateOrderCert(ctx, order.client.FinalizeURL, csr(key, names...), true)
	Expect(err).NotTo(HaveOccurred())
	certificate, err := x509.ParseCertificate(chain[0])
	Expect(err).NotTo(HaveOccurred())
	Expect(certificate.PublicKey).To(Equal(key.Public()))
	Expect(certificate.DNSNames).To(ConsistOf(names))
	return certificate
}

// obtain obtains a certificate, to show that a party still can.
func (p *party) obtain(ctx context.Context, names ...string) (pursuit, *x509.Certificate) {
	GinkgoHelper()
	order := p.readyOrder(ctx, names...)
	certificate := p.finalize(ctx, order)
	refresh(ctx, order.AcmeOrder)
	Expect(order.Status.State).To(Equal(acme.StateValid))
	return order, certificate
}

// authorizations returns an order's authorizations, after its client has chosen a challenge of each.
func authorizations(ctx context.Context, order pursuit) []*v1alpha1.AcmeAuthorization {
	GinkgoHelper()
	var all []*v1alpha1.AcmeAuthorization
	for _, name := range order.Spec.Authorizations {
		authorization := &v1alpha1.AcmeAuthorization{}
		authorization.Namespace, authorization.Name = local.Namespace, name
		all = append(all, refresh(ctx, authorization))
	}
	return all
}

// storedTooSoon returns the authorization of an order with one name, stored by a captured ACME server before the
// client has chosen a challenge. The http-01 challenge has the token that the client was shown.
func storedTooSoon(ctx context.Context, order pursuit, token string) *v1alpha1.AcmeAuthorization {
	GinkgoHelper()
	authorization := order.AwaitedAuthorization(0)
	authorization.Spec.Challenges = []v1alpha1.Challenge{{Type: acme.HTTP01, Token: token}, {Type: acme.DNS01, Token: token + "-dns"}}
	plant(ctx, authorization)
	return authorization
}

// pendingAuthorization returns an authorization without a chosen challenge.
func (p *party) pendingAuthorization(ctx context.Context) *v1alpha1.AcmeAuthorization {
	GinkgoHelper()
	return storedTooSoon(ctx, p.order(ctx, newName()), "token-that-a-client-has-seen")
}

// garbled returns a request with an invalid signature.
func garbled(request *v1alpha1.SignedRequest) *v1alpha1.SignedRequest {
	signature := bytes.Repeat([]byte("A"), len(request.Signature))
	return &v1alpha1.SignedRequest{Protected: request.Protected, Payload: request.Payload, Signature: string(signature)}
}

// jwk returns the header of a request with a key in it.
func jwk(key crypto.Signer) jwstest.Header {
	GinkgoHelper()
	return jwstest.Header{"jwk": jwstest.JWK(GinkgoTB(), key)}
}
