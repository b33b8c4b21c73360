// Package audit writes the audit log.
//
// The audit log answers "who got what, when, and why": the logger "audit" writes one line for each proof of control, certificate,
// refusal, revocation, CRL and key operation. The message names the event. A line is written once the API objects hold the facts that the
// line states; the objects hold them for as long as they are kept.
package audit

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"time"

	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/kube"
)

// fields are the names and values of an audit line. Empty values are left out.
type fields []any

func (f fields) text(name, value string) fields {
	if value == "" {
		return f
	}
	return append(f, name, value)
}

func (f fields) texts(name string, values []string) fields {
	if len(values) == 0 {
		return f
	}
	return append(f, name, values)
}

func (f fields) time(name string, t time.Time) fields {
	if t.IsZero() {
		return f
	}
	return append(f, name, t.UTC().Format(time.RFC3339))
}

// problem adds why a request was refused or an order failed, in the words that the client gets.
func (f fields) problem(p *acme.Problem) fields {
	if p == nil {
		return f
	}
	return append(f, "problem", string(p.Type), "detail", p.Detail)
}

// issuer begins a line about an object of an issuer.
func issuer(namespace, name string) fields {
	return fields{}.text("issuerNamespace", namespace).text("issuer", name)
}

func write(ctx context.Context, event string, f fields) {
	logf.FromContext(ctx).WithName("audit").Info(event, f...)
}

// requestRefused is the event of a client's request that was refused.
const requestRefused = "request refused"

// Authorization logs the requests about an authorization that were refused.
func Authorization(ctx context.Context, authz *v1alpha1.AcmeAuthorization, refusals []kube.Refusal) {
	for _, refused := range refusals {
		write(ctx, requestRefused, issuer(authz.Namespace, authz.Spec.IssuerRef.Name).text("account", authz.Spec.AccountRef.Name).
			text("authorization", authz.Name).text("request", refused.Request).texts("identifiers", []string{authz.Authorized().Value}).
			problem(refused.Problem))
	}
}

// Proof logs that control of an identifier was proved. Authorizations are removed long before their certificates.
func Proof(ctx context.Context, authz *v1alpha1.AcmeAuthorization) {
	proof := authz.Status.Challenge
	f := issuer(authz.Namespace, authz.Spec.IssuerRef.Name).text("account", authz.Spec.AccountRef.Name).text("authorization", authz.Name).
		texts("identifiers", []string{authz.Authorized().Value}).text("challenge", string(proof.Type)).
		time("validatedAt", timeOf(proof.ValidatedAt)).time("caaCheckedAt", timeOf(proof.CAACheckedAt))
	if record := proof.Record; record != nil {
		f = f.text("addressUsed", record.AddressUsed).text("resolver", record.Resolver).texts("urls", record.URLs).
			texts("records", record.Records)
		for _, perspective := range record.Perspectives {
			f = f.text("perspective."+perspective.Name, outcome(perspective))
		}
	}
	write(ctx, "control proved", f)
}

func outcome(perspective v1alpha1.PerspectiveRecord) string {
	if perspective.Valid {
		return "confirmed from " + perspective.AddressUsed
	}
	return perspective.Problem
}

// The events of CAKey.
const (
	CAKeyMade     = "CA key made"
	CAKeyReplaced = "CA key replaced"
)

// CAKey logs that a CA key was made or replaced, and why. secret is the name of the Secret that holds the key.
func CAKey(ctx context.Context, event string, of *v1alpha1.AcmeIssuer, secret string, certificate *x509.Certificate, why string) {
	sum := sha256.Sum256(certificate.RawSubjectPublicKeyInfo)
	write(ctx, event, issuer(of.Namespace, of.Name).text("serial", hex.EncodeToString(certificate.SerialNumber.Bytes())).
		time("notBefore", certificate.NotBefore).time("notAfter", certificate.NotAfter).text("keySHA256", hex.EncodeToString(sum[:])).
		text("secret", secret).text("subject", certificate.Subject.String()).text("why", why))
}

// CARevoked logs that a CA certificate was revoked. secret is the name of the Secret that holds the certificate.
func CARevoked(ctx context.Context, of *v1alpha1.AcmeIssuer, secret, serial string) {
	write(ctx, "CA certificate revoked", issuer(of.Namespace, of.Name).text("serial", serial).text("secret", secret))
}

// ServerKeyMade logs that a key for the ACME server's TLS certificate was made. secret is namespace and name of the Secret that
// holds the key.
func ServerKeyMade(ctx context.Context, issuerName, secret string, names []string) {
	write(ctx, "server TLS key made", issuer("", issuerName).texts("identifiers", names).text("secret", secret))
}

// CRLPublished logs a new CRL of an issuer's shard: its number, how many entries it has, and when the next one is due.
func CRLPublished(ctx context.Context, namespace, issuerName, shard, number string, entries int, nextUpdate time.Time) {
	f := issuer(namespace, issuerName).text("shard", shard).text("number", number)
	write(ctx, "CRL published", append(f, "entries", entries).time("nextUpdate", nextUpdate))
}
