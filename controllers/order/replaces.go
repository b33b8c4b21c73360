package order

import (
	"context"
	"maps"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/internal/ordercache"
	"github.com/acmeca/acmeca/internal/policy"
)

// Replacements holds orders to what they say of the certificate that they replace (RFC 9773 section 5), whatever the ACME server let
// through: it is one of their account's, and a single order that replaces it is issued.
type Replacements struct {
	// Client reads from the cache.
	Client client.Reader
	// Serials finds orders in it.
	Serials *ordercache.SerialIndex

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
	replaced, err := r.certified(ctx, order, id)
	if err != nil {
		return nil, err
	}
	if replaced != nil {
		if problem := policy.Replaces(replaced, order.Spec.AccountRef.Name, order.Names()); problem != nil {
			return problem, nil
		}
	}
	others, err := r.others(ctx, order)
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

// certified is the order of the same issuer that a certificate was issued for; nil for none.
func (r *Replacements) certified(ctx context.Context, order *v1alpha1.AcmeOrder, id acme.CertID) (*v1alpha1.AcmeOrder, error) {
	name, found := r.Serials.Find(order.Namespace, v1alpha1.SerialText(id.Serial()))
	if !found {
		return nil, nil
	}
	replaced := &v1alpha1.AcmeOrder{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: order.Namespace, Name: name}, replaced)
	if err != nil || replaced.Spec.IssuerRef != order.Spec.IssuerRef || replaced.Status.CertificateID != id.String() {
		return nil, client.IgnoreNotFound(err)
	}
	return replaced, nil
}

// others are the orders that replace the same certificate, this one among them.
func (r *Replacements) others(ctx context.Context, order *v1alpha1.AcmeOrder) ([]v1alpha1.AcmeOrder, error) {
	var orders v1alpha1.AcmeOrderList
	err := r.Client.List(ctx, &orders, client.InNamespace(order.Namespace), client.MatchingFields{kube.IndexReplaces: order.Spec.IssuerRef.Name + "/" + order.Spec.Replaces},
		client.UnsafeDisableDeepCopy)
	return orders.Items, err
}

func alreadyReplaced() *acme.Problem {
	return acme.NewProblem(acme.AlreadyReplaced, "another order replaces the certificate already")
}
