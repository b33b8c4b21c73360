package matrix

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"

	"golang.org/x/crypto/acme"
)

var xcrypto = &acmeClient{
	name: "golang.org/x/crypto/acme", version: moduleVersion("golang.org/x/crypto"),
	open: func(s *site) session { return &xcryptoSession{site: s} },
	expect: map[scenarioID]outcome{
		obtaining: yes, renewing: yes, revoking: yes, patience: yes, reuse: yes, binding: yes, granted: yes,
		overloaded: {verdict: waits},
	},
}

type xcryptoSession struct {
	*site
	client *acme.Client
	last   []byte
}

func (x *xcryptoSession) register(ctx context.Context) error {
	key, err := newKey()
	if err != nil {
		return err
	}
	client := &acme.Client{Key: key, DirectoryURL: x.directory(), HTTPClient: trusting()}
	account := &acme.Account{Contact: []string{"mailto:admin@corp.test"}}
	if x.external != nil {
		account.ExternalAccountBinding = &acme.ExternalAccountBinding{KID: x.external.id, Key: x.hmacKey()}
	}
	_, err = client.Register(ctx, account, acme.AcceptTOS)
	if err == nil {
		x.client = client
	}
	return err
}

func (x *xcryptoSession) obtain(ctx context.Context) ([]byte, error) {
	if x.client == nil {
		if err := x.register(ctx); err != nil {
			return nil, err
		}
	}
	order, err := x.client.AuthorizeOrder(ctx, acme.DomainIDs(x.name))
	if err != nil {
		return nil, err
	}
	for _, url := range order.AuthzURLs {
		if err := x.authorize(ctx, url); err != nil {
			return nil, err
		}
	}
	if _, err := x.client.WaitOrder(ctx, order.URI); err != nil {
		return nil, err
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{x.name}}, key)
	if err != nil {
		return nil, err
	}
	ders, _, err := x.client.CreateOrderCert(ctx, order.FinalizeURL, csr, true)
	if err != nil {
		return nil, err
	}
	x.last = ders[0]
	return encodeChain(ders), nil
}

func (x *xcryptoSession) authorize(ctx context.Context, url string) error {
	authorization, err := x.client.GetAuthorization(ctx, url)
	if err != nil || authorization.Status == acme.StatusValid {
		return err
	}
	for _, challenge := range authorization.Challenges {
		if challenge.Type != "http-01" {
			continue
		}
		response, err := x.client.HTTP01ChallengeResponse(challenge.Token)
		if err != nil {
			return err
		}
		if err := x.putToken(challenge.Token, response); err != nil {
			return err
		}
		if _, err := x.client.Accept(ctx, challenge); err != nil {
			return err
		}
		_, err = x.client.WaitAuthorization(ctx, url)
		return err
	}
	return errors.New("http-01 isn't offered")
}

func (x *xcryptoSession) renew(ctx context.Context) ([]byte, error) { return x.obtain(ctx) }

func (x *xcryptoSession) revoke(ctx context.Context) error {
	return x.client.RevokeCert(ctx, nil, x.last, acme.CRLReasonSuperseded)
}
