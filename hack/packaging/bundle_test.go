package packaging

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	scorecard "github.com/operator-framework/api/pkg/apis/scorecard/v1alpha3"
	"github.com/operator-framework/api/pkg/manifests"
	"github.com/operator-framework/api/pkg/operators/v1alpha1"
	"github.com/operator-framework/api/pkg/validation"
	interfaces "github.com/operator-framework/api/pkg/validation/interfaces"
	"sigs.k8s.io/yaml"
)

func bundle(t *testing.T) *manifests.Bundle {
	t.Helper()
	bundle, err := manifests.GetBundleFromDir(root(t) + "/bundle")
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

// Runs every validator of the Operator Framework except deprecated ones and those that need a container runtime.
func TestTheBundleIsValid(t *testing.T) {
	bundle := bundle(t)
	validators := interfaces.Validators{
		validation.BundleValidator, validation.ClusterServiceVersionValidator, validation.CustomResourceDefinitionValidator,
		validation.ObjectValidator, validation.OperatorGroupValidator, validation.OperatorHubV2Validator,
		validation.StandardCapabilitiesValidator, validation.StandardCategoriesValidator, validation.GoodPracticesValidator,
		validation.CommunityOperatorValidator, validation.AlphaDeprecatedAPIsValidator,
	}
	for _, result := range validators.Validate(bundle.ObjectsToValidate()...) {
		for _, err := range slices.Concat(result.Errors, result.Warnings) {
			t.Errorf("%s: %v", result.Name, err)
		}
	}
}

// Checks the requirements of the scorecard's tests on samples and descriptors, since those tests need a cluster.
func TestTheBundleHasSamplesAndDescriptorsOfEveryKind(t *testing.T) {
	bundle := bundle(t)
	var samples []struct {
		Kind string
		Spec map[string]any
	}
	if err := json.Unmarshal([]byte(bundle.CSV.Annotations["alm-examples"]), &samples); err != nil {
		t.Fatal(err)
	}
	owned := bundle.CSV.Spec.CustomResourceDefinitions.Owned
	if len(owned) != 4 || len(bundle.V1CRDs) != 4 {
		t.Errorf("it has %d kinds and %d definitions", len(owned), len(bundle.V1CRDs))
	}
	for _, kind := range owned {
		if len(kind.Resources) == 0 || len(kind.StatusDescriptors) == 0 {
			t.Errorf("%s lacks resources or descriptors of its status", kind.Kind)
		}
		fields := map[string]bool{}
		for _, sample := range samples {
			if sample.Kind == kind.Kind {
				for field := range sample.Spec {
					fields[field] = true
				}
			}
		}
		if len(fields) == 0 {
			t.Errorf("there is no sample of %s", kind.Kind)
		}
		for field := range fields {
			if !slices.ContainsFunc(kind.SpecDescriptors, func(d v1alpha1.SpecDescriptor) bool { return d.Path == field }) {
				t.Errorf("%s has no descriptor of %s, which a sample has", kind.Kind, field)
			}
		}
	}
}

// The image's labels and the annotations in its files are the same.
func TestTheBundleImageSaysWhatItsMetadataSays(t *testing.T) {
	var metadata struct{ Annotations map[string]string }
	decode(t, "metadata/annotations.yaml", &metadata)
	text, err := os.ReadFile(root(t) + "/bundle/bundle.Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{}
	for line := range strings.Lines(string(text)) {
		switch words := strings.Fields(line); words[0] {
		case "LABEL":
			key, value, _ := strings.Cut(words[1], "=")
			labels[key] = value
		case "COPY":
			if _, err := os.Stat(root(t) + "/bundle/" + words[1]); err != nil {
				t.Error(err)
			}
		}
	}
	if diff := cmp.Diff(metadata.Annotations, labels); diff != "" {
		t.Errorf("annotations -, labels +:\n%s", diff)
	}
}

func TestTheScorecardIsConfigured(t *testing.T) {
	var config scorecard.Configuration
	decode(t, "tests/scorecard/config.yaml", &config)
	if config.APIVersion != scorecard.GroupVersion.String() || config.Kind != "Configuration" {
		t.Errorf("it is a %s %s", config.APIVersion, config.Kind)
	}
	var tests []string
	images := map[string]bool{}
	for _, stage := range config.Stages {
		for _, test := range stage.Tests {
			tests, images[test.Image] = append(tests, test.Entrypoint[len(test.Entrypoint)-1]), true
		}
	}
	if slices.Sort(tests); len(images) != 1 || !slices.Equal(tests, []string{
		"basic-check-spec", "olm-bundle-validation", "olm-crds-have-resources", "olm-crds-have-validation", "olm-spec-descriptors", "olm-status-descriptors",
	}) {
		t.Errorf("it has the tests %v, of %v", tests, images)
	}
}

// decode reads a file of the bundle, and refuses unknown fields.
func decode(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(root(t) + "/bundle/" + name)
	if err == nil {
		err = yaml.UnmarshalStrict(text, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// The ACME server and the controllers run as different ServiceAccounts, with different rights.
func TestTheBundleKeepsTheHalvesApart(t *testing.T) {
	spec := bundle(t).CSV.Spec.InstallStrategy.StrategySpec
	var accounts []string
	for _, deployment := range spec.DeploymentSpecs {
		account := deployment.Spec.Template.Spec.ServiceAccountName
		accounts = append(accounts, account)
		if !slices.ContainsFunc(spec.ClusterPermissions, func(p v1alpha1.StrategyDeploymentPermissions) bool { return p.ServiceAccountName == account }) {
			t.Errorf("%s has no rights", account)
		}
	}
	if slices.Sort(accounts); !slices.Equal(accounts, []string{"acmeca-controller", "acmeca-server"}) {
		t.Errorf("it runs as %v", accounts)
	}
}
