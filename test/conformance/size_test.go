package conformance

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// maxStored is the largest number of bytes in etcd of an order for one name and its authorization. They took 6,044 bytes when the CSR
// and the chain stood in each order, and the requests in base64url.
const maxStored = 3600

// storedFields returns the size of an object as etcd stores it, in JSON, and the sizes of its fields, largest first.
func storedFields(ctx SpecContext, kind, name string) (size int, fields string) {
	GinkgoHelper()
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	Expect(kube.Get(ctx, client.ObjectKey{Namespace: "acmeca-system", Name: name}, object)).To(Succeed())
	object.SetResourceVersion("") // etcd has it beside the object
	data, err := json.Marshal(object.Object)
	Expect(err).NotTo(HaveOccurred())
	type field struct {
		path string
		size int
	}
	var found []field
	var walk func(path string, value any)
	walk = func(path string, value any) {
		if members, ok := value.(map[string]any); ok {
			for key, v := range members {
				walk(path+"."+key, v)
			}
			return
		}
		text, err := json.Marshal(value)
		Expect(err).NotTo(HaveOccurred())
		found = append(found, field{path, len(text)})
	}
	walk(kind, object.Object)
	slices.SortFunc(found, func(a, b field) int { return cmp.Or(b.size-a.size, strings.Compare(a.path, b.path)) })
	for _, f := range found {
		fields += fmt.Sprintf("%6d %s\n", f.size, f.path)
	}
	return len(data), fields
}

var _ = Describe("A certificate for one name", func() {
	It("has no field managers from the creation of its order on, unless somebody applies the object", func(ctx SpecContext) {
		o := registered("ES256").newOrder("managed.example.test")
		order := &v1alpha1.AcmeOrder{}
		Expect(kube.Get(ctx, client.ObjectKey{Namespace: "acmeca-system", Name: path.Base(o.url)}, order)).To(Succeed())
		Expect(order.ManagedFields).To(BeEmpty())

		applied := &unstructured.Unstructured{}
		applied.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("AcmeOrder"))
		applied.SetNamespace("acmeca-system")
		applied.SetName("applied")
		applied.Object["spec"] = map[string]any{
			"issuerRef": map[string]any{"name": "default"}, "accountRef": map[string]any{"name": "nobody"}, "authorizations": []any{"applied-0"},
			"identifiers": []any{map[string]any{"type": "dns", "value": "applied.example.test"}},
		}
		Expect(kube.Apply(ctx, client.ApplyConfigurationFromUnstructured(applied), client.FieldOwner("a-person"), client.ForceOwnership)).To(Succeed())
		Expect(applied.GetManagedFields()).To(ContainElement(HaveField("Manager", "a-person")))
		Expect(kube.Delete(ctx, applied)).To(Succeed())
	})

	It("takes few bytes in etcd", func(ctx SpecContext) {
		o, _, _ := registered("ES256").issued("size.example.test")
		name := path.Base(o.url)
		order, fields := storedFields(ctx, "AcmeOrder", name)
		authorization, more := storedFields(ctx, "AcmeAuthorization", v1alpha1.OwnAuthorization(name, 0))
		Expect(more).NotTo(ContainSubstring("managedFields"), "config/managed-fields drops them")
		AddReportEntry(fmt.Sprintf("%d bytes in the order, %d in the authorization\n%s%s", order, authorization, fields, more))
		Expect(order+authorization).To(BeNumerically("<=", maxStored), "the order has %d, the authorization %d\n%s%s", order, authorization, fields, more)
	})
})
