// Package revocation measures revocations beside many revoked certificates.
package revocation

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/hack/bench/acmeca"
	"github.com/acmeca/acmeca/hack/bench/load"
	"github.com/acmeca/acmeca/hack/bench/report"
	"github.com/acmeca/acmeca/internal/crlstore"
	"github.com/acmeca/acmeca/internal/test/acmeclient"
	"github.com/acmeca/acmeca/internal/test/container"
	"github.com/acmeca/acmeca/internal/test/local"
)

const (
	// storedOrders is the largest number of revoked certificates whose orders are stored. Orders take memory beside the CRL.
	storedOrders = 100_000
	// readers is the number of clients that download CRLs at a time.
	readers = 12
	// issuer is the issuer in the operator's namespace.
	issuer = "default"
)

// Measure stores a number of revoked certificates at an acmeca, and revokes one more.
func Measure(ctx context.Context, on *acmeca.Plane, target load.Target, count int) (*report.Revocation, error) {
	s := &site{on, target}
	p := s.plane
	first, _, err := s.issue(ctx)
	if err != nil {
		return nil, err
	}
	like, err := p.Issued(ctx)
	if err != nil {
		return nil, err
	}
	p.Stop()
	crl, _, _ := unstructured.NestedString(like.Object, "status", "crl")
	if count <= storedOrders {
		err = p.Seed(ctx, like, 0, count, count, crl)
	} else {
		err = plant(ctx, p, crl, count)
	}
	if err != nil {
		return nil, err
	}
	if err := p.StartHalves(ctx); err != nil {
		return nil, err
	}
	reader := newCRLReader(p, first)
	size, err := reader.await(ctx, func(crl []byte) bool { return len(crl) > 35*count })
	if err != nil {
		return nil, err
	}
	wait := time.NewTimer(time.Second + time.Duration(size-1<<20)*time.Second/200_000) // the least time between two CRLs
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return s.revokeOne(ctx, reader, &report.Revocation{Revoked: count, StoredOrders: count <= storedOrders})
}

// revokeOne revokes one more certificate, and measures the time until the CRL lists it, and the memory since the start.
func (s *site) revokeOne(ctx context.Context, reader *crlReader, row *report.Revocation) (*report.Revocation, error) {
	certificate, client, err := s.issue(ctx)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	if err := client.Revoke(ctx, certificate.Raw); err != nil {
		return nil, err
	}
	serial, err := asn1.Marshal(certificate.SerialNumber)
	if err != nil {
		return nil, err
	}
	if row.CRLBytes, err = reader.await(ctx, func(crl []byte) bool { return bytes.Contains(crl, serial) }); err != nil {
		return nil, err
	}
	row.Seconds = time.Since(begun).Seconds()
	if err := download(ctx, s.plane, certificate); err != nil {
		return nil, err
	}
	return row, peaks(s.plane, row)
}

// site is the measured acmeca.
type site struct {
	plane  *acmeca.Plane
	target load.Target
}

