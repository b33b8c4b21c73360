package podcertificate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"reflect"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/internal/policy"
	"github.com/acmeca/acmeca/internal/policy/pods"
)

// asked is when the request was made; now is 10 seconds later.
var (
	asked     = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	now       = asked.Add(10 * time.Second)
	issuerKey = types.NamespacedName{Namespace: "acme-ns", Name: "ca"}
)

// situation is a request with the facts about it.
type situation struct {
	t       *testing.T
	spec    v1alpha1.AcmeIssuerSpec
	request *certificatesv1.PodCertificateRequest
	facts   facts
}

// newSituation returns a request of a Pod behind a Service that one rule covers.
func newSituation(t *testing.T) *situation {
	t.Helper()
	s := &situation{t: t, spec: v1alpha1.AcmeIssuerSpec{
		Profiles: []v1alpha1.Profile{{
			Name: "default", MaxIdentifiers: 10, Lifetime: metav1.Duration{Duration: 90 * 24 * time.Hour},
			KeyAlgorithms: []v1alpha1.CertificateKeyAlgorithm{v1alpha1.KeyECDSAP256, v1alpha1.KeyRSA, v1alpha1.KeyEd25519},
		}},
		PodCertificates: &v1alpha1.PodCertificates{TrustDomain: "prod.test", Rules: []v1alpha1.PodCertificateRule{{
			Name: "shop", Services: v1alpha1.PodServicesRequired, SPIFFEID: true,
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: "shop"}},
		}}},
	}}
	s.facts = facts{now: now, services: []string{"web"}, pod: &corev1.Pod{}, account: &corev1.ServiceAccount{}, namespace: &corev1.Namespace{}}
	s.facts.pod.Namespace, s.facts.pod.Name, s.facts.pod.UID = "shop", "web-0", "pod-uid"
	s.facts.pod.Spec.NodeName, s.facts.pod.Spec.ServiceAccountName = "node", "front"
	s.facts.account.Namespace, s.facts.account.Name, s.facts.account.UID = "shop", "front", "account-uid"
	s.facts.namespace.Name, s.facts.namespace.Labels = "shop", map[string]string{corev1.LabelMetadataName: "shop"}
	day := int32(86400)
	s.request = &certificatesv1.PodCertificateRequest{Spec: certificatesv1.PodCertificateRequestSpec{
		SignerName: "acmeca.dev/acme-ns.ca", PodName: "web-0", PodUID: "pod-uid", ServiceAccountName: "front", ServiceAccountUID: "account-uid",
		NodeName: "node", NodeUID: "node-uid", MaxExpirationSeconds: &day,
	}}
	s.request.Namespace, s.request.Name, s.request.UID, s.request.CreationTimestamp = "shop", "req-1", "request-uid", metav1.NewTime(asked)
	s.key(newKey(t, elliptic.P256()))
	s.load()
	return s
}

