package replicas

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/acmeclient"
	"github.com/acmeca/acmeca/internal/test/controlplane"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/suite"
)

// badNonces counts the badNonce errors among refusals, and returns the other refusals.
func badNonces(refusals map[string]int) (bad int, rest []string) {
	for refusal, n := range refusals {
		if strings.Contains(refusal, ":badNonce:") {
			bad += n
		} else {
			rest = append(rest, fmt.Sprintf("%d x %s", n, refusal))
		}
	}
	return bad, rest
}

// inParallel runs work in goroutines and returns their errors.
func inParallel(workers int, work func() error) []error {
	errs := make([]error, workers)
	var done sync.WaitGroup
	for i := range workers {
		done.Go(func() { errs[i] = work() })
	}
	done.Wait()
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// live performs all operations of a client, each at another replica. Every operation must succeed.
func live(ctx context.Context) error {
	c, err := acmeclient.New(ctx, httpClient(), acmeca.DirectoryURL(), responder, 5*time.Millisecond)
	if err != nil {
		return fmt.Errorf("registering: %w", err)
	}
	for range 4 {
		names := []string{newName(), newName()}
		der, err := c.Issue(ctx, leafKey, names...)
		if err != nil {
			return fmt.Errorf("issuing: %w", err)
		}
		if err := c.ChangeKey(ctx); err != nil {
			return fmt.Errorf("changing the key: %w", err)
		}
		if err := c.Revoke(ctx, der); err != nil {
			return fmt.Errorf("revoking: %w", err)
		}
		if err := c.Update(ctx, map[string]any{"contact": []string{"mailto:admin@" + names[0]}}); err != nil {
			return fmt.Errorf("updating: %w", err)
		}
	}
	if err := c.Deactivate(ctx); err != nil {
		return fmt.Errorf("deactivating: %w", err)
	}
	if _, _, err := c.Post(ctx, c.URL(), nil); err == nil {
		return fmt.Errorf("the account %s is served though it is deactivated", c.URL())
	}
	return nil
}

// orderLists returns the number of lists of orders that the API server has answered.
func orderLists(ctx context.Context) float64 {
	GinkgoHelper()
	requests, err := acmeca.Plane().Requests(ctx)
	Expect(err).NotTo(HaveOccurred())
	return requests.Count(func(r controlplane.Request) bool { return r.Resource == "acmeorders" && r.Verb == "LIST" })
}

var _ = Describe("Three replicas of the ACME server", func() {
	It("act as one server to clients", func(ctx SpecContext) {
		service.forget()
		const clients = 8
		Expect(inParallel(clients, func() error { return live(ctx) })).To(BeEmpty())
		answers, refusals := service.counted()
		AddReportEntry("answers", answers)
		ended := 0
		for refusal, n := range refusals {
			if strings.HasPrefix(refusal, "401 urn:ietf:params:acme:error:unauthorized: the account is deactivated") {
				ended += n // the last request of each client
				delete(refusals, refusal)
			}
		}
		Expect(refusals).To(BeEmpty())
		Expect(ended).To(Equal(clients))
	}, SpecTimeout(patience))

	It("share the counts of an issuer's rate limits", func(ctx SpecContext) {
		const count, tries = 5, 24
		patchIssuer(ctx, fmt.Sprintf(`{"spec":{"rateLimits":{"newOrders":{"count":%d,"period":"1h"},"newAccounts":{"count":%d,"period":"1h"}}}}`, count, count))
		DeferCleanup(func(ctx SpecContext) {
			patchIssuer(ctx, `{"spec":{"rateLimits":null}}`)
			Eventually(ctx, func() error { // at each replica
				return errors.Join(inParallel(2*len(service.serving()), func() error {
					_, err := acmeclient.New(ctx, httpClient(), acmeca.DirectoryURL(), responder, 5*time.Millisecond)
					return err
				})...)
			}, time.Minute).Should(Succeed())
		})
		var clients []*acmeclient.Client
		register := func() error {
			c, err := acmeclient.New(ctx, httpClient(), acmeca.DirectoryURL(), responder, 5*time.Millisecond)
			if err == nil {
				clients = append(clients, c)
			}
			return err
		}
		order := func() error {
			_, err := clients[len(clients)-1].NewOrder(ctx, newName())
			return err
		}
		Eventually(ctx, register, time.Minute).Should(MatchError(ContainSubstring("rateLimited")), "until all replicas know the limit")
		clients = clients[:1]
		// The other replicas see a new object a moment later, so each may accept one more.
		most := count + len(service.serving()) - 1
		var made int
		for range tries {
			if err := order(); err == nil {
				made++
			} else {
				Expect(acmeclient.Is(err, "rateLimited")).To(BeTrue(), "%v", err)
			}
		}
		Expect(made).To(And(BeNumerically(">=", count), BeNumerically("<=", most)))
		for what, send := range map[string]func() error{"accounts": register, "orders": order} {
			for range 2 * len(service.serving()) {
				Expect(send()).To(MatchError(ContainSubstring("rateLimited")), what)
			}
		}
	}, SpecTimeout(patience))

	It("accept a nonce once in total", func(ctx SpecContext) {
		c, err := acmeclient.New(ctx, httpClient(), acmeca.DirectoryURL(), responder, 5*time.Millisecond)
		Expect(err).NotTo(HaveOccurred())
		for range 3 {
			Expect(c.Post(ctx, c.URL(), nil)).Error().NotTo(HaveOccurred())
		}
		for _, post := range service.latest(3) {
			for _, r := range service.serving() {
				status, problem, err := service.replay(ctx, r, post)
				Expect(err).NotTo(HaveOccurred())
				Expect(status).To(Equal(400))
				Expect(problem).To(HaveSuffix(":badNonce"))
			}
		}
	}, SpecTimeout(patience))

	It("are restarted one after the other without a failed issuance", func(ctx SpecContext) {
		service.forget()
		loading, stop := context.WithCancel(ctx)
		defer stop()
		var issued atomic.Int64
		failed := make(chan []error)
		go func() {
			defer GinkgoRecover()
			failed <- inParallel(6, func() error {
				c := acmeclient.NewPersistent(httpClient(), responder, 5*time.Millisecond)
				if err := c.Register(ctx, acmeca.DirectoryURL()); err != nil {
					return err
				}
				for loading.Err() == nil {
					if _, err := c.Issue(ctx, leafKey, newName()); err != nil {
						return err
					}
					issued.Add(1)
				}
				return nil
			})
		}()
		more := func() {
			before := issued.Load()
			Eventually(ctx, issued.Load, time.Minute).Should(BeNumerically(">", before+10))
		}
		more()
		for _, r := range service.serving() {
			startReplica(ctx) // as a Deployment with maxUnavailable 0 does
			r.Stop()
			more()
		}
		stop()
		Expect(<-failed).To(BeEmpty())
		answers, refusals := service.counted()
		bad, rest := badNonces(refusals)
		AddReportEntry("counts", fmt.Sprintf("%d certificates, %d answers, %d badNonce", issued.Load(), answers, bad))
		Expect(rest).To(BeEmpty())
	}, SpecTimeout(patience))

	It("keep serving when one of them is lost, for clients that retry badNonce", func(ctx SpecContext) {
		c := acmeclient.NewPersistent(httpClient(), responder, 5*time.Millisecond)
		Expect(c.Register(ctx, acmeca.DirectoryURL())).To(Succeed())
		_, err := c.Issue(ctx, leafKey, newName())
		Expect(err).NotTo(HaveOccurred())
		service.serving()[0].Kill()
		for range 5 {
			_, err := c.Issue(ctx, leafKey, newName())
			Expect(err).NotTo(HaveOccurred())
		}
		startReplica(ctx)
	}, SpecTimeout(patience))

	It("all show that an issuer is suspended, and that it is resumed", func(ctx SpecContext) {
		service.forget()
		c, err := acmeclient.New(ctx, httpClient(), acmeca.DirectoryURL(), responder, 5*time.Millisecond)
		Expect(err).NotTo(HaveOccurred())
		names := []string{newName()}
		certificate, err := c.Issue(ctx, leafKey, names...)
		Expect(err).NotTo(HaveOccurred())
		running, err := c.NewOrder(ctx, names...)
		Expect(err).NotTo(HaveOccurred())

		suspend(ctx, true)
		refused := func() bool {
			_, err := c.NewOrder(ctx, newName())
			return acmeclient.Is(err, "serverInternal") && strings.Contains(err.Error(), "503") && strings.Contains(err.Error(), "suspended")
		}
		// Each replica is asked in turn until all know the change, and then twice more.
		everywhere := func(want bool) func() bool {
			return func() bool {
				for range service.serving() {
					if refused() != want {
						return false
					}
				}
				return true
			}
		}
		Eventually(ctx, everywhere(true), time.Minute).Should(BeTrue())
		for range 2 * len(service.serving()) {
			Expect(refused()).To(BeTrue())
		}
		Expect(c.Prove(ctx, running)).To(MatchError(ContainSubstring("503")))
		Expect(c.Revoke(ctx, certificate)).To(Succeed(), "revocation still works")

		suspend(ctx, false)
		Eventually(ctx, everywhere(false), time.Minute).Should(BeTrue())
		Expect(c.Prove(ctx, running)).To(Succeed(), "a running order waits")
		Expect(c.Finalize(ctx, running, leafKey, names...)).To(Succeed())
	}, SpecTimeout(patience))

	It("know which certificates were replaced before their start, and then list no orders for renewals", func(ctx SpecContext) {
		c, name := acmeclient.NewPersistent(httpClient(), responder, 5*time.Millisecond), newName()
		Expect(c.Register(ctx, acmeca.DirectoryURL())).To(Succeed())
		first, err := c.Issue(ctx, leafKey, name)
		Expect(err).NotTo(HaveOccurred())
		last, err := c.Renew(ctx, leafKey, first, name)
		Expect(err).NotTo(HaveOccurred())
		for _, r := range service.serving() {
			startReplica(ctx)
			r.Stop()
		}
		renew := func() {
			last, err = c.Renew(ctx, leafKey, last, name)
			Expect(err).NotTo(HaveOccurred())
			_, err := c.Renew(ctx, leafKey, first, name)
			Expect(acmeclient.Is(err, "alreadyReplaced")).To(BeTrue(), "%v", err)
		}
		Eventually(ctx, func() float64 {
			before := orderLists(ctx)
			for range 2 * len(service.serving()) {
				renew()
			}
			return orderLists(ctx) - before
		}, time.Minute).Should(BeZero(), "lists of orders for renewals at all replicas")
	}, SpecTimeout(patience))

	It("serve a new TLS certificate, each without a restart", func(ctx SpecContext) {
		const name = "acme.corp.test"
		connect := func(r *local.Replica) func() error {
			return func() error {
				connection, err := tls.Dial("tcp", r.Address, &tls.Config{RootCAs: suite.Roots(acmeca), ServerName: name, MinVersion: tls.VersionTLS12})
				if err != nil {
					return err
				}
				return connection.Close()
			}
		}
		serving := service.serving()
		Expect(len(serving)).To(BeNumerically(">=", 3))
		for _, r := range serving {
			Expect(connect(r)()).To(MatchError(ContainSubstring("certificate")))
		}
		patchIssuer(ctx, fmt.Sprintf(`{"spec":{"externalURLs":[%q,"https://%s"]}}`, acmeca.BaseURL(), name))
		for _, r := range serving {
			Eventually(ctx, connect(r), time.Minute).Should(Succeed())
		}
	}, SpecTimeout(patience))
})

func suspend(ctx context.Context, suspended bool) {
	GinkgoHelper()
	patchIssuer(ctx, fmt.Sprintf(`{"spec":{"suspend":%t}}`, suspended))
}

func patchIssuer(ctx context.Context, patch string) {
	GinkgoHelper()
	issuer := &v1alpha1.AcmeIssuer{}
	issuer.Namespace, issuer.Name = local.Namespace, "default"
	Expect(cluster.Patch(ctx, issuer, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
}
