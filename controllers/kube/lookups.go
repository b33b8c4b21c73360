package kube

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// MissingGrace is how long an object waits for an object that it refers to and that the cache does not have yet.
const MissingGrace = 30 * time.Second

// IssuerEnding reports whether an issuer is gone or being deleted. The cache is read first, since every object that waits for
// an issuer asks.
func IssuerEnding(ctx context.Context, cached, live client.Reader, namespace, name string) (bool, error) {
	for _, reader := range []client.Reader{cached, live} {
		issuer := &v1alpha1.AcmeIssuer{}
		err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, issuer)
		if client.IgnoreNotFound(err) != nil {
			return false, err
		}
		if err == nil && issuer.DeletionTimestamp == nil {
			return false, nil
		}
	}
	return true, nil
}

// Read returns an object, or nil if there is none.
func Read[T any, P interface {
	*T
	client.Object
}](ctx context.Context, reader client.Reader, namespace, name string, options ...client.GetOption) (P, error) {
	object := P(new(T))
	err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, object, options...)
	if err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	return object, nil
}

// Annotate sets an annotation of an object.
func Annotate(object client.Object, name, value string) {
	annotations := object.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[name] = value
	object.SetAnnotations(annotations)
}