func newKey(t *testing.T, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	must(t, err)
	return key
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// key sets the request's key. The CSR is empty, as the kubelet's.
func (s *situation) key(key crypto.Signer) {
	s.t.Helper()
	var err error
	s.request.Spec.StubPKCS10Request, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	must(s.t, err)
}

// load loads the issuer of the spec.
func (s *situation) load() {
	s.t.Helper()
	root, err := ca.NewRoot(ca.CAConfig{CommonName: "Root", KeyAlgorithm: ca.ECDSAP256, Lifetime: 365 * 24 * time.Hour, Backdate: 24 * time.Hour}, now)
	must(s.t, err)
	pem, err := root.KeyPEM()
	must(s.t, err)
	authority, err := ca.LoadAuthority(ca.Material{Chain: root.CertificatePEM(), Key: pem, SerialKey: make([]byte, 32)}, now)
	must(s.t, err)
	s.facts.issuer = &issuers.Issuer{Name: "ca", Spec: s.spec, PlainBase: "http://acme.test/acme-ns/ca", Authority: authority, Profiles: map[string]*ca.Profile{}}
	for _, p := range s.spec.Profiles {
		s.facts.issuer.Profiles[p.Name], err = ca.NewProfile(ca.ProfileConfig{Name: p.Name, Lifetime: p.Lifetime.Duration, Backdate: time.Hour})
		must(s.t, err)
	}
	s.facts.issuer.Policy, err = policy.New(&s.spec)
	must(s.t, err)
	s.facts.issuer.Pods, err = pods.New(&s.spec)
	must(s.t, err)
}

func TestDecide(t *testing.T) {
	short, err := rsa.GenerateKey(rand.Reader, 3072)
	must(t, err)
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	for _, test := range []struct {
		name string
		edit func(*situation)
		want string // "issue NAMES", "deny REASON", "wait REASON", "" for nothing
		says string
	}{
		{"a Pod that a rule covers", func(*situation) {}, "issue web.shop.svc spiffe://prod.test/ns/shop/sa/front", ""},
		{"RSA", func(s *situation) { s.key(short) }, "issue web.shop.svc spiffe://prod.test/ns/shop/sa/front", ""},
		{"Ed25519", func(s *situation) { s.key(edwards) }, "issue web.shop.svc spiffe://prod.test/ns/shop/sa/front", ""},

		{"an issuer that isn't loaded yet", func(s *situation) { s.facts.issuer = nil }, "", ""},
		{"no issuer", func(s *situation) { s.facts.issuer, s.facts.unready = nil, "there is no AcmeIssuer" }, "wait IssuerNotReady", "there is no AcmeIssuer"},
		{"an issuer that serves no Pods", func(s *situation) { s.facts.issuer.Pods = nil }, "wait PodCertificatesNotEnabled", "AcmeIssuer acme-ns/ca has no spec.podCertificates"},
		{"a suspended issuer", func(s *situation) { s.facts.issuer.Spec.Suspend = true }, "wait IssuerSuspended", ""},
		{"a full budget", func(s *situation) { s.facts.overBudget = true }, "wait StorageLimitExceeded", ""},
		{"no Service yet", func(s *situation) { s.facts.services = nil }, "wait ServiceMissing", "no Service selects Pod shop/web-0 yet"},

		{"a Pod that is gone", func(s *situation) { s.facts.pod = nil }, "deny PodMismatch", "there is no Pod web-0 with uid pod-uid"},
		{"another Pod of the name", func(s *situation) { s.facts.pod.UID = "later" }, "deny PodMismatch", "there is no Pod"},
		{"a Pod of another node", func(s *situation) { s.facts.pod.Spec.NodeName = "other" }, "deny PodMismatch", `runs on node "other", not on "node"`},
		{"a Pod with another ServiceAccount", func(s *situation) { s.facts.pod.Spec.ServiceAccountName = "other" }, "deny PodMismatch", "has ServiceAccount"},
		{"a ServiceAccount that is gone", func(s *situation) { s.facts.account = nil }, "deny PodMismatch", "there is no ServiceAccount front"},
		{"a ServiceAccount that was made again", func(s *situation) { s.facts.account.UID = "later" }, "deny PodMismatch", "there is no ServiceAccount"},
		{"a namespace that is gone", func(s *situation) { s.facts.namespace = nil }, "deny PodMismatch", "there is no namespace shop"},
		{"annotations of the Pod's author", func(s *situation) {
			s.request.Spec.UnverifiedUserAnnotations = map[string]string{"b.test/names": "x", "a.test/names": "y"}
		}, "deny InvalidUnverifiedUserAnnotations", "a.test/names, b.test/names"},
		{"the request of an old kubelet", func(s *situation) { s.request.Spec.StubPKCS10Request = nil }, "deny InvalidRequest", "stubPKCS10Request"},
		{"a Pod that no rule covers", func(s *situation) { s.facts.namespace.Labels = nil }, "deny NotCovered",
			"no rule of AcmeIssuer acme-ns/ca covers Pod shop/web-0 with ServiceAccount front: add a rule to spec.podCertificates.rules whose namespaceSelector matches the labels of namespace shop"},
		{"a rule that can't be evaluated", func(s *situation) {
			s.spec.PodCertificates.Rules[0].Condition = "pod.labels['tier'] == 'front'"
			s.load()
		}, "deny RuleFailed", `the condition of rule "shop": no such key`},
		{"a name that the issuer denies", func(s *situation) { s.spec.Policy.DNS.Deny = []string{"shop.svc"}; s.load() }, "deny NamesRefused", "is denied"},
		{"a key type that the profile lacks", func(s *situation) { s.key(newKey(t, elliptic.P384())) }, "deny UnsupportedKeyType",
			"use one of ECDSAP256, RSA3072, RSA4096, ED25519"},
		{"P-521, which is off by default", func(s *situation) { s.key(newKey(t, elliptic.P521())) }, "deny UnsupportedKeyType", ""},
		{"a compromised key", func(s *situation) { s.facts.keyProblem = policy.KeyCompromised() }, "deny UnacceptableKey", "known to be compromised"},
		{"the CA's key", func(s *situation) {
			csr, err := x509.ParseCertificateRequest(s.request.Spec.StubPKCS10Request)
			must(t, err)
			s.facts.issuer.CAKeys = []crypto.PublicKey{csr.PublicKey}
		}, "deny UnacceptableKey", "key of a CA certificate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSituation(t)
			test.edit(s)
			before := s.request.DeepCopy()
			got := decide(s.request, issuerKey, s.facts)
			if text := describe(got); text != test.want || !strings.Contains(got.message, test.says) {
				t.Errorf("got %q: %s", text, got.message)
			}
			if !reflect.DeepEqual(before, s.request) {
				t.Error("the request was changed")
			}
		})
	}
}

