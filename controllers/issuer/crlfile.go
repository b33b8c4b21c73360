package issuer

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/internal/crlstore"
)

// maxCRLFile bounds the CRLs in a trust ConfigMap, in bytes of PEM. The API server bounds the data of a ConfigMap to 1 MiB, and the
// roots are in the same one.
const maxCRLFile = 1<<20 - 128<<10

// crlFile returns the complete CRLs of all CAs of an issuer in PEM, or "" while the issuing CA or a retired one has none.
func (t Trust) crlFile(ctx context.Context, object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer) (string, error) {
	var signing []*x509.Certificate
	for _, authority := range issuer.Authorities() {
		signing = append(signing, authority.Certificate())
	}
	others, err := ca.ParseCertificates(issuer.Bundle)
	if err != nil {
		return "", err
	}
	var text bytes.Buffer
	for n, authority := range v1alpha1.DistinctCAs(append(append(signing, issuer.Authority.FullChain()...), others...)) {
		head := &corev1.ConfigMap{}
		name := v1alpha1.CRLConfigMap(object.Name, v1alpha1.CAName(authority))
		if err := t.Client.Get(ctx, client.ObjectKey{Namespace: object.Namespace, Name: name}, head); client.IgnoreNotFound(err) != nil {
			return "", err
		}
		crl := head.BinaryData[v1alpha1.CRLField]
		inParts := !crlstore.InHead(head)
		if crl == nil && !inParts && n < len(signing) {
			return "", nil // not published yet
		}
		if crl != nil {
			text.Write(v1alpha1.EncodeCRL(crl))
		}
		if inParts || text.Len() > maxCRLFile {
			return fmt.Sprintf("# The CRLs of this issuer do not fit into a ConfigMap. They are at %s/%s\n", issuer.PlainBase, acme.CRLPrefix+acme.CRLFile), nil
		}
	}
	return text.String(), nil
}
