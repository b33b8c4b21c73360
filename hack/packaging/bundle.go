package packaging

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/operator-framework/api/pkg/operators/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// bundled are the kinds in a bundle beside its ClusterServiceVersion. OLM creates the other objects from that.
var bundled = []string{"CustomResourceDefinition", "Service", "PodDisruptionBudget", "PriorityClass"}

// annotations describe the bundle. They are in a file of the image, and are the image's labels.
var annotations = []struct{ name, value string }{
	{"operators.operatorframework.io.bundle.mediatype.v1", "registry+v1"},
	{"operators.operatorframework.io.bundle.manifests.v1", "manifests/"},
	{"operators.operatorframework.io.bundle.metadata.v1", "metadata/"},
	{"operators.operatorframework.io.bundle.package.v1", "acmeca"},
	{"operators.operatorframework.io.bundle.channels.v1", "candidate"},
	{"operators.operatorframework.io.bundle.channel.default.v1", "candidate"},
	{"operators.operatorframework.io.test.mediatype.v1", "scorecard+v1"},
	{"operators.operatorframework.io.test.config.v1", "tests/scorecard/"},
}

// GenerateBundle writes the OLM bundle.
func GenerateBundle(root string) error {
	objects, err := Kustomize(filepath.Join(root, "config", "default"))
	if err != nil {
		return err
	}
	csv, err := clusterServiceVersion(root, objects)
	if err != nil {
		return err
	}
	files := []file{{"README.md", []byte(bundleReadme)}, annotationsFile(), bundleDockerfile()}
	for _, source := range [][2]string{{"icon.svg", "icon.svg"}, {"scorecard.yaml", "tests/scorecard/config.yaml"}} {
		text, err := os.ReadFile(filepath.Join(root, "config", "manifests", source[0]))
		if err != nil {
			return err
		}
		files = append(files, file{source[1], text})
	}
	manifest, err := yamlFile("manifests/acmeca.clusterserviceversion.yaml", csv)
	if err != nil {
		return err
	}
	files = append(files, manifest)
	for _, object := range append(objects.Kinds(bundled...), forPeople(objects)...) {
		object = object.DeepCopy()
		object.SetNamespace("") // OLM sets it
		f, err := yamlFile(fmt.Sprintf("manifests/%s.%s.yaml", object.GetName(), strings.ToLower(object.GetKind())), object.Object)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	return replace(filepath.Join(root, "bundle"), files)
}

// forPeople returns the ClusterRoles for people, not those of ServiceAccounts.
func forPeople(objects Objects) Objects {
	return slices.DeleteFunc(objects.Kinds("ClusterRole"), func(o *unstructured.Unstructured) bool {
		return len(o.GetLabels()) == 0
	})
}

// clusterServiceVersion returns the texts of config/manifests, completed with the objects of config/default.
func clusterServiceVersion(root string, objects Objects) (map[string]any, error) {
	text, err := os.ReadFile(filepath.Join(root, "config", "manifests", "acmeca.clusterserviceversion.yaml"))
	if err != nil {
		return nil, err
	}
	csv := &v1alpha1.ClusterServiceVersion{}
	if err := yaml.UnmarshalStrict(text, csv); err != nil {
		return nil, err
	}
	icon, err := os.ReadFile(filepath.Join(root, "config", "manifests", "icon.svg"))
	if err != nil {
		return nil, err
	}
	csv.Spec.Icon = []v1alpha1.Icon{{Data: base64.StdEncoding.EncodeToString(icon), MediaType: "image/svg+xml"}}
	if csv.Annotations["alm-examples"], err = examples(root); err != nil {
		return nil, err
	}
	csv.Spec.InstallStrategy.StrategyName = v1alpha1.InstallStrategyNameDeployment
	if csv.Spec.InstallStrategy.StrategySpec, err = strategy(objects, csv.Annotations["containerImage"]); err != nil {
		return nil, err
	}
	out, err := runtime.DefaultUnstructuredConverter.ToUnstructured(csv)
	if err != nil {
		return nil, err
	}
	delete(out, "status")
	withoutZeros(out)
	return out, nil
}

// examples returns the samples as JSON.
func examples(root string) (string, error) {
	var all []any
	for _, dir := range []string{"samples", "samples/by-the-server"} {
		samples, err := Kustomize(filepath.Join(root, "config", dir))
		if err != nil {
			return "", err
		}
		for _, sample := range samples {
			sample.SetNamespace("")
			all = append(all, sample.Object)
		}
	}
	text, err := json.MarshalIndent(all, "", "  ")
	return string(text), err
}

// strategy returns the Deployments and the rights of their ServiceAccounts, which OLM creates.
func strategy(objects Objects, image string) (v1alpha1.StrategyDetailsDeployment, error) {
	var details v1alpha1.StrategyDetailsDeployment
	for _, object := range objects.Kinds("Deployment") {
		deployment := &appsv1.Deployment{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, deployment); err != nil {
			return details, err
		}
		for i := range deployment.Spec.Template.Spec.Containers {
			deployment.Spec.Template.Spec.Containers[i].Image = image
		}
		details.DeploymentSpecs = append(details.DeploymentSpecs, v1alpha1.StrategyDeploymentSpec{
			Name: deployment.Name, Label: deployment.Labels, Spec: deployment.Spec,
		})
	}
	var err error
	if details.ClusterPermissions, err = permissions(objects, "ClusterRoleBinding"); err != nil {
		return details, err
	}
	details.Permissions, err = permissions(objects, "RoleBinding")
	return details, err
}

// permissions returns the rights that bindings of a kind grant to ServiceAccounts.
func permissions(objects Objects, kind string) ([]v1alpha1.StrategyDeploymentPermissions, error) {
	var all []v1alpha1.StrategyDeploymentPermissions
	for _, object := range objects.Kinds(kind) {
		binding := &rbacv1.ClusterRoleBinding{} // a RoleBinding has the same fields
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, binding); err != nil {
			return nil, err
		}
		found, err := objects.One(binding.RoleRef.Kind, binding.RoleRef.Name)
		if err != nil {
			return nil, err
		}
		role := &rbacv1.ClusterRole{} // a Role has the same fields
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(found.Object, role); err != nil {
			return nil, err
		}
		for _, subject := range binding.Subjects {
			all = append(all, v1alpha1.StrategyDeploymentPermissions{ServiceAccountName: subject.Name, Rules: role.Rules})
		}
	}
	return all, nil
}

