package authority

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/audit"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/kube"
)

// A self-signed CA is replaced without an outage. Each step is one write of a Secret. The contents of the Secrets determine
// the next step, so an interrupted step is repeated:
//
//   - An intermediate is replaced ahead of its expiry, or on request. The Secret of the old one is copied first, and its
//     key signs CRLs for the certificates that it issued until it expires.
//   - A root is replaced in two steps. First the new one is made, cross-signed by the old one, and published in the trust
//     bundle; only after spec.ca.selfSigned.rootOverlap an intermediate under the new root is made, and the new root
//     replaces the old one. Clients then get a chain that leads to either root. The old one's key signs its CRL until it
//     expires.
//   - An intermediate that is revoked (spec.ca.selfSigned.revoked) is replaced at once. The root's CRL lists it.
const (
	// retiredAnnotation lists, on the intermediate's Secret, the CRL shard prefixes of those before it, whose Secrets have
	// the prefix in their names.
	retiredAnnotation = "acmeca.dev/retired"
	// rotatedAnnotation holds, on a Secret, the last request that was carried out.
	rotatedAnnotation = "acmeca.dev/rotated"

	// nextCertField and the two below are fields of the root's Secret while the next root is being published.
	nextCertField  = "next.crt"
	nextKeyField   = "next.key"
	nextCrossField = "next-cross.crt"
	// crossField and the one below are fields of the intermediate's Secret.
	crossField         = "cross.crt"    // the root's certificate by the root before it, and so on
	previousRootsField = "previous.crt" // roots before this one, for the trust bundle
)

const (
	// MaxRetired bounds how many intermediates still sign CRLs. Only requests to rotate can reach the bound.
	MaxRetired = 16
	// maxCross bounds the cross-certificates of a chain, since some clients accept short chains only.
	maxCross = 2
)

// rotation replaces the CA key pairs of one issuer, if that is due.
type rotation struct {
	authorities  Authorities
	object       *v1alpha1.AcmeIssuer
	issuer       *issuers.Issuer
	intermediate *corev1.Secret
	// current is the key pair in the intermediate's Secret.
	current *ca.KeyPair
	now     time.Time
}

// rotate takes the next step that is due, and returns the Secrets of intermediate and root after the step. root is nil if its
// Secret is absent or has no key. A CA whose replacement failed stays in use while it is valid: the error is for a warning. rotate
// sets when the issuer's next root will be due.
func (a Authorities) rotate(
	ctx context.Context, object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer, intermediate *corev1.Secret,
) (_, root *corev1.Secret, err error) {
	current, err := a.keyPair(object.Namespace, intermediate.Data[corev1.TLSCertKey], intermediate.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return intermediate, nil, nil //nolint:nilerr // Load reports why it is invalid
	}
	if intermediate, err = a.noteRevoked(ctx, object, intermediate, current.Certificate); err != nil {
		return intermediate, nil, err
	}
	r := rotation{authorities: a, object: object, issuer: issuer, intermediate: intermediate, current: current, now: a.Clock.Now()}
	root, err = a.get(ctx, object.Namespace, object.Name+rootSuffix)
	if apierrors.IsNotFound(err) || err == nil && len(root.Data[corev1.TLSPrivateKeyKey]) == 0 {
		if why := r.intermediateDue(); why != "" {
			return intermediate, nil, fmt.Errorf("the intermediate is to be replaced (%s), and the root's key is missing: put Secret %q back", why, object.Name+rootSuffix)
		}
		return intermediate, nil, nil
	}
	if err != nil {
		return intermediate, nil, err
	}
	roots, err := a.parseRoots(root)
	if err != nil {
		return intermediate, root, err
	}
	err = r.step(ctx, roots)
	if due := r.nextRootDue(roots); r.now.Before(due) {
		issuer.NextRootDue = due
	}
	return r.intermediate, roots.secret, err
}

// step takes the step that is due, if any.
func (r *rotation) step(ctx context.Context, roots *rootPairs) error {
	switch {
	case roots.next != nil && r.isUnder(roots.next):
		return r.promoteRoot(ctx, roots)
	case !r.isUnder(roots.current):
		return fmt.Errorf("the root's Secret %q holds another root than that above the intermediate: put the right one back", roots.secret.Name)
	}
	if err := r.publishNext(ctx, roots); err != nil {
		return err
	}
	signer, why := roots.current, r.intermediateDue()
	if roots.next != nil && r.isPublished(roots.next) && !r.now.Before(r.nextRootDue(roots)) {
		signer, why = roots.next, "the next root has been published for long enough"
	}
	if why == "" {
		return nil
	}
	if err := r.replaceIntermediate(ctx, roots, signer, why); err != nil {
		return err
	}
	if signer == roots.next {
		return r.promoteRoot(ctx, roots)
	}
	return nil
}

