package observability

import (
	"bytes"
	"context"
	"net/http"

	"github.com/mholt/acmez/v3/acme"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/internal/jws/jwstest"
	"github.com/acmeca/acmeca/test/internal/certificates"
)

// idle is a solver that solves nothing. The controllers retry such a challenge.
type idle struct{}

func (idle) Present(context.Context, acme.Challenge) error { return nil }
func (idle) CleanUp(context.Context, acme.Challenge) error { return nil }

// mistaken is a solver that serves another text than the key authorization. Such an attempt is final.
type mistaken struct{}

func (mistaken) Present(_ context.Context, challenge acme.Challenge) error {
	responder.Put(challenge.Token, "not the key authorization")
	return nil
}
func (mistaken) CleanUp(ctx context.Context, challenge acme.Challenge) error {
	return responder.CleanUp(ctx, challenge)
}

// reuseNonce sends a request twice.
func reuseNonce(ctx context.Context) {
	GinkgoHelper()
	c := newClient(ctx)
	key := certificates.NewKey()
	response, err := c.HTTPClient.Head(acmeca.BaseURL() + "/acme/new-nonce")
	Expect(err).NotTo(HaveOccurred())
	response.Body.Close()
	url := acmeca.BaseURL() + "/acme/new-account"
	header := jwstest.Header{"jwk": jwstest.JWK(GinkgoTB(), key), "nonce": response.Header.Get("Replay-Nonce"), "url": url}
	body := jwstest.Sign(GinkgoTB(), key, header, map[string]bool{"onlyReturnExisting": true})
	for range 2 {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		Expect(err).NotTo(HaveOccurred())
		request.Header.Set("Content-Type", "application/jose+json")
		response, err := c.HTTPClient.Do(request)
		Expect(err).NotTo(HaveOccurred())
		response.Body.Close()
	}
}
