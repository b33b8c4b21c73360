package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
)

// controllersPolicy ends the name of the policy that each installation binds to the ServiceAccount of its controllers, in the
// namespaces that it watches.
const controllersPolicy = "controllers.acmeca.dev"

// namespaceLabel is on every namespace, and has its name.
const namespaceLabel = "kubernetes.io/metadata.name"

// installationsTimeout bounds the requests about other installations.
const installationsTimeout = 10 * time.Second

// checkInstallations returns an error if an older installation works on namespaces that this one watches. If the API server
// doesn't answer, the controllers start: they must not depend on the check.
func (o *options) checkInstallations(ctx context.Context, mgr ctrl.Manager) error {
	ctx, cancel := context.WithTimeout(ctx, installationsTimeout)
	defer cancel()
	review := &authenticationv1.SelfSubjectReview{}
	bindings := &admissionv1.ValidatingAdmissionPolicyBindingList{}
	err := mgr.GetClient().Create(ctx, review)
	if err == nil {
		err = mgr.GetAPIReader().List(ctx, bindings)
	}
	if err != nil {
		mgr.GetLogger().Info("not checking for other installations", "reason", err.Error())
		return nil
	}
	account, ok := serviceAccount(review.Status.UserInfo.Username)
	if !ok {
		return nil // a person runs the controllers
	}
	return conflict(account, o.watch, bindings.Items)
}

// serviceAccount returns the ServiceAccount with a user name.
func serviceAccount(user string) (types.NamespacedName, bool) {
	text, ok := strings.CutPrefix(user, "system:serviceaccount:")
	namespace, name, found := strings.Cut(text, ":")
	return types.NamespacedName{Namespace: namespace, Name: name}, ok && found
}

// conflict returns an error if another installation works on namespaces that this one watches, and its binding is older: a new
// installation never stops another. Without a binding of its own, the age of an installation isn't known.
func conflict(own types.NamespacedName, watched []string, bindings []admissionv1.ValidatingAdmissionPolicyBinding) error {
	bindings = slices.DeleteFunc(slices.Clone(bindings), func(b admissionv1.ValidatingAdmissionPolicyBinding) bool {
		return !strings.HasSuffix(b.Spec.PolicyName, controllersPolicy) || b.Spec.ParamRef == nil
	})
	slices.SortFunc(bindings, func(a, b admissionv1.ValidatingAdmissionPolicyBinding) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	of := func(b admissionv1.ValidatingAdmissionPolicyBinding) types.NamespacedName {
		return types.NamespacedName{Namespace: b.Spec.ParamRef.Namespace, Name: b.Spec.ParamRef.Name}
	}
	age := slices.IndexFunc(bindings, func(b admissionv1.ValidatingAdmissionPolicyBinding) bool { return of(b) == own })
	for _, binding := range bindings[:max(age, 0)] {
		if shared := sharedNamespaces(watched, binding); shared != "" {
			return fmt.Errorf("the installation with the ServiceAccount %s works on %s already (ValidatingAdmissionPolicyBinding %s): "+
				"give each installation namespaces of its own with --watch-namespaces, or delete the binding if that installation is gone", of(binding), shared, binding.Name)
		}
	}
	return nil
}

// sharedNamespaces names the watched namespaces in which a binding holds; "" for none.
func sharedNamespaces(watched []string, binding admissionv1.ValidatingAdmissionPolicyBinding) string {
	var selector *metav1.LabelSelector
	if binding.Spec.MatchResources != nil {
		selector = binding.Spec.MatchResources.NamespaceSelector
	}
	if selector == nil {
		selector = &metav1.LabelSelector{} // all namespaces
	}
	if len(watched) == 0 {
		return "namespaces of this one, which watches all,"
	}
	compiled, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return ""
	}
	var shared []string
	for _, namespace := range watched {
		if compiled.Matches(labels.Set{namespaceLabel: namespace}) {
			shared = append(shared, namespace)
		}
	}
	if len(shared) == 0 {
		return ""
	}
	return "the namespaces " + strings.Join(shared, ", ")
}