// rootPairs holds the key pairs in the root's Secret.
type rootPairs struct {
	secret *corev1.Secret
	// current is the root, next the one that is being published; nil if none is.
	current, next *ca.KeyPair
}

func (a Authorities) parseRoots(secret *corev1.Secret) (*rootPairs, error) {
	roots := &rootPairs{secret: secret}
	var err error
	if roots.current, err = a.keyPair(secret.Namespace, secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey]); err != nil {
		return nil, fmt.Errorf("the root's Secret %q: %w", secret.Name, err)
	}
	if len(secret.Data[nextCertField]) == 0 {
		return roots, nil
	}
	if roots.next, err = a.keyPair(secret.Namespace, secret.Data[nextCertField], secret.Data[nextKeyField]); err != nil {
		return nil, fmt.Errorf("the root's Secret %q: the next root: %w", secret.Name, err)
	}
	return roots, nil
}

// isUnder reports whether a root signed the intermediate.
func (r *rotation) isUnder(root *ca.KeyPair) bool {
	return r.current.Certificate.CheckSignatureFrom(root.Certificate) == nil
}

// intermediateDue returns why the intermediate is due for replacement; "" if it is not. It is due if it is revoked, on request, if
// less than a third of its life is left, or if less than the longest certificate lifetime is left (but never in the first half of
// its life).
func (r *rotation) intermediateDue() string {
	if r.revoked() {
		return "it is revoked"
	}
	if r.requested(v1alpha1.RotateIntermediateAnnotation, r.intermediate) {
		return "it was asked for"
	}
	end := r.current.Certificate.NotAfter
	life := end.Sub(r.current.Certificate.NotBefore)
	ahead := life / 3
	for _, p := range r.object.Spec.Profiles {
		ahead = max(ahead, p.Lifetime.Duration)
		if p.MaxLifetime != nil {
			ahead = max(ahead, p.MaxLifetime.Duration)
		}
	}
	if r.now.After(end.Add(-min(ahead, life/2))) {
		return "it expires at " + end.UTC().Format(time.RFC3339)
	}
	return ""
}

func (r *rotation) revoked() bool { return isRevoked(r.object, r.intermediate, r.current.Certificate) }

// requested reports whether a person's request to rotate hasn't been carried out on the Secret.
func (r *rotation) requested(annotation string, secret *corev1.Secret) bool {
	token := r.object.Annotations[annotation]
	return token != "" && secret.Annotations[rotatedAnnotation] != token
}

// publishNext makes the next root, if one is due and does not exist yet.
func (r *rotation) publishNext(ctx context.Context, roots *rootPairs) error {
	end := roots.current.Certificate.NotAfter
	life := end.Sub(roots.current.Certificate.NotBefore)
	why := "the root expires at " + end.UTC().Format(time.RFC3339)
	switch {
	case roots.next != nil:
		return nil
	case r.requested(v1alpha1.RotateRootAnnotation, roots.secret):
		why = "it was asked for"
	case r.now.Before(end.Add(-life / 3)):
		return nil
	}
	config := caConfig(r.object, "", roots.current.Certificate)
	config.Lifetime = r.object.Spec.CA.SelfSigned.RootLifetime.Duration
	var err error
	if config.Key, err = r.authorities.newKey(ctx, r.object, rootSuffix, roots.current.Certificate); err != nil {
		return err
	}
	next, err := ca.NewRoot(config, r.now)
	if err != nil {
		return err
	}
	cross, err := ca.CrossSign(next.Certificate, roots.current, crlURL(r.issuer, roots.current), r.now)
	if err != nil {
		return err
	}
	key, err := next.KeyPEM()
	if err != nil {
		return err
	}
	changed := roots.secret.DeepCopy()
	changed.Data[nextCertField], changed.Data[nextKeyField] = next.CertificatePEM(), key
	changed.Data[nextCrossField] = ca.EncodeCertificates(cross)
	r.carriedOut(v1alpha1.RotateRootAnnotation, changed)
	if err := r.authorities.Client.Update(ctx, changed); err != nil {
		return err
	}
	roots.secret, roots.next = changed, next
	audit.CAKey(ctx, audit.CAKeyMade, r.object, changed.Name, next.Certificate, "next root: "+why)
	r.authorities.Events.Eventf(r.object, nil, "Normal", "NextRootMade", "Rotate", "a new root is published for clients to trust: %s", why)
	return nil
}

