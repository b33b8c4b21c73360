package issuer

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/internal/test/schema"
)

// Any issuer that the API server stores is compiled or refused, without a panic.
func TestAnyStoredIssuerIsCompiled(t *testing.T) {
	kind, reader := schema.Of(t, &v1alpha1.AcmeIssuer{}), fake.NewClientBuilder().Build()
	rapid.Check(t, func(rt *rapid.T) {
		object := &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "issuer"}}
		kind.Draw(rt, t, "spec", &object.Spec)
		object.Spec.Validation.Resolvers = []string{"192.0.2.53"}
		issuer := &issuers.Issuer{Name: object.Name, Spec: object.Spec, Profiles: map[string]*ca.Profile{}}
		issuer.Bases = acme.Bases(object.Spec.ExternalURLs, "ns", "issuer", rapid.Bool().Draw(rt, "default"))
		r := &Reconciler{Client: reader}
		if issuer.Fault = r.compile(t.Context(), object, issuer); issuer.Fault == nil && issuer.Policy == nil {
			rt.Error("neither a policy nor a fault")
		}
		var status v1alpha1.AcmeIssuerStatus
		for _, base := range issuer.Bases {
			status.BaseURLs = append(status.BaseURLs, string(base))
			status.DirectoryURL = base.URL(acme.DirectoryPath)
			if faults := kind.Faults(t, "status", status); len(faults) > 0 {
				rt.Errorf("%v", faults)
			}
		}
	})
}
