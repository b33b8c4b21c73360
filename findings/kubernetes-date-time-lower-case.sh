#!/bin/bash
# The API server stores date-time values that the Go type for them can't decode.
#
# Versions: k8s.io/apiextensions-apiserver and k8s.io/apimachinery v0.37.2, Go 1.26 (needs the Go module proxy, minutes to
# compile).
# Input: a string field with "format: date-time", which is the schema of metav1.Time, and values of RFC 3339. Its
# section 5.6 allows "t" and "z" in lower case.
# Guess: a value that passes the schema of a CustomResourceDefinition decodes into the type that the schema came from.
# Seen: "2026-01-01t00:00:00z" passes the validation that the API server runs, and metav1.Time refuses it. A list in JSON with
# one such item and one good item fails as a whole.
set -euo pipefail
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT
cat >go.mod <<'M'
module finding

go 1.26.0

require (
	k8s.io/apiextensions-apiserver v0.37.2
	k8s.io/apimachinery v0.37.2
)
M
cat >main.go <<'G'
package main

import (
	"encoding/json"
	"fmt"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func main() {
	validator, _, err := validation.NewSchemaValidator(&apiextensions.JSONSchemaProps{Type: "string", Format: "date-time"})
	if err != nil {
		panic(err)
	}
	for _, text := range []string{"2026-01-01T00:00:00Z", "2026-01-01t00:00:00Z", "2026-01-01T00:00:00z", "2026-01-01t00:00:00z", "tomorrow"} {
		accepted := len(validation.ValidateCustomResource(nil, text, validator)) == 0
		raw, _ := json.Marshal(text)
		var decoded metav1.Time
		fmt.Println(text, "accepted", accepted, "decoded", json.Unmarshal(raw, &decoded) == nil)
	}
	var list struct{ Items []struct{ Time metav1.Time } }
	text := `{"items": [{"time": "2026-01-01T00:00:00Z"}, {"time": "2026-01-01t00:00:00z"}]}`
	fmt.Println("list decoded", json.Unmarshal([]byte(text), &list) == nil)
}
G
output=$(GOFLAGS=-mod=mod go run . 2>build.log) || { cat build.log >&2; exit 1; }
echo "$output"
expected="2026-01-01T00:00:00Z accepted true decoded true
2026-01-01t00:00:00Z accepted true decoded false
2026-01-01T00:00:00z accepted true decoded false
2026-01-01t00:00:00z accepted true decoded false
tomorrow accepted false decoded false
list decoded false"
[ "$output" = "$expected" ] || { echo "changed; it was:
$expected" >&2; exit 1; }
