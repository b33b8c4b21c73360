package issuer

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/kube"
)

const (
	// copiesPeriod is the least time between two rounds over the namespaces of an issuer, and copiesRate bounds the bytes that rounds
	// write a second: a CRL can change each second, and a round writes it in each namespace.
	copiesPeriod = time.Minute
	copiesRate   = 200_000
	// namedNamespaces bounds the namespaces that a warning names.
	namedNamespaces = 3
)

// TrustCopies publishes the roots and CRLs of issuers in other namespaces. A namespace gets them if its label names the issuer and the
// issuer allows it, so neither the owner of an issuer nor that of a namespace decides alone.
type TrustCopies struct {
	// Client reads ConfigMaps past every cache. Live reads namespaces past every cache.
	Client client.Client
	Live   client.Reader
	Clock  clock.PassiveClock

	mu     sync.Mutex
	rounds map[client.ObjectKey]round
}

// round is a round over the namespaces of an issuer.
type round struct {
	generation int64  // of the issuer
	roots      string // that were published
	next       time.Time
	failed     map[string]error // by namespace
}

// Publish brings the ConfigMaps in other namespaces up to date, and notes these namespaces in the issuer's status. Each namespace is noted
// before the ConfigMap is created in it, so that none is forgotten. A failure is a warning of the issuer.
func (t *TrustCopies) Publish(ctx context.Context, object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer) error {
	if !object.Spec.Trust.LabelledNamespaces && len(object.Status.TrustNamespaces) == 0 {
		return nil
	}
	key := client.ObjectKeyFromObject(object)
	source := &corev1.ConfigMap{}
	name := client.ObjectKey{Namespace: object.Namespace, Name: v1alpha1.TrustConfigMap(object.Name)}
	if err := t.Client.Get(ctx, name, source); err != nil {
		return client.IgnoreNotFound(err)
	}
	if source.Labels[v1alpha1.IssuerLabel] != object.Name {
		return nil // somebody else's, for which the issuer has a warning
	}
	wanted, err := t.selected(ctx, object, issuer)
	if err != nil {
		return err
	}
	noted := object.Status.TrustNamespaces
	isNew := func(namespace string) bool { return !slices.Contains(noted, namespace) }
	last, now := t.last(key), t.Clock.Now()
	if now.Before(last.next) && last.generation == object.Generation && last.roots == source.Data[v1alpha1.TrustField] &&
		slices.Equal(noted, wanted) {
		return t.report(issuer, last.failed)
	}
	keep, written, failed := t.round(ctx, key, noted, wanted, source.Data)
	object.Status.TrustNamespaces = keep[:min(len(keep), v1alpha1.MaxTrustNamespaces)]
	if err := t.report(issuer, failed); err != nil {
		return err
	}
	if !slices.ContainsFunc(keep, isNew) {
		wait := max(copiesPeriod, time.Duration(written)*time.Second/copiesRate)
		t.note(key, round{object.Generation, source.Data[v1alpha1.TrustField], now.Add(wait), failed})
	}
	return nil
}

// round writes the ConfigMaps in the wanted namespaces that are noted, and deletes those in the others. It returns the namespaces to note,
// sorted, the bytes that it wrote, and what failed.
func (t *TrustCopies) round(
	ctx context.Context, issuer client.ObjectKey, noted, wanted []string, data map[string]string,
) (keep []string, written int, failed map[string]error) {
	keep, failed = slices.Clone(wanted), map[string]error{}
	for _, namespace := range noted {
		if !slices.Contains(wanted, namespace) {
			if err := t.remove(ctx, issuer, namespace); err != nil {
				failed[namespace], keep = err, append(keep, namespace)
			}
			continue
		}
		n, err := t.write(ctx, issuer, namespace, data)
		if written += n; err != nil {
			failed[namespace] = err
		}
	}
	slices.Sort(keep)
	return keep, written, failed
}

// report turns refusals into a warning of the issuer, and returns the other errors, which are transient.
func (t *TrustCopies) report(issuer *issuers.Issuer, failed map[string]error) error {
	var texts []string
	for _, namespace := range slices.Sorted(maps.Keys(failed)) {
		err := failed[namespace]
		if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) || apierrors.IsNotFound(err) {
			continue // the namespace is going
		}
		if !kube.IsRefusal(err) {
			return err
		}
		texts = append(texts, fmt.Sprintf("%s: %v", namespace, err))
	}
	if len(texts) > namedNamespaces {
		texts = append(texts[:namedNamespaces], fmt.Sprintf("and in %d more namespaces", len(texts)-namedNamespaces))
	}
	if len(texts) > 0 {
		issuer.Warn("spec.trust.labelledNamespaces: %s", strings.Join(texts, "; "))
	}
	return nil
}

