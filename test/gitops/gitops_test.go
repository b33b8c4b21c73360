// Package gitops runs the health checks of docs/guides/gitops.md as Argo CD and Flux do, on issuers in each state.
package gitops

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/ext"
	lua "github.com/yuin/gopher-lua"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// states lists the states of an issuer, with the health that Argo CD and Flux must report.
var states = []struct {
	name         string
	ready        *metav1.Condition
	observed     int64
	argoCD, flux string
}{
	{"it was never reconciled", nil, 0, "Progressing", "Unknown"},
	{"it was changed", condition(metav1.ConditionTrue, v1alpha1.ReasonReady, 1), 1, "Progressing", "InProgress"},
	{"it failed before it was changed", condition(metav1.ConditionFalse, v1alpha1.ReasonInvalidSpec, 1), 1, "Progressing", "InProgress"},
	{"it is ready", condition(metav1.ConditionTrue, v1alpha1.ReasonReady, 2), 2, "Healthy", "Current"},
	{"it issues in a degraded state", condition(metav1.ConditionTrue, v1alpha1.ReasonDegraded, 2), 2, "Healthy", "Current"},
	{"a person has suspended it", condition(metav1.ConditionFalse, v1alpha1.ReasonSuspended, 2), 2, "Suspended", "Current"},
	{"its spec is wrong", condition(metav1.ConditionFalse, v1alpha1.ReasonInvalidSpec, 2), 2, "Degraded", "Failed"},
	{"a Secret is missing", condition(metav1.ConditionFalse, v1alpha1.ReasonSecretUnavailable, 2), 2, "Degraded", "Failed"},
	{"its CA is missing", condition(metav1.ConditionFalse, v1alpha1.ReasonCAUnavailable, 2), 2, "Degraded", "Failed"},
	{"it is being deleted", condition(metav1.ConditionFalse, v1alpha1.ReasonDeleting, 2), 2, "Degraded", "Failed"},
}

func condition(status metav1.ConditionStatus, reason string, generation int64) *metav1.Condition {
	return &metav1.Condition{Type: v1alpha1.ConditionReady, Status: status, Reason: reason, Message: "Why: " + reason, ObservedGeneration: generation}
}

// issuer returns an issuer of generation 2, in the form of the API server.
func issuer(t *testing.T, ready *metav1.Condition, observed int64) map[string]any {
	t.Helper()
	object := &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: "acmeca-system", Generation: 2}}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("AcmeIssuer"))
	object.Status.ObservedGeneration = observed
	if ready != nil {
		object.Status.Conditions = []metav1.Condition{{Type: "Other", Status: "False", Reason: "Other"}, *ready}
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		t.Fatal(err)
	}
	if ready == nil {
		delete(content, "status") // a new object has no status
	}
	return content
}

func TestArgoCD(t *testing.T) {
	script := healthScript(t)
	for _, state := range states {
		status, message := argoCD(t, script, issuer(t, state.ready, state.observed))
		if status != state.argoCD {
			t.Errorf("%s: %s, not %s", state.name, status, state.argoCD)
		}
		if told := state.ready != nil && status != "Progressing"; told && message != state.ready.Message || message == "" {
			t.Errorf("%s: the message is %q", state.name, message)
		}
	}
	if status, _ := argoCD(t, script, map[string]any{"metadata": map[string]any{}, "status": map[string]any{}}); status != "Progressing" {
		t.Errorf("without conditions: %s", status)
	}
}

func TestFlux(t *testing.T) {
	check := healthExpressions(t)
	for _, state := range states {
		if status := flux(t, check, issuer(t, state.ready, state.observed)); status != state.flux {
			t.Errorf("%s: %s, not %s", state.name, status, state.flux)
		}
	}
}

// flux evaluates a health check as Flux does (its RFC 0009): one expression after the other, in its dialect of CEL.
// If an expression cannot be evaluated, the status is Unknown, and Flux waits as for InProgress.
func flux(t *testing.T, check kustomize.HealthCheckExpressions, object map[string]any) string {
	t.Helper()
	environment, err := cel.NewEnv(cel.HomogeneousAggregateLiterals(), cel.EagerlyValidateDeclarations(true), cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true), cel.OptionalTypes(), ext.Strings(), ext.Sets(), ext.Encoders())
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range []struct{ expression, status string }{{check.InProgress, "InProgress"}, {check.Failed, "Failed"}, {check.Current, "Current"}} {
		parsed, issues := environment.Parse(one.expression)
		if issues.Err() != nil {
			t.Fatal(issues.Err())
		}
		program, err := environment.Program(parsed)
		if err != nil {
			t.Fatal(err)
		}
		value, _, err := program.Eval(object)
		if err != nil {
			return "Unknown"
		}
		if value.Value() == true {
			return one.status
		}
	}
	return "InProgress"
}