func describe(s step) string {
	switch {
	case s.deny != "":
		return "deny " + s.deny
	case s.pending != "":
		return "wait " + s.pending
	case s.issue != nil:
		text := "issue"
		for _, name := range s.issue.grant.Names {
			text += " " + name.Value
		}
		if s.issue.grant.URI != nil {
			text += " " + s.issue.grant.URI.String()
		}
		return text
	}
	return ""
}

// issued returns the status of a request whose record was made at a time.
func (s *situation) issued(created time.Time) (certificatesv1.PodCertificateRequestStatus, *v1alpha1.AcmeOrder, bool) {
	s.t.Helper()
	decision := decide(s.request, issuerKey, s.facts)
	if decision.issue == nil {
		s.t.Fatalf("not issued: %s", decision.message)
	}
	record := recordOf(s.request, issuerKey, decision.issue.grant)
	record.UID, record.CreationTimestamp = "record-uid", metav1.NewTime(created)
	body, ok := certificateRequest(record, s.request, s.facts.issuer, decision.issue)
	if !ok {
		return certificatesv1.PodCertificateRequestStatus{}, record, false
	}
	certificate, err := s.facts.issuer.Authority.Issue(s.facts.issuer.Profiles["default"], body)
	must(s.t, err)
	store(record, certificate, s.facts.issuer, s.facts.now)
	status, err := deliver(record, s.request, s.facts.now)
	must(s.t, err)
	return status, record, true
}

