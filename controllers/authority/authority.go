// Package authority loads the CAs of issuers from Secrets, makes self-signed CAs, and rotates their intermediates and roots.
package authority

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/audit"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/keyservice"
	"github.com/acmeca/acmeca/controllers/kube"
)

// The Secrets of a CA that the operator makes, by the suffix of the issuer's name. They have no owner: deleting an issuer
// doesn't destroy its CA, and an issuer that is created again under the same name uses the CA.
const (
	rootSuffix         = "-root"         // kubernetes.io/tls; may be removed from the cluster once the intermediate exists
	intermediateSuffix = "-intermediate" // kubernetes.io/tls, and in ca.crt the root
	serialSuffix       = "-serial"       // the key that makes serial numbers, also for a CA from spec.ca.secretRef

	serialKeyField = "key"
	caField        = "ca.crt"

	// maxCACommonName leaves room for " Intermediate 99" in the 64 bytes of a common name (RFC 5280 appendix A.1).
	maxCACommonName = 48
	// caBackdate is for verifiers whose clocks are behind.
	caBackdate = 5 * time.Minute
)

// Authorities loads the CAs of issuers from Secrets, and makes self-signed CAs.
type Authorities struct {
	// Client reads Secrets past every cache.
	Client client.Client
	Events events.EventRecorder
	Clock  clock.PassiveClock
	// Keys generates the keys of CAs beside the reconciles; nil to generate each key in its reconcile.
	Keys *KeyPool
	// KeyService holds the keys that are not in Secrets; nil for none.
	KeyService *keyservice.Client
}

// createFault returns the fault of a Secret that can't be created. A refusal, such as that of a ResourceQuota, stays until a person
// acts, so it is reported on the issuer.
func createFault(name string, err error) *issuers.Fault {
	if kube.IsRefusal(err) {
		return caUnavailable("Secret %q can't be created: %v", name, err)
	}
	return &issuers.Fault{Transient: err}
}

// keyFault returns the fault of a CA that can't be made. A key that is being generated is no reason for an Event.
func keyFault(field string, err error) *issuers.Fault {
	f := caUnavailable("%s: %v", field, err)
	f.Pending = errors.Is(err, errKeyPending)
	if _, ok := errors.AsType[*keyservice.Error](err); ok {
		f.Reason = v1alpha1.ReasonKeyServiceUnavailable
	}
	return f
}

func caUnavailable(format string, args ...any) *issuers.Fault {
	return &issuers.Fault{Reason: v1alpha1.ReasonCAUnavailable, Message: fmt.Sprintf(format, args...)}
}

// Load sets the CA of an issuer, and replaces the CA if that is due.
func (a Authorities) Load(ctx context.Context, object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer) *issuers.Fault {
	secret, f := a.signingSecret(ctx, object, issuer)
	if f != nil {
		return f
	}
	var root *corev1.Secret
	var rotation error
	if object.Spec.CA.SelfSigned != nil {
		if secret, root, rotation = a.rotate(ctx, object, issuer, secret); apierrors.IsConflict(rotation) {
			return &issuers.Fault{Transient: rotation} // another writer changed the Secret: read it again
		} else if rotation != nil && !errors.Is(rotation, errKeyPending) {
			issuer.Warn("the CA can't be replaced though that is due: %v", rotation)
		}
	}
	serial, f := a.serialKey(ctx, object)
	if f != nil {
		return f
	}
	authority, err := a.loadAuthority(object.Namespace, material(secret, serial))
	if err != nil {
		return caUnavailable("%s: %s %q: %v", caFieldOf(object), cmp.Or(secret.Kind, "Secret"), secret.Name, err)
	}
	if issuer.Retired, err = a.retired(ctx, object, issuer, secret, serial); err != nil {
		return &issuers.Fault{Transient: err}
	}
	issuer.Authority = authority
	issuer.Chain, issuer.Bundle = authority.ChainPEM(), authority.TrustAnchorsPEM()
	if object.Spec.CA.SelfSigned == nil {
		return a.checkKey(ctx, authority)
	}
	if f := a.loadSelfSigned(ctx, object, issuer, selfSigned{secret, root, serial, rotation}); f != nil {
		return f
	}
	return a.checkKey(ctx, authority)
}