// argoCD runs a health check with the libraries of Argo CD's sandbox: no strings, no input, no output.
func argoCD(t *testing.T, script string, object map[string]any) (status, message string) {
	t.Helper()
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			t.Fatal(err)
		}
	}
	state.SetGlobal("obj", luaValue(state, object))
	if err := state.DoString(script); err != nil {
		t.Fatal(err)
	}
	answer, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		t.Fatalf("the script returns %v", state.Get(-1))
	}
	return lua.LVAsString(answer.RawGetString("status")), lua.LVAsString(answer.RawGetString("message"))
}

func luaValue(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case map[string]any:
		table := state.NewTable()
		for key, element := range value {
			table.RawSetString(key, luaValue(state, element))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, element := range value {
			table.Append(luaValue(state, element))
		}
		return table
	case string:
		return lua.LString(value)
	case bool:
		return lua.LBool(value)
	case int64:
		return lua.LNumber(value)
	case float64:
		return lua.LNumber(value)
	}
	return lua.LNil
}

// manifests returns the documents in the guide's YAML blocks.
func manifests(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/guides/gitops.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, block := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```").FindAllStringSubmatch(string(text), -1) {
		all = append(all, strings.Split(block[1], "\n---\n")...)
	}
	return all
}

func healthScript(t *testing.T) string {
	t.Helper()
	for _, manifest := range manifests(t) {
		if !strings.Contains(manifest, "kind: ConfigMap\n") {
			continue
		}
		var settings corev1.ConfigMap
		if err := yaml.UnmarshalStrict([]byte(manifest), &settings); err != nil {
			t.Fatal(err)
		}
		if script, ok := settings.Data["resource.customizations.health."+v1alpha1.GroupVersion.Group+"_AcmeIssuer"]; ok && settings.Name == "argocd-cm" {
			return script
		}
	}
	t.Fatal("the guide has no health check for Argo CD")
	return ""
}

func healthExpressions(t *testing.T) kustomize.HealthCheckExpressions {
	t.Helper()
	for _, k := range kustomizations(t) {
		for _, check := range k.Spec.HealthCheckExprs {
			if check.APIVersion != v1alpha1.GroupVersion.String() || check.Kind != "AcmeIssuer" {
				t.Errorf("a check of %s %s", check.APIVersion, check.Kind)
			}
			return check.HealthCheckExpressions
		}
	}
	t.Fatal("the guide has no health check for Flux")
	return kustomize.HealthCheckExpressions{}
}

// kustomizations returns the guide's Kustomizations of Flux, decoded strictly.
func kustomizations(t *testing.T) []kustomizev1.Kustomization {
	t.Helper()
	var all []kustomizev1.Kustomization
	for _, manifest := range manifests(t) {
		if !strings.Contains(manifest, "kind: Kustomization\n") {
			continue
		}
		var k kustomizev1.Kustomization
		if err := yaml.UnmarshalStrict([]byte(manifest), &k); err != nil {
			t.Errorf("%v in\n%s", err, manifest)
		}
		all = append(all, k)
	}
	return all
}

func TestKustomizationsOfFlux(t *testing.T) {
	all := kustomizations(t)
	if len(all) < 2 {
		t.Fatalf("the guide has %d", len(all))
	}
	var names []string
	for _, k := range all {
		if k.APIVersion != kustomizev1.GroupVersion.String() || k.Spec.SourceRef.Name == "" || k.Spec.Path == "" || k.Spec.Interval.Duration == 0 || !k.Spec.Prune {
			t.Errorf("%s: %+v", k.Name, k.Spec)
		}
		names = append(names, k.Name)
		for _, other := range k.Spec.DependsOn {
			if !slices.Contains(names, other.Name) {
				t.Errorf("%s depends on %s, which does not exist", k.Name, other.Name)
			}
		}
	}
}
