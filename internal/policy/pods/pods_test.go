package pods

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

func matching(key, value string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
}

func inShop(edit ...func(*v1alpha1.PodCertificateRule)) v1alpha1.PodCertificateRule {
	r := v1alpha1.PodCertificateRule{Name: "shop", NamespaceSelector: matching(corev1.LabelMetadataName, "shop")}
	for _, e := range edit {
		e(&r)
	}
	return r
}

func services(s v1alpha1.PodServices) func(*v1alpha1.PodCertificateRule) {
	return func(r *v1alpha1.PodCertificateRule) { r.Services = s }
}

func spiffe(r *v1alpha1.PodCertificateRule) { r.SPIFFEID = true }

func condition(text string) func(*v1alpha1.PodCertificateRule) {
	return func(r *v1alpha1.PodCertificateRule) { r.Condition = text }
}

func dnsNames(text string) func(*v1alpha1.PodCertificateRule) {
	return func(r *v1alpha1.PodCertificateRule) { r.DNSNames = text }
}

func spec(rules ...v1alpha1.PodCertificateRule) *v1alpha1.AcmeIssuerSpec {
	s := &v1alpha1.AcmeIssuerSpec{
		Profiles: []v1alpha1.Profile{
			{Name: "default", Lifetime: metav1.Duration{Duration: 24 * time.Hour}},
			{Name: "brief", Lifetime: metav1.Duration{Duration: 59 * time.Minute}},
			{Name: "mesh", Lifetime: metav1.Duration{Duration: time.Hour}},
		},
		PodCertificates: &v1alpha1.PodCertificates{TrustDomain: "prod.test", Rules: rules},
	}
	s.Validation.ClusterDomain = "cluster.local"
	return s
}

// web is a Pod of namespace "shop" behind two Services.
func web(edit ...func(*Pod)) Pod {
	pod := Pod{
		Namespace: "shop", Name: "web-0", Hostname: "web-0", Subdomain: "web", Labels: map[string]string{"app": "web"}, ServiceAccount: "front",
		NamespaceLabels:      map[string]string{corev1.LabelMetadataName: "shop", "team": "a"},
		ServiceAccountLabels: map[string]string{"mesh": "on"}, Services: []string{"web", "api"},
	}
	for _, e := range edit {
		e(&pod)
	}
	return pod
}

func alone(p *Pod) { p.Services = nil }

func TestGrant(t *testing.T) {
	const serviceNames = "api.shop.svc api.shop.svc.cluster.local web.shop.svc web.shop.svc.cluster.local"
	for _, test := range []struct {
		name string
		pod  Pod
		rule []v1alpha1.PodCertificateRule
		want string // rule, profile, names, URI; "" if no rule covers the Pod; "waits"
	}{
		{"Services", web(), []v1alpha1.PodCertificateRule{inShop(services("Optional"))}, "shop default " + serviceNames},
		{"required Services", web(), []v1alpha1.PodCertificateRule{inShop(services("Required"))}, "shop default " + serviceNames},
		{"required Services that don't exist", web(alone), []v1alpha1.PodCertificateRule{inShop(services("Required"), spiffe)}, "waits"},
		{"no name without Services", web(alone), []v1alpha1.PodCertificateRule{inShop(services("Optional"))}, "waits"},
		{"a SPIFFE ID without Services", web(alone), []v1alpha1.PodCertificateRule{inShop(services("Optional"), spiffe)},
			"shop default spiffe://prod.test/ns/shop/sa/front"},
		{"a SPIFFE ID alone", web(), []v1alpha1.PodCertificateRule{inShop(spiffe)}, "shop default spiffe://prod.test/ns/shop/sa/front"},
		{"another profile", web(), []v1alpha1.PodCertificateRule{inShop(spiffe, func(r *v1alpha1.PodCertificateRule) { r.Profile = "mesh" })},
			"shop mesh spiffe://prod.test/ns/shop/sa/front"},
		{"names by an expression", web(), []v1alpha1.PodCertificateRule{inShop(
			dnsNames("services.map(s, pod.hostname + '.' + s + '.' + pod.namespace + '.svc') + [pod.hostname + '.web.shop.svc']"))},
			"shop default web-0.api.shop.svc web-0.web.shop.svc"},
		{"names in upper case", web(), []v1alpha1.PodCertificateRule{inShop(dnsNames("['A.shop.svc', 'a.shop.svc']"))}, "shop default a.shop.svc"},
		{"another namespace", web(func(p *Pod) { p.NamespaceLabels = map[string]string{corev1.LabelMetadataName: "else"} }),
			[]v1alpha1.PodCertificateRule{inShop(spiffe)}, ""},
		{"an unlabelled namespace", web(func(p *Pod) { p.NamespaceLabels = nil }), []v1alpha1.PodCertificateRule{inShop(spiffe)}, ""},
		{"all namespaces, said explicitly", web(func(p *Pod) { p.NamespaceLabels[corev1.LabelMetadataName] = "else" }),
			[]v1alpha1.PodCertificateRule{inShop(spiffe, func(r *v1alpha1.PodCertificateRule) {
				r.NamespaceSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
					{Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpExists}}}
			})}, "shop default spiffe://prod.test/ns/shop/sa/front"},
		{"the ServiceAccount", web(), []v1alpha1.PodCertificateRule{inShop(spiffe,
			func(r *v1alpha1.PodCertificateRule) { r.ServiceAccountSelector = matching("mesh", "on") })}, "shop default spiffe://prod.test/ns/shop/sa/front"},
		{"another ServiceAccount", web(), []v1alpha1.PodCertificateRule{inShop(spiffe,
			func(r *v1alpha1.PodCertificateRule) { r.ServiceAccountSelector = matching("mesh", "off") })}, ""},
		{"a condition that holds", web(), []v1alpha1.PodCertificateRule{inShop(spiffe,
			condition("serviceAccount.name == 'front' && pod.labels['app'] == 'web' && namespaceLabels['team'] == 'a' && 'mesh' in serviceAccount.labels"))},
			"shop default spiffe://prod.test/ns/shop/sa/front"},
		{"a condition that doesn't hold", web(), []v1alpha1.PodCertificateRule{inShop(spiffe, condition("services.size() > 2"))}, ""},
		{"the first rule that covers the Pod", web(), []v1alpha1.PodCertificateRule{
			inShop(spiffe, condition("false")),
			inShop(services("Optional"), func(r *v1alpha1.PodCertificateRule) { r.Name = "second" }),
			inShop(spiffe, func(r *v1alpha1.PodCertificateRule) { r.Name = "third" })}, "second default " + serviceNames},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := New(spec(test.rule...))
			if err != nil {
				t.Fatal(err)
			}
			grant, covered, err := p.Grant(test.pod)
			if err != nil {
				t.Fatal(err)
			}
			if got := describe(grant, covered); got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

