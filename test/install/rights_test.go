package install

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// A right is a permission of a ServiceAccount.
type right struct{ group, resource, verb string }

// granted returns the rights that the installation gives a ServiceAccount.
func (i *installation) granted(component string) map[right]bool {
	GinkgoHelper()
	account := i.serviceAccount(component)
	rights := map[right]bool{}
	for _, object := range i.objects {
		binding := &rbacv1.ClusterRoleBinding{} // a RoleBinding has the same fields
		if object.GetKind() != "ClusterRoleBinding" && object.GetKind() != "RoleBinding" {
			continue
		}
		convert(object, binding)
		if !slices.ContainsFunc(binding.Subjects, func(s rbacv1.Subject) bool { return s.Namespace == i.namespace && s.Name == account }) {
			continue
		}
		for _, rule := range i.rules(binding.RoleRef) {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, verb := range rule.Verbs {
						rights[right{group, resource, verb}] = true
					}
				}
			}
		}
	}
	return rights
}

func (i *installation) rules(ref rbacv1.RoleRef) []rbacv1.PolicyRule {
	GinkgoHelper()
	for _, object := range i.objects {
		if object.GetKind() == ref.Kind && object.GetName() == ref.Name {
			role := &rbacv1.ClusterRole{} // a Role has the same fields
			convert(object, role)
			return role.Rules
		}
	}
	Fail("no " + ref.Kind + " " + ref.Name)
	return nil
}

func convert(object *unstructured.Unstructured, into any) {
	GinkgoHelper()
	Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, into)).To(Succeed())
}

// auditEvent holds the relevant fields of a line of kube-apiserver's audit log.
type auditEvent struct {
	Verb      string `json:"verb"`
	User      struct{ Username string }
	ObjectRef *struct {
		APIGroup, Resource, Subresource, Namespace, Name string
	} `json:"objectRef"`
	ResponseStatus struct {
		Code    int
		Message string
	} `json:"responseStatus"`
}

// requestsOf returns the requests of a user.
func requestsOf(user string) []auditEvent {
	GinkgoHelper()
	log, err := os.ReadFile(auditLog)
	Expect(err).NotTo(HaveOccurred())
	var events []auditEvent
	for line := range bytes.Lines(log) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // an incomplete last line
		}
		var event auditEvent
		Expect(json.Unmarshal(line, &event)).To(Succeed())
		if event.User.Username == user && event.ObjectRef != nil {
			events = append(events, event)
		}
	}
	return events
}

// used returns the rights that a user needed for its requests.
func used(events []auditEvent) map[right]bool {
	rights := map[right]bool{}
	for _, event := range events {
		resource := event.ObjectRef.Resource
		if event.ObjectRef.Subresource != "" {
			resource += "/" + event.ObjectRef.Subresource
		}
		rights[right{event.ObjectRef.APIGroup, resource, event.Verb}] = true
		// Server-side apply of a new object needs both rights.
		if event.Verb == "patch" && event.ResponseStatus.Code == 201 {
			rights[right{event.ObjectRef.APIGroup, resource, "create"}] = true
		}
		// The admission policy on status asks for this right.
		if strings.HasSuffix(resource, "/status") && event.ResponseStatus.Code < 300 {
			rights[right{"acmeca.dev", "decisions", "make"}] = true
		}
		// The right to attest for a signer is checked when its ClusterTrustBundle is written.
		if resource == "clustertrustbundles" && event.Verb == "patch" && event.ResponseStatus.Code < 300 {
			rights[right{event.ObjectRef.APIGroup, "signers", "attest"}] = true
		}
	}
	return rights
}

// excesses lists refused requests of a component, and its unused rights.
func (i *installation) excesses(component string) []string {
	GinkgoHelper()
	events := requestsOf(i.user(component))
	Expect(events).NotTo(BeEmpty())
	found := map[string]bool{}
	for _, event := range events {
		if event.ResponseStatus.Code == http.StatusForbidden {
			found[fmt.Sprintf("the %s was not allowed to %s %+v: %s", component, event.Verb, *event.ObjectRef, event.ResponseStatus.Message)] = true
		}
	}
	needed := used(events)
	for granted := range i.granted(component) {
		if !needed[granted] {
			found[fmt.Sprintf("the %s never needs to %s %s of %q", component, granted.verb, granted.resource, granted.group)] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}
