package account

import (
	"context"
	"encoding/base64"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/policy"
)

// minBindingKeyLength is in bytes.
const minBindingKeyLength = 32

// Bindings verifies external account bindings (RFC 8555 section 7.3.4). Only it reads their keys.
type Bindings struct {
	// Client reads Secrets past every cache.
	Client client.Client
	Clock  clock.PassiveClock
}

// Binding is what a key that was accepted says of the account.
type Binding struct {
	KeyID  string
	Policy *v1alpha1.ExternalAccountPolicy
}

// Bind verifies a binding, and uses up its key for the account unless it is reusable. The annotation on the Secret is the
// commit point: it is written under the Secret's resourceVersion, so that of two accounts with one key a single one gets it.
func (b Bindings) Bind(ctx context.Context, issuer *issuers.Issuer, account *v1alpha1.AcmeAccount, outer *jws.Message, raw []byte) (Binding, *acme.Problem, error) {
	eab, problem := jws.ParseExternalAccountBinding(raw)
	if problem != nil {
		return Binding{}, problem, nil
	}
	if eab.URL != outer.Header.URL {
		return Binding{}, acme.NewProblem(acme.Malformed, "the external account binding was made for another URL"), nil
	}
	if !eab.Key.Equal(outer.Header.Key) {
		return Binding{}, acme.NewProblem(acme.Malformed, "the external account binding was made for another account key"), nil
	}
	// One answer to an unknown id, a wrong key, an expired and a used one, so that ids can't be found out by asking.
	refused := acme.NewProblem(acme.Unauthorized, "the external account binding is not accepted: its key id is unknown, or the key is wrong, expired or used")
	name, ok := v1alpha1.ExternalAccountKeySecret(issuer.Name, eab.KeyID)
	if !ok {
		return Binding{}, refused, nil
	}
	secret := &corev1.Secret{}
	err := b.Client.Get(ctx, client.ObjectKey{Namespace: account.Namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		return Binding{}, refused, nil
	}
	if err != nil {
		return Binding{}, nil, err
	}
	if secret.Type != v1alpha1.ExternalAccountKeyType || eab.Verify(bindingKey(secret)) != nil || b.expired(secret) {
		return Binding{}, refused, nil
	}
	bound := Binding{KeyID: eab.KeyID}
	if bound.Policy, err = policy.ParseBinding(string(secret.Data[v1alpha1.ExternalAccountDNSField]), string(secret.Data[v1alpha1.ExternalAccountIPsField]), string(secret.Data[v1alpha1.ExternalAccountProfilesField])); err != nil {
		return Binding{}, acme.NewProblem(acme.ServerInternal, "the external account key %q has a policy that can't be read: %v", eab.KeyID, err), nil
	}
	if string(secret.Data[v1alpha1.ExternalAccountReusableField]) == "true" {
		return bound, nil, nil
	}
	switch secret.Annotations[v1alpha1.BoundAccountAnnotation] {
	case account.Name: // claimed before, by a try whose status write was lost
		return bound, nil, nil
	case "":
	default:
		return Binding{}, refused, nil
	}
	if secret.Annotations == nil {
		secret.Annotations = map[string]string{}
	}
	secret.Annotations[v1alpha1.BoundAccountAnnotation] = account.Name
	if err := b.Client.Update(ctx, secret); err != nil {
		return Binding{}, nil, err // a conflict too is tried again, and then finds the key used
	}
	return bound, nil, nil
}

// bindingKey takes the HMAC key as raw bytes, or in the base64url form that clients are configured with. A key too short
// to be safe is none.
func bindingKey(secret *corev1.Secret) []byte {
	key := secret.Data[v1alpha1.ExternalAccountKeyField]
	if decoded, err := base64.RawURLEncoding.DecodeString(string(key)); err == nil {
		key = decoded
	}
	if len(key) < minBindingKeyLength {
		return nil
	}
	return key
}

func (b Bindings) expired(secret *corev1.Secret) bool {
	text, ok := secret.Data[v1alpha1.ExternalAccountExpiresField]
	if !ok {
		return false
	}
	expires, err := time.Parse(time.RFC3339, string(text))
	return err != nil || !b.Clock.Now().Before(expires)
}
