package main

import (
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// bindingAt is the binding of an installation in a namespace, which was made at a minute. Without namespaces it holds in all.
func bindingAt(minute int, prefix, namespace string, namespaces ...string) admissionv1.ValidatingAdmissionPolicyBinding {
	b := admissionv1.ValidatingAdmissionPolicyBinding{}
	b.Name = prefix + controllersPolicy
	b.CreationTimestamp = metav1.NewTime(time.Date(2030, 1, 1, 0, minute, 0, 0, time.UTC))
	b.Spec.PolicyName, b.Spec.ParamRef = b.Name, &admissionv1.ParamRef{Namespace: namespace, Name: prefix + "acmeca-controller"}
	if len(namespaces) > 0 {
		b.Spec.MatchResources = &admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: namespaceLabel, Operator: metav1.LabelSelectorOpIn, Values: namespaces}},
		}}
	}
	return b
}

func TestInstallationsDoNotShareNamespaces(t *testing.T) {
	own := types.NamespacedName{Namespace: "pki", Name: "corp-acmeca-controller"}
	status := bindingAt(0, "", "acmeca-system")
	status.Spec.PolicyName, status.Spec.ParamRef = "status.acmeca.dev", nil
	labelled := bindingAt(0, "", "acmeca-system")
	labelled.Spec.MatchResources = &admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}}
	for name, c := range map[string]struct {
		watched  []string
		bindings []admissionv1.ValidatingAdmissionPolicyBinding
		want     string // "" for none
	}{
		"alone":                        {nil, []admissionv1.ValidatingAdmissionPolicyBinding{bindingAt(1, "corp-", "pki"), status}, ""},
		"both in all, the newer one":   {nil, []admissionv1.ValidatingAdmissionPolicyBinding{bindingAt(1, "corp-", "pki"), bindingAt(0, "", "acmeca-system")}, "acmeca-system/acmeca-controller works on"},
		"both in all, the older one":   {nil, []admissionv1.ValidatingAdmissionPolicyBinding{bindingAt(1, "corp-", "pki"), bindingAt(2, "", "acmeca-system")}, ""},
		"both in all, made at once":    {nil, []admissionv1.ValidatingAdmissionPolicyBinding{bindingAt(1, "corp-", "pki"), bindingAt(1, "a-", "a")}, "(ValidatingAdmissionPolicyBinding a-controllers.acmeca.dev)"},
		"in some, an older one in all": {[]string{"pki", "b"}, []admissionv1.ValidatingAdmissionPolicyBinding{bindingAt(1, "corp-", "pki", "pki", "b"), bindingAt(0, "", "acmeca-system")}, "the namespaces pki, b already"},
		"in all, an older one in some": {nil, []admissionv1.ValidatingAdmissionPolicyBinding{bindingAt(1, "corp-", "pki"), bindingAt(0, "", "acmeca-system", "a")}, "which watches all, already"},
		"in others":                    {[]string{"pki", "b"}, []admissionv1.ValidatingAdmissionPolicyBinding{bindingAt(1, "corp-", "pki", "pki", "b"), bindingAt(0, "", "acmeca-system", "acmeca-system", "a")}, ""},
		"in one that both watch":       {[]string{"pki", "b"}, []admissionv1.ValidatingAdmissionPolicyBinding{bindingAt(1, "corp-", "pki", "pki", "b"), bindingAt(0, "", "acmeca-system", "acmeca-system", "b")}, "the namespaces b already"},
		"selected by other labels":     {[]string{"pki"}, []admissionv1.ValidatingAdmissionPolicyBinding{bindingAt(1, "corp-", "pki", "pki"), labelled}, ""},
		"without policies of its own":  {nil, []admissionv1.ValidatingAdmissionPolicyBinding{bindingAt(0, "", "acmeca-system")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := conflict(own, c.watched, c.bindings)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestServiceAccount(t *testing.T) {
	if got, ok := serviceAccount("system:serviceaccount:pki:corp"); !ok || got.String() != "pki/corp" {
		t.Errorf("got %v, %t", got, ok)
	}
	for _, user := range []string{"kubernetes-admin", "system:serviceaccount:pki", ""} {
		if got, ok := serviceAccount(user); ok {
			t.Errorf("%q: got %v", user, got)
		}
	}
}
