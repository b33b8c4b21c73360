package issuer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/validation"
)

func certificateAndKey(t *testing.T) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// TestValidator covers the settings of spec.validation, and the text of each refusal.
func TestValidator(t *testing.T) {
	certificate, key := certificateAndKey(t)
	secret := func(name string, kind corev1.SecretType, data map[string][]byte) client.Object {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}, Type: kind, Data: data}
	}
	reader := fake.NewClientBuilder().WithObjects(
		secret("client", corev1.SecretTypeTLS, map[string][]byte{"tls.crt": certificate, "tls.key": key}),
		secret("empty", corev1.SecretTypeTLS, nil),
		secret("opaque", corev1.SecretTypeOpaque, map[string][]byte{"tls.crt": certificate, "tls.key": key}),
		secret("password", corev1.SecretTypeBasicAuth, map[string][]byte{"username": []byte("me"), "password": []byte("pw")}),
	).Build()
	perspective := func(secret string) v1alpha1.Perspective {
		return v1alpha1.Perspective{
			Name: "there", URL: "https://validator.test:9443", CABundle: string(certificate),
			ClientCertificateSecretRef: v1alpha1.ObjectRef{Name: secret},
		}
	}
	no := new(bool)
	for name, c := range map[string]struct {
		edit   func(*v1alpha1.AcmeIssuerSpec)
		reason string // "" where it is good
		detail string
	}{
		"nothing": {func(*v1alpha1.AcmeIssuerSpec) {}, "", ""},
		"a perspective": {func(s *v1alpha1.AcmeIssuerSpec) {
			s.Validation.Perspectives = []v1alpha1.Perspective{perspective("client")}
		}, "", ""},
		"a perspective alone": {func(s *v1alpha1.AcmeIssuerSpec) {
			s.Validation.Local, s.Validation.Perspectives = no, []v1alpha1.Perspective{perspective("client")}
		}, "", ""},
		"a proxy": {func(s *v1alpha1.AcmeIssuerSpec) {
			s.Validation.EgressProxy = &v1alpha1.EgressProxy{URL: "http://proxy:3128"}
		}, "", ""},
		"a proxy, with a Secret": {func(s *v1alpha1.AcmeIssuerSpec) {
			s.Validation.EgressProxy = &v1alpha1.EgressProxy{URL: "socks5://proxy:1080", SecretRef: &v1alpha1.ObjectRef{Name: "password"}}
		}, "", ""},
		"dns-persist-01": {func(s *v1alpha1.AcmeIssuerSpec) {
			s.Challenges.Types, s.Validation.CAAIdentities = []acme.ChallengeType{acme.DNSPersist01}, []string{"ca.test"}
		}, "", ""},
		"nobody": {func(s *v1alpha1.AcmeIssuerSpec) { s.Validation.Local = no }, v1alpha1.ReasonInvalidSpec, "spec.validation: nothing is checked"},
		"too high a quorum": {func(s *v1alpha1.AcmeIssuerSpec) {
			s.Validation.Perspectives, s.Validation.Quorum = []v1alpha1.Perspective{perspective("client")}, 2
		}, v1alpha1.ReasonInvalidSpec, "quorum"},
		"no Secret": {func(s *v1alpha1.AcmeIssuerSpec) {
			s.Validation.Perspectives = []v1alpha1.Perspective{perspective("absent")}
		}, v1alpha1.ReasonSecretUnavailable, `spec.validation.perspectives[there].clientCertificateSecretRef: there is no Secret "absent"`},
		"an empty Secret": {func(s *v1alpha1.AcmeIssuerSpec) {
			s.Validation.Perspectives = []v1alpha1.Perspective{perspective("empty")}
		}, v1alpha1.ReasonInvalidSpec, "the client certificate"},
		"another kind of Secret": {func(s *v1alpha1.AcmeIssuerSpec) {
			s.Validation.Perspectives = []v1alpha1.Perspective{perspective("opaque")}
		}, v1alpha1.ReasonSecretUnavailable, `of type "Opaque"`},
		"no password": {func(s *v1alpha1.AcmeIssuerSpec) {
			s.Validation.EgressProxy = &v1alpha1.EgressProxy{URL: "http://proxy:3128", SecretRef: &v1alpha1.ObjectRef{Name: "client"}}
		}, v1alpha1.ReasonSecretUnavailable, "spec.validation.egressProxy.secretRef"},
		"a proxy of another kind": {func(s *v1alpha1.AcmeIssuerSpec) {
			s.Validation.EgressProxy = &v1alpha1.EgressProxy{URL: "ftp://proxy:21"}
		}, v1alpha1.ReasonInvalidSpec, "spec.validation.egressProxy"},
		"a perspective's CA": {func(s *v1alpha1.AcmeIssuerSpec) {
			p := perspective("client")
			p.CABundle = "x"
			s.Validation.Perspectives = []v1alpha1.Perspective{p}
		}, v1alpha1.ReasonInvalidSpec, "CA bundle"},
		"dns-persist-01 unnamed": {func(s *v1alpha1.AcmeIssuerSpec) { s.Challenges.Types = []acme.ChallengeType{acme.DNSPersist01} }, v1alpha1.ReasonInvalidSpec, "spec.validation.caaIdentities"},
		"an allowed range":       {func(s *v1alpha1.AcmeIssuerSpec) { s.Validation.AllowedCIDRs = []string{"x"} }, v1alpha1.ReasonInvalidSpec, "spec.validation.allowedCIDRs"},
		"a denied range":         {func(s *v1alpha1.AcmeIssuerSpec) { s.Validation.DeniedCIDRs = []string{"x"} }, v1alpha1.ReasonInvalidSpec, "spec.validation.deniedCIDRs"},
		"a denied resolver": {func(s *v1alpha1.AcmeIssuerSpec) {
			s.Validation.Resolvers = []string{"192.0.2.53", "198.51.100.53:5353"}
		}, v1alpha1.ReasonInvalidSpec, "spec.validation.resolvers[1]: the operator"},
		"a denied resolver, by NAT64": {func(s *v1alpha1.AcmeIssuerSpec) {
			s.Validation.Resolvers = []string{"[64:ff9b::198.51.100.53]:53"}
		}, v1alpha1.ReasonInvalidSpec, "spec.validation.resolvers[0]: the operator"},
		"a resolver": {func(s *v1alpha1.AcmeIssuerSpec) { s.Validation.Resolvers = []string{"dns.test"} }, v1alpha1.ReasonInvalidSpec, "spec.validation: resolver"},
	} {
		t.Run(name, func(t *testing.T) {
			object := &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "issuer"}}
			object.Spec.Validation.Resolvers = []string{"192.0.2.53"}
			c.edit(&object.Spec)
			r := &Reconciler{Client: reader, Denied: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}
			got, f := r.validator(t.Context(), object)
			switch {
			case c.reason == "" && (f != nil || got == nil):
				t.Errorf("refused: %+v", f)
			case c.reason != "" && (f == nil || f.Reason != c.reason || !strings.Contains(f.Message, c.detail)):
				t.Errorf("got %+v, want %s with %q", f, c.reason, c.detail)
			}
		})
	}
}

