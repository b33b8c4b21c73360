package main

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
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/internal/crlstore"
	"github.com/acmeca/acmeca/internal/test/acmeclient"
	"github.com/acmeca/acmeca/internal/test/container"
	"github.com/acmeca/acmeca/internal/test/local"
)

// Revocation is the effect of many revoked certificates on one more revocation.
type Revocation struct {
	Revoked int `json:"revoked"`
	// StoredOrders reports whether the revoked orders are stored. Otherwise only the CRL has the revocations.
	StoredOrders bool `json:"storedOrders"`
	CRLBytes     int  `json:"crlBytes"`
	// Seconds is the time from the revocation until the CRL lists it over HTTP, after the least time between two CRLs.
	Seconds float64 `json:"revocationToCRLSeconds"`
	// These are the most resident bytes since the start, also while clients download the CRL in all forms at once.
	ControllersPeak int64 `json:"controllersPeakBytes"`
	ServerPeak      int64 `json:"serverPeakBytes"`
}

const (
	// storedOrders is the largest number of revoked certificates whose orders are stored. Orders take memory beside the CRL.
	storedOrders = 100_000
	// readers is the number of clients that download CRLs at a time.
	readers = 12
)

// revocations is the flag with the numbers of revoked certificates.
type revocations []int

// String implements flag.Value.
func (r *revocations) String() string { return strings.Trim(fmt.Sprint([]int(*r)), "[]") }

// Set implements flag.Value.
func (r *revocations) Set(text string) error {
	*r = nil
	for field := range strings.SplitSeq(text, ",") {
		count, err := strconv.Atoi(field)
		if err != nil {
			return err
		}
		*r = append(*r, count)
	}
	return nil
}

// measureRevocations measures an acmeca of its own for each number of revoked certificates.
func (b *bench) measureRevocations(ctx context.Context) error {
	b.report.Revocations = nil
	for _, count := range b.options.revocations {
		row, err := b.measureRevocation(ctx, count)
		if err != nil {
			return fmt.Errorf("%d revoked: %w", count, err)
		}
		fmt.Fprintf(b.out, "%d revoked, CRL of %d bytes: %.2f s; controllers %d MB, ACME server %d MB at most\n",
			row.Revoked, row.CRLBytes, row.Seconds, row.ControllersPeak/1e6, row.ServerPeak/1e6)
		b.report.Revocations = append(b.report.Revocations, *row)
	}
	return nil
}

