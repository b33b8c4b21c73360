package authority

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	keyservicev1alpha1 "github.com/acmeca/acmeca/api/keyservice/v1alpha1"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/keyservice"
	"github.com/acmeca/acmeca/internal/pki"
)

// A CA's key is behind crypto.Signer. The field of a Secret that holds the private key in PEM may hold a reference instead: the name
// of a key in the key service. The first certificate beside it pins the public key.

var errNoKeyService = errors.New("the controllers have no key service (--key-service)")

// key returns the private key in a field of a Secret or the key that the field refers to.
func (a Authorities) key(namespace string, certPEM, keyPEM []byte) (crypto.Signer, error) {
	name, ok := keyservice.ParseReference(keyPEM, namespace)
	if !ok {
		return ca.ParseKeyPEM(keyPEM)
	}
	if a.KeyService == nil {
		return nil, fmt.Errorf("the private key is in a key service: %w", errNoKeyService)
	}
	certificates, err := ca.ParseCertificates(certPEM)
	if err != nil {
		return nil, err
	}
	return a.KeyService.Signer(name, certificates[0].PublicKey), nil
}

func (a Authorities) keyPair(namespace string, certPEM, keyPEM []byte) (*ca.KeyPair, error) {
	key, err := a.key(namespace, certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	return ca.NewKeyPair(certPEM, key)
}

func (a Authorities) loadAuthority(namespace string, m ca.Material) (*ca.Authority, error) {
	var err error
	if m.Signer, err = a.key(namespace, m.Chain, m.Key); err != nil {
		return nil, err
	}
	return ca.LoadAuthority(m, a.Clock.Now())
}

// keyTypes are the key algorithms of the spec in the words of a key service.
var keyTypes = map[v1alpha1.KeyAlgorithm]keyservicev1alpha1.KeyType{
	"ECDSA-P256": keyservicev1alpha1.KeyType_KEY_TYPE_ECDSA_P256, "ECDSA-P384": keyservicev1alpha1.KeyType_KEY_TYPE_ECDSA_P384,
	"RSA-2048": keyservicev1alpha1.KeyType_KEY_TYPE_RSA_2048, "RSA-3072": keyservicev1alpha1.KeyType_KEY_TYPE_RSA_3072,
	"RSA-4096": keyservicev1alpha1.KeyType_KEY_TYPE_RSA_4096, "Ed25519": keyservicev1alpha1.KeyType_KEY_TYPE_ED25519,
}

// newKey returns the key of a CA certificate that the operator makes. before is the certificate that it replaces, if any.
func (a Authorities) newKey(
	ctx context.Context, object *v1alpha1.AcmeIssuer, suffix string, before *x509.Certificate,
) (crypto.Signer, error) {
	spec := object.Spec.CA.SelfSigned
	if spec.KeyStore != v1alpha1.KeyStoreKeyService {
		return a.Keys.take(client.ObjectKeyFromObject(object), suffix, ca.KeyAlgorithm(spec.KeyAlgorithm))
	}
	if a.KeyService == nil {
		return nil, errNoKeyService
	}
	key, err := a.KeyService.Generate(ctx, generatedName(object, suffix, before), keyTypes[spec.KeyAlgorithm])
	if err != nil {
		return nil, err // not key, which would be an interface around nil
	}
	return key, nil
}

// generatedName returns the name of a key that the key service makes. It is the same until the certificate is stored, so that a
// repeated step makes no second key.
func generatedName(object *v1alpha1.AcmeIssuer, suffix string, before *x509.Certificate) string {
	predecessor := ""
	if before != nil {
		predecessor = v1alpha1.CAName(before)
	}
	use := []string{string(object.UID), suffix, predecessor, string(object.Spec.CA.SelfSigned.KeyAlgorithm)}
	sum := sha256.Sum256([]byte(strings.Join(use, "/")))
	return keyservice.KeyName(object.Namespace, object.Name+suffix, hex.EncodeToString(sum[:6]))
}

// checkKey returns a fault if the key service answers that it no longer has the key of a CA, or has another one. A service that does
// not answer is no fault yet.
func (a Authorities) checkKey(ctx context.Context, authority *ca.Authority) *issuers.Fault {
	key, ok := authority.Key().(*keyservice.Signer)
	if !ok {
		return nil
	}
	public, err := a.KeyService.PublicKey(ctx, key.Name())
	if failure, ok := errors.AsType[*keyservice.Error](err); ok && failure.Retry {
		return nil
	}
	if err != nil {
		return &issuers.Fault{Reason: v1alpha1.ReasonKeyServiceUnavailable, Message: fmt.Sprintf("the key %q: %v", key.Name(), err)}
	}
	if !pki.EqualKeys(public, key.Public()) {
		return &issuers.Fault{Reason: v1alpha1.ReasonKeyServiceUnavailable, Message: fmt.Sprintf(
			"the key service has another public key under the name %q than that of the CA certificate: put the key back, or use the new one under another name", key.Name())}
	}
	return nil
}
