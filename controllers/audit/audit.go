// Package audit writes the audit log.
package audit

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
)

// The audit log answers "who got what, when, and why": a line of the logger "audit" for each certificate, refusal,
// revocation, CRL and key operation, with one of these as its message. It is written once what it tells of stands in the
// API objects, which say the same for as long as they are kept.
const (
	certificateIssued  = "certificate issued"
	orderFailed        = "order failed"
	certificateRevoked = "certificate revoked"
	RequestRefused     = "request refused"
	CRLPublished       = "CRL published"
	CAKeyMade          = "CA key made"
	CAKeyReplaced      = "CA key replaced"
	ServerKeyMade      = "server TLS key made"
	accountAccepted    = "account accepted"
	accountKeyChanged  = "account key changed"
	accountEnded       = "account ended"
)

// Line holds the fields of an audit line. Empty fields are left out.
type Line struct {
	Namespace, Issuer string
	// Account, Order and Authorization are the names of objects.
	Account, Order, Authorization string
	// Request is the kind of a client's request that was refused.
	Request string
	// ExternalAccountKeyID tells whose account it is.
	ExternalAccountKeyID string
	// Thumbprint of an account's key, and of the one before it (RFC 7638).
	Thumbprint, OldThumbprint string
	State                     acme.State
	Identifiers               []string
	Profile                   string
	// Serial number in lower-case hexadecimal, as an order's status has it.
	Serial              string
	NotBefore, NotAfter time.Time
	// Key is the SHA-256 of a certificate's SubjectPublicKeyInfo, in hexadecimal.
	Key string
	// Reason of a revocation, in RFC 5280's words; By is "client" or "person".
	Reason, By string
	// Problem is why something was refused or failed, in the words that the client is given.
	Problem *acme.Problem
	// Shard, Number and Entries describe a CRL.
	Shard, Number string
	Entries       *int
	NextUpdate    time.Time
	// Secret that a key is in, the Subject of its certificate, and Why it was made.
	Secret, Subject, Why string
}

// Log writes a line of the audit log.
func Log(ctx context.Context, event string, line Line) {
	logf.FromContext(ctx).WithName("audit").Info(event, line.fields()...)
}

// fields returns the names and values of the line's fields.
func (l Line) fields() []any {
	var out []any
	text := func(name, value string) {
		if value != "" {
			out = append(out, name, value)
		}
	}
	at := func(name string, t time.Time) {
		if !t.IsZero() {
			out = append(out, name, t.UTC().Format(time.RFC3339))
		}
	}
	text("issuerNamespace", l.Namespace)
	text("issuer", l.Issuer)
	text("account", l.Account)
	text("externalAccountKeyID", l.ExternalAccountKeyID)
	text("thumbprint", l.Thumbprint)
	text("oldThumbprint", l.OldThumbprint)
	text("order", l.Order)
	text("authorization", l.Authorization)
	text("request", l.Request)
	text("state", string(l.State))
	if len(l.Identifiers) > 0 {
		out = append(out, "identifiers", l.Identifiers)
	}
	text("profile", l.Profile)
	text("serial", l.Serial)
	at("notBefore", l.NotBefore)
	at("notAfter", l.NotAfter)
	text("keySHA256", l.Key)
	text("reason", l.Reason)
	text("by", l.By)
	if l.Problem != nil {
		out = append(out, "problem", string(l.Problem.Type), "detail", l.Problem.Detail)
	}
	text("shard", l.Shard)
	text("number", l.Number)
	if l.Entries != nil {
		out = append(out, "entries", *l.Entries)
	}
	at("nextUpdate", l.NextUpdate)
	text("secret", l.Secret)
	text("subject", l.Subject)
	text("why", l.Why)
	return out
}

