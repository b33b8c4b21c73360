package plugin

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

const (
	// pageSize is the number of objects in a page, as in kubectl.
	pageSize = 500
	// leanPageSize is the number of objects in a page of table rows or metadata. A page costs the API server as much as a few thousand
	// rows, so large pages take a fifth of the time. A page has about 1 MB.
	leanPageSize = 5000
)

// stateField is the selectable field of an order's state.
const stateField = "status.state"

// issuerField is the selectable field of an order's issuer.
const issuerField = "spec.issuerRef.name"

// pages lists objects in pages until there are no more, or until visit returns false.
func pages[T any, L interface {
	*T
	client.ObjectList
}](ctx context.Context, kube client.Reader, visit func(L) (more bool), opts ...client.ListOption) error {
	for token := ""; ; {
		list := L(new(T))
		if err := kube.List(ctx, list, append(slices.Clone(opts), client.Limit(pageSize), client.Continue(token))...); err != nil {
			return err
		}
		if token = list.GetContinue(); !visit(list) || token == "" {
			return nil
		}
	}
}

// issuer returns the issuer named by args, or the only issuer in the namespace.
func (o *options) issuer(ctx context.Context, args []string) (*v1alpha1.AcmeIssuer, error) {
	if len(args) > 0 && args[0] != "" {
		issuer := &v1alpha1.AcmeIssuer{}
		return issuer, o.kube.Get(ctx, o.objectKey(strings.TrimPrefix(args[0], "issuer/")), issuer)
	}
	var all v1alpha1.AcmeIssuerList
	if err := o.kube.List(ctx, &all, client.InNamespace(o.namespace)); err != nil {
		return nil, err
	}
	switch len(all.Items) {
	case 0:
		return nil, fmt.Errorf("no AcmeIssuer in namespace %q: set the namespace with -n%s", o.namespace, o.elsewhere(ctx))
	case 1:
		return &all.Items[0], nil
	}
	var names []string
	for _, issuer := range all.Items {
		names = append(names, issuer.Name)
	}
	return nil, fmt.Errorf("namespace %q has several issuers, choose one: %s", o.namespace, strings.Join(names, ", "))
}

// elsewhere lists the namespaces with issuers, if the user may list issuers.
func (o *options) elsewhere(ctx context.Context) string {
	var all v1alpha1.AcmeIssuerList
	if err := o.kube.List(ctx, &all, client.Limit(pageSize)); err != nil || len(all.Items) == 0 {
		return ""
	}
	var namespaces []string
	for _, issuer := range all.Items {
		namespaces = append(namespaces, issuer.Namespace)
	}
	slices.Sort(namespaces)
	return " (found in " + strings.Join(slices.Compact(namespaces), ", ") + ")"
}

var serialText = regexp.MustCompile(`^(0[xX])?[0-9a-fA-F]{2}([: ]?[0-9a-fA-F]{1,2}){3,19}$`)

// order finds an order by its name, by its certificate's serial number or file, or by an identifier. Of several orders for an identifier it
// returns the newest.
func (o *options) order(ctx context.Context, name string) (*v1alpha1.AcmeOrder, error) {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "order/"), "acmeorder/")
	if order, err := get[v1alpha1.AcmeOrder](ctx, o, name); order != nil || err != nil {
		return order, err
	}
	serial, err := serialOf(name)
	if err != nil {
		return nil, err
	}
	if serial != "" {
		var found v1alpha1.AcmeOrderList
		if err := o.kube.List(ctx, &found, client.InNamespace(o.namespace), client.MatchingFields{"status.serial": serial}); err != nil {
			return nil, err
		}
		if len(found.Items) > 0 {
			return &found.Items[0], nil
		}
		return nil, fmt.Errorf("no order in namespace %q has a certificate with serial number %s", o.namespace, serial)
	}
	if isIdentifier(name) {
		orders, err := o.ordersFor(ctx, false, name, nil)
		if err != nil {
			return nil, err
		}
		if len(orders) > 0 {
			return &orders[0], nil
		}
	}
	return nil, fmt.Errorf("namespace %q has no order %q, and that is no serial number, certificate file or ordered name either", o.namespace, name)
}

// serialOf returns a serial number in the form of status.serial. text is a serial number, or the path of a file, whose first certificate
// counts. The result is "" if text is neither.
func serialOf(text string) (string, error) {
	file, err := os.ReadFile(text)
	if err != nil {
		if !serialText.MatchString(text) {
			return "", nil
		}
		digits := strings.NewReplacer(":", "", " ", "").Replace(strings.ToLower(strings.TrimPrefix(strings.TrimPrefix(text, "0x"), "0X")))
		if len(digits)%2 == 1 {
			digits = "0" + digits
		}
		for len(digits) > 2 && strings.HasPrefix(digits, "00") {
			digits = digits[2:]
		}
		return digits, nil
	}
	der := file
	if block, _ := pem.Decode(file); block != nil {
		der = block.Bytes
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return "", fmt.Errorf("%s has no certificate: %w", text, err)
	}
	return hex.EncodeToString(certificate.SerialNumber.Bytes()), nil
}