// The certificates meet the demands of the API server (ValidatePodCertificateRequestStatusUpdate in Kubernetes 1.37).
func TestCertificateMeetsTheDemandsOfTheAPIServer(t *testing.T) {
	for _, test := range []struct {
		name     string
		max      int32
		profile  time.Duration
		lifetime time.Duration
	}{
		{"the shortest", 3600, 90 * 24 * time.Hour, time.Hour},
		{"a day", 86400, 90 * 24 * time.Hour, 24 * time.Hour},
		{"the longest", 7862400, 100 * 24 * time.Hour, 91 * 24 * time.Hour},
		{"the profile's", 7862400, 36 * time.Hour, 36 * time.Hour},
		{"parts of a second", 7862400, time.Hour + 1500*time.Millisecond, time.Hour + time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSituation(t)
			s.request.Spec.MaxExpirationSeconds = &test.max
			s.spec.Profiles[0].Lifetime.Duration = test.profile.Truncate(time.Second)
			s.load()
			status, record, _ := s.issued(now)
			leaf := leafOf(t, status.CertificateChain)
			csr, err := x509.ParseCertificateRequest(s.request.Spec.StubPKCS10Request)
			must(t, err)
			if !csr.PublicKey.(*ecdsa.PublicKey).Equal(leaf.PublicKey) {
				t.Error("another key")
			}
			if len(status.Conditions) != 1 || status.Conditions[0].Type != "Issued" || status.Conditions[0].Status != metav1.ConditionTrue {
				t.Errorf("conditions %v", status.Conditions)
			}
			if got := leaf.NotAfter.Sub(leaf.NotBefore); got != test.lifetime || got < time.Hour || got > time.Duration(test.max)*time.Second {
				t.Errorf("lifetime %v", got)
			}
			if !status.NotBefore.Time.Equal(leaf.NotBefore) || !status.NotAfter.Time.Equal(leaf.NotAfter) {
				t.Error("the status has other times than the certificate")
			}
			for _, at := range []time.Time{now, now.Add(deliverWithin)} {
				if skew := at.Sub(leaf.NotBefore).Abs(); skew >= 5*time.Minute {
					t.Errorf("notBefore is %v from the API server's clock at %v", skew, at)
				}
			}
			if refresh := status.BeginRefreshAt.Time; refresh.Before(leaf.NotBefore.Add(10*time.Minute)) ||
				refresh.After(leaf.NotAfter.Add(-10*time.Minute)) || refresh.Nanosecond() != 0 {
				t.Errorf("beginRefreshAt %v", refresh)
			}
			if record.Status.Serial == "" || record.Status.CRL == "" || record.Status.State != acme.StateValid {
				t.Errorf("record %+v", record.Status)
			}
		})
	}
}

func leafOf(t *testing.T, chain string) *x509.Certificate {
	t.Helper()
	certificates, err := ca.ParseCertificates([]byte(chain))
	must(t, err)
	return certificates[0]
}

// A CA that expires soon is transient trouble: the request waits for the next CA.
func TestCertificateUnderAnExpiringCA(t *testing.T) {
	s := newSituation(t)
	end := s.facts.issuer.Authority.NotAfter()
	if status, _, ok := s.issued(end.Add(-2 * time.Hour)); !ok || !leafOf(t, status.CertificateChain).NotAfter.Equal(end) {
		t.Error("no certificate until the CA's end")
	}
	if _, _, ok := s.issued(end.Add(-30 * time.Minute)); ok {
		t.Error("a certificate of less than an hour")
	}
}

// The same record gives the same certificate, whenever it is signed.
func TestCertificateIsTheSameAgain(t *testing.T) {
	s := newSituation(t)
	first, _, _ := s.issued(now)
	s.facts.now = now.Add(2 * time.Minute)
	if second, _, _ := s.issued(now); second.CertificateChain != first.CertificateChain {
		t.Error("another certificate")
	}
	if other, _, _ := s.issued(now.Add(time.Second)); other.CertificateChain == first.CertificateChain {
		t.Error("the same certificate for a record of another time")
	}
}

