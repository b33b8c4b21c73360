package issuers

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/internal/policy"
)

const (
	// CompromisedKeysSuffix of the issuer's name is that of the ConfigMap with the keys.
	CompromisedKeysSuffix = "-blocked-keys"
	// CompromisedKeysField has the SHA-256 of a key's SubjectPublicKeyInfo in hexadecimal on each line.
	CompromisedKeysField = "sha256"
	// maxCompromisedKeys keeps the ConfigMap, of 65 bytes a key, below 1 MiB.
	maxCompromisedKeys = 15000
)

// CompromisedKeys refuses keys of certificates that were revoked as compromised, for good. While the order of such a
// certificate exists, an index finds the order by its key. Before the order may be deleted, its key is added to a ConfigMap. People
// may add keys to the ConfigMap.
type CompromisedKeys struct {
	// Client reads ConfigMaps past every cache, and orders from it.
	Client client.Client

	// writing is held while the ConfigMap is changed: several shards may change it at once.
	writing sync.Mutex

	mu    sync.Mutex
	known map[client.ObjectKey]map[string]bool
}

// Load reads the ConfigMap of an issuer. A corrupt ConfigMap is not overwritten, and is a warning on the issuer.
func (b *CompromisedKeys) Load(ctx context.Context, key client.ObjectKey, issuer *Issuer) error {
	_, keys, err := b.read(ctx, key)
	if corrupt, ok := err.(*corruptError); ok { //nolint:errorlint // read wraps nothing
		issuer.Warn("%v", corrupt)
		return nil
	}
	if err != nil {
		return err
	}
	b.keep(key, keys)
	return nil
}

// Fault returns a problem if a key is compromised at an order's issuer.
func (b *CompromisedKeys) Fault(ctx context.Context, order *v1alpha1.AcmeOrder, key crypto.PublicKey) (*acme.Problem, error) {
	fingerprint, err := KeyFingerprint(key)
	if err != nil {
		return acme.NewProblem(acme.BadCSR, "the CSR's key cannot be encoded"), nil //nolint:nilerr // it is the client's fault
	}
	blocked := policy.KeyCompromised()
	b.mu.Lock()
	known := b.known[client.ObjectKey{Namespace: order.Namespace, Name: order.Spec.IssuerRef.Name}][fingerprint]
	b.mu.Unlock()
	if known {
		return blocked, nil
	}
	var orders v1alpha1.AcmeOrderList
	err = b.Client.List(ctx, &orders, client.InNamespace(order.Namespace),
		client.MatchingFields{kube.IndexCompromised: order.Spec.IssuerRef.Name + "/" + fingerprint},
		client.Limit(1), client.UnsafeDisableDeepCopy)
	if err != nil || len(orders.Items) == 0 {
		return nil, err
	}
	return blocked, nil
}

// Keep adds to the ConfigMap the compromised keys of revoked orders. It returns the orders that may be deleted from now on:
// all but those whose keys do not fit the ConfigMap.
func (b *CompromisedKeys) Keep(ctx context.Context, key client.ObjectKey, orders []*v1alpha1.AcmeOrder) ([]*v1alpha1.AcmeOrder, error) {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.mu.Lock()
	known := b.known[key] // never changed, but replaced
	b.mu.Unlock()
	isStored := func(keys map[string]bool) func(*v1alpha1.AcmeOrder) bool {
		return func(order *v1alpha1.AcmeOrder) bool {
			return order.CompromisedKey() == "" || keys[order.CompromisedKey()]
		}
	}
	if !slices.ContainsFunc(orders, func(order *v1alpha1.AcmeOrder) bool { return !isStored(known)(order) }) {
		return orders, nil
	}
	configMap, keys, err := b.read(ctx, key)
	if err != nil {
		return nil, err
	}
	before := len(keys)
	for _, order := range orders {
		if fingerprint := order.CompromisedKey(); fingerprint != "" && len(keys) < maxCompromisedKeys {
			keys[fingerprint] = true
		}
	}
	if len(keys) > before {
		if err := b.write(ctx, configMap, keys); err != nil {
			return nil, err
		}
	}
	b.keep(key, keys)
	return slices.DeleteFunc(slices.Clone(orders), func(order *v1alpha1.AcmeOrder) bool { return !isStored(keys)(order) }), nil
}

// write stores keys in the ConfigMap.
func (b *CompromisedKeys) write(ctx context.Context, configMap *corev1.ConfigMap, keys map[string]bool) error {
	configMap.Data = map[string]string{CompromisedKeysField: strings.Join(slices.Sorted(maps.Keys(keys)), "\n") + "\n"}
	if configMap.ResourceVersion == "" {
		return b.Client.Create(ctx, configMap)
	}
	return b.Client.Update(ctx, configMap)
}

// Forget removes the keys of a deleted issuer from memory.
func (b *CompromisedKeys) Forget(key client.ObjectKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.known, key)
}

// read returns the ConfigMap, or a new one that is not created yet, and its keys.
func (b *CompromisedKeys) read(ctx context.Context, key client.ObjectKey) (*corev1.ConfigMap, map[string]bool, error) {
	configMap := &corev1.ConfigMap{}
	err := b.Client.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: key.Name + CompromisedKeysSuffix}, configMap)
	if apierrors.IsNotFound(err) {
		configMap.ObjectMeta = metav1.ObjectMeta{
			Namespace: key.Namespace, Name: key.Name + CompromisedKeysSuffix, Labels: map[string]string{v1alpha1.IssuerLabel: key.Name},
		}
		return configMap, map[string]bool{}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	keys := map[string]bool{}
	for line := range strings.Lines(configMap.Data[CompromisedKeysField]) {
		if line = strings.ToLower(strings.TrimSpace(line)); line == "" {
			continue
		}
		if sum, err := hex.DecodeString(line); err != nil || len(sum) != sha256.Size {
			return nil, nil, &corruptError{
				fmt.Sprintf("ConfigMap %q: %q is no SHA-256 of a compromised key", configMap.Name, acme.Printable(line, 64)),
			}
		}
		keys[line] = true
	}
	return configMap, keys, nil
}

type corruptError struct{ text string }

func (e *corruptError) Error() string { return e.text }

func (b *CompromisedKeys) keep(key client.ObjectKey, keys map[string]bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known == nil {
		b.known = map[client.ObjectKey]map[string]bool{}
	}
	b.known[key] = keys
}

// KeyFingerprint returns the SHA-256 of a key's SubjectPublicKeyInfo in hexadecimal, as in an order's status.
func KeyFingerprint(key crypto.PublicKey) (string, error) {
	sum, err := policy.KeyFingerprint(key)
	return hex.EncodeToString(sum[:]), err
}
