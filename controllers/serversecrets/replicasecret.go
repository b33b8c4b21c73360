// Package serversecrets keeps the Secrets that the ACME server mounts: its TLS certificate, and the secrets that its replicas
// share.
package serversecrets

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/acmeca/acmeca/controllers/kube"
)

const (
	// replicaSecretSize is the size of a secret in bytes.
	replicaSecretSize = 32
	// ReplicaSecretLifetime is how long a secret is the current one. Before that it is the next one for as long, and after it the
	// previous one. Both periods are far longer than a changed Secret takes to be mounted everywhere, and than a nonce lives.
	ReplicaSecretLifetime = 24 * time.Hour
	// replicaSecretCheck is how often the Secret is read; it isn't watched.
	replicaSecretCheck = time.Minute

	// currentField, nextField and previousField are the fields of the Secret that the ACME server reads.
	currentField  = "current"
	nextField     = "next"
	previousField = "previous"
	// RotatedAtAnnotation is the time since when the current secret is in use.
	RotatedAtAnnotation = "acmeca.dev/rotated-at"
)

// ReplicaSecret keeps the secrets that the ACME server's replicas share, to redeem each other's nonces. Like the TLS certificate
// they are mounted as files.
type ReplicaSecret struct {
	// Client reads Secrets past every cache.
	Client client.Client
	Secret client.ObjectKey
	Clock  clock.WithTicker
}

// SetupWithManager adds to a manager the periodic check of the Secret.
func (r *ReplicaSecret) SetupWithManager(mgr manager.Manager) error {
	return mgr.Add(kube.Periodic(r.Clock, replicaSecretCheck,
		fmt.Sprintf("can't keep the Secret %s of the ACME server's replicas", r.Secret), r.Ensure))
}

// Ensure creates the secrets, or makes the next secret the current one if that is due.
func (r *ReplicaSecret) Ensure(ctx context.Context) error {
	secret := &corev1.Secret{}
	err := r.Client.Get(ctx, r.Secret, secret)
	if apierrors.IsNotFound(err) {
		secret.ObjectMeta = ctrl.ObjectMeta{Namespace: r.Secret.Namespace, Name: r.Secret.Name}
		secret.Type = corev1.SecretTypeOpaque
		r.advance(secret)
		return r.Client.Create(ctx, secret)
	}
	if err != nil || !r.due(secret) {
		return err
	}
	r.advance(secret)
	return r.Client.Update(ctx, secret)
}

func (r *ReplicaSecret) due(secret *corev1.Secret) bool {
	for _, field := range []string{currentField, nextField} {
		if len(secret.Data[field]) < replicaSecretSize {
			return true
		}
	}
	since, err := time.Parse(time.RFC3339, secret.Annotations[RotatedAtAnnotation])
	now := r.Clock.Now()
	return err != nil || since.After(now) || now.Sub(since) >= ReplicaSecretLifetime
}

// advance makes the next secret the current one, and creates missing secrets.
func (r *ReplicaSecret) advance(secret *corev1.Secret) {
	current := secret.Data[currentField]
	next := secret.Data[nextField]
	if len(next) < replicaSecretSize {
		next = newReplicaSecret()
	}
	secret.Data = map[string][]byte{currentField: bytes.Clone(next), nextField: newReplicaSecret()}
	if len(current) >= replicaSecretSize {
		secret.Data[previousField] = current
	}
	kube.Annotate(secret, RotatedAtAnnotation, r.Clock.Now().UTC().Format(time.RFC3339))
}

func newReplicaSecret() []byte {
	secret := make([]byte, replicaSecretSize)
	rand.Read(secret) // never fails
	return secret
}
