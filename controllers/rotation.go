package controllers

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
)

// A CA that the operator made is replaced without an outage. Each step is one write of a Secret, and what stands in the
// Secrets says what the next step is, so that a step that was cut short is taken again:
//
//   - An intermediate is replaced ahead of its expiry, or on request. The Secret of the old one is copied first, and its
//     key goes on signing CRLs for what it issued until it has expired.
//   - A root is replaced in two steps. First the new one is made, cross-signed by the old one, and published in the trust
//     bundle; only after a while (spec.ca.selfSigned.rootOverlap) an intermediate under it is made, and the new root takes
//     the old one's place. Clients are then given a chain that leads to either root.
const (
	// retiredAnnotation lists, on the intermediate's Secret, the CRL shard prefixes of those before it, whose Secrets have
	// that in their names.
	retiredAnnotation = "acmeca.dev/retired"
	// rotatedAnnotation is, on a Secret, the request by which it was replaced last.
	rotatedAnnotation = "acmeca.dev/rotated"
	// nextSinceAnnotation is, on the root's Secret, since when the next root has been published.
	nextSinceAnnotation = "acmeca.dev/next-since"

	// Fields of the root's Secret while the next root is being published.
	nextCertField  = "next.crt"
	nextKeyField   = "next.key"
	nextCrossField = "next-cross.crt"
	// Fields of the intermediate's Secret.
	crossField         = "cross.crt"    // the root's certificate by the root before it
	previousRootsField = "previous.crt" // roots before this one, for the trust bundle
)

// maxRetired bounds how many intermediates still sign CRLs.
const maxRetired = 8

// rotation replaces CA key pairs of one issuer, if that is due.
type rotation struct {
	authorities  Authorities
	object       *v1alpha1.AcmeIssuer
	intermediate *corev1.Secret
	now          time.Time
}

// rotate takes the next step of what is due, and gives the intermediate's Secret as it is then. What can't be replaced
// though it is due goes on being used while it can be: the error is for a warning.
func (a Authorities) rotate(ctx context.Context, object *v1alpha1.AcmeIssuer, intermediate *corev1.Secret) (*corev1.Secret, error) {
	r := rotation{authorities: a, object: object, intermediate: intermediate, now: a.Clock.Now()}
	current, err := ca.ParseKeyPair(intermediate.Data[corev1.TLSCertKey], intermediate.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return intermediate, nil // Load says what is wrong with it
	}
	root, err := a.get(ctx, object.Namespace, object.Name+rootSuffix)
	if apierrors.IsNotFound(err) {
		if r.intermediateDue(current) {
			return intermediate, fmt.Errorf("the intermediate is due to be replaced, and the root's Secret %q is not there: put it back", object.Name+rootSuffix)
		}
		return intermediate, nil
	}
	if err != nil {
		return intermediate, err
	}
	if root, err = r.rotateRoot(ctx, root); err != nil {
		return intermediate, err
	}
	if r.belowNext(root) {
		return intermediate, r.promoteRoot(ctx, root)
	}
	if !r.intermediateDue(current) && !r.nextRootDue(root) {
		return intermediate, nil
	}
	if intermediate, err = r.replaceIntermediate(ctx, current, root); err != nil {
		return r.intermediate, err
	}
	if r.intermediate = intermediate; r.belowNext(root) {
		err = r.promoteRoot(ctx, root)
	}
	return intermediate, err
}

// belowNext reports whether the intermediate is one under the next root.
func (r rotation) belowNext(root *corev1.Secret) bool {
	next := root.Data[nextCertField]
	return len(next) > 0 && bytes.Equal(r.intermediate.Data[caField], next)
}

