package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/acmeclient"
)

// Scale is the effect of many stored orders.
type Scale struct {
	Orders int `json:"orders"`
	// StoredBytes is the size of one order in etcd.
	StoredBytes int `json:"storedBytesPerOrder"`
	// StartSeconds is the time from the start of the controllers and the ACME server until both and the issuer are
	// ready.
	StartSeconds float64 `json:"startToReadySeconds"`
	// These are the bytes on the heap for each stored order.
	ControllerBytes float64 `json:"controllerBytesPerOrder"`
	ServerBytes     float64 `json:"serverBytesPerOrder"`
	// Revoked is the number of revoked certificates in a shard before one more is revoked. RevocationSeconds is the
	// time until the CRL lists it over HTTP.
	Revoked           int     `json:"revokedInShard"`
	RevocationSeconds float64 `json:"revocationToCRLSeconds"`
}

// measureScale measures an acmeca with many orders stored, beside an acmeca with none.
func (b *bench) measureScale(ctx context.Context) error {
	full, empty := newBench(b.options, b.out), newBench(b.options, b.out)
	stopFull, err := full.start(ctx)
	if err != nil {
		return err
	}
	defer stopFull()
	if _, err := full.begin(ctx, one); err != nil { // stores an order as a template for the others
		return err
	}
	if b.report.Scale, err = full.plane.scale(ctx, full.target, b.options.orders, b.options.revoked, b.out); err != nil {
		return err
	}
	stopEmpty, err := empty.start(ctx)
	if err != nil {
		return err
	}
	defer stopEmpty()
	return b.besideAnEmptyStore(ctx, full, empty)
}

// scale stops a fresh operator, stores orders, starts the operator again, and measures.
func (p *plane) scale(ctx context.Context, t target, orders, revoked int, out io.Writer) (*Scale, error) {
	like, err := p.issued(ctx)
	if err != nil {
		return nil, err
	}
	heap := func() (controllers, server float64, err error) {
		controllers, err1 := heapOf(ctx, p.controllers)
		server, err2 := heapOf(ctx, p.server)
		return controllers, server, errors.Join(err1, err2)
	}
	controllersBefore, serverBefore, err := heap()
	if err != nil {
		return nil, err
	}
	p.stopReplicas()
	p.local.StopOperator()
	fmt.Fprintf(out, "storing %d orders\n", orders)
	if err := p.seed(ctx, like, orders, revoked, like.Status.CRL); err != nil {
		return nil, err
	}
	stored, err := json.Marshal(like)
	if err != nil {
		return nil, err
	}
	s := &Scale{Orders: orders, Revoked: revoked, StoredBytes: len(stored)}
	start := time.Now()
	if err := p.start(ctx); err != nil {
		return nil, err
	}
	s.StartSeconds = time.Since(start).Seconds()
	t.addresses = p.addresses()
	took, err := p.revocation(ctx, t, like.Status.CRL)
	if err != nil {
		return nil, err
	}
	s.RevocationSeconds = took.Seconds()
	// The memory that only the start needed is freed by now.
	controllers, server, err := heap()
	s.ControllerBytes, s.ServerBytes = (controllers-controllersBefore)/float64(orders), (server-serverBefore)/float64(orders)
	return s, err
}

// start starts both halves at once, as a cluster does.
func (p *plane) start(ctx context.Context) error {
	var both errgroup.Group
	both.Go(func() error { return p.local.StartOperator(ctx) })
	both.Go(func() error { return p.startReplicas(ctx, 1) })
	return both.Wait()
}

// mostTries bounds the certificates that are issued to find one in a shard.
const mostTries = 64

// revocation revokes a certificate of a shard and waits until its CRL lists it over HTTP.
func (p *plane) revocation(ctx context.Context, t target, shard string) (time.Duration, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return 0, err
	}
	c, err := t.register(ctx, 0)
	if err != nil {
		return 0, err
	}
	for range mostTries {
		der, err := c.Issue(ctx, key, freshNames(1)...)
		if err != nil {
			return 0, err
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return 0, err
		}
		var found v1alpha1.AcmeOrderList
		if err := p.objects.List(ctx, &found, client.MatchingFields{"status.serial": v1alpha1.SerialText(certificate.SerialNumber)}); err != nil {
			return 0, err
		}
		if len(found.Items) == 1 && found.Items[0].Status.CRL == shard && len(certificate.CRLDistributionPoints) > 0 {
			return p.revoke(ctx, c, certificate)
		}
	}
	return 0, fmt.Errorf("none of %d certificates belongs to shard %s", mostTries, shard)
}

func (p *plane) revoke(ctx context.Context, c *acmeclient.Client, certificate *x509.Certificate) (time.Duration, error) {
	start := time.Now()
	if err := c.Revoke(ctx, certificate.Raw); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		listed, err := p.lists(ctx, certificate)
		if err != nil {
			return 0, err
		}
		if listed {
			return time.Since(start), nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return 0, errors.New("the CRL does not list a revoked certificate")
		}
	}
}

// lists reports whether the CRL of a certificate lists the certificate.
func (p *plane) lists(ctx context.Context, certificate *x509.Certificate) (bool, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, certificate.CRLDistributionPoints[0], nil)
	if err != nil {
		return false, err
	}
	request.URL.Host = p.replicas[0].PlainAddress
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	der, err := io.ReadAll(response.Body)
	if err != nil {
		return false, err
	}
	if response.StatusCode != http.StatusOK {
		return false, fmt.Errorf("%s: %s", certificate.CRLDistributionPoints[0], response.Status)
	}
	crl, err := x509.ParseRevocationList(der)
	if err != nil {
		return false, err
	}
	for _, entry := range crl.RevokedCertificateEntries {
		if entry.SerialNumber.Cmp(certificate.SerialNumber) == 0 {
			return true, nil
		}
	}
	return false, nil
}