// selfSigned are the Secrets of a CA that the operator made, after its rotation.
type selfSigned struct {
	// root is nil if its Secret is absent or has no key.
	intermediate, root *corev1.Secret
	serialKey          []byte
	// rotation is the error of a replacement that is due.
	rotation error
}

// loadSelfSigned sets the chain, the trust bundle, the roots and the revoked certificates of a CA that the operator made. A revoked
// intermediate still signs CRLs, but no certificates.
func (a Authorities) loadSelfSigned(ctx context.Context, object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer, s selfSigned) *issuers.Fault {
	now, current := a.Clock.Now(), issuer.Authority.Certificate()
	cross := unexpired(now, s.intermediate.Data[crossField])
	if isRevoked(object, s.intermediate, current) {
		issuer.Revoked = append(issuer.Revoked, current)
	}
	issuer.Bundle = trustBundle(now, issuer.Authority, s.intermediate, s.root)
	if err := a.loadRoots(ctx, object, issuer, s, cross); err != nil {
		return &issuers.Fault{Transient: err}
	}
	cross = slices.DeleteFunc(cross, func(c *x509.Certificate) bool { return isRevoked(object, s.intermediate, c) })
	issuer.Chain = slices.Concat(issuer.Chain, ca.EncodeCertificates(cross...))
	if !issuer.IsRevoked(current) {
		return nil
	}
	if errors.Is(s.rotation, errKeyPending) {
		return keyFault("spec.ca.selfSigned", s.rotation)
	}
	return caUnavailable("spec.ca.selfSigned: the intermediate %s is revoked, and nothing is issued from it", v1alpha1.SerialText(current.SerialNumber))
}

func material(secret *corev1.Secret, serialKey []byte) ca.Material {
	return ca.Material{
		Chain: secret.Data[corev1.TLSCertKey], Key: secret.Data[corev1.TLSPrivateKeyKey], Roots: secret.Data[caField], SerialKey: serialKey,
	}
}

func caFieldOf(object *v1alpha1.AcmeIssuer) string {
	switch {
	case object.Spec.CA.SecretRef != nil:
		return "spec.ca.secretRef"
	case object.Spec.CA.External != nil:
		return "spec.ca.external"
	}
	return "spec.ca.selfSigned"
}

// signingSecret returns the Secret with the CA that signs, and makes a self-signed CA if it does not exist.
func (a Authorities) signingSecret(
	ctx context.Context, object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer,
) (*corev1.Secret, *issuers.Fault) {
	switch {
	case object.Spec.CA.SecretRef != nil:
		name := object.Spec.CA.SecretRef.Name
		secret, err := a.get(ctx, object.Namespace, name)
		if apierrors.IsNotFound(err) {
			return nil, caUnavailable("spec.ca.secretRef: there is no Secret %q in namespace %q", name, object.Namespace)
		}
		if err != nil {
			return nil, &issuers.Fault{Transient: err}
		}
		if secret.Type != corev1.SecretTypeTLS {
			return nil, caUnavailable("spec.ca.secretRef: Secret %q is of type %q, not %q", name, secret.Type, corev1.SecretTypeTLS)
		}
		return secret, nil
	case object.Spec.CA.SelfSigned != nil:
		secret, err := a.get(ctx, object.Namespace, object.Name+intermediateSuffix)
		if !apierrors.IsNotFound(err) {
			if err != nil {
				return nil, &issuers.Fault{Transient: err}
			}
			return secret, nil
		}
		return a.makeIntermediate(ctx, object, issuer)
	}
	if object.Spec.CA.External != nil {
		return a.external(ctx, object, issuer)
	}
	return nil, issuers.InvalidSpec(fmt.Errorf("spec.ca: selfSigned, secretRef or external must be set"))
}

// makeIntermediate makes an intermediate below the root, and the root if none exists yet.
func (a Authorities) makeIntermediate(
	ctx context.Context, object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer,
) (*corev1.Secret, *issuers.Fault) {
	root, f := a.root(ctx, object)
	if f != nil {
		return nil, f
	}
	secret, pair, err := a.newIntermediate(ctx, object, root, crlURL(issuer, root), nil)
	if err != nil {
		return nil, keyFault("spec.ca.selfSigned", err)
	}
	if err = a.Client.Create(ctx, secret); apierrors.IsAlreadyExists(err) {
		secret, err = a.get(ctx, secret.Namespace, secret.Name)
	} else if err == nil {
		audit.CAKey(ctx, audit.CAKeyMade, object, secret.Name, pair.Certificate, "intermediate")
		if object.Status.IssuingCertificate != nil {
			a.Events.Eventf(object, nil, "Warning", "IntermediateLost", "MakeCA",
				"Secret %q was gone, and a new intermediate was made: CRLs for what the one before it issued can't be signed any more, unless its Secret is restored as a retired one", secret.Name)
		}
	}
	if err != nil {
		return nil, createFault(object.Name+intermediateSuffix, err)
	}
	return secret, nil
}

