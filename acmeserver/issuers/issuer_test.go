package issuers

import (
	"context"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// existing is a cache in which some issuers exist.
type existing struct {
	client.Reader
	names map[types.NamespacedName]bool
}

func (e *existing) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	if !e.names[key] {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "acmeissuers"}, key.Name)
	}
	into.SetNamespace(key.Namespace)
	into.SetName(key.Name)
	into.(*v1alpha1.AcmeIssuer).ResourceVersion = "1"
	return nil
}

// A tenant creates, uses and deletes one issuer after the other.
func TestDeletedIssuersAreForgotten(t *testing.T) {
	cached := &existing{names: map[types.NamespacedName]bool{}}
	s := New(cached, nil, nil, nil)
	stays := types.NamespacedName{Namespace: "ns", Name: "stays"}
	cached.names[stays] = true
	if _, err := s.Get(t.Context(), stays); err != nil {
		t.Fatal(err)
	}
	for i := range 10 * leastPruneAt {
		name := types.NamespacedName{Namespace: "ns", Name: fmt.Sprint(i)}
		cached.names[name] = true
		if _, err := s.Get(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		delete(cached.names, name)
	}
	if _, kept := s.parsed[stays]; !kept || len(s.parsed) > leastPruneAt+1 {
		t.Errorf("%d issuers are kept, the existing one: %t", len(s.parsed), kept)
	}
}

// Go's HTTP client, and proxies that set Host to $host:$server_port, name the default port.
func TestEquivalentHostsLeadToTheSameBase(t *testing.T) {
	const preferred, outside, other, address = "https://acme.internal.test/ns/ca", "https://acme.outside.test/ns/ca",
		"https://acme.outside.test:8443/ns/ca", "https://[2001:db8::1]/ns/ca"
	issuer := &Issuer{Key: types.NamespacedName{Namespace: "ns", Name: "ca"}, Bases: []acme.Base{preferred, outside, other, address}}
	for host, want := range map[string]acme.Base{
		"acme.outside.test": outside, "acme.outside.test:443": outside, "ACME.Outside.Test": outside, "acme.outside.test.": outside,
		"acme.outside.test.:443": outside, "acme.outside.test:": outside, "acme.outside.test:8443": other,
		"[2001:db8::1]": address, "[2001:DB8::1]:443": address,
		"acme.outside.test:80": preferred, "acme.outside.test..": preferred, "evil.test": preferred, "": preferred, "acme.outside.test:x": preferred,
	} {
		if got := issuer.BaseFor(host, false); got != want {
			t.Errorf("Host %q leads to %q, want %q", host, got, want)
		}
	}
}