// Addresses denied to all issuers are denied to their resolvers, proxies and perspectives, after names are resolved.
func TestDeniedToAllIssuers(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	for name, c := range map[string]struct {
		denied []netip.Prefix
		ok     bool
	}{
		"nothing":   {nil, true},
		"something": {[]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, true},
		"this":      {[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}, false},
	} {
		for _, host := range []string{"127.0.0.1", "localhost", "::ffff:127.0.0.1"} {
			conn, err := (&Reconciler{Denied: c.denied}).dialer().DialContext(t.Context(), "tcp", net.JoinHostPort(host, port))
			if err == nil {
				conn.Close()
			}
			if (err == nil) != c.ok || !c.ok && !errors.Is(err, errDenied) {
				t.Errorf("%s, %s: got %v", name, host, err)
			}
		}
	}
	for _, host := range []string{"64:ff9b::127.0.0.1", "2002:7f00:1::", "::ffff:0:127.0.0.1", "2001:db8::5efe:127.0.0.1"} {
		r := &Reconciler{Denied: []netip.Prefix{netip.MustParsePrefix("::ffff:127.0.0.0/104")}}
		if conn, err := r.dialer().DialContext(t.Context(), "tcp", net.JoinHostPort(host, port)); !errors.Is(err, errDenied) {
			t.Errorf("%s: got %v, %v", host, conn, err)
		}
	}
	// A denied address is denied to validation too, even if the issuer allows it.
	object := &v1alpha1.AcmeIssuer{}
	object.Spec.Validation = v1alpha1.Validation{Resolvers: []string{"192.0.2.53"}, AllowedCIDRs: []string{"127.0.0.0/8"}}
	r := &Reconciler{Denied: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	checker, f := r.validator(t.Context(), object)
	if f != nil {
		t.Fatal(f)
	}
	got := checker.Validate(t.Context(), validation.Request{Identifier: acme.Identifier{Type: acme.IP, Value: "127.0.0.1"}, Type: acme.HTTP01, Token: "t", Thumbprint: "t"})
	if got.Valid || got.Problem.Type != acme.Connection || !strings.Contains(got.Problem.Detail, "may not connect") {
		t.Errorf("got %+v", got)
	}
}
