package controllers

import (
	"context"
	"encoding/base64"
	"regexp"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/jws"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// The Secret of an external account key (see v1alpha1.ExternalAccountBinding).
const (
	bindingSecretType = corev1.SecretType("acmeca.dev/external-account-key")

	bindingKeyField     = "hmac-key"
	bindingExpiresField = "expires"
	boundAccountKey     = "acmeca.dev/bound-account"
	minBindingKeyLength = 32
)

// bindingKeyID is what a key id looks like: it becomes a part of a Secret's name.
var bindingKeyID = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$`)

// Bindings verifies external account bindings (RFC 8555 section 7.3.4). Only it reads their keys.
type Bindings struct {
	// Client reads Secrets past every cache.
	Client client.Client
	Clock  clock.PassiveClock
}

// Bind verifies a binding and uses up its key for the account. The annotation on the Secret is the commit point: it is
// written under the Secret's resourceVersion, so that of two accounts with one key a single one gets it.
func (b Bindings) Bind(ctx context.Context, issuer *Issuer, account *v1alpha1.AcmeAccount, outer *jws.Message, raw []byte) (string, *acme.Problem, error) {
	eab, problem := jws.ParseExternalAccountBinding(raw)
	if problem != nil {
		return "", problem, nil
	}
	if eab.URL != outer.Header.URL {
		return "", acme.NewProblem(acme.Malformed, "the external account binding was made for another URL"), nil
	}
	if !eab.Key.Equal(outer.Header.Key) {
		return "", acme.NewProblem(acme.Malformed, "the external account binding was made for another account key"), nil
	}
	// One answer to an unknown id, a wrong key, an expired and a used one, so that ids can't be found out by asking.
	refused := acme.NewProblem(acme.Unauthorized, "the external account binding is not accepted: its key id is unknown, or the key is wrong, expired or used")
	if !bindingKeyID.MatchString(eab.KeyID) {
		return "", refused, nil
	}
	secret := &corev1.Secret{}
	err := b.Client.Get(ctx, client.ObjectKey{Namespace: account.Namespace, Name: issuer.Name + "-eab-" + eab.KeyID}, secret)
	if apierrors.IsNotFound(err) {
		return "", refused, nil
	}
	if err != nil {
		return "", nil, err
	}
	if secret.Type != bindingSecretType || eab.Verify(bindingKey(secret)) != nil || b.expired(secret) {
		return "", refused, nil
	}
	switch secret.Annotations[boundAccountKey] {
	case account.Name: // claimed before, by a try whose status write was lost
		return eab.KeyID, nil, nil
	case "":
	default:
		return "", refused, nil
	}
	if secret.Annotations == nil {
		secret.Annotations = map[string]string{}
	}
	secret.Annotations[boundAccountKey] = account.Name
	if err := b.Client.Update(ctx, secret); err != nil {
		return "", nil, err // a conflict too is tried again, and then finds the key used
	}
	return eab.KeyID, nil, nil
}

// bindingKey takes the HMAC key as raw bytes, or in the base64url form that clients are configured with. A key too short
// to be safe is none.
func bindingKey(secret *corev1.Secret) []byte {
	key := secret.Data[bindingKeyField]
	if decoded, err := base64.RawURLEncoding.DecodeString(string(key)); err == nil {
		key = decoded
	}
	if len(key) < minBindingKeyLength {
		return nil
	}
	return key
}

func (b Bindings) expired(secret *corev1.Secret) bool {
	text, ok := secret.Data[bindingExpiresField]
	if !ok {
		return false
	}
	expires, err := time.Parse(time.RFC3339, string(text))
	return err != nil || !b.Clock.Now().Before(expires)
}
