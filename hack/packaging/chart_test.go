package packaging

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func root(t *testing.T) string {
	t.Helper()
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func render(t *testing.T, namespace string, values map[string]any) Objects {
	t.Helper()
	objects, _, err := Helm(root(t), namespace, values)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// image is the image of config/default.
var image = map[string]any{"repository": "acmeca", "tag": "dev"}

func TestTheChartHasTheObjectsOfConfigDefault(t *testing.T) {
	want, err := Kustomize(root(t) + "/config/default")
	if err != nil {
		t.Fatal(err)
	}
	compare(t, want, render(t, "acmeca-system", map[string]any{"image": image}))
}

func TestTheChartHasTheObjectsOfConfigPrometheus(t *testing.T) {
	want, err := Kustomize(root(t) + "/hack/packaging/testdata/prometheus")
	if err != nil {
		t.Fatal(err)
	}
	on := map[string]any{"enabled": true}
	compare(t, want, render(t, "acmeca-system", map[string]any{"image": image, "prometheus": map[string]any{"serviceMonitor": on, "rules": on}}))
}

func TestTheChartHasTheObjectsOfConfigKeyService(t *testing.T) {
	want, err := Kustomize(root(t) + "/hack/packaging/testdata/key-service")
	if err != nil {
		t.Fatal(err)
	}
	keyService := map[string]any{"enabled": true, "args": []any{"keyservice", "--transit=https://openbao.openbao.svc:8200"}}
	compare(t, want, render(t, "acmeca-system", map[string]any{"image": image, "keyService": keyService}))
}

func TestTheChartHasTheObjectsOfConfigPodCertificates(t *testing.T) {
	want, err := Kustomize(root(t) + "/hack/packaging/testdata/pod-certificates")
	if err != nil {
		t.Fatal(err)
	}
	compare(t, want, render(t, "acmeca-system", map[string]any{"image": image, "podCertificates": map[string]any{"enabled": true}}))
}

func TestTheChartHasTheObjectsOfConfigManagedFields(t *testing.T) {
	want, err := Kustomize(root(t) + "/hack/packaging/testdata/managed-fields")
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{"image": image, "admissionPolicy": map[string]any{"managedFields": true}}
	compare(t, want, render(t, "acmeca-system", values))
	for _, policy := range render(t, "pki", values) {
		if policy.GetKind() == "MutatingAdmissionPolicyBinding" {
			if name, _, _ := unstructured.NestedString(policy.Object, "spec", "policyName"); name != policy.GetName() || name == "managed-fields.acmeca.dev" {
				t.Errorf("in another namespace, %s binds %s", policy.GetName(), name)
			}
			return
		}
	}
	t.Error("in another namespace, there is no binding")
}

func TestTheChartHasTheObjectsOfConfigTrustNamespaces(t *testing.T) {
	want, err := Kustomize(root(t) + "/hack/packaging/testdata/trust-namespaces")
	if err != nil {
		t.Fatal(err)
	}
	compare(t, want, render(t, "acmeca-system", map[string]any{"image": image, "rbac": map[string]any{"trustNamespaces": true}}))
}

// compare compares objects, without the Namespace, which no release has, and without the metadata of Helm releases.
func compare(t *testing.T, kustomize, helm Objects) {
	t.Helper()
	want, got := byName(kustomize), byName(helm)
	for name := range want {
		if strings.HasPrefix(name, "Namespace ") {
			delete(want, name)
		}
	}
	if names, others := slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)); !slices.Equal(names, others) {
		t.Fatalf("objects differ:\n%s", cmp.Diff(names, others))
	}
	for name := range want {
		if diff := cmp.Diff(want[name], got[name]); diff != "" {
			t.Errorf("%s, config -, chart +:\n%s", name, diff)
		}
	}
}

func byName(objects Objects) map[string]any {
	named := map[string]any{}
	for _, object := range objects {
		named[fmt.Sprintf("%s %s/%s", object.GetKind(), object.GetNamespace(), object.GetName())] = normal(object.Object)
	}
	return named
}

// releaseLabels are on every object of a release; config doesn't have them.
var releaseLabels = []string{"app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/version", "helm.sh/chart", "helm.sh/resource-policy"}

// normal removes the differences by design, and converts all numbers to one type.
func normal(value any) any {
	switch v := value.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, member := range v {
			if slices.Contains(releaseLabels, key) {
				continue
			}
			out[key] = normal(member)
		}
		// An object whose labels are those of a release alone has none in config.
		if metadata, ok := out["metadata"].(map[string]any); ok {
			withoutName(metadata)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = normal(v[i])
		}
		return out
	case int64:
		return float64(v)
	default:
		return v
	}
}

// withoutName drops the name label, which config has only on Pods and related objects, and the chart on all objects.
func withoutName(metadata map[string]any) {
	labels, ok := metadata["labels"].(map[string]any)
	if !ok {
		return
	}
	delete(labels, "app.kubernetes.io/name")
	if len(labels) == 0 {
		delete(metadata, "labels")
	}
}

func TestTheChartIsLinted(t *testing.T) {
	linter := lint.All(root(t)+"/charts/acmeca", nil, "acmeca-system", true)
	for _, message := range linter.Messages {
		if message.Severity >= support.WarningSev {
			t.Error(message)
		}
	}
}

