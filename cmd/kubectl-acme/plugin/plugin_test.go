package plugin

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"crypto/ed25519"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

var now = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func certificate(t *testing.T, serial int64) []byte {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestSerialOf(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	der := certificate(t, 0x0a0bcd)
	for name, want := range map[string]string{
		"5A:01:02:03:ff":     "5a010203ff",
		"0x5a010203":         "5a010203",
		"00:a1:02:03:04":     "a1020304", // DER's sign byte, as openssl shows it
		"5a01":               "",         // too short: more likely a name
		"shop.test":          "",
		"b7m2k0p9u1s5t6x7z8": "",
		write("c.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})): "0a0bcd",
		write("c.der", der): "0a0bcd",
	} {
		if got, err := serialOf(name); err != nil || got != want {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	if _, err := serialOf(write("x.pem", []byte("no certificate"))); err == nil {
		t.Error("a file without a certificate is accepted")
	}
}

func TestParseReason(t *testing.T) {
	for text, want := range map[string]int{"keyCompromise": 1, "KEYCOMPROMISE": 1, "4": 4, "unspecified": 0, "0": 0} {
		if got, err := parseReason(text); err != nil || got != want {
			t.Errorf("%s: got %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "2", "cACompromise", "removeFromCRL", "-1"} {
		if _, err := parseReason(text); err == nil || !strings.Contains(err.Error(), "keyCompromise") {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestJSONIsHarmlessOnATerminal(t *testing.T) {
	var out strings.Builder
	const evil = "\x1b[2J\u009b31m\x7f\u202e"
	if err := writeJSON(&out, map[string]string{"a": evil}); err != nil {
		t.Fatal(err)
	}
	if want := `\u001b[2J\u009b31m\u007f\u202e`; !strings.Contains(out.String(), want) {
		t.Errorf("got %q", out.String())
	}
	out.Reset()
	if err := writeYAML(&out, map[string]string{"a": "\x1b[2J\u009b31m\x7f"}); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\u009b\x7f") {
		t.Errorf("got %q", out.String())
	}
}

func anIssuer() *v1alpha1.AcmeIssuer {
	issuer := &v1alpha1.AcmeIssuer{}
	issuer.Namespace, issuer.Name = "pki", "ca"
	issuer.Spec.Profiles = []v1alpha1.Profile{{Name: "short"}}
	issuer.Status.DirectoryURL, issuer.Status.CABundle = "https://acme.test/acme/directory", "PEM"
	return issuer
}

func TestBindingSecret(t *testing.T) {
	hmac := base64.RawURLEncoding.EncodeToString(make([]byte, 32))
	secret, err := bindingSecret(anIssuer(), bindingRequest{
		id: "team-a", expires: "72h", reusable: true, dns: []string{"a.test", ".b.test"}, ips: []string{"10.0.0.0/8"}, profiles: []string{"short"},
	}, hmac, now)
	if err != nil {
		t.Fatal(err)
	}
	if secret.Name != "ca-eab-team-a" || secret.Namespace != "pki" || string(secret.Type) != "acmeca.dev/external-account-key" {
		t.Errorf("got %v", secret)
	}
	for field, want := range map[string]string{
		"hmac-key": hmac, "expires": "2030-01-05T03:04:05Z", "reusable": "true", "allowed-dns": "a.test,.b.test", "allowed-ips": "10.0.0.0/8", "allowed-profiles": "short",
	} {
		if secret.StringData[field] != want {
			t.Errorf("%s: got %q", field, secret.StringData[field])
		}
	}
	for name, r := range map[string]bindingRequest{
		"the infix in the id": {id: "a-eab-b"}, "capitals": {id: "A"}, "a wildcard": {id: "a", dns: []string{"*.a.test"}},
		"no range": {id: "a", ips: []string{"10.0.0.1"}}, "an unknown profile": {id: "a", profiles: []string{"long"}},
		"no time": {id: "a", expires: "tomorrow"}, "the past": {id: "a", expires: "2029-01-01T00:00:00Z"}, "a negative time": {id: "a", expires: "-1h"},
	} {
		if _, err := bindingSecret(anIssuer(), r, hmac, now); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestCertManagerIssuer(t *testing.T) {
	var out strings.Builder
	manifest, err := certManagerIssuer(anIssuer(), certManagerRequest{kind: "ClusterIssuer", caBundle: "PEM", ingressClass: "traefik", eabKeyID: "team-a", email: "a@a.test", profile: "short"})
	if err != nil {
		t.Fatal(err)
	}
	if err := writeYAML(&out, manifest); err != nil {
		t.Fatal(err)
	}
	const want = `apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata:
  name: acmeca-ca
spec:
  acme:
    caBundle: UEVN
    email: a@a.test
    externalAccountBinding:
      keyID: team-a
      keySecretRef:
        key: secret
        name: acmeca-ca-team-a
    privateKeySecretRef:
      name: acmeca-ca-account-key
    profile: short
    server: https://acme.test/acme/directory
    solvers:
    - http01:
        ingress:
          ingressClassName: traefik
`
	if out.String() != want {
		t.Errorf("got:\n%s", out.String())
	}
	bound := anIssuer()
	bound.Spec.Account.ExternalAccountBinding.Required = true
	notReady := anIssuer()
	notReady.Status.DirectoryURL = ""
	for name, test := range map[string]struct {
		issuer *v1alpha1.AcmeIssuer
		r      certManagerRequest
	}{
		"another kind":            {anIssuer(), certManagerRequest{kind: "Certificate"}},
		"a Gateway without place": {anIssuer(), certManagerRequest{kind: "Issuer", gateway: "web"}},
		"no external account":     {bound, certManagerRequest{kind: "Issuer"}},
		"no directory":            {notReady, certManagerRequest{kind: "Issuer"}},
		"a place for all":         {anIssuer(), certManagerRequest{kind: "ClusterIssuer", namespace: "shop"}},
	} {
		if _, err := certManagerIssuer(test.issuer, test.r); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// TestNothingIsDoneUnasked runs the commands that change objects, without a terminal and without --yes.
func TestNothingIsDoneUnasked(t *testing.T) {
	streams, _, _, _ := genericiooptions.NewTestIOStreams()
	o := &options{IOStreams: streams, now: time.Now}
	if err := o.confirm(t.Context(), "Revoke\x1b it?"); err == nil || !strings.Contains(err.Error(), "--yes") || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("got %v", err)
	}
	o.yes = true
	if err := o.confirm(t.Context(), "Revoke it?"); err != nil {
		t.Error(err)
	}
}

func TestInstallFiles(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "update")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho updated\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	streams, _, out, errOut := genericiooptions.NewTestIOStreams()
	o := &options{IOStreams: streams, now: time.Now}
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate(t, 1)})
	path := filepath.Join(dir, "acmeca-pki-ca")
	if err := o.installFiles(t.Context(), script, path, append(root, root...)); err != nil {
		t.Fatal(err)
	}
	if err := o.installFiles(t.Context(), script, path, root); err != nil { // after a rotation
		t.Fatal(err)
	}
	files, _ := filepath.Glob(path + "*")
	if len(files) != 1 || !strings.Contains(errOut.String(), "updated") || !strings.Contains(out.String(), "trusts the CA now") {
		t.Errorf("got %v, %s %s", files, out, errOut)
	}
	if text, err := os.ReadFile(files[0]); err != nil || string(text) != string(root) {
		t.Errorf("got %s, %v", text, err)
	}
}

func TestPrintRequest(t *testing.T) {
	streams, _, out, _ := genericiooptions.NewTestIOStreams()
	o := &options{IOStreams: streams}
	issuer := anIssuer()
	if err := o.printRequest(issuer); err == nil || !strings.Contains(err.Error(), "spec.ca.external") {
		t.Errorf("without a key in a key service: %v", err)
	}
	issuer.Spec.CA.External = &v1alpha1.ExternalCA{KeyName: "corp"}
	if err := o.printRequest(issuer); err == nil || !strings.Contains(err.Error(), "no request yet") {
		t.Errorf("before the request: %v", err)
	}
	issuer.Status.External = &v1alpha1.ExternalStatus{KeyName: "corp", CertificateRequest: "-----BEGIN CERTIFICATE REQUEST-----"}
	if err := o.printRequest(issuer); err != nil || out.String() != issuer.Status.External.CertificateRequest {
		t.Errorf("%q, %v", out, err)
	}
}