// issue registers a client and issues a certificate.
func (s *site) issue(ctx context.Context) (*x509.Certificate, *acmeclient.Client, error) {
	s.target.Service = load.NewService(s.plane.Addresses()...)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	client, err := s.target.Register(ctx, 0)
	if err != nil {
		return nil, nil, err
	}
	der, err := client.Issue(ctx, key, load.FreshNames(1, ".bench.test")...)
	if err != nil {
		return nil, nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return certificate, client, err
}

// peaks reads the most resident memory of both halves.
func peaks(p *acmeca.Plane, row *report.Revocation) error {
	controllers, err1 := container.UsageOf(p.Local.OperatorPID())
	server, err2 := container.UsageOf(p.Replicas[0].PID())
	row.ControllersPeak, row.ServerPeak = controllers.Peak, server.Peak
	return errors.Join(err1, err2)
}

// plant publishes a CRL with many entries, as it is after the orders were deleted.
func plant(ctx context.Context, p *acmeca.Plane, crl string, count int) error {
	secret, err := p.Client.CoreV1().Secrets(local.Namespace).Get(ctx, issuer+"-intermediate", metav1.GetOptions{})
	if err != nil {
		return err
	}
	now := time.Now()
	authority, err := ca.LoadAuthority(ca.Material{Chain: secret.Data[corev1.TLSCertKey], Key: secret.Data[corev1.TLSPrivateKeyKey],
		Roots: secret.Data["ca.crt"], SerialKey: make([]byte, ca.MinSerialKey)}, now)
	if err != nil {
		return err
	}
	list := ca.CRL{Number: big.NewInt(now.Unix()), ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(7 * 24 * time.Hour)}
	first := new(big.Int).Lsh(big.NewInt(0x5a), 120)
	for i := 0; i < count; i += 50_000 {
		var some []ca.Entry
		for n := i; n < min(i+50_000, count); n++ {
			some = append(some, ca.Entry{Serial: new(big.Int).Add(first, big.NewInt(int64(n))), RevokedAt: now.Add(-2 * time.Hour),
				Reason: ca.Superseded, NotAfter: now.Add(90 * 24 * time.Hour)})
		}
		entries, err := ca.NewEntries(some...)
		if err != nil {
			return err
		}
		list.Entries = list.Entries.Merge(entries)
	}
	der, err := authority.SignNextCRL(list, list.Entries) // without a lint of each entry
	if err != nil {
		return err
	}
	configMaps := stored{p, local.Namespace}
	name := v1alpha1.CRLConfigMap(issuer, v1alpha1.CompleteCRL(crl))
	head, err := p.Client.CoreV1().ConfigMaps(local.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	return crlstore.Write(ctx, configMaps, head, list.Number.String(), crlstore.Content{DER: der, Expiries: ca.MarshalExpiries(list.Entries)})
}

// stored writes the ConfigMaps of a namespace.
type stored struct {
	plane     *acmeca.Plane
	namespace string
}

// Create implements crlstore.Client.
func (s stored) Create(ctx context.Context, part *corev1.ConfigMap) error {
	_, err := s.plane.Client.CoreV1().ConfigMaps(s.namespace).Create(ctx, part, metav1.CreateOptions{})
	return err
}

// Put implements crlstore.Client.
func (s stored) Put(ctx context.Context, head *corev1.ConfigMap) error {
	written, err := s.plane.Client.CoreV1().ConfigMaps(s.namespace).Update(ctx, head, metav1.UpdateOptions{})
	if err == nil {
		written.DeepCopyInto(head)
	}
	return err
}

// Delete implements crlstore.Client.
func (s stored) Delete(ctx context.Context, name string) error {
	return s.plane.Client.CoreV1().ConfigMaps(s.namespace).Delete(ctx, name, metav1.DeleteOptions{})
}

// crlReader reads the CRL that a certificate names, as a relying party does: again only if it has changed.
type crlReader struct {
	url, host, tag string
}

func newCRLReader(p *acmeca.Plane, certificate *x509.Certificate) *crlReader {
	return &crlReader{url: certificate.CRLDistributionPoints[0], host: p.Replicas[0].PlainAddress}
}

// await reads the CRL until a condition holds, and returns its size.
func (r *crlReader) await(ctx context.Context, condition func(crl []byte) bool) (size int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	for {
		crl, err := r.get(ctx)
		if err != nil {
			return 0, err
		}
		if crl != nil && condition(crl) {
			return len(crl), nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return 0, errors.New("the CRL does not list the revoked certificates")
		}
	}
}

// get returns the CRL; nil if it has not changed.
func (r *crlReader) get(ctx context.Context) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return nil, err
	}
	request.URL.Host = r.host
	request.Header.Set("Accept-Encoding", "identity")
	request.Header.Set("If-None-Match", r.tag)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode == http.StatusNotModified {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", r.url, response.Status)
	}
	r.tag = response.Header.Get("ETag")
	return body, nil
}

// download lets several clients download the CRL, the CRL in gzip, and the PEM of all CRLs at the same time.
func download(ctx context.Context, p *acmeca.Plane, certificate *x509.Certificate) error {
	url := certificate.CRLDistributionPoints[0]
	file := url[:strings.LastIndexByte(url, '/')+1] + "all.pem"
	var clients errgroup.Group
	for i := range readers {
		clients.Go(func() error {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, []string{url, url, file}[i%3], nil)
			if err != nil {
				return err
			}
			request.URL.Host = p.Replicas[0].PlainAddress
			request.Header.Set("Accept-Encoding", []string{"identity", "gzip", "identity"}[i%3])
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				return err
			}
			defer response.Body.Close()
			_, err = io.Copy(io.Discard, response.Body)
			return err
		})
	}
	return clients.Wait()
}
