package v1alpha1_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// row is what `kubectl get -o wide` shows of an object, by column.
func row(ctx context.Context, resource, name string) map[string]string {
	GinkgoHelper()
	httpClient, err := rest.HTTPClientFor(plane.Config())
	Expect(err).NotTo(HaveOccurred())
	url := fmt.Sprintf("%s/apis/%s/namespaces/%s/%s/%s", plane.URL(), v1alpha1.GroupVersion, namespace, resource, name)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	Expect(err).NotTo(HaveOccurred())
	request.Header.Set("Accept", "application/json;as=Table;g=meta.k8s.io;v=v1")
	response, err := httpClient.Do(request)
	Expect(err).NotTo(HaveOccurred())
	defer response.Body.Close()
	table := &metav1.Table{}
	Expect(json.NewDecoder(response.Body).Decode(table)).To(Succeed())
	Expect(table.Rows).To(HaveLen(1))
	cells := map[string]string{}
	for i, column := range table.ColumnDefinitions {
		cells[column.Name] = fmt.Sprint(table.Rows[0].Cells[i])
	}
	return cells
}

var _ = Describe("kubectl", func() {
	It("shows of an issuer whether it is ready, why, and where its directory is", func(ctx SpecContext) {
		issuer := create(ctx, anIssuer)
		Expect(changeStatus(ctx, issuer, `{"status": {"directoryURL": "https://acme.corp.example/acme/directory", "conditions": [
			{"type": "Ready", "status": "False", "reason": "CAUnavailable", "message": "no Secret", "lastTransitionTime": "2030-01-01T00:00:00Z"}]}}`)).To(Succeed())
		Expect(row(ctx, "acmeissuers", issuer.GetName())).To(And(
			HaveKeyWithValue("Ready", "False"), HaveKeyWithValue("Reason", "CAUnavailable"), HaveKeyWithValue("Message", "no Secret"),
			HaveKeyWithValue("Directory", "https://acme.corp.example/acme/directory"),
		))
	})

	It("shows of an account its state, contact and why it was refused", func(ctx SpecContext) {
		account := create(ctx, anAccount)
		Expect(row(ctx, "acmeaccounts", account.GetName())).To(HaveKeyWithValue("State", "pending"))
		Expect(changeStatus(ctx, account, `{"status": {"state": "invalid", "contact": ["mailto:a@a.test", "mailto:b@a.test"], "thumbprint": "abc",
			"externalAccountKeyID": "team-a", "problem": {"type": "unauthorized"}}}`)).To(Succeed())
		Expect(row(ctx, "acmeaccounts", account.GetName())).To(And(
			HaveKeyWithValue("State", "invalid"), HaveKeyWithValue("Issuer", "ca"), HaveKeyWithValue("Reason", "unauthorized"),
			HaveKeyWithValue("Contact", And(ContainSubstring("a@a.test"), ContainSubstring("b@a.test"))),
			HaveKeyWithValue("Binding", "team-a"), HaveKeyWithValue("Thumbprint", "abc"),
		))
	})

	It("shows of an order all its names, its state, and the end of its certificate", func(ctx SpecContext) {
		order := create(ctx, anOrder)
		Expect(row(ctx, "acmeorders", order.GetName())).To(And(
			HaveKeyWithValue("State", "pending"), HaveKeyWithValue("Issuer", "ca"), HaveKeyWithValue("Account", "someone"),
			HaveKeyWithValue("Identifier", "a.test"), HaveKeyWithValue("Identifiers", And(ContainSubstring("a.test"), ContainSubstring("b.test"))),
		))
		Expect(changeStatus(ctx, order, `{"status": {"state": "valid", "serial": "5a01", "notAfter": "2031-02-03T04:05:06Z"}}`)).To(Succeed())
		Expect(row(ctx, "acmeorders", order.GetName())).To(And(
			HaveKeyWithValue("State", "valid"), HaveKeyWithValue("Serial", "5a01"), HaveKeyWithValue("Not After", "2031-02-03T04:05:06Z"),
		))
		failed := create(ctx, anOrder)
		Expect(changeStatus(ctx, failed, `{"status": {"state": "invalid", "problem": {"type": "badCSR", "detail": "wrong names"}}}`)).To(Succeed())
		Expect(row(ctx, "acmeorders", failed.GetName())).To(And(HaveKeyWithValue("State", "invalid"), HaveKeyWithValue("Reason", "badCSR")))
	})

	It("shows of an authorization its name, challenge, state and what went wrong", func(ctx SpecContext) {
		authorization := create(ctx, anAuthorization, `{"spec": {"wildcard": true, "response": {"type": "http-01", "request": {"protected": "e30", "signature": "c2ln"}}}}`)
		Expect(changeStatus(ctx, authorization, `{"status": {"state": "invalid", "expires": "2031-02-03T04:05:06Z", "problem": {"type": "connection", "detail": "connection refused"}}}`)).To(Succeed())
		Expect(row(ctx, "acmeauthorizations", authorization.GetName())).To(And(
			HaveKeyWithValue("State", "invalid"), HaveKeyWithValue("Identifier", "a.test"), HaveKeyWithValue("Wildcard", "true"),
			HaveKeyWithValue("Challenge", "http-01"), HaveKeyWithValue("Issuer", "ca"), HaveKeyWithValue("Reason", "connection"),
			HaveKeyWithValue("Detail", "connection refused"), HaveKeyWithValue("Account", "someone"), HaveKeyWithValue("Expires", "2031-02-03T04:05:06Z"),
		))
	})

	It("knows the kinds by short names, and all of them as acme", func() {
		client, err := discovery.NewDiscoveryClientForConfig(plane.Config())
		Expect(err).NotTo(HaveOccurred())
		resources, err := client.ServerResourcesForGroupVersion(v1alpha1.GroupVersion.String())
		Expect(err).NotTo(HaveOccurred())
		short := map[string]string{}
		for _, resource := range resources.APIResources {
			if strings.Contains(resource.Name, "/") {
				Expect(resource.Name).To(HaveSuffix("/status"))
				continue
			}
			Expect(resource.Namespaced).To(BeTrue())
			Expect(resource.Categories).To(ConsistOf("acme"))
			Expect(resource.ShortNames).To(HaveLen(1))
			short[resource.Name] = resource.ShortNames[0]
		}
		Expect(short).To(Equal(map[string]string{
			"acmeissuers": "acmeiss", "acmeaccounts": "acmeacct", "acmeorders": "acmeord", "acmeauthorizations": "acmeauthz",
		}))
	})
})

