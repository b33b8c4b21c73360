package order

import (
	"context"
	"crypto"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/internal/jws"
)

// accountKeyFault keeps the keys of accounts, of any issuer, out of certificates (RFC 8555 section 11.1).
func accountKeyFault(ctx context.Context, reader client.Reader, certificateKey crypto.PublicKey) (*acme.Problem, error) {
	key, problem := jws.NewKey(certificateKey)
	if problem != nil {
		return nil, nil //nolint:nilerr // no account can have such a key
	}
	var accounts v1alpha1.AcmeAccountList
	err := reader.List(ctx, &accounts, client.MatchingFields{kube.IndexThumbprint: key.Thumbprint()}, client.Limit(1), client.UnsafeDisableDeepCopy)
	if err != nil || len(accounts.Items) == 0 {
		return nil, err
	}
	return acme.NewProblem(acme.BadCSR, "the certificate's key is the key of an account; use another one"), nil
}
