package controllers

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/issuers"
)

// knownIssuers is a cache with these issuers.
type knownIssuers struct {
	client.Reader
	issuers []v1alpha1.AcmeIssuer
	err     error
}

func (k knownIssuers) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	list.(*v1alpha1.AcmeIssuerList).Items = k.issuers
	return k.err
}

func TestReadinessTellsOfCAs(t *testing.T) {
	leading, waiting := make(chan struct{}), make(chan struct{})
	close(leading)
	one := v1alpha1.AcmeIssuer{}
	one.Namespace, one.Name = "team", "one"
	two := *one.DeepCopy()
	two.Name = "two"
	loaded := &issuers.Registry{}
	loaded.Put(client.ObjectKeyFromObject(&two), &issuers.Issuer{})
	for name, c := range map[string]struct {
		working <-chan struct{}
		reader  knownIssuers
		issuers *issuers.Registry
		ready   bool
	}{
		"no issuers":               {leading, knownIssuers{}, &issuers.Registry{}, true},
		"none has a CA":            {leading, knownIssuers{issuers: []v1alpha1.AcmeIssuer{one, two}}, &issuers.Registry{}, false},
		"one of two has a CA":      {leading, knownIssuers{issuers: []v1alpha1.AcmeIssuer{one, two}}, loaded, true},
		"not the leader":           {waiting, knownIssuers{issuers: []v1alpha1.AcmeIssuer{one}}, &issuers.Registry{}, true},
		"the cache can't be asked": {leading, knownIssuers{err: errors.New("no")}, loaded, false},
	} {
		err := issuersReady(c.working, c.reader, c.issuers)(httptest.NewRequest("GET", "/readyz", nil))
		if (err == nil) != c.ready {
			t.Errorf("%s: %v", name, err)
		}
	}
}
