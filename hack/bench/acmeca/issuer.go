package acmeca

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/local"
)

// issuerTimeout bounds the wait for a new issuer.
const issuerTimeout = time.Minute

// NewIssuer creates an issuer like the default one, unless the issuer exists, and returns its directory once it is ready. change changes
// its spec; nil changes nothing.
func (p *Plane) NewIssuer(ctx context.Context, key client.ObjectKey, change func(*v1alpha1.AcmeIssuerSpec)) (directory string, err error) {
	like := &v1alpha1.AcmeIssuer{}
	if err := p.Objects.Get(ctx, client.ObjectKey{Namespace: local.Namespace, Name: "default"}, like); err != nil {
		return "", err
	}
	issuer := &v1alpha1.AcmeIssuer{Spec: like.Spec}
	issuer.Namespace, issuer.Name = key.Namespace, key.Name
	if change != nil {
		change(&issuer.Spec)
	}
	if err := p.Objects.Create(ctx, issuer); err != nil && !apierrors.IsAlreadyExists(err) {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, issuerTimeout)
	defer cancel()
	for {
		if err := p.Objects.Get(ctx, key, issuer); err != nil {
			return "", err
		}
		if meta.IsStatusConditionTrue(issuer.Status.Conditions, v1alpha1.ConditionReady) {
			return p.Local.BaseURL() + "/" + key.Namespace + "/" + key.Name + "/acme/directory", nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return "", fmt.Errorf("the issuer %s isn't ready: %v", key, issuer.Status.Conditions)
		}
	}
}