func TestUseOfRecord(t *testing.T) {
	for _, test := range []struct {
		name string
		edit func(record *v1alpha1.AcmeOrder)
		want use
	}{
		{"a record that a controller left before it signed", func(r *v1alpha1.AcmeOrder) { r.Status = v1alpha1.AcmeOrderStatus{State: acme.StatePending} }, useSign},
		{"a certificate", func(*v1alpha1.AcmeOrder) {}, useDeliver},
		{"a certificate of other names than the rules grant now", func(r *v1alpha1.AcmeOrder) { r.Spec.Identifiers = nil }, useDeliver},
		{"a record of other names", func(r *v1alpha1.AcmeOrder) { r.Status, r.Spec.Identifiers = v1alpha1.AcmeOrderStatus{}, nil }, useReplace},
		{"a record that somebody else made", func(r *v1alpha1.AcmeOrder) { r.Status, r.Spec.Pod = v1alpha1.AcmeOrderStatus{}, nil }, useReplace},
		{"a record that failed", func(r *v1alpha1.AcmeOrder) { r.Status = v1alpha1.AcmeOrderStatus{State: acme.StateInvalid} }, useReplace},
		{"a record that is too old to sign", func(r *v1alpha1.AcmeOrder) {
			r.Status, r.CreationTimestamp = v1alpha1.AcmeOrderStatus{}, metav1.NewTime(now.Add(-signWithin-time.Second))
		}, useReplace},
		{"a certificate that is too old", func(r *v1alpha1.AcmeOrder) {
			r.Status.NotBefore = &metav1.Time{Time: now.Add(-backdate - deliverWithin - time.Second)}
		}, useNothing},
		{"a revoked certificate", func(r *v1alpha1.AcmeOrder) { r.Status.RevokedAt = &metav1.Time{Time: now} }, useNothing},
		{"a certificate to be revoked", func(r *v1alpha1.AcmeOrder) { r.Spec.Revocation = &v1alpha1.Revocation{} }, useNothing},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSituation(t)
			_, record, _ := s.issued(now)
			wanted := recordOf(s.request, issuerKey, decide(s.request, issuerKey, s.facts).issue.grant)
			test.edit(record)
			if got := useOf(record, wanted, now); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}

// A record of another key is never delivered, whoever made it.
func TestDeliverComparesTheKey(t *testing.T) {
	s := newSituation(t)
	_, record, _ := s.issued(now)
	s.key(newKey(t, elliptic.P256()))
	if _, err := deliver(record, s.request, now); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("got %v", err)
	}
	record.Status.Certificate = "nothing"
	if _, err := deliver(record, s.request, now); err == nil {
		t.Error("no certificate was delivered")
	}
}

func TestDeliverBoundsTheChain(t *testing.T) {
	s := newSituation(t)
	s.facts.issuer.Chain = []byte(strings.Repeat("# text between certificates\n", maxChain/28))
	decision := decide(s.request, issuerKey, s.facts)
	record := recordOf(s.request, issuerKey, decision.issue.grant)
	record.UID, record.CreationTimestamp = "record-uid", metav1.NewTime(now)
	body, _ := certificateRequest(record, s.request, s.facts.issuer, decision.issue)
	certificate, err := s.facts.issuer.Authority.Issue(s.facts.issuer.Profiles["default"], body)
	must(t, err)
	store(record, certificate, s.facts.issuer, now)
	if _, err := deliver(record, s.request, now); err == nil || !strings.Contains(err.Error(), "the limit is 102400") {
		t.Errorf("got %v", err)
	}
}

func TestSelecting(t *testing.T) {
	service := func(name string, selector map[string]string, edit ...func(*corev1.Service)) corev1.Service {
		s := corev1.Service{Spec: corev1.ServiceSpec{Selector: selector}}
		s.Name = name
		for _, e := range edit {
			e(&s)
		}
		return s
	}
	web := map[string]string{"app": "web"}
	got := selecting([]corev1.Service{
		service("web", web), service("api", web), service("none", nil), service("other", map[string]string{"app": "db"}),
		service("narrow", map[string]string{"app": "web", "tier": "front"}),
		service("elsewhere", web, func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeExternalName }),
		service("going", web, func(s *corev1.Service) { s.DeletionTimestamp = &metav1.Time{Time: now} }),
	}, map[string]string{"app": "web", "version": "2"})
	if want := []string{"api", "web"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestIssuerOf(t *testing.T) {
	s := newSituation(t)
	if key, ours := issuerOf(s.request); !ours || key != issuerKey {
		t.Errorf("got %v, %v", key, ours)
	}
	for _, signer := range []string{"example.com/acme-ns.ca", "acmeca.dev/ca", "acmeca.dev/.ca", "acmeca.dev/ns.", "acmeca.dev"} {
		s.request.Spec.SignerName = signer
		if _, ours := issuerOf(s.request); ours {
			t.Errorf("%s is ours", signer)
		}
	}
	s.request.Spec.SignerName = "acmeca.dev/acme-ns.ca"
	s.request.Status.Conditions = []metav1.Condition{{Type: "Denied"}}
	if _, ours := issuerOf(s.request); ours {
		t.Error("an answered request is answered again")
	}
}