// intermediateDue reports whether the intermediate is to be replaced: it was asked for, or a third of its life is left, or
// less than the longest certificate lasts (but never in the first half of its life).
func (r rotation) intermediateDue(current *ca.KeyPair) bool {
	if r.requested(v1alpha1.RotateIntermediateAnnotation, r.intermediate) {
		return true
	}
	life := current.Certificate.NotAfter.Sub(current.Certificate.NotBefore)
	ahead := life / 3
	for _, p := range r.object.Spec.Profiles {
		ahead = max(ahead, p.Lifetime.Duration)
		if p.MaxLifetime != nil {
			ahead = max(ahead, p.MaxLifetime.Duration)
		}
	}
	return r.now.After(current.Certificate.NotAfter.Add(-min(ahead, life/2)))
}

// requested reports whether a person's request to rotate hasn't been carried out on the Secret.
func (r rotation) requested(annotation string, secret *corev1.Secret) bool {
	token := r.object.Annotations[annotation]
	return token != "" && secret.Annotations[rotatedAnnotation] != token
}

// rotateRoot publishes the next root, where one is due and isn't there yet.
func (r rotation) rotateRoot(ctx context.Context, secret *corev1.Secret) (*corev1.Secret, error) {
	if len(secret.Data[nextCertField]) > 0 {
		return secret, nil
	}
	old, err := ca.ParseKeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return secret, fmt.Errorf("the root's Secret %q: %w", secret.Name, err)
	}
	life := old.Certificate.NotAfter.Sub(old.Certificate.NotBefore)
	if !r.requested(v1alpha1.RotateRootAnnotation, secret) && r.now.Before(old.Certificate.NotAfter.Add(-life/3)) {
		return secret, nil
	}
	config := caConfig(r.object)
	config.Lifetime = r.object.Spec.CA.SelfSigned.RootLifetime.Duration
	next, err := ca.NewRoot(config, r.now)
	if err != nil {
		return secret, err
	}
	cross, err := ca.CrossSign(next.Certificate, old, r.now)
	if err != nil {
		return secret, err
	}
	key, err := next.KeyPEM()
	if err != nil {
		return secret, err
	}
	changed := secret.DeepCopy()
	changed.Data[nextCertField], changed.Data[nextKeyField], changed.Data[nextCrossField] = next.CertificatePEM(), key, ca.EncodeCertificates(cross)
	annotate(changed, nextSinceAnnotation, r.now.UTC().Format(time.RFC3339))
	annotate(changed, rotatedAnnotation, r.object.Annotations[v1alpha1.RotateRootAnnotation])
	if err := r.authorities.Client.Update(ctx, changed); err != nil {
		return secret, err
	}
	logf.FromContext(ctx).Info("next root published", "secret", changed.Name, "subject", next.Certificate.Subject.String(), "notAfter", next.Certificate.NotAfter)
	return changed, nil
}

// nextRootDue reports whether the next root has been published for long enough to be issued from.
func (r rotation) nextRootDue(root *corev1.Secret) bool {
	if len(root.Data[nextCertField]) == 0 {
		return false
	}
	since, err := time.Parse(time.RFC3339, root.Annotations[nextSinceAnnotation])
	return err == nil && !r.now.Before(since.Add(r.object.Spec.CA.SelfSigned.RootOverlap.Duration))
}

