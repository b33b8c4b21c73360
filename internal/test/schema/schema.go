// Package schema generates objects that the schemas of acmeca's kinds accept, and checks objects against the schemas. Rules in CEL are
// not part of either.
package schema

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"pgregory.net/rapid"

	"github.com/acmeca/acmeca/internal/test/controlplane"
	"github.com/acmeca/acmeca/internal/test/project"
)

// Kind is the schema of a kind.
type Kind struct {
	schema *apiextensionsv1.JSONSchemaProps
}

// Of returns the schema of the kind of an object, such as &v1alpha1.AcmeOrder{}.
func Of(tb testing.TB, object any) *Kind {
	tb.Helper()
	root, err := project.Root()
	if err != nil {
		tb.Fatal(err)
	}
	manifests, err := controlplane.ReadManifests(root + "/config/crd/bases")
	if err != nil {
		tb.Fatal(err)
	}
	for _, manifest := range manifests {
		var definition apiextensionsv1.CustomResourceDefinition
		convert(tb, manifest, &definition)
		if definition.Spec.Names.Kind == reflect.TypeOf(object).Elem().Name() {
			return &Kind{definition.Spec.Versions[0].Schema.OpenAPIV3Schema}
		}
	}
	tb.Fatalf("no schema of %T", object)
	return nil
}

func convert(tb testing.TB, from, to any) {
	tb.Helper()
	text, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(text, to)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// Faults lists what the schema refuses in a part of an object, "spec" or "status".
func (k *Kind) Faults(tb testing.TB, part string, object any) []string {
	tb.Helper()
	var value any
	convert(tb, object, &value)
	schema := k.schema.Properties[part]
	return faults(&schema, value, part)
}

func faults(s *apiextensionsv1.JSONSchemaProps, value any, path string) (all []string) {
	fault := func(format string, args ...any) { all = append(all, path+": "+fmt.Sprintf(format, args...)) }
	switch value := value.(type) {
	case map[string]any:
		return objectFaults(s, value, path)
	case []any:
		if s.MaxItems != nil && int64(len(value)) > *s.MaxItems {
			fault("has %d items", len(value))
		}
		for i, item := range value {
			all = append(all, faults(s.Items.Schema, item, fmt.Sprintf("%s[%d]", path, i))...)
		}
	case string:
		if !fits(s, value) || s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(value) || !isListed(s, value) {
			fault("%d characters do not fit: %.100q", utf8.RuneCountInString(value), value)
		}
	case float64:
		if s.Minimum != nil && value < *s.Minimum || s.Maximum != nil && value > *s.Maximum {
			fault("the number %v does not fit", value)
		}
	}
	return all
}

func objectFaults(s *apiextensionsv1.JSONSchemaProps, object map[string]any, path string) (all []string) {
	for _, name := range s.Required {
		if _, ok := object[name]; !ok {
			all = append(all, path+": lacks "+name)
		}
	}
	for name, member := range object {
		property, ok := s.Properties[name]
		if !ok {
			all = append(all, path+": has no field "+name)
			continue
		}
		all = append(all, faults(&property, member, path+"."+name)...)
	}
	return all
}

func isListed(s *apiextensionsv1.JSONSchemaProps, text string) bool {
	is := func(value apiextensionsv1.JSON) bool { return string(value.Raw) == strconv.Quote(text) }
	return len(s.Enum) == 0 || slices.ContainsFunc(s.Enum, is)
}

// Draw fills a part of an object, "spec" or "status", with values that the schema accepts.
func (k *Kind) Draw(t *rapid.T, tb testing.TB, part string, into any) {
	tb.Helper()
	schema := k.schema.Properties[part]
	convert(tb, draw(t, &schema, part), into)
}

// texts are tried where a schema has no pattern.
var texts = []string{
	"", "a", "ca", "acct", "default", "a.test", "*.a.test", "*", ".", "..", "127.0.0.1", "::1", "1", "true", "null", "{}", "e30", "AAAA",
	"dns-01", "http-01", "valid", "pending", "https://acme.test/acme/acct/acct",
	"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
	"\u202e", "\x00", "a b\n", "%2f..", strings.Repeat("x", 300), strings.Repeat("\u00e4", 2000),
}

// times are within the pattern of every time.
var times = []string{
	"2026-07-01T12:00:00Z", "1000-01-01T00:00:00+23:59", "2999-12-31T23:59:59.999999999-23:59", "2026-12-31T23:59:59+00:00",
}

func draw(t *rapid.T, s *apiextensionsv1.JSONSchemaProps, label string) any {
	if len(s.Enum) > 0 {
		var value any
		_ = json.Unmarshal(rapid.SampledFrom(s.Enum).Draw(t, label).Raw, &value) // a schema is JSON
		return value
	}
	switch s.Type {
	case "object":
		return drawObject(t, s, label)
	case "array":
		least, most := bounds(s.MinItems, s.MaxItems, 3)
		list := make([]any, rapid.IntRange(least, most).Draw(t, label))
		for i := range list {
			list[i] = draw(t, s.Items.Schema, fmt.Sprint(label, i))
		}
		return list
	case "boolean":
		return rapid.Bool().Draw(t, label)
	case "integer":
		least, most := 0, 1<<31-1
		if s.Minimum != nil {
			least = int(*s.Minimum)
		}
		if s.Maximum != nil {
			most = int(*s.Maximum)
		}
		return rapid.IntRange(least, most).Draw(t, label)
	}
	return drawText(t, s, label)
}

func drawObject(t *rapid.T, s *apiextensionsv1.JSONSchemaProps, label string) any {
	object := map[string]any{}
	required := map[string]bool{}
	for _, name := range s.Required {
		required[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if required[name] || rapid.Bool().Draw(t, label+"."+name+"?") {
			property := s.Properties[name]
			object[name] = draw(t, &property, label+"."+name)
		}
	}
	return object
}

func drawText(t *rapid.T, s *apiextensionsv1.JSONSchemaProps, label string) string {
	switch {
	case s.Format == "date-time":
		return rapid.SampledFrom(times).Draw(t, label)
	case isDuration(s):
		return rapid.SampledFrom([]string{"1s", "1h", "24h", "720h", "87600h0m0s"}).Draw(t, label)
	case s.Pattern != "":
		return rapid.StringMatching(s.Pattern).Filter(func(text string) bool { return fits(s, text) }).Draw(t, label)
	}
	return rapid.SampledFrom(texts).Filter(func(text string) bool { return fits(s, text) }).Draw(t, label)
}

// isDuration reports whether a rule in CEL parses the text as a duration.
func isDuration(s *apiextensionsv1.JSONSchemaProps) bool {
	return slices.ContainsFunc(s.XValidations, func(r apiextensionsv1.ValidationRule) bool {
		return strings.Contains(r.Rule, "duration(self)")
	})
}

func fits(s *apiextensionsv1.JSONSchemaProps, text string) bool {
	length := int64(utf8.RuneCountInString(text))
	return (s.MinLength == nil || length >= *s.MinLength) && (s.MaxLength == nil || length <= *s.MaxLength)
}

// bounds returns the numbers of items to try.
func bounds(least, most *int64, more int) (from, to int) {
	if least != nil {
		from = int(*least)
	}
	to = from + more
	if most != nil {
		to = min(to, int(*most))
	}
	return from, to
}