// isPublished reports whether the status has a root. Clients read the roots to trust there.
func (r *rotation) isPublished(next *ca.KeyPair) bool {
	return strings.Contains(r.object.Status.CABundle, string(next.CertificatePEM()))
}

// nextRootDue returns when the next root will have been published for long enough to issue from: for rootOverlap, or half of
// the time that the root had left if that is shorter. It returns zero if there is no next root.
func (r *rotation) nextRootDue(roots *rootPairs) time.Time {
	if roots.next == nil {
		return time.Time{}
	}
	since := roots.next.Certificate.NotBefore.Add(caBackdate)
	left := roots.current.Certificate.NotAfter.Sub(since)
	overlap := ptr.Deref(r.object.Spec.CA.SelfSigned.RootOverlap, metav1.Duration{}) // the API server sets its default
	return since.Add(min(overlap.Duration, left/2))
}

// replaceIntermediate makes a new intermediate under a root. It copies the old one's Secret before it overwrites the Secret.
// Only the overwrite replaces the intermediate.
func (r *rotation) replaceIntermediate(ctx context.Context, roots *rootPairs, signer *ca.KeyPair, why string) error {
	requested := r.revoked() || r.requested(v1alpha1.RotateIntermediateAnnotation, r.intermediate)
	if signer == roots.current && !requested && !signer.Certificate.NotAfter.After(r.current.Certificate.NotAfter) {
		return nil // a new one would last no longer
	}
	prefixes, err := r.stillSigning(ctx)
	if err != nil {
		return err
	}
	if len(prefixes) >= MaxRetired && !r.revoked() {
		return fmt.Errorf("the intermediate can't be replaced: %d retired ones still sign CRLs, which is the bound; delete the Secret of a retired one whose certificates are not used any more", len(prefixes))
	}
	old := v1alpha1.CAName(r.current.Certificate)
	retired := belongingTo(r.object, intermediateSuffix+"-"+old)
	if r.revoked() {
		retired.Annotations = map[string]string{revokedAnnotation: v1alpha1.SerialText(r.current.Certificate.SerialNumber)}
	}
	if _, err := r.authorities.createOrGet(ctx,
		&corev1.Secret{ObjectMeta: retired, Type: r.intermediate.Type, Data: r.intermediate.Data}); err != nil {
		return err
	}
	fresh, pair, err := r.authorities.newIntermediate(ctx, r.object, signer, crlURL(r.issuer, signer), r.current.Certificate)
	if err != nil {
		return err
	}
	changed := r.intermediate.DeepCopy()
	cross, previous := changed.Data[crossField], changed.Data[previousRootsField]
	if signer == roots.next {
		cross = slices.Concat(roots.secret.Data[nextCrossField], cross)
		previous = slices.Concat(roots.current.CertificatePEM(), previous)
	}
	changed.Data = fresh.Data
	for field, certificates := range map[string][]*x509.Certificate{
		crossField: first(maxCross, unexpired(r.now, cross)), previousRootsField: unexpired(r.now, previous),
	} {
		if len(certificates) > 0 {
			changed.Data[field] = ca.EncodeCertificates(certificates...)
		}
	}
	kube.Annotate(changed, retiredAnnotation, strings.Join(append([]string{old}, prefixes...), " "))
	r.carriedOut(v1alpha1.RotateIntermediateAnnotation, changed)
	if err := r.authorities.Client.Update(ctx, changed); err != nil {
		return err
	}
	r.intermediate, r.current = changed, pair
	audit.CAKey(ctx, audit.CAKeyReplaced, r.object, changed.Name, pair.Certificate, "intermediate: "+why)
	r.authorities.Events.Eventf(r.object, nil, "Normal", "IntermediateReplaced", "Rotate",
		"certificates are issued from a new intermediate: %s", why)
	return nil
}

// promoteRoot replaces the root by the next root, once an intermediate is under it. The old root's key moves to a Secret of its own,
// and signs CRLs alone.
func (r *rotation) promoteRoot(ctx context.Context, roots *rootPairs) error {
	retired := &corev1.Secret{ObjectMeta: belongingTo(r.object, retiredRootSuffix(roots.current.Certificate)), Type: roots.secret.Type,
		Data: map[string][]byte{
			corev1.TLSCertKey: roots.secret.Data[corev1.TLSCertKey], corev1.TLSPrivateKeyKey: roots.secret.Data[corev1.TLSPrivateKeyKey],
		}}
	if _, err := r.authorities.createOrGet(ctx, retired); err != nil {
		return err
	}
	changed := roots.secret.DeepCopy()
	changed.Data = map[string][]byte{corev1.TLSCertKey: roots.secret.Data[nextCertField],
		corev1.TLSPrivateKeyKey: roots.secret.Data[nextKeyField]}
	if err := r.authorities.Client.Update(ctx, changed); err != nil {
		return err
	}
	audit.CAKey(ctx, audit.CAKeyReplaced, r.object, changed.Name, roots.next.Certificate, "root: an intermediate is under it")
	roots.secret, roots.current, roots.next = changed, roots.next, nil
	return nil
}

