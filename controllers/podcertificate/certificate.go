package podcertificate

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/internal/pki"
	"github.com/acmeca/acmeca/internal/policy/pods"
)

// The API server refuses a certificate whose notBefore is 5 minutes from its clock. Validity starts backdate before the record's
// creation, for clocks that are behind. A record is used for signing for signWithin, and its certificate delivered for deliverWithin.
const (
	backdate      = time.Minute
	signWithin    = 3 * time.Minute
	deliverWithin = signWithin + 30*time.Second
	// refreshMargin is how far the API server requires beginRefreshAt to be inside the validity.
	refreshMargin = 10 * time.Minute
	// maxChain is the longest certificate chain in PEM that the API server accepts.
	maxChain = 100 << 10
)

// newRecord returns the order that records the certificate of a request. Its name follows from the request.
func newRecord(request *certificatesv1.PodCertificateRequest, issuer types.NamespacedName, rule string) *v1alpha1.AcmeOrder {
	order := &v1alpha1.AcmeOrder{Spec: v1alpha1.AcmeOrderSpec{
		IssuerRef: v1alpha1.ObjectRef{Name: issuer.Name},
		Pod: &v1alpha1.PodSource{
			Namespace: request.Namespace, Name: request.Spec.PodName, UID: request.Spec.PodUID,
			ServiceAccountName: request.Spec.ServiceAccountName, NodeName: string(request.Spec.NodeName), RequestUID: request.UID, Rule: rule,
		},
	}}
	order.Namespace = issuer.Namespace
	order.Name = v1alpha1.PodOrderName(issuer.Name, request.UID, request.CreationTimestamp.Time)
	return order
}

// recordOf returns the record of a certificate that is to be issued.
func recordOf(request *certificatesv1.PodCertificateRequest, issuer types.NamespacedName, grant pods.Grant) *v1alpha1.AcmeOrder {
	order := newRecord(request, issuer, grant.Rule)
	order.Spec.Profile = grant.Profile
	for _, id := range grant.Names {
		order.Spec.Identifiers = append(order.Spec.Identifiers, v1alpha1.Identifier(id))
	}
	if grant.URI != nil {
		order.Spec.Pod.URI = grant.URI.String()
	}
	return order
}

// use is what can be done with a stored record.
type use int

const (
	useSign    use = iota // sign the certificate
	useDeliver            // deliver the stored certificate
	useReplace            // delete the record, which has no certificate, and make another
	useNothing            // the certificate is too old or revoked, and the request ends without an answer
)

// useOf returns the use of a stored record for a request. wanted is the record that would be made now. A stored certificate is the
// only one of its request.
func useOf(stored, wanted *v1alpha1.AcmeOrder, now time.Time) use {
	if stored.Status.Certificate != "" {
		if stored.Status.RevokedAt != nil || stored.Spec.Revocation != nil || stored.Status.NotBefore == nil ||
			now.After(stored.Status.NotBefore.Add(backdate+deliverWithin)) {
			return useNothing
		}
		return useDeliver
	}
	if stored.Finished() || !equality.Semantic.DeepEqual(stored.Spec, wanted.Spec) || now.After(stored.CreationTimestamp.Add(signWithin)) {
		return useReplace
	}
	return useSign
}

// certificateRequest returns the certificate to be signed for a record. It depends on the record's creation alone, so that a
// controller that comes back signs the same certificate. ok is false if the CA expires too soon.
func certificateRequest(
	record *v1alpha1.AcmeOrder, request *certificatesv1.PodCertificateRequest, issuer *issuers.Issuer, i *issuance,
) (r ca.Request, ok bool) {
	profile, _ := issuer.Policy.Profile(record.Spec.Profile)
	created := record.CreationTimestamp.Time
	lifetime := profile.Lifetime.Duration.Truncate(time.Second)
	if seconds := request.Spec.MaxExpirationSeconds; seconds != nil {
		lifetime = min(lifetime, time.Duration(*seconds)*time.Second)
	}
	from := pki.Later(created.Add(-backdate), issuer.Authority.NotBefore())
	to := pki.Earlier(from.Add(lifetime), issuer.Authority.NotAfter())
	return ca.Request{
		ID: string(record.UID), Order: record.Name, Identifiers: record.Names(), URI: i.grant.URI, CSR: i.csr,
		OrderedAt: created, FinalizedAt: created, NotBefore: from, NotAfter: to,
		IssuerURL: issuer.CertificateURL(), CRLURL: issuer.CRLURL(issuer.CRLOf(record)),
	}, to.Sub(from) >= pods.MinLifetime
}

