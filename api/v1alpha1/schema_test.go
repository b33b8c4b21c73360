package v1alpha1_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/controlplane"
	"github.com/acmeca/acmeca/internal/test/project"
)

// A single object that Go cannot decode stops every list and watch of its kind. So the schema of a spec accepts no text or
// number that the field's Go type refuses. Status is written by the controllers alone, from the same Go types.
func TestSchemasAreNoWiderThanTheirGoTypes(t *testing.T) {
	specs := map[string]reflect.Type{
		"AcmeIssuer":        reflect.TypeFor[v1alpha1.AcmeIssuerSpec](),
		"AcmeAccount":       reflect.TypeFor[v1alpha1.AcmeAccountSpec](),
		"AcmeOrder":         reflect.TypeFor[v1alpha1.AcmeOrderSpec](),
		"AcmeAuthorization": reflect.TypeFor[v1alpha1.AcmeAuthorizationSpec](),
	}
	seen := map[string]int{}
	for kind, schema := range schemas(t) {
		spec := schema.Properties["spec"]
		for _, fault := range widerThan(specs[kind], &spec, kind+".spec", seen) {
			t.Error(fault)
		}
	}
	for _, kind := range []string{"time", "duration", "integer"} {
		if seen[kind] == 0 {
			t.Errorf("the test found no %s", kind)
		}
	}
	if seen["time"] != 5 {
		t.Errorf("the specs have %d times", seen["time"])
	}
}

// schemas reads the schemas of the four kinds.
func schemas(t *testing.T) map[string]*apiextensionsv1.JSONSchemaProps {
	t.Helper()
	root, err := project.Root()
	if err != nil {
		t.Fatal(err)
	}
	manifests, err := controlplane.ReadManifests(root + "/config/crd/bases")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*apiextensionsv1.JSONSchemaProps{}
	for _, manifest := range manifests {
		text, err := json.Marshal(manifest)
		if err != nil {
			t.Fatal(err)
		}
		var definition apiextensionsv1.CustomResourceDefinition
		if err := json.Unmarshal(text, &definition); err != nil {
			t.Fatal(err)
		}
		found[definition.Spec.Names.Kind] = definition.Spec.Versions[0].Schema.OpenAPIV3Schema
	}
	if len(found) != 4 {
		t.Fatalf("found the kinds %v", found)
	}
	return found
}

// widerThan lists the fields of a schema that accept values which their Go types refuse. It counts what it checked in seen.
func widerThan(goType reflect.Type, schema *apiextensionsv1.JSONSchemaProps, path string, seen map[string]int) []string {
	for goType.Kind() == reflect.Pointer {
		goType = goType.Elem()
	}
	fault := func(format string, args ...any) []string { return []string{path + ": " + fmt.Sprintf(format, args...)} }
	switch goType {
	case reflect.TypeFor[metav1.Time]():
		seen["time"]++
		if schema.Format != "date-time" || schema.Pattern != timePattern {
			return fault("a time needs format date-time and the pattern %s", timePattern)
		}
		return nil
	case reflect.TypeFor[metav1.Duration]():
		seen["duration"]++
		for _, rule := range schema.XValidations {
			if strings.Contains(rule.Rule, "duration(self) >=") && strings.Contains(rule.Rule, "duration(self) <=") {
				return nil
			}
		}
		return fault("a duration needs a rule with duration(self) and two bounds")
	}
	switch goType.Kind() {
	case reflect.Struct:
		var faults []string
		for i := range goType.NumField() {
			name, _, _ := strings.Cut(goType.Field(i).Tag.Get("json"), ",")
			property, ok := schema.Properties[name]
			if !ok {
				return fault("the schema has no property %q", name)
			}
			faults = append(faults, widerThan(goType.Field(i).Type, &property, path+"."+name, seen)...)
		}
		return faults
	case reflect.Slice:
		if goType.Elem().Kind() == reflect.Uint8 {
			return fault("[]byte needs a case in this test: its schema accepts text that is not base64")
		}
		return widerThan(goType.Elem(), schema.Items.Schema, path+"[]", seen)
	case reflect.Map:
		if schema.Type != "object" || schema.AdditionalProperties == nil || goType.Key().Kind() != reflect.String {
			return fault("a map has type %q", schema.Type)
		}
		return widerThan(goType.Elem(), schema.AdditionalProperties.Schema, path+"{}", seen)
	case reflect.Int, reflect.Int32, reflect.Int64:
		seen["integer"]++
		bounded := schema.Minimum != nil && schema.Maximum != nil
		if schema.Type != "integer" || !bounded && len(schema.Enum) == 0 {
			return fault("an integer needs a minimum and a maximum, or an enumeration")
		}
		if bounded && (*schema.Minimum < -1<<31 || *schema.Maximum > 1<<31-1) {
			return fault("the bounds %v and %v exceed 32 bits", *schema.Minimum, *schema.Maximum)
		}
		return nil
	case reflect.String:
		if schema.Type != "string" || schema.Format != "" {
			return fault("a string has type %q and format %q", schema.Type, schema.Format)
		}
		return nil
	case reflect.Bool:
		if schema.Type != "boolean" {
			return fault("a bool has type %q", schema.Type)
		}
		return nil
	}
	return fault("the type %s needs a case in this test", goType)
}

// timePattern is the pattern of every time in a spec.
const timePattern = `^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`

// Go parses each time that pattern and format accept. The format refuses days that a month lacks.
func TestTimePattern(t *testing.T) {
	pattern := regexp.MustCompile(timePattern)
	for text, want := range map[string]bool{
		"2026-01-01T00:00:00Z":                true,
		"2026-12-31T23:59:59.123456789+14:00": true,
		"1000-01-01T00:00:00-23:59":           true,
		"2026-01-01t00:00:00z":                false,
		"2026-01-01t00:00:00Z":                false,
		"2026-01-01T00:00:00z":                false,
		"2026-01-01 00:00:00Z":                false,
		"2026-01-01T00:00:00":                 false,
		"2026-01-01T00:00:00x5Z":              false,
		"2026-01-01T00:00:00.Z":               false,
		"2026-01-01T00:00:00+99:99":           false,
		"2026-01-01T00:00:00+0100":            false,
		"2026-01-01T24:00:00Z":                false,
		"2026-01-01T00:00:60Z":                false,
		"2026-01-01T00:00:00Ztrailing":        false,
		"2026-13-01T00:00:00Z":                false,
		"0000-01-01T00:00:00+01:00":           false,
		"9999-12-31T23:59:59-01:00":           false,
		"2026-01-01T00:00:00Z\n":              false,
		"":                                    false,
	} {
		if got := pattern.MatchString(text); got != want {
			t.Errorf("%q: got %v", text, got)
		}
		var parsed metav1.Time
		if err := json.Unmarshal([]byte(fmt.Sprintf("%q", text)), &parsed); want && err != nil {
			t.Errorf("%q matches, but Go refuses it: %v", text, err)
		}
		if again := parsed.UTC().Format(time.RFC3339); want && !pattern.MatchString(again) {
			t.Errorf("%q is written back as %q", text, again)
		}
	}
}
