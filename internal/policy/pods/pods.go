package pods

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// MinLifetime is the shortest lifetime of a Pod's certificate that the API server accepts.
const MinLifetime = time.Hour

// maxNames bounds the names of a certificate, as the schema of an AcmeOrder does.
const maxNames = 100

// Pod is a Pod that asks for a certificate. The caller has verified that it exists.
type Pod struct {
	Namespace, Name     string
	Labels              map[string]string
	Hostname, Subdomain string
	ServiceAccount      string
	// NamespaceLabels and ServiceAccountLabels are those of the Pod's namespace and ServiceAccount.
	NamespaceLabels, ServiceAccountLabels map[string]string
	// Services are the names of the Services that select the Pod.
	Services []string
}

// Grant holds the names and the profile that a rule grants to a Pod.
type Grant struct {
	// Rule and Profile are names.
	Rule, Profile string
	// Names are normalized, sorted and without duplicates.
	Names []acme.Identifier
	// URI is the SPIFFE ID, or nil.
	URI *url.URL
	// Waits is set if no Service selects the Pod yet, and the rule requires one. Then nothing is granted.
	Waits bool
}

// Policy is a compiled spec.podCertificates.
type Policy struct {
	trustDomain, clusterDomain string
	rules                      []rule
}

type rule struct {
	v1alpha1.PodCertificateRule
	namespaces, serviceAccounts labels.Selector
	condition, dnsNames         *program
}

// New compiles the rules of an issuer's spec, and returns nil if the issuer has none. The error names the invalid field.
func New(spec *v1alpha1.AcmeIssuerSpec) (*Policy, error) {
	if spec.PodCertificates == nil {
		return nil, nil
	}
	p := &Policy{trustDomain: spec.PodCertificates.TrustDomain, clusterDomain: strings.TrimSuffix(spec.Validation.ClusterDomain, ".")}
	for i, r := range spec.PodCertificates.Rules {
		compiled, field, err := compile(r)
		if err == nil {
			compiled.Profile, err = profileOf(spec, r.Profile)
			field = "profile"
		}
		if err != nil {
			return nil, fmt.Errorf("spec.podCertificates.rules[%d].%s: %w", i, field, err)
		}
		p.rules = append(p.rules, compiled)
	}
	return p, nil
}

// compile returns a compiled rule, or the field at fault.
func compile(r v1alpha1.PodCertificateRule) (compiled rule, field string, err error) {
	compiled.PodCertificateRule = r
	if compiled.namespaces, err = metav1.LabelSelectorAsSelector(r.NamespaceSelector); err != nil {
		return compiled, "namespaceSelector", err
	}
	compiled.serviceAccounts = labels.Everything()
	if r.ServiceAccountSelector != nil {
		if compiled.serviceAccounts, err = metav1.LabelSelectorAsSelector(r.ServiceAccountSelector); err != nil {
			return compiled, "serviceAccountSelector", err
		}
	}
	if compiled.condition, err = compileBool(r.Condition); err != nil {
		return compiled, "condition", err
	}
	if compiled.dnsNames, err = compileList(r.DNSNames); err != nil {
		return compiled, "dnsNames", err
	}
	return compiled, "", nil
}

// profileOf returns the name of a rule's profile, whose certificates must live long enough for the API server.
func profileOf(spec *v1alpha1.AcmeIssuerSpec, name string) (string, error) {
	if name == "" {
		name = spec.DefaultProfile
	}
	if name == "" && len(spec.Profiles) > 0 {
		name = spec.Profiles[0].Name
	}
	i := slices.IndexFunc(spec.Profiles, func(p v1alpha1.Profile) bool { return p.Name == name })
	switch {
	case i < 0:
		return "", fmt.Errorf("there is no profile %q", name)
	case spec.Profiles[i].Lifetime.Duration < MinLifetime:
		return "", fmt.Errorf("the lifetime of profile %q is %v; certificates of Pods must live for at least %v", name,
			spec.Profiles[i].Lifetime.Duration, MinLifetime)
	}
	return name, nil
}

// Grant returns the grant of the first rule that covers the Pod. covered is false if no rule covers it. The error is a fault of a rule
// with this Pod: an expression that cannot be evaluated, or a name that no certificate can have.
func (p *Policy) Grant(pod Pod) (grant Grant, covered bool, err error) {
	for _, r := range p.rules {
		if !r.namespaces.Matches(labels.Set(pod.NamespaceLabels)) || !r.serviceAccounts.Matches(labels.Set(pod.ServiceAccountLabels)) {
			continue
		}
		holds, err := r.condition.bool(pod)
		if err != nil {
			return Grant{}, false, fmt.Errorf("the condition of rule %q: %w", r.Name, err)
		}
		if !holds {
			continue
		}
		grant, err := p.grant(r, pod)
		if err != nil {
			return Grant{}, false, fmt.Errorf("rule %q: %w", r.Name, err)
		}
		return grant, true, nil
	}
	return Grant{}, false, nil
}

func (p *Policy) grant(r rule, pod Pod) (Grant, error) {
	g := Grant{Rule: r.Name, Profile: r.Profile}
	if r.Services == v1alpha1.PodServicesRequired && len(pod.Services) == 0 {
		g.Waits = true
		return g, nil
	}
	names, err := r.dnsNames.list(pod)
	if err != nil {
		return g, fmt.Errorf("dnsNames: %w", err)
	}
	if r.Services == v1alpha1.PodServicesOptional || r.Services == v1alpha1.PodServicesRequired {
		names = append(names, p.serviceNames(pod)...)
	}
	if g.Names, err = normalize(names); err != nil {
		return g, err
	}
	if r.SPIFFEID {
		g.URI = &url.URL{Scheme: "spiffe", Host: p.trustDomain, Path: "/ns/" + pod.Namespace + "/sa/" + pod.ServiceAccount}
	}
	// A rule with Optional Services alone grants nothing before the first Service.
	g.Waits = len(g.Names) == 0 && g.URI == nil
	return g, nil
}

// serviceNames returns the names of the Pod's Services, in short and long form.
func (p *Policy) serviceNames(pod Pod) []string {
	var names []string
	for _, service := range pod.Services {
		short := service + "." + pod.Namespace + ".svc"
		names = append(names, short)
		if p.clusterDomain != "" {
			names = append(names, short+"."+p.clusterDomain)
		}
	}
	return names
}

func normalize(names []string) ([]acme.Identifier, error) {
	var ids []acme.Identifier
	for _, name := range names {
		id, problem := acme.Identifier{Type: acme.DNS, Value: name}.Normalize()
		if problem != nil {
			return nil, fmt.Errorf("no certificate can have the name %q: %s", acme.Printable(name, acme.MaxNameLength), problem.Detail)
		}
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b acme.Identifier) int { return strings.Compare(a.Value, b.Value) })
	if ids = slices.Compact(ids); len(ids) > maxNames {
		return nil, fmt.Errorf("the Pod would have %d names; the limit is %d", len(ids), maxNames)
	}
	return ids, nil
}
