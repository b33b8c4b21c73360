package page

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// The page for a missing issuer contains the manifest that creates it.
func TestTheMissingIssuersManifestIsOne(t *testing.T) {
	html, err := RenderMissing("pki", "corp")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(html), "<code>apiVersion")
	manifest, _, found := strings.Cut(rest, "</code>")
	if !found {
		t.Fatalf("no manifest in %s", html)
	}
	issuer := &v1alpha1.AcmeIssuer{}
	if err := yaml.UnmarshalStrict([]byte("apiVersion"+manifest), issuer); err != nil {
		t.Fatal(err)
	}
	if issuer.Namespace != "pki" || issuer.Name != "corp" || issuer.Spec.CA.SelfSigned == nil || len(issuer.Spec.Policy.DNS.Allow) == 0 {
		t.Errorf("got %+v", issuer)
	}
	if !strings.Contains(string(html), "kubectl -n pki wait --for=condition=Ready acmeissuer/corp") {
		t.Error("no command that waits")
	}
}