// crlURL returns the URL of a root's CRL, which the certificates under the root name.
func crlURL(issuer *issuers.Issuer, root *ca.KeyPair) string {
	return issuer.CRLURL(v1alpha1.CAName(root.Certificate))
}

// newIntermediate returns the Secret of a new intermediate under a root, which names the URL of the root's CRL. before is the
// intermediate that it replaces, if any. The caller stores the Secret.
func (a Authorities) newIntermediate(
	ctx context.Context, object *v1alpha1.AcmeIssuer, root *ca.KeyPair, url string, before *x509.Certificate,
) (*corev1.Secret, *ca.KeyPair, error) {
	config := caConfig(object, " Intermediate", before)
	config.CRLURL = url
	config.Lifetime = object.Spec.CA.SelfSigned.IntermediateLifetime.Duration
	var err error
	if config.Key, err = a.newKey(ctx, object, intermediateSuffix, before); err != nil {
		return nil, nil, err
	}
	pair, err := ca.NewIntermediate(config, root, a.Clock.Now())
	if err != nil {
		return nil, nil, err
	}
	secret, err := tlsSecret(object, intermediateSuffix, pair, ca.EncodeCertificates(pair.Certificate, root.Certificate))
	if err != nil {
		return nil, nil, err
	}
	secret.Data[caField] = root.CertificatePEM()
	return secret, pair, nil
}

// root returns the CA that signs the first intermediate, and makes the root if none was ever published.
func (a Authorities) root(ctx context.Context, object *v1alpha1.AcmeIssuer) (*ca.KeyPair, *issuers.Fault) {
	name := object.Name + rootSuffix
	secret, err := a.get(ctx, object.Namespace, name)
	switch {
	case apierrors.IsNotFound(err) && object.Status.CABundle != "":
		// Clients trust the lost root, and would not trust a new one.
		return nil, caUnavailable("spec.ca.selfSigned: the Secrets %q and %q are gone: put them back; an issuer that is deleted and made again begins with a new CA", name, object.Name+intermediateSuffix)
	case apierrors.IsNotFound(err):
		var f *issuers.Fault
		if secret, f = a.makeRoot(ctx, object); f != nil {
			return nil, f
		}
	case err != nil:
		return nil, &issuers.Fault{Transient: err}
	}
	pair, err := a.keyPair(object.Namespace, secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return nil, caUnavailable("spec.ca.selfSigned: Secret %q: %v", secret.Name, err)
	}
	return pair, nil
}

func (a Authorities) makeRoot(ctx context.Context, object *v1alpha1.AcmeIssuer) (*corev1.Secret, *issuers.Fault) {
	config := caConfig(object, "", nil)
	config.Lifetime = object.Spec.CA.SelfSigned.RootLifetime.Duration
	var err error
	if config.Key, err = a.newKey(ctx, object, rootSuffix, nil); err != nil {
		return nil, keyFault("spec.ca.selfSigned", err)
	}
	pair, err := ca.NewRoot(config, a.Clock.Now())
	if err != nil {
		return nil, keyFault("spec.ca.selfSigned", err)
	}
	secret, err := tlsSecret(object, rootSuffix, pair, pair.CertificatePEM())
	if err != nil {
		return nil, caUnavailable("spec.ca.selfSigned: %v", err)
	}
	if err = a.Client.Create(ctx, secret); apierrors.IsAlreadyExists(err) {
		secret, err = a.get(ctx, secret.Namespace, secret.Name)
	} else if err == nil {
		audit.CAKey(ctx, audit.CAKeyMade, object, secret.Name, pair.Certificate, "root")
	}
	if err != nil {
		return nil, createFault(object.Name+rootSuffix, err)
	}
	return secret, nil
}

