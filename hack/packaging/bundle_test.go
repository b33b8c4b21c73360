package packaging

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/operator-framework/api/pkg/manifests"
	"github.com/operator-framework/api/pkg/operators/v1alpha1"
	"github.com/operator-framework/api/pkg/validation"
	interfaces "github.com/operator-framework/api/pkg/validation/interfaces"
)

func bundle(t *testing.T) *manifests.Bundle {
	t.Helper()
	bundle, err := manifests.GetBundleFromDir(root(t) + "/bundle")
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

// Every validator of the Operator Framework but those that are deprecated, or ask a container runtime about images.
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

func TestTheBundleHasSamplesAndDescriptorsOfEveryKind(t *testing.T) {
	bundle := bundle(t)
	var samples []struct{ Kind string }
	if err := json.Unmarshal([]byte(bundle.CSV.Annotations["alm-examples"]), &samples); err != nil {
		t.Fatal(err)
	}
	owned := bundle.CSV.Spec.CustomResourceDefinitions.Owned
	if len(owned) != 4 || len(bundle.V1CRDs) != 4 {
		t.Errorf("it has %d kinds and %d definitions", len(owned), len(bundle.V1CRDs))
	}
	for _, kind := range owned {
		if !slices.ContainsFunc(samples, func(s struct{ Kind string }) bool { return s.Kind == kind.Kind }) {
			t.Errorf("there is no sample of %s", kind.Kind)
		}
		if len(kind.SpecDescriptors) == 0 || len(kind.StatusDescriptors) == 0 {
			t.Errorf("%s lacks descriptors", kind.Kind)
		}
	}
}

// Each half runs as its own ServiceAccount, with rights of its own.
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