var _ = Describe("A field selector", func() {
	// find lists the names of a kind's objects that it selects.
	find := func(ctx context.Context, like *unstructured.Unstructured, selector fields.Selector) []string {
		GinkgoHelper()
		found := &unstructured.UnstructuredList{}
		found.SetGroupVersionKind(like.GroupVersionKind())
		Expect(admin.List(ctx, found, client.InNamespace(namespace), client.MatchingFieldsSelector{Selector: selector})).To(Succeed())
		var names []string
		for _, item := range found.Items {
			names = append(names, item.GetName())
		}
		slices.Sort(names)
		return names
	}

	DescribeTable("finds", func(ctx SpecContext, manifest, specPatch, statusPatch, key, value string) {
		one, other := create(ctx, manifest, specPatch), create(ctx, manifest)
		Expect(changeStatus(ctx, one, statusPatch)).To(Succeed())
		Expect(find(ctx, one, fields.OneTermEqualSelector(key, value))).To(
			And(ContainElement(one.GetName()), Not(ContainElement(other.GetName()))))
	},
		Entry("accounts by issuer", anAccount, `{"spec": {"issuerRef": {"name": "selected"}}}`, `{}`, "spec.issuerRef.name", "selected"),
		Entry("accounts by state", anAccount, `{}`, `{"status": {"state": "claim"}}`, "status.state", "claim"),
		Entry("orders by issuer", anOrder, `{"spec": {"issuerRef": {"name": "selected"}}}`, `{}`, "spec.issuerRef.name", "selected"),
		Entry("orders by account", anOrder, `{"spec": {"accountRef": {"name": "selected"}}}`, `{}`, "spec.accountRef.name", "selected"),
		Entry("orders by state", anOrder, `{}`, `{"status": {"state": "processing"}}`, "status.state", "processing"),
		Entry("orders by serial", anOrder, `{}`, `{"status": {"serial": "5a5e1ec7ed"}}`, "status.serial", "5a5e1ec7ed"),
		Entry("orders by the certificate that they replace", anOrder, `{"spec": {"replaces": "c2VsZWN0ZWQ.AQ"}}`, `{}`, "spec.replaces", "c2VsZWN0ZWQ.AQ"),
		Entry("orders by the reason of their revocation", anOrder, `{"spec": {"revocation": {"reason": 4}}}`, `{}`, "spec.revocation.reason", "4"),
		Entry("orders to be revoked without a reason", anOrder, `{"spec": {"revocation": {}}}`, `{}`, "spec.revocation.reason", "0"),
		Entry("authorizations by issuer", anAuthorization, `{"spec": {"issuerRef": {"name": "selected"}}}`, `{}`, "spec.issuerRef.name", "selected"),
		Entry("authorizations by account", anAuthorization, `{"spec": {"accountRef": {"name": "selected"}}}`, `{}`, "spec.accountRef.name", "selected"),
		Entry("authorizations by name", anAuthorization, `{"spec": {"identifier": {"value": "selected.test"}}}`, `{}`, "spec.identifier.value", "selected.test"),
	)

	It("finds orders without a status as pending", func(ctx SpecContext) {
		order := create(ctx, anOrder, `{"spec": {"accountRef": {"name": "not-reconciled"}}}`)
		selector := fields.Set{"spec.accountRef.name": "not-reconciled", "status.state": "pending"}.AsSelector()
		Expect(find(ctx, order, selector)).To(ConsistOf(order.GetName()))
	})

	It("finds all orders with a requested revocation", func(ctx SpecContext) {
		without := create(ctx, anOrder, `{"spec": {"revocation": {}}}`)
		with := create(ctx, anOrder, `{"spec": {"revocation": {"reason": 5}}}`)
		other := create(ctx, anOrder)
		Expect(find(ctx, other, fields.OneTermNotEqualSelector("spec.revocation.reason", ""))).To(
			And(ContainElements(without.GetName(), with.GetName()), Not(ContainElement(other.GetName()))))
	})

	It("can't be by what the kinds don't declare", func(ctx SpecContext) {
		found := &unstructured.UnstructuredList{}
		found.SetGroupVersionKind(create(ctx, anOrder).GroupVersionKind())
		Expect(admin.List(ctx, found, client.MatchingFields{"spec.csr": "mine"})).To(MatchError(ContainSubstring("field label not supported")))
	})
})