// selected returns the namespaces whose label names the issuer, sorted. Without the right to list namespaces it returns those that are
// noted, so that nothing is removed.
func (t *TrustCopies) selected(ctx context.Context, object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer) ([]string, error) {
	if !object.Spec.Trust.LabelledNamespaces {
		return nil, nil
	}
	var list metav1.PartialObjectMetadataList
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	err := t.Live.List(ctx, &list, client.MatchingLabels{v1alpha1.TrustNamespaceLabel(object.Name): object.Namespace})
	if kube.IsRefusal(err) {
		issuer.Warn("spec.trust.labelledNamespaces: %v", err)
		return object.Status.TrustNamespaces, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, namespace := range list.Items {
		if namespace.DeletionTimestamp == nil && namespace.Name != object.Namespace {
			names = append(names, namespace.Name)
		}
	}
	slices.Sort(names)
	if len(names) > v1alpha1.MaxTrustNamespaces {
		issuer.Warn("spec.trust.labelledNamespaces: %d namespaces have the label, and the first %d get the roots", len(names), v1alpha1.MaxTrustNamespaces)
		names = names[:v1alpha1.MaxTrustNamespaces]
	}
	return names, nil
}

// write writes the ConfigMap in a namespace, and returns the bytes that it wrote. It never changes a ConfigMap of somebody else.
func (t *TrustCopies) write(
	ctx context.Context, issuer client.ObjectKey, namespace string, data map[string]string,
) (written int, err error) {
	configMap := &corev1.ConfigMap{}
	configMap.Namespace, configMap.Name = namespace, v1alpha1.TrustCopy(issuer.Namespace, issuer.Name)
	err = t.Client.Get(ctx, client.ObjectKeyFromObject(configMap), configMap)
	missing := apierrors.IsNotFound(err)
	switch {
	case client.IgnoreNotFound(err) != nil:
		return 0, err
	case missing:
		configMap.Labels = map[string]string{v1alpha1.IssuerLabel: issuer.Name, namespaceLabel: issuer.Namespace}
	case !isCopy(configMap, issuer):
		return 0, apierrors.NewForbidden(corev1.Resource("configmaps"), configMap.Name, fmt.Errorf(
			"it belongs to somebody else (it lacks the labels %s: %s and %s: %s)", v1alpha1.IssuerLabel, issuer.Name, namespaceLabel, issuer.Namespace))
	}
	changed := missing
	for _, field := range []string{v1alpha1.TrustField, v1alpha1.CRLsField} {
		if text, ok := data[field]; ok && configMap.Data[field] != text {
			if configMap.Data == nil {
				configMap.Data = map[string]string{}
			}
			configMap.Data[field], changed = text, true
		}
	}
	switch {
	case !changed:
		return 0, nil
	case missing:
		return configMap.Size(), t.Client.Create(ctx, configMap)
	}
	return configMap.Size(), t.Client.Update(ctx, configMap)
}

func isCopy(configMap *corev1.ConfigMap, issuer client.ObjectKey) bool {
	return configMap.Labels[v1alpha1.IssuerLabel] == issuer.Name && configMap.Labels[namespaceLabel] == issuer.Namespace
}

// remove deletes the ConfigMap in a namespace, unless it belongs to somebody else.
func (t *TrustCopies) remove(ctx context.Context, issuer client.ObjectKey, namespace string) error {
	configMap := &corev1.ConfigMap{}
	name := client.ObjectKey{Namespace: namespace, Name: v1alpha1.TrustCopy(issuer.Namespace, issuer.Name)}
	err := t.Client.Get(ctx, name, configMap)
	if err != nil || !isCopy(configMap, issuer) {
		return client.IgnoreNotFound(err)
	}
	return client.IgnoreNotFound(t.Client.Delete(ctx, configMap, client.Preconditions{UID: &configMap.UID}))
}

// Withdraw deletes the ConfigMaps of an issuer that is being deleted. One that can't be deleted stays.
func (t *TrustCopies) Withdraw(ctx context.Context, object *v1alpha1.AcmeIssuer) error {
	key := client.ObjectKeyFromObject(object)
	for _, namespace := range object.Status.TrustNamespaces {
		if err := t.remove(ctx, key, namespace); err != nil && !kube.IsRefusal(err) {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.rounds, key)
	return nil
}

func (t *TrustCopies) last(issuer client.ObjectKey) round {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rounds[issuer]
}

func (t *TrustCopies) note(issuer client.ObjectKey, last round) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rounds == nil {
		t.rounds = map[client.ObjectKey]round{}
	}
	t.rounds[issuer] = last
}
