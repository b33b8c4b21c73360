package packaging

import (
	"maps"
	"os"
	"path/filepath"
	"slices"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
)

// chartFiles are the objects of config that the chart's templates include: kind, name and file.
var chartFiles = [][3]string{
	{"CustomResourceDefinition", "acmeissuers.acmeca.dev", "crd/acmeissuers.yaml"},
	{"CustomResourceDefinition", "acmeaccounts.acmeca.dev", "crd/acmeaccounts.yaml"},
	{"CustomResourceDefinition", "acmeorders.acmeca.dev", "crd/acmeorders.yaml"},
	{"CustomResourceDefinition", "acmeauthorizations.acmeca.dev", "crd/acmeauthorizations.yaml"},
	{"ClusterRole", "acmeca-controller", "rbac/controller.yaml"},
	{"ClusterRole", "acmeca-server", "rbac/server.yaml"},
	{"ClusterRole", "acmeca-view", "rbac/view.yaml"},
	{"ClusterRole", "acmeca-edit", "rbac/edit.yaml"},
	{"ClusterRole", "acmeca-decisions", "rbac/decisions.yaml"},
	{"Role", "acmeca-controller", "rbac/election.yaml"},
	{"NetworkPolicy", "acmeca-controller", "network-policy/controller.yaml"},
	{"NetworkPolicy", "acmeca-server", "network-policy/server.yaml"},
	{"ValidatingAdmissionPolicy", "server.acmeca.dev", "admission/server.yaml"},
	{"ValidatingAdmissionPolicy", "controllers.acmeca.dev", "admission/controllers.yaml"},
	{"ValidatingAdmissionPolicy", "status.acmeca.dev", "admission/status.yaml"},
	{"ValidatingAdmissionPolicyBinding", "server.acmeca.dev", "admission/bindings/server.yaml"},
	{"ValidatingAdmissionPolicyBinding", "controllers.acmeca.dev", "admission/bindings/controllers.yaml"},
	{"ValidatingAdmissionPolicyBinding", "status.acmeca.dev", "admission/bindings/status.yaml"},
}

// optionalFiles are the files of the chart that are files of components of config.
var optionalFiles = map[string]string{
	"rbac/pod-certificates.yaml":             "pod-certificates/role.yaml",
	"rbac/trust-namespaces.yaml":             "trust-namespaces/role.yaml",
	"admission/managed-fields.yaml":          "managed-fields/policy.yaml",
	"admission/bindings/managed-fields.yaml": "managed-fields/binding.yaml",
}

// GenerateChart writes the chart's files from config.
func GenerateChart(root string) error {
	objects, err := Kustomize(filepath.Join(root, "config", "default"))
	if err != nil {
		return err
	}
	rules, err := os.ReadFile(filepath.Join(root, "config", "prometheus", "rules.yaml"))
	if err != nil {
		return err
	}
	files := []file{{"prometheus/rules.yaml", rules}}
	for name, source := range optionalFiles {
		content, err := os.ReadFile(filepath.Join(root, "config", filepath.FromSlash(source)))
		if err != nil {
			return err
		}
		files = append(files, file{name, content})
	}
	for _, wanted := range chartFiles {
		object, err := objects.One(wanted[0], wanted[1])
		if err != nil {
			return err
		}
		f, err := yamlFile(wanted[2], object.Object)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	return replace(filepath.Join(root, "charts", "acmeca", "files"), files)
}

// Helm renders the chart as `helm template` does, as the release acmeca in a namespace.
func Helm(root, namespace string, values map[string]any) (Objects, string, error) {
	chart, err := loader.Load(filepath.Join(root, "charts", "acmeca"))
	if err != nil {
		return nil, "", err
	}
	release := chartutil.ReleaseOptions{Name: "acmeca", Namespace: namespace, Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(chart, values, release, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, "", err
	}
	rendered, err := engine.Render(chart, all)
	if err != nil {
		return nil, "", err
	}
	var objects Objects
	var notes string
	for _, path := range slices.Sorted(maps.Keys(rendered)) {
		if filepath.Base(path) == "NOTES.txt" {
			notes = rendered[path]
			continue
		}
		more, err := parse(rendered[path])
		if err != nil {
			return nil, "", err
		}
		objects = append(objects, more...)
	}
	return objects, notes, nil
}