func TestValuesAreChecked(t *testing.T) {
	for name, values := range map[string]map[string]any{
		"an unknown value":         {"replicas": 3},
		"an unknown one deeper":    {"server": map[string]any{"replica": 3}},
		"a number that is none":    {"server": map[string]any{"replicas": "three"}},
		"a digest that is none":    {"image": map[string]any{"digest": "latest"}},
		"an issuer without place":  {"defaultIssuer": "default"},
		"a port that is none":      {"networkPolicy": map[string]any{"apiServerPorts": []any{0}}},
		"an issuer that is none":   {"issuer": map[string]any{"create": "yes"}},
		"a URL without TLS":        {"externalURLs": []any{"http://acme.example"}},
		"a namespace that is none": {"watchNamespaces": []any{"Team A"}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := Helm(root(t), "acmeca-system", values); err == nil {
				t.Error("the values are accepted")
			}
		})
	}
}

func TestWatchedNamespacesGetRoleBindingsAlone(t *testing.T) {
	objects := render(t, "pki", map[string]any{"watchNamespaces": []any{"team-b", "team-a"}})
	if bindings := objects.Kinds("ClusterRoleBinding"); len(bindings) != 1 || bindings[0].GetName() != "acmeca-pki-decisions" {
		t.Errorf("there are %d ClusterRoleBindings", len(bindings))
	}
	var namespaces []string
	for _, binding := range objects.Kinds("RoleBinding") {
		namespaces = append(namespaces, binding.GetNamespace())
	}
	slices.Sort(namespaces)
	if want := []string{"pki", "pki", "pki", "team-a", "team-a", "team-b", "team-b"}; !slices.Equal(namespaces, want) {
		t.Errorf("bindings are in %v", namespaces)
	}
	for _, binding := range objects.Kinds("ValidatingAdmissionPolicyBinding") {
		if _, selected, _ := unstructured.NestedMap(binding.Object, "spec", "matchResources", "namespaceSelector"); !selected {
			t.Errorf("%s holds in other namespaces, too", binding.GetName())
		}
	}
	for _, deployment := range objects.Kinds("Deployment") {
		if !slices.Contains(arguments(t, deployment), "--watch-namespaces=pki,team-a,team-b") {
			t.Errorf("%s runs with %v", deployment.GetName(), arguments(t, deployment))
		}
	}
}

func arguments(t *testing.T, deployment *unstructured.Unstructured) []string {
	t.Helper()
	containers, _, err := unstructured.NestedSlice(deployment.Object, "spec", "template", "spec", "containers")
	if err != nil {
		t.Fatal(err)
	}
	args, _, err := unstructured.NestedStringSlice(containers[0].(map[string]any), "args")
	if err != nil {
		t.Fatal(err)
	}
	return args
}

// Another namespace and other names are used everywhere.
func TestNamesAreTheReleasesOwn(t *testing.T) {
	objects := render(t, "pki", map[string]any{"fullnameOverride": "corp", "server": map[string]any{"serviceAccount": map[string]any{"name": "endpoint"}}})
	for _, object := range objects {
		text, err := object.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "acmeca-system") && object.GetKind() != "CustomResourceDefinition" {
			t.Errorf("%s %s names acmeca-system", object.GetKind(), object.GetName())
		}
	}
	for _, binding := range objects.Kinds("ValidatingAdmissionPolicyBinding") {
		ref, _, _ := unstructured.NestedStringMap(binding.Object, "spec", "paramRef")
		want := "corp-controller"
		if binding.GetName() == "corp-pki.status.acmeca.dev" { // for the controllers of every installation
			continue
		}
		if binding.GetName() == "corp-pki.server.acmeca.dev" {
			want = "endpoint"
		}
		if ref["name"] != want || ref["namespace"] != "pki" {
			t.Errorf("%s is about %v", binding.GetName(), ref)
		}
	}
	server, err := objects.One("Deployment", "corp-server")
	if err != nil {
		t.Fatal(err)
	}
	if account, _, _ := unstructured.NestedString(server.Object, "spec", "template", "spec", "serviceAccountName"); account != "endpoint" {
		t.Errorf("the ACME server runs as %q", account)
	}
	if !slices.Contains(arguments(t, server), "--external-url=https://corp.pki.svc") {
		t.Errorf("the ACME server runs with %v", arguments(t, server))
	}
}

// Releases of one name in several namespaces have no object in common, so that each can be installed and removed by itself.
func TestReleasesHaveObjectsOfTheirOwn(t *testing.T) {
	without := map[string]any{"crds": map[string]any{"enabled": false}}
	first := byName(render(t, "acmeca-system", without))
	for name := range byName(render(t, "pki", without)) {
		if _, shared := first[name]; shared {
			t.Errorf("both have %s", name)
		}
	}
}

func TestDefinitionsAreKept(t *testing.T) {
	for keep, want := range map[bool]string{true: "keep", false: ""} {
		definitions := render(t, "acmeca-system", map[string]any{"crds": map[string]any{"keep": keep}}).Kinds("CustomResourceDefinition")
		if len(definitions) != 4 {
			t.Fatalf("got %d definitions", len(definitions))
		}
		for _, definition := range definitions {
			if got := definition.GetAnnotations()["helm.sh/resource-policy"]; got != want {
				t.Errorf("%s: got %q", definition.GetName(), got)
			}
		}
	}
	if definitions := render(t, "acmeca-system", map[string]any{"crds": map[string]any{"enabled": false}}).Kinds("CustomResourceDefinition"); len(definitions) > 0 {
		t.Errorf("got %d definitions that are not wanted", len(definitions))
	}
}

func TestNotesNameTheDefaultIssuer(t *testing.T) {
	_, notes, err := Helm(root(t), "pki", map[string]any{"defaultIssuer": "team-a/internal"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"namespace: team-a", "name: internal", "acmeissuer -n team-a internal"} {
		if !strings.Contains(notes, want) {
			t.Errorf("%q isn't in:\n%s", want, notes)
		}
	}
}
