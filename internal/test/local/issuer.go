package local

import (
	_ "embed"
	"errors"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/internal/test/controlplane"
)

// Namespace is the namespace of the operator and its issuer.
const Namespace = "acmeca-system"

//go:embed issuer.yaml
var builtInIssuer []byte

// readIssuer reads the objects of an issuer file, or the built-in ones if file is "". Objects without a namespace get
// the operator's. readIssuer also returns the AcmeIssuer among them, which the ACME server serves under /acme.
func readIssuer(file string, ports Ports) (objects []*unstructured.Unstructured, issuer *unstructured.Unstructured, err error) {
	text := builtInIssuer
	if file != "" {
		if text, err = os.ReadFile(file); err != nil {
			return nil, nil, err
		}
	}
	if objects, err = controlplane.ParseManifests(text); err != nil {
		return nil, nil, err
	}
	for _, object := range objects {
		if object.GetNamespace() == "" && object.GetKind() != "Namespace" {
			object.SetNamespace(Namespace)
		}
		if object.GetKind() == "AcmeIssuer" && issuer == nil {
			issuer = object
		}
	}
	if issuer == nil {
		return nil, nil, errors.New("no AcmeIssuer in it")
	}
	return objects, issuer, setValidation(issuer, ports, file == "")
}

// setValidation makes the issuer validate on loopback. Without override, setValidation keeps the issuer's own values.
func setValidation(issuer *unstructured.Unstructured, ports Ports, override bool) error {
	for field, value := range map[string]any{
		"resolvers":    []any{address(ports.DNS)},
		"httpPort":     int64(ports.HTTP01),
		"tlsPort":      int64(ports.TLSALPN01),
		"allowedCIDRs": []any{"127.0.0.0/8"},
	} {
		_, found, err := unstructured.NestedFieldNoCopy(issuer.Object, "spec", "validation", field)
		if err != nil {
			return fmt.Errorf("AcmeIssuer %s: %w", issuer.GetName(), err)
		}
		if found && !override {
			continue
		}
		if err := unstructured.SetNestedField(issuer.Object, value, "spec", "validation", field); err != nil {
			return fmt.Errorf("AcmeIssuer %s: %w", issuer.GetName(), err)
		}
	}
	return nil
}

// ready reports whether the issuer's Ready condition is true, and otherwise why not.
func ready(issuer *unstructured.Unstructured) (bool, string) {
	conditions, _, _ := unstructured.NestedSlice(issuer.Object, "status", "conditions")
	for _, condition := range conditions {
		fields, ok := condition.(map[string]any)
		if ok && fields["type"] == "Ready" {
			return fields["status"] == "True", fmt.Sprintf("%v: %v", fields["reason"], fields["message"])
		}
	}
	return false, "it has no Ready condition"
}

func keyOf(object client.Object) string { return object.GetNamespace() + "/" + object.GetName() }