func describe(g Grant, covered bool) string {
	switch {
	case !covered:
		return ""
	case g.Waits:
		return "waits"
	}
	parts := []string{g.Rule, g.Profile}
	for _, name := range g.Names {
		parts = append(parts, name.Value)
	}
	if g.URI != nil {
		parts = append(parts, g.URI.String())
	}
	return strings.Join(parts, " ")
}

// A fault of a rule grants nothing, and later rules do not make up for it.
func TestGrantFails(t *testing.T) {
	for _, test := range []struct {
		name, want string
		rule       v1alpha1.PodCertificateRule
	}{
		{"a label that doesn't exist", "no such key", inShop(spiffe, condition("pod.labels['tier'] == 'front'"))},
		{"a name that isn't one", "no certificate can have the name", inShop(dnsNames("['a..svc']"))},
		{"an empty name", "no certificate can have the name", inShop(dnsNames("['']"))},
		{"a SPIFFE ID as a name", "no certificate can have the name", inShop(dnsNames("['spiffe://a/b']"))},
		{"an expensive condition", "cost limit", inShop(spiffe, condition(
			"services.all(a, services.all(b, (a + b).matches('^(x+x+)+$') || "+strings.TrimSuffix(strings.Repeat("a.contains(b) || ", 200), " || ")+" || true))"))},
		{"too many names", "the limit is 100", inShop(dnsNames("services.map(s, s + '.svc')"))},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := New(spec(test.rule, inShop(spiffe)))
			if err != nil {
				t.Fatal(err)
			}
			pod := web(func(p *Pod) {
				p.Services = nil
				for i := range 101 {
					p.Services = append(p.Services, fmt.Sprintf("s%d", i))
				}
			})
			if grant, covered, err := p.Grant(pod); err == nil || covered || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, %v, %v", grant, covered, err)
			}
		})
	}
}

func TestNewNamesTheField(t *testing.T) {
	for _, test := range []struct {
		name, want string
		edit       func(*v1alpha1.PodCertificateRule)
	}{
		{"namespaces", `spec.podCertificates.rules[1].namespaceSelector: "x y"`, func(r *v1alpha1.PodCertificateRule) {
			r.NamespaceSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "x y"}}}
		}},
		{"ServiceAccounts", `spec.podCertificates.rules[1].serviceAccountSelector: "x y"`, func(r *v1alpha1.PodCertificateRule) {
			r.ServiceAccountSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "x y"}}}
		}},
		{"a condition's syntax", "spec.podCertificates.rules[1].condition: the expression does not compile: 1:", condition("pod.")},
		{"annotations", "undefined field 'annotations'", condition("pod.annotations['a'] == 'b'")},
		{"a condition's type", "spec.podCertificates.rules[1].condition: the expression has type string; it must be bool", condition("pod.name")},
		{"the names' type", "spec.podCertificates.rules[1].dnsNames: the expression has type list(int); it must be list(string)", dnsNames("[1]")},
		{"a profile", `spec.podCertificates.rules[1].profile: there is no profile "x"`, func(r *v1alpha1.PodCertificateRule) { r.Profile = "x" }},
		{"a short lifetime", `rules[1].profile: the lifetime of profile "brief" is 59m0s; certificates of Pods must live for at least 1h0m0s`,
			func(r *v1alpha1.PodCertificateRule) { r.Profile = "brief" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := New(spec(inShop(spiffe), inShop(spiffe, test.edit)))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	if p, err := New(&v1alpha1.AcmeIssuerSpec{}); p != nil || err != nil {
		t.Errorf("got %v, %v without rules", p, err)
	}
}