// store writes a certificate to its record's status.
func store(record *v1alpha1.AcmeOrder, certificate *x509.Certificate, issuer *issuers.Issuer, now time.Time) {
	status := &record.Status
	notBefore, notAfter := metav1.NewTime(certificate.NotBefore), metav1.NewTime(certificate.NotAfter)
	status.State = acme.StateValid
	status.Certificate = string(bytes.Join([][]byte{ca.EncodeCertificates(certificate), issuer.Chain}, nil))
	status.Serial = v1alpha1.SerialText(certificate.SerialNumber)
	status.NotBefore, status.NotAfter, status.CRL = &notBefore, &notAfter, issuer.CRLOf(record)
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonIssued,
		Message: "the certificate was issued to a Pod", ObservedGeneration: record.Generation, LastTransitionTime: metav1.NewTime(now),
	})
}

// deliver returns the status of a request with the certificate of its record.
func deliver(
	record *v1alpha1.AcmeOrder, request *certificatesv1.PodCertificateRequest, now time.Time,
) (status certificatesv1.PodCertificateRequestStatus, err error) {
	chain := record.Status.Certificate
	block, _ := pem.Decode([]byte(chain))
	if block == nil {
		return status, fmt.Errorf("order %s: the certificate is no PEM", record.Name)
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return status, fmt.Errorf("order %s: %w", record.Name, err)
	}
	csr, err := x509.ParseCertificateRequest(request.Spec.StubPKCS10Request)
	switch {
	case err != nil || !pki.EqualKeys(csr.PublicKey, leaf.PublicKey):
		return status, fmt.Errorf("order %s: the certificate has another key than the request", record.Name)
	case len(chain) > maxChain:
		return status, fmt.Errorf("the certificate chain has %d bytes; the limit is %d", len(chain), maxChain)
	}
	notBefore, notAfter, refresh := metav1.NewTime(leaf.NotBefore), metav1.NewTime(leaf.NotAfter), metav1.NewTime(refreshAt(leaf))
	return certificatesv1.PodCertificateRequestStatus{
		Conditions: []metav1.Condition{condition(certificatesv1.PodCertificateRequestConditionTypeIssued, v1alpha1.ReasonIssued,
			fmt.Sprintf("AcmeOrder %s/%s records the certificate", record.Namespace, record.Name), now)},
		CertificateChain: chain, NotBefore: &notBefore, BeginRefreshAt: &refresh, NotAfter: &notAfter,
	}, nil
}

// refreshAt returns the time from which the kubelet asks for the next certificate: after two thirds of the lifetime.
func refreshAt(leaf *x509.Certificate) time.Time {
	at := leaf.NotBefore.Add((leaf.NotAfter.Sub(leaf.NotBefore) * 2 / 3).Truncate(time.Second))
	return pki.Earlier(pki.Later(at, leaf.NotBefore.Add(refreshMargin)), leaf.NotAfter.Add(-refreshMargin))
}

func condition(kind, reason, message string, now time.Time) metav1.Condition {
	return metav1.Condition{
		Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(now.Truncate(time.Second)),
	}
}

// keyTypes returns the keyTypes of a podCertificate volume that a profile accepts.
func keyTypes(algorithms []v1alpha1.CertificateKeyAlgorithm) string {
	names := map[v1alpha1.CertificateKeyAlgorithm]string{
		v1alpha1.KeyECDSAP256: "ECDSAP256", v1alpha1.KeyECDSAP384: "ECDSAP384", v1alpha1.KeyECDSAP521: "ECDSAP521",
		v1alpha1.KeyRSA: "RSA3072, RSA4096", v1alpha1.KeyEd25519: "ED25519",
	}
	var types []string
	for _, algorithm := range algorithms {
		types = append(types, cmp.Or(names[algorithm], string(algorithm)))
	}
	return strings.Join(types, ", ")
}