// Order logs the changes of an order's status since before.
func Order(ctx context.Context, before, order *v1alpha1.AcmeOrder, account *v1alpha1.AcmeAccount) {
	line := Line{
		Namespace: order.Namespace, Issuer: order.Spec.IssuerRef.Name, Account: order.Spec.AccountRef.Name, Order: order.Name,
		Identifiers: identifierValues(order), Profile: order.Spec.Profile, Serial: order.Status.Serial,
		NotBefore: timeOf(order.Status.NotBefore), NotAfter: timeOf(order.Status.NotAfter),
	}
	if account != nil {
		line.ExternalAccountKeyID = account.Status.ExternalAccountKeyID
	}
	if before.Status.State != order.Status.State {
		switch order.Status.State {
		case acme.StateValid:
			Log(ctx, certificateIssued, line)
		case acme.StateInvalid:
			line.Problem = order.Status.Problem.ACME()
			Log(ctx, orderFailed, line)
		}
	}
	handled := order.Status.Revocation
	if handled == nil || before.Status.Revocation != nil && before.Status.Revocation.Digest == handled.Digest || order.Spec.Revocation == nil {
		return
	}
	line.Reason, line.By = ca.Reason(order.Spec.Revocation.Reason).String(), "person"
	if order.Spec.Revocation.Request != nil {
		line.By = "client"
	}
	if handled.Problem != nil {
		line.Request, line.Problem = "Revocation", handled.Problem.ACME()
		Log(ctx, RequestRefused, line)
		return
	}
	Log(ctx, certificateRevoked, line)
}

// Account logs the changes of an account's status since before.
func Account(ctx context.Context, before, account *v1alpha1.AcmeAccount) {
	status := &account.Status
	line := Line{
		Namespace: account.Namespace, Issuer: account.Spec.IssuerRef.Name, Account: account.Name,
		ExternalAccountKeyID: status.ExternalAccountKeyID, Thumbprint: status.Thumbprint, State: status.State,
	}
	refused := func(request string, problem *v1alpha1.Problem) {
		line := line
		line.Request, line.Problem = request, problem.ACME()
		Log(ctx, RequestRefused, line)
	}
	handled := func(request string, before, now *v1alpha1.HandledRequest) {
		if now != nil && now.Problem != nil && (before == nil || before.Digest != now.Digest) {
			refused(request, now.Problem)
		}
	}
	handled("Update", before.Status.Update, status.Update)
	handled("KeyChange", before.Status.KeyChange, status.KeyChange)
	handled("Deactivation", before.Status.Deactivation, status.Deactivation)
	if old := before.Status.Thumbprint; old != "" && old != status.Thumbprint {
		line := line
		line.OldThumbprint = old
		Log(ctx, accountKeyChanged, line)
	}
	switch {
	case before.Status.State == status.State:
	case status.State == acme.StateValid:
		Log(ctx, accountAccepted, line)
	case status.State == acme.StateInvalid && account.Spec.KeyClaimFor != "":
		refused("KeyClaim", status.Problem)
	case status.State == acme.StateInvalid:
		refused("Registration", status.Problem)
	case status.State.Final():
		Log(ctx, accountEnded, line)
	}
}

// CAKey logs that a CA key was made or replaced.
func CAKey(ctx context.Context, event string, issuer *v1alpha1.AcmeIssuer, secret string, certificate *x509.Certificate, why string) {
	sum := sha256.Sum256(certificate.RawSubjectPublicKeyInfo)
	Log(ctx, event, Line{
		Namespace: issuer.Namespace, Issuer: issuer.Name, Secret: secret, Subject: certificate.Subject.String(),
		Serial: hex.EncodeToString(certificate.SerialNumber.Bytes()), NotBefore: certificate.NotBefore, NotAfter: certificate.NotAfter,
		Key: hex.EncodeToString(sum[:]), Why: why,
	})
}

func timeOf(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}

// identifierValues returns the values of an order's identifiers.
func identifierValues(order *v1alpha1.AcmeOrder) []string {
	values := make([]string, len(order.Spec.Identifiers))
	for i, id := range order.Spec.Identifiers {
		values[i] = id.Value
	}
	return values
}
