package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/issuers"
)

// healthTimeout is shorter than the timeout of a kubelet's probe.
const healthTimeout = 500 * time.Millisecond

// issuersReady fails if there are issuers and none of them has a CA. One broken issuer is no failure, nor are controllers that
// wait to be elected (docs/decisions/0110).
func issuersReady(working <-chan struct{}, reader client.Reader, issuers *issuers.Registry) healthz.Checker {
	return func(r *http.Request) error {
		select {
		case <-working:
		default:
			return nil
		}
		ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
		defer cancel()
		var list v1alpha1.AcmeIssuerList
		if err := reader.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
			return fmt.Errorf("the issuers can't be listed: %w", err)
		}
		for _, issuer := range list.Items {
			if _, ok := issuers.Loaded(issuer.Namespace, issuer.Name); ok {
				return nil
			}
		}
		if len(list.Items) > 0 {
			return errors.New("none of the issuers has a CA")
		}
		return nil
	}
}
