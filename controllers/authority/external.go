package authority

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/keyservice"
	"github.com/acmeca/acmeca/internal/pki"
)

// external returns the CA of spec.ca.external in the form of a Secret: the chain that a person provides, and the reference to its
// key. Without a chain it sets the certificate signing request, and returns a fault.
func (a Authorities) external(ctx context.Context, object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer) (*corev1.Secret, *issuers.Fault) {
	if a.KeyService == nil {
		return nil, caUnavailable("spec.ca.external: %v", errNoKeyService)
	}
	spec := object.Spec.CA.External
	chain, where, err := a.chain(ctx, object.Namespace, spec.Chain)
	if err != nil {
		return nil, &issuers.Fault{Transient: err}
	}
	public, f := a.pin(ctx, object, issuer, chain)
	if f != nil {
		return nil, f
	}
	key := a.KeyService.Signer(keyservice.KeyName(object.Namespace, spec.KeyName), public)
	if err := requestCertificate(object, issuer, key); err != nil {
		return nil, keyFault("spec.ca.external", err)
	}
	if len(chain) == 0 {
		return nil, caUnavailable("spec.ca.external: waiting for the CA certificate: have the request in status.external.certificateRequest signed, and put the certificate and those above it into %s", where)
	}
	secret := &corev1.Secret{Data: map[string][]byte{corev1.TLSCertKey: chain, corev1.TLSPrivateKeyKey: key.KeyPEM()}}
	secret.Kind, secret.Name = kindOf(spec.Chain)
	return secret, nil
}

func kindOf(source *v1alpha1.ChainSource) (kind, name string) {
	if source.SecretRef != nil {
		return "Secret", source.SecretRef.Name
	}
	return "ConfigMap", source.ConfigMapRef.Name
}

// chain returns the certificates that a source names, empty if there are none yet, and the source's name.
func (a Authorities) chain(ctx context.Context, namespace string, source *v1alpha1.ChainSource) (chain []byte, where string, err error) {
	if source == nil {
		return nil, "an object that spec.ca.external.chain names", nil
	}
	kind, name := kindOf(source)
	where = fmt.Sprintf("the entry %q of the %s %q", source.Key, kind, name)
	if source.SecretRef != nil {
		secret, err := a.get(ctx, namespace, name)
		return secret.Data[source.Key], where, client.IgnoreNotFound(err)
	}
	configMap := &corev1.ConfigMap{}
	err = a.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, configMap)
	if apierrors.IsNotFound(err) {
		return nil, where, nil
	}
	return []byte(configMap.Data[source.Key]), where, err
}

// pin returns the public key of spec.ca.external, and sets the status that pins it. The key service is believed once: a key that is
// pinned must be in the chain, and the service is asked only if there is no chain yet.
func (a Authorities) pin(
	ctx context.Context, object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer, chain []byte,
) (crypto.PublicKey, *issuers.Fault) {
	name := object.Spec.CA.External.KeyName
	pinned := object.Status.External
	if pinned != nil && pinned.KeyName == name {
		issuer.External = pinned.DeepCopy()
		if certificates, err := ca.ParseCertificates(chain); err == nil {
			if fingerprint(certificates[0].PublicKey) != pinned.PublicKeySHA256 {
				return nil, caUnavailable("spec.ca.external: the chain's first certificate is for another key than %q: its public key must be that of status.external.certificateRequest", name)
			}
			return certificates[0].PublicKey, nil
		}
	}
	public, err := a.KeyService.PublicKey(ctx, keyservice.KeyName(object.Namespace, name))
	if err != nil {
		return nil, keyFault("spec.ca.external", err)
	}
	if issuer.External == nil {
		issuer.External = &v1alpha1.ExternalStatus{KeyName: name, PublicKeySHA256: fingerprint(public)}
	}
	if issuer.External.PublicKeySHA256 != fingerprint(public) {
		return nil, caUnavailable("spec.ca.external: the key service has another public key under the name %q than that of status.external.publicKeySHA256: put the key back, or use the new one under another name", name)
	}
	return public, nil
}

// fingerprint returns the SHA-256 of a public key's SubjectPublicKeyInfo.
func fingerprint(public crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// requestCertificate sets the request for the CA certificate, and makes it if the status has none for the key and the subject.
func requestCertificate(object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer, key crypto.Signer) error {
	spec := object.Spec.CA.External
	subject := ca.CASubject(spec.CommonName, spec.Organization)
	if spec.CommonName == "" {
		subject.CommonName = object.Name[:min(len(object.Name), maxCACommonName)]
	}
	if block, _ := pem.Decode([]byte(issuer.External.CertificateRequest)); block != nil {
		request, err := x509.ParseCertificateRequest(block.Bytes)
		if err == nil && pki.EqualKeys(request.PublicKey, key.Public()) && request.Subject.String() == subject.String() {
			return nil
		}
	}
	request, err := ca.NewCARequest(subject, key)
	if err != nil {
		failure, ok := errors.AsType[*keyservice.Error](err)
		if ok && failure.Retry && object.Status.IssuingCertificate != nil {
			return nil // which a CA that has its certificate does not need
		}
		return err
	}
	issuer.External.CertificateRequest = string(request)
	return nil
}