func (b *bench) measureRevocation(ctx context.Context, count int) (*Revocation, error) {
	one := newBench(b.options, b.out)
	one.launch = local.StartForTestContained
	stop, err := one.start(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	p := one.plane
	one.target.addresses = p.addresses()
	first, _, err := one.issue(ctx)
	if err != nil {
		return nil, err
	}
	like, err := p.issued(ctx)
	if err != nil {
		return nil, err
	}
	p.stopReplicas()
	p.local.StopOperator()
	if count <= storedOrders {
		err = p.seed(ctx, like, count, count, like.Status.CRL)
	} else {
		err = p.plant(ctx, like, count)
	}
	if err != nil {
		return nil, err
	}
	if err := p.start(ctx); err != nil {
		return nil, err
	}
	one.target.addresses = p.addresses()
	reader := p.crlReader(first)
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
	return one.revokeOne(ctx, reader, &Revocation{Revoked: count, StoredOrders: count <= storedOrders})
}

// revokeOne revokes one more certificate, and measures the time until the CRL lists it, and the memory since the start.
func (b *bench) revokeOne(ctx context.Context, reader *crlReader, row *Revocation) (*Revocation, error) {
	certificate, client, err := b.issue(ctx)
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
	if err := b.plane.download(ctx, certificate); err != nil {
		return nil, err
	}
	return row, b.plane.peaks(row)
}

// issue issues a certificate.
func (b *bench) issue(ctx context.Context) (*x509.Certificate, *acmeclient.Client, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	client, err := b.target.register(ctx, 0)
	if err != nil {
		return nil, nil, err
	}
	der, err := client.Issue(ctx, key, freshNames(1)...)
	if err != nil {
		return nil, nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return certificate, client, err
}

// peaks reads the most resident memory of both halves.
func (p *plane) peaks(row *Revocation) error {
	controllers, err1 := container.UsageOf(p.local.OperatorPID())
	server, err2 := container.UsageOf(p.replicas[0].PID())
	row.ControllersPeak, row.ServerPeak = controllers.Peak, server.Peak
	return errors.Join(err1, err2)
}

// plant publishes a CRL with many entries, as it is after the orders were deleted.
func (p *plane) plant(ctx context.Context, like *v1alpha1.AcmeOrder, count int) error {
	secret, err := p.client.CoreV1().Secrets(like.Namespace).Get(ctx, like.Spec.IssuerRef.Name+"-intermediate", metav1.GetOptions{})
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
	configMaps := stored{p, like.Namespace}
	name := v1alpha1.CRLConfigMap(like.Spec.IssuerRef.Name, v1alpha1.CompleteCRL(like.Status.CRL))
	head, err := p.client.CoreV1().ConfigMaps(like.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	return crlstore.Write(ctx, configMaps, head, list.Number.String(), crlstore.Content{DER: der, Expiries: ca.MarshalExpiries(list.Entries)})
}

// stored writes the ConfigMaps of a namespace.
type stored struct {
	plane     *plane
	namespace string
}

// Create implements crlstore.Client.
func (s stored) Create(ctx context.Context, part *corev1.ConfigMap) error {
	_, err := s.plane.client.CoreV1().ConfigMaps(s.namespace).Create(ctx, part, metav1.CreateOptions{})
	return err
}

// Put implements crlstore.Client.
func (s stored) Put(ctx context.Context, head *corev1.ConfigMap) error {
	written, err := s.plane.client.CoreV1().ConfigMaps(s.namespace).Update(ctx, head, metav1.UpdateOptions{})
	if err == nil {
		written.DeepCopyInto(head)
	}
	return err
}

// Delete implements crlstore.Client.
func (s stored) Delete(ctx context.Context, name string) error {
	return s.plane.client.CoreV1().ConfigMaps(s.namespace).Delete(ctx, name, metav1.DeleteOptions{})
}

// crlReader reads the CRL that a certificate names, as a relying party does: again only if it has changed.
type crlReader struct {
	url, host, tag string
}

func (p *plane) crlReader(certificate *x509.Certificate) *crlReader {
	return &crlReader{url: certificate.CRLDistributionPoints[0], host: p.replicas[0].PlainAddress}
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
func (p *plane) download(ctx context.Context, certificate *x509.Certificate) error {
	url := certificate.CRLDistributionPoints[0]
	file := url[:strings.LastIndexByte(url, '/')+1] + "all.pem"
	var clients errgroup.Group
	for i := range readers {
		clients.Go(func() error {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, []string{url, url, file}[i%3], nil)
			if err != nil {
				return err
			}
			request.URL.Host = p.replicas[0].PlainAddress
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

func (r Report) revocationRows() [][]string {
	rows := [][]string{{"revoked", "orders", "CRL", "revocation to CRL over HTTP", "controllers at most", "ACME server at most"}}
	for _, row := range r.Revocations {
		orders := "stored"
		if !row.StoredOrders {
			orders = "deleted"
		}
		size := fmt.Sprintf("%.1f MB", float64(row.CRLBytes)/1e6)
		rows = append(rows, []string{fmt.Sprint(row.Revoked), orders, size, fmt.Sprintf("%.2f s", row.Seconds),
			fmt.Sprintf("%d MiB", row.ControllersPeak>>20), fmt.Sprintf("%d MiB", row.ServerPeak>>20)})
	}
	return rows
}