// withoutZeros drops the zero values of Go's types: null creation timestamps, and empty status, strategy and resources.
func withoutZeros(object map[string]any) {
	for key, value := range object {
		switch v := value.(type) {
		case nil:
			delete(object, key)
		case map[string]any:
			withoutZeros(v)
			if len(v) == 0 && (key == "status" || key == "strategy" || key == "resources" || key == "cleanup" || key == "apiservicedefinitions") {
				delete(object, key)
			}
		case []any:
			for _, item := range v {
				if member, ok := item.(map[string]any); ok {
					withoutZeros(member)
				}
			}
		}
	}
	if object["enabled"] == false && len(object) == 1 { // spec.cleanup
		delete(object, "enabled")
	}
}

func annotationsFile() file {
	text := "annotations:\n"
	for _, a := range annotations {
		text += "  " + a.name + ": " + a.value + "\n"
	}
	return file{"metadata/annotations.yaml", []byte(text)}
}

func bundleDockerfile() file {
	text := "# docker build -f bundle/bundle.Dockerfile bundle\nFROM scratch\n"
	for _, a := range annotations {
		text += "LABEL " + a.name + "=" + a.value + "\n"
	}
	return file{"bundle.Dockerfile", []byte(text + "COPY manifests /manifests/\nCOPY metadata /metadata/\nCOPY tests/scorecard /tests/scorecard/\n")}
}

const bundleReadme = `# The bundle for the Operator Lifecycle Manager

` + "`make bundle`" + ` generates it from config: do not edit it here. The texts for people are in
config/manifests/acmeca.clusterserviceversion.yaml. OLM can't install the admission policies and the network policies. Apply
them after the bundle:

    kubectl apply -k config/admission
    kubectl apply -k config/network-policy

Use an overlay if the namespace is not acmeca-system.
`
