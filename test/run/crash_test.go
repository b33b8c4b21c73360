package run

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	xacme "golang.org/x/crypto/acme"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/http01"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/suite"
)

const (
	orders      = 50
	clients     = 5
	beforeCrash = 10 // certificates, so that the crash affects orders in every state
)

var _ = Describe("a crash of the operator in the middle of many orders", func() {
	It("loses none", func(ctx SpecContext) {
		acmeca := suite.Start(ctx)
		responder := suite.Respond(acmeca.Ports().HTTP01)

		var registered []*patientClient
		for range clients {
			registered = append(registered, register(ctx, acmeca, responder))
		}
		var done atomic.Int32
		enough := make(chan struct{})
		results := make([]*x509.Certificate, orders)
		var all sync.WaitGroup
		for i := range orders {
			all.Go(func() {
				defer GinkgoRecover()
				results[i] = registered[i%clients].obtain(ctx, fmt.Sprintf("crash-%d.test", i))
				if done.Add(1) == beforeCrash {
					close(enough)
				}
			})
		}
		Eventually(ctx, enough).Should(BeClosed())
		acmeca.KillOperator()
		states := statesOf(ctx, acmeca)
		AddReportEntry("orders when it crashed", fmt.Sprint(states))
		Expect(states[acme.StateValid]).To(BeNumerically(">=", beforeCrash))
		Expect(states[acme.StateValid]).To(BeNumerically("<", orders), "the crash was too late to test anything")

		Expect(acmeca.StartOperator(ctx)).To(Succeed())
		all.Wait()
		states = statesOf(ctx, acmeca)
		Expect(states[acme.StateValid]).To(Equal(orders))
		Expect(states).NotTo(HaveKey(acme.StateProcessing))
		Expect(states).NotTo(HaveKey(acme.StateInvalid))
		serials := map[string]bool{}
		for _, certificate := range results {
			Expect(certificate).NotTo(BeNil())
			serials[certificate.SerialNumber.String()] = true
		}
		Expect(serials).To(HaveLen(orders))
	}, SpecTimeout(4*time.Minute))
})

// statesOf counts the orders by state.
func statesOf(ctx context.Context, acmeca *local.Local) map[acme.State]int {
	GinkgoHelper()
	var list v1alpha1.AcmeOrderList
	Expect(acmeca.Client().List(ctx, &list)).To(Succeed())
	states := map[acme.State]int{}
	for _, order := range list.Items {
		states[order.Status.State]++
	}
	return states
}

// A patientClient retries while its server is unreachable, as a client that runs from a timer does.
type patientClient struct {
	acme      *xacme.Client
	responder *http01.Responder
}

func register(ctx context.Context, acmeca *local.Local, responder *http01.Responder) *patientClient {
	GinkgoHelper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Expect(err).NotTo(HaveOccurred())
	c := &xacme.Client{
		Key: key, DirectoryURL: acmeca.DirectoryURL(),
		HTTPClient: &http.Client{
			Timeout:   30 * time.Second,
			Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: suite.Roots(acmeca)}},
		},
	}
	_, err = c.Register(ctx, &xacme.Account{}, xacme.AcceptTOS)
	Expect(err).NotTo(HaveOccurred())
	return &patientClient{c, responder}
}

func (c *patientClient) obtain(ctx context.Context, name string) *x509.Certificate {
	GinkgoHelper()
	order := again(ctx, func() (*xacme.Order, error) { return c.acme.AuthorizeOrder(ctx, xacme.DomainIDs(name)) })
	for _, url := range order.AuthzURLs {
		c.authorize(ctx, url)
	}
	again(ctx, func() (*xacme.Order, error) { return c.acme.WaitOrder(ctx, order.URI) })
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Expect(err).NotTo(HaveOccurred())
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, key)
	Expect(err).NotTo(HaveOccurred())
	chain := again(ctx, func() ([][]byte, error) {
		chain, _, err := c.acme.CreateOrderCert(ctx, order.FinalizeURL, csr, true)
		return chain, err
	})
	certificate, err := x509.ParseCertificate(chain[0])
	Expect(err).NotTo(HaveOccurred())
	Expect(certificate.DNSNames).To(ConsistOf(name))
	return certificate
}

func (c *patientClient) authorize(ctx context.Context, url string) {
	GinkgoHelper()
	authorization := again(ctx, func() (*xacme.Authorization, error) { return c.acme.GetAuthorization(ctx, url) })
	for _, challenge := range authorization.Challenges {
		if challenge.Type != "http-01" {
			continue
		}
		response, err := c.acme.HTTP01ChallengeResponse(challenge.Token)
		Expect(err).NotTo(HaveOccurred())
		c.responder.Put(challenge.Token, response)
		again(ctx, func() (*xacme.Challenge, error) { return c.acme.Accept(ctx, challenge) })
	}
	again(ctx, func() (*xacme.Authorization, error) { return c.acme.WaitAuthorization(ctx, url) })
}

// again retries a step while the server is unreachable. A refusal is a failure.
func again[T any](ctx context.Context, step func() (T, error)) T {
	GinkgoHelper()
	for {
		result, err := step()
		if err == nil {
			return result
		}
		var unreachable *url.Error
		Expect(errors.As(err, &unreachable)).To(BeTrue(), "the server refused: %v", err)
		Expect(ctx.Err()).NotTo(HaveOccurred(), "%v", err)
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}