// caConfig returns the description of the CA certificate that follows before, if any. A number in the common name tells the
// two apart: people see the names in trust stores, and clients choose chains by them.
func caConfig(object *v1alpha1.AcmeIssuer, suffix string, before *x509.Certificate) ca.CAConfig {
	spec := object.Spec.CA.SelfSigned
	name := spec.CommonName
	if name == "" {
		name = object.Name[:min(len(object.Name), maxCACommonName)]
	}
	name += suffix
	if before != nil {
		name = successor(name, before.Subject.CommonName)
	}
	return ca.CAConfig{CommonName: name, Organization: spec.Organization, KeyAlgorithm: ca.KeyAlgorithm(spec.KeyAlgorithm),
		Backdate: caBackdate}
}

// successor returns the name with the number that follows the number in before: "x 2" follows "x". After 99 the name has no
// number again.
func successor(name, before string) string {
	if before == name {
		return name + " 2"
	}
	text, _ := strings.CutPrefix(before, name+" ")
	number, err := strconv.Atoi(text)
	if err != nil || number < 2 || number >= 99 {
		return name
	}
	return name + " " + strconv.Itoa(number+1)
}

// serialKey returns the secret that serial numbers are made with, and makes the secret if it does not exist.
func (a Authorities) serialKey(ctx context.Context, object *v1alpha1.AcmeIssuer) ([]byte, *issuers.Fault) {
	secret, err := a.get(ctx, object.Namespace, object.Name+serialSuffix)
	if apierrors.IsNotFound(err) {
		key := make([]byte, ca.MinSerialKey)
		rand.Read(key)
		secret, err = a.createOrGet(ctx, &corev1.Secret{
			ObjectMeta: belongingTo(object, serialSuffix), Type: corev1.SecretTypeOpaque, Data: map[string][]byte{serialKeyField: key},
		})
		if err != nil {
			return nil, createFault(object.Name+serialSuffix, err)
		}
	}
	if err != nil {
		return nil, &issuers.Fault{Transient: err}
	}
	key := secret.Data[serialKeyField]
	if len(key) < ca.MinSerialKey {
		return nil, caUnavailable("the Secret %q has %d bytes in its field %q, and serial numbers are made with at least %d: put it back, or delete it to have one made",
			secret.Name, len(key), serialKeyField, ca.MinSerialKey)
	}
	return key, nil
}

func (a Authorities) get(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := a.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, secret)
	return secret, err
}

// createOrGet creates a Secret, or returns the Secret that another writer created first under that name.
func (a Authorities) createOrGet(ctx context.Context, secret *corev1.Secret) (*corev1.Secret, error) {
	err := a.Client.Create(ctx, secret)
	if apierrors.IsAlreadyExists(err) {
		return a.get(ctx, secret.Namespace, secret.Name)
	}
	return secret, err
}

func tlsSecret(object *v1alpha1.AcmeIssuer, suffix string, pair *ca.KeyPair, chain []byte) (*corev1.Secret, error) {
	key, err := pair.KeyPEM()
	if err != nil {
		return nil, err
	}
	return &corev1.Secret{
		ObjectMeta: belongingTo(object, suffix), Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: chain, corev1.TLSPrivateKeyKey: key},
	}, nil
}

func belongingTo(object *v1alpha1.AcmeIssuer, suffix string) metav1.ObjectMeta {
	return ctrl.ObjectMeta{Namespace: object.Namespace, Name: object.Name + suffix,
		Labels: map[string]string{v1alpha1.IssuerLabel: object.Name}}
}

// SecretNames returns the names of the Secrets that the operator makes for an issuer.
func (a Authorities) SecretNames(ctx context.Context, object *v1alpha1.AcmeIssuer) []string {
	names := []string{object.Name + rootSuffix, object.Name + serialSuffix, object.Name + intermediateSuffix}
	intermediate := &corev1.Secret{}
	if a.Client.Get(ctx, client.ObjectKey{Namespace: object.Namespace, Name: object.Name + intermediateSuffix}, intermediate) == nil {
		for _, id := range strings.Fields(intermediate.Annotations[retiredAnnotation]) {
			names = append(names, object.Name+intermediateSuffix+"-"+id)
		}
		previous, _ := ca.ParseCertificates(intermediate.Data[previousRootsField]) // written by the operator
		for _, root := range previous {
			names = append(names, object.Name+retiredRootSuffix(root))
		}
	}
	return names
}