// carriedOut notes on a Secret the request that was carried out.
func (r *rotation) carriedOut(annotation string, secret *corev1.Secret) {
	if token := r.object.Annotations[annotation]; token != "" {
		kube.Annotate(secret, rotatedAnnotation, token)
	}
}

// stillSigning lists the retired intermediates whose Secrets exist and have not expired.
func (r *rotation) stillSigning(ctx context.Context) ([]string, error) {
	var prefixes []string
	for _, id := range strings.Fields(r.intermediate.Annotations[retiredAnnotation]) {
		secret, err := r.authorities.get(ctx, r.object.Namespace, r.object.Name+intermediateSuffix+"-"+id)
		if client.IgnoreNotFound(err) != nil {
			return nil, err
		}
		if certificates, parse := ca.ParseCertificates(secret.Data[corev1.TLSCertKey]); err == nil && parse == nil &&
			!r.now.After(certificates[0].NotAfter) {
			prefixes = append(prefixes, id)
		}
	}
	return prefixes, nil
}

func first[T any](n int, list []T) []T { return list[:min(n, len(list))] }

// trustBundle returns the PEM of the roots to trust: the authority's own, the next root, and the previous roots.
func trustBundle(now time.Time, authority *ca.Authority, intermediate, root *corev1.Secret) []byte {
	roots := authority.TrustAnchors()
	if root != nil {
		roots = append(roots, unexpired(now, root.Data[nextCertField])...)
	}
	roots = append(roots, unexpired(now, intermediate.Data[previousRootsField])...)
	var bundle []*x509.Certificate
	for _, c := range roots {
		if !slices.ContainsFunc(bundle, c.Equal) {
			bundle = append(bundle, c)
		}
	}
	return ca.EncodeCertificates(bundle...)
}

// unexpired parses certificates and drops the expired ones. It returns none if the text can't be parsed, since nobody should
// trust such text.
func unexpired(now time.Time, text []byte) []*x509.Certificate {
	certificates, err := ca.ParseCertificates(text)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(certificates, func(c *x509.Certificate) bool { return now.After(c.NotAfter) })
}

// retired loads the previous CAs that still sign CRLs: the intermediates that the operator replaced, and those in
// spec.ca.retired.
func (a Authorities) retired(
	ctx context.Context, object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer, signing *corev1.Secret, serialKey []byte,
) ([]*ca.Authority, error) {
	var authorities []*ca.Authority
	load := func(name string, complain func(format string, args ...any)) error {
		secret, err := a.get(ctx, object.Namespace, name)
		if client.IgnoreNotFound(err) != nil {
			return err
		}
		var authority *ca.Authority
		if err == nil {
			authority, err = a.loadAuthority(object.Namespace, material(secret, serialKey))
		}
		if err != nil {
			complain("the retired CA in Secret %q signs no CRLs: %v", name, err)
			return nil
		}
		authorities = append(authorities, authority)
		return a.addRevoked(ctx, object, issuer, secret, authority.Certificate())
	}
	if object.Spec.CA.SelfSigned != nil {
		expected := func(format string, args ...any) { // it has expired, or a person deleted it
			logf.FromContext(ctx).V(1).Info(fmt.Sprintf(format, args...))
		}
		for _, id := range strings.Fields(signing.Annotations[retiredAnnotation]) {
			if err := load(object.Name+intermediateSuffix+"-"+id, expected); err != nil {
				return nil, err
			}
		}
	}
	for _, ref := range object.Spec.CA.Retired {
		if err := load(ref.Name, issuer.Warn); err != nil {
			return nil, err
		}
	}
	return authorities, nil
}

// addRevoked adds a retired intermediate that the operator made to the issuer's revoked CA certificates if a person revoked it.
func (a Authorities) addRevoked(
	ctx context.Context, object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer, secret *corev1.Secret, certificate *x509.Certificate,
) error {
	if object.Spec.CA.SelfSigned == nil {
		return nil
	}
	secret, err := a.noteRevoked(ctx, object, secret, certificate)
	if err != nil {
		return err
	}
	if isRevoked(object, secret, certificate) {
		issuer.Revoked = append(issuer.Revoked, certificate)
	}
	return nil
}