// replaceIntermediate makes a new intermediate, under the next root where that is due. The old one's Secret is copied
// before it is overwritten, which is the one write that counts.
func (r rotation) replaceIntermediate(ctx context.Context, current *ca.KeyPair, root *corev1.Secret) (*corev1.Secret, error) {
	certField, keyField := corev1.TLSCertKey, corev1.TLSPrivateKeyKey
	under := r.nextRootDue(root)
	if under {
		certField, keyField = nextCertField, nextKeyField
	}
	signer, err := ca.ParseKeyPair(root.Data[certField], root.Data[keyField])
	if err != nil {
		return nil, fmt.Errorf("the root's Secret %q: %w", root.Name, err)
	}
	old := v1alpha1.CRLShardPrefix(current.Certificate)
	retired := belongingTo(r.object, intermediateSuffix+"-"+strings.TrimSuffix(old, "-"))
	if _, err := r.authorities.createOrGet(ctx, &corev1.Secret{ObjectMeta: retired, Type: r.intermediate.Type, Data: r.intermediate.Data}); err != nil {
		return nil, err
	}
	fresh, err := r.authorities.newIntermediate(r.object, signer)
	if err != nil {
		return nil, err
	}
	changed := r.intermediate.DeepCopy()
	carried := map[string][]byte{crossField: changed.Data[crossField], previousRootsField: changed.Data[previousRootsField]}
	if under {
		carried[crossField] = root.Data[nextCrossField]
		carried[previousRootsField] = slices.Concat(root.Data[corev1.TLSCertKey], carried[previousRootsField])
	}
	changed.Data = fresh.Data
	for field, data := range carried {
		if len(data) > 0 {
			changed.Data[field] = data
		}
	}
	prefixes := append([]string{strings.TrimSuffix(old, "-")}, strings.Fields(changed.Annotations[retiredAnnotation])...)
	annotate(changed, retiredAnnotation, strings.Join(prefixes[:min(len(prefixes), maxRetired)], " "))
	annotate(changed, rotatedAnnotation, r.object.Annotations[v1alpha1.RotateIntermediateAnnotation])
	if err := r.authorities.Client.Update(ctx, changed); err != nil {
		return nil, err
	}
	logf.FromContext(ctx).Info("intermediate replaced", "secret", changed.Name, "retired", retired.Name, "underNextRoot", under)
	return changed, nil
}

// promoteRoot puts the next root in the place of the root, once an intermediate is under it.
func (r rotation) promoteRoot(ctx context.Context, root *corev1.Secret) error {
	changed := root.DeepCopy()
	changed.Data = map[string][]byte{corev1.TLSCertKey: root.Data[nextCertField], corev1.TLSPrivateKeyKey: root.Data[nextKeyField]}
	delete(changed.Annotations, nextSinceAnnotation)
	return r.authorities.Client.Update(ctx, changed)
}

func annotate(object client.Object, name, value string) {
	annotations := object.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[name] = value
	object.SetAnnotations(annotations)
}

// publishedRoots are the roots to trust beside that of the authority itself: the one to come, and those before.
func (a Authorities) publishedRoots(ctx context.Context, object *v1alpha1.AcmeIssuer, intermediate *corev1.Secret) ([]byte, error) {
	roots := intermediate.Data[previousRootsField]
	root, err := a.get(ctx, object.Namespace, object.Name+rootSuffix)
	if client.IgnoreNotFound(err) != nil {
		return nil, err
	}
	if err == nil && !bytes.Equal(root.Data[nextCertField], intermediate.Data[caField]) {
		roots = slices.Concat(root.Data[nextCertField], roots)
	}
	return unexpired(roots, a.Clock.Now()), nil
}

// unexpired leaves out certificates that are of no use any more.
func unexpired(text []byte, now time.Time) []byte {
	certificates, err := ca.ParseCertificates(text)
	if err != nil {
		return nil // none, or nothing that anyone should trust
	}
	var out []byte
	for _, c := range certificates {
		if now.Before(c.NotAfter) {
			out = append(out, ca.EncodeCertificates(c)...)
		}
	}
	return out
}

// retired loads the CAs before this one that still sign CRLs.
func (a Authorities) retired(ctx context.Context, object *v1alpha1.AcmeIssuer, intermediate *corev1.Secret, serialKey []byte) ([]*ca.Authority, error) {
	var authorities []*ca.Authority
	for _, id := range strings.Fields(intermediate.Annotations[retiredAnnotation]) {
		secret, err := a.get(ctx, object.Namespace, object.Name+intermediateSuffix+"-"+id)
		if apierrors.IsNotFound(err) {
			continue // a person took it away
		}
		if err != nil {
			return nil, err
		}
		authority, err := ca.LoadAuthority(material(secret, serialKey), a.Clock.Now())
		if err != nil {
			logf.FromContext(ctx).V(1).Info("a CA before this one signs no CRLs any more", "secret", secret.Name, "reason", err.Error())
			continue
		}
		authorities = append(authorities, authority)
	}
	return authorities, nil
}
