package history

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Settled reports whether the operator is idle: every order has ended, so has every authorization of an account that ended, every
// revocation is in a CRL, and all of this is in the history. The error names the missing part.
func (h *History) Settled(ctx context.Context, c client.Client, namespace string) (bool, error) {
	if name := h.unfinished(); name != "" { // spares the lists, which are long
		return false, fmt.Errorf("order %s has not ended", name)
	}
	var accounts v1alpha1.AcmeAccountList
	if err := c.List(ctx, &accounts, client.InNamespace(namespace)); err != nil {
		return false, err
	}
	if name := h.outliving(accounts.Items); name != "" {
		return false, fmt.Errorf("authorization %s has not ended with its account", name)
	}
	var orders v1alpha1.AcmeOrderList
	if err := c.List(ctx, &orders, client.InNamespace(namespace)); err != nil {
		return false, err
	}
	var authorizations v1alpha1.AcmeAuthorizationList
	if err := c.List(ctx, &authorizations, client.InNamespace(namespace)); err != nil {
		return false, err
	}
	seen := h.revisions()
	for i := range orders.Items {
		order := &orders.Items[i]
		if !finished(order.Status.State) {
			return false, fmt.Errorf("order %s is %q", order.Name, order.Status.State)
		}
		if order.DeletionTimestamp != nil {
			return false, fmt.Errorf("order %s is being deleted", order.Name)
		}
		if !seen[order.ResourceVersion] {
			return false, fmt.Errorf("order %s is not in the history", order.Name)
		}
	}
	for i := range authorizations.Items {
		if !seen[authorizations.Items[i].ResourceVersion] {
			return false, fmt.Errorf("authorization %s is not in the history", authorizations.Items[i].Name)
		}
	}
	if !h.Listed() {
		return false, errors.New("a revocation is in no CRL")
	}
	return true, nil
}

// unfinished returns the name of an order that has not ended, or "".
func (h *History) unfinished() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, version := range last(h.Orders) {
		if !version.Deleted && !finished(version.Object.Status.State) {
			return name
		}
	}
	return ""
}

// outliving returns the name of an authorization that has not ended, although its account has, or "".
func (h *History) outliving(accounts []v1alpha1.AcmeAccount) string {
	ended := map[string]bool{}
	for i := range accounts {
		ended[accounts[i].Name] = accounts[i].Status.State.Final()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, version := range last(h.Authorizations) {
		if authz := version.Object; !version.Deleted && ended[authz.Spec.AccountRef.Name] && !authz.Status.State.Final() {
			return name
		}
	}
	return ""
}

// last returns the last version of each object, by name.
func last[T client.Object](versions []Version[T]) map[string]Version[T] {
	found := map[string]Version[T]{}
	for _, version := range versions {
		found[version.Object.GetName()] = version
	}
	return found
}

func (h *History) revisions() map[string]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := map[string]bool{}
	for _, version := range h.Orders {
		seen[strconv.FormatUint(version.Revision, 10)] = true
	}
	for _, version := range h.Authorizations {
		seen[strconv.FormatUint(version.Revision, 10)] = true
	}
	return seen
}

// Listed reports whether every revocation has been in each CRL that has to list it.
func (h *History) Listed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	listed := map[string]bool{} // by CRL and serial
	for _, crl := range h.CRLs {
		for serial := range crl.Serials {
			listed[crl.Shard+" "+serial] = true
		}
	}
	for _, version := range h.Orders {
		if version.Object.Status.RevokedAt == nil {
			continue
		}
		for _, shard := range owingCRLs(version.Object) {
			if !listed[shard+" "+version.Object.Status.Serial] {
				return false
			}
		}
	}
	return true
}
