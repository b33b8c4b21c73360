package v1alpha1_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/controlplane"
	"github.com/acmeca/acmeca/internal/test/project"
)

func TestAPI(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "API")
}

var (
	plane *controlplane.Plane
	admin client.Client
)

var _ = BeforeSuite(func(ctx SpecContext) {
	var err error
	plane, err = controlplane.StartForTest(ctx)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(plane.Stop)
	scheme := runtime.NewScheme()
	Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	admin, err = client.New(plane.Config(), client.Options{Scheme: scheme, FieldValidation: "Strict"})
	Expect(err).NotTo(HaveOccurred())
})

const namespace = "default"

// Objects that the API server takes.
const (
	anIssuer = `
apiVersion: acmeca.dev/v1alpha1
kind: AcmeIssuer
spec: {ca: {selfSigned: {}}}`

	anAccount = `
apiVersion: acmeca.dev/v1alpha1
kind: AcmeAccount
spec:
  issuerRef: {name: ca}
  jwk: "{}"
  registration: {protected: e30, payload: e30, signature: c2ln}`

	anOrder = `
apiVersion: acmeca.dev/v1alpha1
kind: AcmeOrder
spec:
  issuerRef: {name: ca}
  accountRef: {name: someone}
  identifiers: [{type: dns, value: a.test}, {type: dns, value: b.test}]
  authorizations: [for-a, for-b]`

	anAuthorization = `
apiVersion: acmeca.dev/v1alpha1
kind: AcmeAuthorization
spec:
  issuerRef: {name: ca}
  accountRef: {name: someone}
  identifier: {type: dns, value: a.test}
  challenges: [{type: http-01, token: "0123456789012345678901"}]`

	// aFinalization is a merge patch of an order.
	aFinalization = `{"spec": {"finalization": {"request": {"protected": "e30", "signature": "c2ln"}, "time": "2030-01-01T00:00:00Z"}}}`
)

var made int

// object is a manifest with merge patches applied, under a name of its own.
func object(manifest string, patches ...string) *unstructured.Unstructured {
	GinkgoHelper()
	text, err := yaml.YAMLToJSON([]byte(manifest))
	Expect(err).NotTo(HaveOccurred())
	made++
	patches = append([]string{fmt.Sprintf(`{"metadata": {"namespace": %q, "name": "object-%d"}}`, namespace, made)}, patches...)
	for _, patch := range patches {
		text, err = jsonpatch.MergePatch(text, []byte(patch))
		Expect(err).NotTo(HaveOccurred(), patch)
	}
	made := &unstructured.Unstructured{}
	Expect(made.UnmarshalJSON(text)).To(Succeed())
	return made
}

// create has an object taken.
func create(ctx context.Context, manifest string, patches ...string) *unstructured.Unstructured {
	GinkgoHelper()
	made := object(manifest, patches...)
	Expect(admin.Create(ctx, made)).To(Succeed())
	return made
}

// change changes an object by a merge patch; changeStatus does so with its status.
func change(ctx context.Context, object client.Object, patch string) error {
	return note(admin.Patch(ctx, object, client.RawPatch(types.MergePatchType, []byte(patch))))
}

func changeStatus(ctx context.Context, object client.Object, patch string) error {
	return note(admin.Status().Patch(ctx, object, client.RawPatch(types.MergePatchType, []byte(patch))))
}

// beRefused matches the API server's answer to an object that breaks a rule.
func beRefused(words string) OmegaMatcher {
	return And(WithTransform(apierrors.IsInvalid, BeTrue()), MatchError(ContainSubstring(words)))
}

// refusals are all that the API server said against objects.
var refusals strings.Builder

func note(err error) error {
	if err != nil {
		fmt.Fprintln(&refusals, err)
	}
	return err
}

// field reads a field of an object; "" where it isn't there.
func field(object *unstructured.Unstructured, path ...string) string {
	GinkgoHelper()
	value, found, err := unstructured.NestedFieldNoCopy(object.Object, path...)
	Expect(err).NotTo(HaveOccurred())
	if !found {
		return ""
	}
	return fmt.Sprint(value)
}

// A spec breaks each CEL rule of the kinds, so that no rule is without effect.
var _ = ReportAfterSuite("every rule is held by a spec", func(report Report) {
	if !report.SuiteSucceeded || report.PreRunStats.SpecsThatWillRun < report.PreRunStats.TotalSpecs {
		return
	}
	root, err := project.Root()
	Expect(err).NotTo(HaveOccurred())
	definitions, err := controlplane.ReadManifests(root + "/config/crd/bases")
	Expect(err).NotTo(HaveOccurred())
	Expect(definitions).To(HaveLen(4))
	for _, definition := range definitions {
		text, err := json.Marshal(definition)
		Expect(err).NotTo(HaveOccurred())
		var tree any
		Expect(json.Unmarshal(text, &tree)).To(Succeed())
		for _, message := range messages(tree) {
			Expect(strings.Contains(refusals.String(), message)).To(BeTrue(), "no spec breaks this rule of %s: %s", definition.GetName(), message)
		}
	}
})

// messages are those of all rules in a schema.
func messages(tree any) []string {
	var found []string
	switch node := tree.(type) {
	case map[string]any:
		if message, ok := node["message"].(string); ok && node["rule"] != nil {
			found = append(found, message)
		}
		for _, child := range node {
			found = append(found, messages(child)...)
		}
	case []any:
		for _, child := range node {
			found = append(found, messages(child)...)
		}
	}
	return found
}