// isIdentifier reports whether text looks like a DNS name or an address instead of an object name.
func isIdentifier(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil || strings.Contains(text, ".")
}

// identifierOf returns the normalized identifier for a DNS name or address.
func identifierOf(text string) (v1alpha1.Identifier, error) {
	id := acme.Identifier{Type: acme.DNS, Value: strings.TrimSuffix(text, ".")}
	if _, err := netip.ParseAddr(text); err == nil {
		id.Type = acme.IP
	}
	id, problem := id.Normalize()
	if problem != nil {
		return v1alpha1.Identifier{}, errors.New(problem.Detail)
	}
	return v1alpha1.Identifier(id), nil
}

// ordersFor returns the orders for a name, the newest first. It filters by state itself: nearly all orders are valid, and a second field
// selector doubles the API server's work.
func (o *options) ordersFor(ctx context.Context, all bool, name string, fields client.MatchingFields) ([]v1alpha1.AcmeOrder, error) {
	id, err := identifierOf(name)
	if err != nil {
		return nil, err
	}
	selected, state := maps.Clone(fields), fields[stateField]
	delete(selected, stateField)
	keys, err := o.mentioning(ctx, all, identifiersColumn, id.Value, selected)
	if err != nil {
		return nil, err
	}
	orders, err := o.fetch(ctx, keys)
	if err != nil {
		return nil, err
	}
	orders = slices.DeleteFunc(orders, func(order v1alpha1.AcmeOrder) bool {
		return !slices.Contains(order.Spec.Identifiers, id) || state != "" && string(order.Status.State) != state
	})
	newestFirst(orders)
	return orders, nil
}

// fetch reads orders, and skips those that were deleted.
func (o *options) fetch(ctx context.Context, keys []client.ObjectKey) ([]v1alpha1.AcmeOrder, error) {
	p := o.progress("reading orders")
	defer p.stop()
	all := int64(len(keys))
	p.add(0, &all)
	var orders []v1alpha1.AcmeOrder
	for _, key := range keys {
		order := v1alpha1.AcmeOrder{}
		if err := o.kube.Get(ctx, key, &order); apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return nil, err
		}
		orders = append(orders, order)
		p.add(1, nil)
	}
	return orders, nil
}

func newestFirst(orders []v1alpha1.AcmeOrder) {
	slices.SortStableFunc(orders, func(a, b v1alpha1.AcmeOrder) int { return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) })
}

// get returns an object, or nil if it does not exist or the name is empty or invalid.
func get[T any, O interface {
	*T
	client.Object
}](ctx context.Context, o *options, name string) (O, error) {
	if name == "" || len(content.IsPathSegmentName(name)) > 0 {
		return nil, nil
	}
	object := O(new(T))
	err := o.kube.Get(ctx, o.objectKey(name), object)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return object, nil
}

// authorizationsOf returns the authorizations of an order, in its order, with nil for a deleted one. An authorization is derived from the
// order until its client has chosen a challenge.
func (o *options) authorizationsOf(ctx context.Context, order *v1alpha1.AcmeOrder) ([]*v1alpha1.AcmeAuthorization, error) {
	var all []*v1alpha1.AcmeAuthorization
	for i, name := range order.Spec.Authorizations {
		authz, err := get[v1alpha1.AcmeAuthorization](ctx, o, name)
		if err != nil {
			return nil, err
		}
		switch {
		case authz == nil && order.Grant(i) != "":
			authz = grantedAuthorization(order, i)
		case authz == nil && order.Awaits(i):
			authz = order.AwaitedAuthorization(i)
		}
		all = append(all, authz)
	}
	return all, nil
}

// grantedAuthorization derives the authorization of a granted identifier. It is not stored: the controllers fail the order if the
// grant ends first.
func grantedAuthorization(order *v1alpha1.AcmeOrder, identifier int) *v1alpha1.AcmeAuthorization {
	authz := order.AwaitedAuthorization(identifier)
	authz.Status.State = acme.StateValid
	if order.Status.State == acme.StateInvalid {
		authz.Status.State = acme.StateRevoked
	}
	return authz
}

// authorization returns a stored or derived authorization by its name, or nil if there is none.
func (o *options) authorization(ctx context.Context, name string) (*v1alpha1.AcmeAuthorization, error) {
	authz, err := get[v1alpha1.AcmeAuthorization](ctx, o, name)
	if authz != nil || err != nil {
		return authz, err
	}
	owner, i, ok := v1alpha1.OwnerOfAuthorization(name)
	if !ok {
		return nil, nil
	}
	order, err := get[v1alpha1.AcmeOrder](ctx, o, owner)
	if order == nil || err != nil || i >= len(order.Spec.Authorizations) || !order.Awaits(i) {
		return nil, err
	}
	return order.AwaitedAuthorization(i), nil
}

// withoutManagers removes the managed fields, which are of no use to a reader.
func withoutManagers[O client.Object](object O) O {
	object.SetManagedFields(nil)
	return object
}

// typed sets the kind of an order, which clients leave empty.
func typed(order *v1alpha1.AcmeOrder) *v1alpha1.AcmeOrder {
	order.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "AcmeOrder"}
	return withoutManagers(order)
}
