package controllers

import (
	"context"
	"maps"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/policy"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Replacements holds orders to what they say of the certificate that they replace (RFC 9773 section 5), whatever the endpoint let
// through: it is one of their account's, and a single order that replaces it is issued.
type Replacements struct {
	// Client reads from the cache.
	Client client.Reader

	mu sync.Mutex
	// held are orders that are being issued, by what they replace, until the cache shows how that ended.
	held map[client.ObjectKey]client.ObjectKey
}

// Fault says why an order can't replace what it names. What isn't known here any more, and has no other to replace it, is
// nothing to hold an order to.
func (r *Replacements) Fault(ctx context.Context, order *v1alpha1.AcmeOrder) (*acme.Problem, error) {
	if order.Spec.Replaces == "" {
		return nil, nil
	}
	id, problem := acme.ParseCertID(order.Spec.Replaces)
	if problem != nil {
		return problem, nil
	}
	replaced, err := r.list(ctx, order, indexCertificate, v1alpha1.SerialText(id.Serial()))
	if err != nil {
		return nil, err
	}
	for i := range replaced {
		if replaced[i].Spec.IssuerRef != order.Spec.IssuerRef || replaced[i].Status.CertificateID != order.Spec.Replaces {
			continue
		}
		if problem := policy.Replaces(&replaced[i], order.Spec.AccountRef.Name, order.Names()); problem != nil {
			return problem, nil
		}
	}
	others, err := r.list(ctx, order, indexReplaces, order.Spec.IssuerRef.Name+"/"+order.Spec.Replaces)
	if err != nil {
		return nil, err
	}
	for i := range others {
		if others[i].UID != order.UID && others[i].Status.State == acme.StateValid {
			return alreadyReplaced(), nil
		}
	}
	return nil, nil
}

// Hold keeps other orders from replacing the same certificate, until Forget is called for this one, which is when the cache
// shows how it ended. So who holds, and finds no fault after that, is the only one.
func (r *Replacements) Hold(order *v1alpha1.AcmeOrder) *acme.Problem {
	if order.Spec.Replaces == "" {
		return nil
	}
	what, who := client.ObjectKey{Namespace: order.Namespace, Name: order.Spec.IssuerRef.Name + "/" + order.Spec.Replaces}, client.ObjectKeyFromObject(order)
	r.mu.Lock()
	defer r.mu.Unlock()
	if holder, ok := r.held[what]; ok && holder != who {
		return alreadyReplaced()
	}
	if r.held == nil {
		r.held = map[client.ObjectKey]client.ObjectKey{}
	}
	r.held[what] = who
	return nil
}

// Forget lets go of what an order holds.
func (r *Replacements) Forget(order client.ObjectKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.held, func(_, holder client.ObjectKey) bool { return holder == order })
}

func (r *Replacements) list(ctx context.Context, order *v1alpha1.AcmeOrder, index, value string) ([]v1alpha1.AcmeOrder, error) {
	var orders v1alpha1.AcmeOrderList
	err := r.Client.List(ctx, &orders, client.InNamespace(order.Namespace), client.MatchingFields{index: value}, client.UnsafeDisableDeepCopy)
	return orders.Items, err
}

func alreadyReplaced() *acme.Problem {
	return acme.NewProblem(acme.AlreadyReplaced, "another order replaces the certificate already")
}
