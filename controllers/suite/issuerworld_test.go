package suite

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	testingclock "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/authority"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/crl"
	"github.com/acmeca/acmeca/controllers/issuer"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/keyservice"
	"github.com/acmeca/acmeca/controllers/kube"
)

// An issuerWorld holds an AcmeIssuer named "ca" in a namespace of its own, its controller, and a clock that the spec sets.
type issuerWorld struct {
	namespace  string
	clock      *testingclock.FakeClock
	faults     *faults
	events     *recordedEvents
	reconciler *issuer.Reconciler
	keys       *keyservice.Client // nil for none
}

func newIssuerWorld(ctx SpecContext, spec v1alpha1.AcmeIssuerSpec) *issuerWorld {
	GinkgoHelper()
	w := &issuerWorld{namespace: newNamespace(ctx), clock: testingclock.NewFakeClock(time.Now().Truncate(time.Second)), faults: &faults{}, events: &recordedEvents{}}
	w.create(ctx, spec)
	w.restart()
	return w
}

// create creates the issuer, with the finalizer that the controller would add first.
func (w *issuerWorld) create(ctx context.Context, spec v1alpha1.AcmeIssuerSpec) {
	GinkgoHelper()
	issuer := &v1alpha1.AcmeIssuer{Spec: spec}
	issuer.Namespace, issuer.Name, issuer.Finalizers = w.namespace, "ca", []string{v1alpha1.IssuerFinalizer}
	Expect(admin.Create(ctx, issuer)).To(Succeed())
}

// selfSigned returns the spec of an issuer with a self-signed CA.
func selfSigned(ca v1alpha1.SelfSignedCA) v1alpha1.AcmeIssuerSpec {
	return v1alpha1.AcmeIssuerSpec{CA: v1alpha1.CertificateAuthority{SelfSigned: &ca}}
}

// restart replaces the controller by one with empty memory.
func (w *issuerWorld) restart() {
	c := w.faults.client()
	blocked := &issuers.CompromisedKeys{Client: c}
	w.reconciler = &issuer.Reconciler{
		Client: c, Authorities: authority.Authorities{Client: c, Events: w.events, Clock: w.clock, KeyService: w.keys}, Issuers: &issuers.Registry{}, Events: w.events, Clock: w.clock,
		Trust: issuer.Trust{Client: c}, TrustCopies: &issuer.TrustCopies{Client: c, Live: c, Clock: w.clock}, CACRLs: issuer.CACRLs{Client: c, Clock: w.clock}, CompromisedKeys: blocked, CRLs: &crl.Publisher{Client: c, CompromisedKeys: blocked, Clock: w.clock}, ExternalURLs: []string{"https://acme.test"}, PlainURL: "http://acme.test",
	}
}

func (w *issuerWorld) key() client.ObjectKey {
	return client.ObjectKey{Namespace: w.namespace, Name: "ca"}
}

func (w *issuerWorld) try(ctx context.Context) error {
	_, err := w.reconciler.Reconcile(ctx, ctrl.Request{NamespacedName: w.key()})
	return err
}

// reconcile reconciles the issuer once, and returns the issuer after that.
func (w *issuerWorld) reconcile(ctx context.Context) *v1alpha1.AcmeIssuer {
	GinkgoHelper()
	Expect(w.try(ctx)).To(Succeed())
	return w.issuer(ctx)
}

func (w *issuerWorld) issuer(ctx context.Context) *v1alpha1.AcmeIssuer {
	GinkgoHelper()
	issuer := &v1alpha1.AcmeIssuer{}
	Expect(admin.Get(ctx, w.key(), issuer)).To(Succeed())
	return issuer
}

// edit changes the issuer as a person does.
func (w *issuerWorld) edit(ctx context.Context, change func(*v1alpha1.AcmeIssuer)) {
	GinkgoHelper()
	issuer := w.issuer(ctx)
	change(issuer)
	Expect(admin.Update(ctx, issuer)).To(Succeed())
}

// delete deletes the issuer, and reconciles until it is gone.
func (w *issuerWorld) delete(ctx context.Context) {
	GinkgoHelper()
	issuer := w.issuer(ctx)
	Expect(admin.Delete(ctx, issuer)).To(Succeed())
	for range 3 {
		Expect(w.try(ctx)).To(Succeed())
	}
	Expect(admin.Get(ctx, w.key(), issuer)).To(MatchError(ContainSubstring("not found")))
}

func (w *issuerWorld) annotate(ctx context.Context, name, value string) {
	GinkgoHelper()
	w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) { kube.Annotate(issuer, name, value) })
}

// loaded returns the issuer that the other controllers use, which may be unable to issue.
func (w *issuerWorld) loaded() *issuers.Issuer {
	GinkgoHelper()
	issuer, ok := w.reconciler.Issuers.Loaded(w.namespace, "ca")
	Expect(ok).To(BeTrue(), "the issuer isn't loaded")
	return issuer
}

func (w *issuerWorld) canIssue() bool {
	_, ok := w.reconciler.Issuers.ReadyToIssue(w.namespace, "ca")
	return ok
}

func (w *issuerWorld) secret(ctx context.Context, name string) *corev1.Secret {
	GinkgoHelper()
	secret := &corev1.Secret{}
	Expect(admin.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: name}, secret)).To(Succeed())
	return secret
}

// versions returns the resourceVersions of all objects that the controller writes.
func (w *issuerWorld) versions(ctx context.Context) map[string]string {
	GinkgoHelper()
	versions := map[string]string{"issuer": w.issuer(ctx).ResourceVersion}
	var secrets corev1.SecretList
	Expect(admin.List(ctx, &secrets, client.InNamespace(w.namespace))).To(Succeed())
	for _, s := range secrets.Items {
		versions["secret "+s.Name] = s.ResourceVersion
	}
	var configMaps corev1.ConfigMapList
	Expect(admin.List(ctx, &configMaps, client.InNamespace(w.namespace), client.HasLabels{v1alpha1.IssuerLabel})).To(Succeed())
	for _, c := range configMaps.Items {
		versions["configMap "+c.Name] = c.ResourceVersion
	}
	return versions
}

// issue issues a certificate from the current CA, and returns it with the chain that a client gets.
func (w *issuerWorld) issue(name string) []*x509.Certificate {
	GinkgoHelper()
	issuer := w.loaded()
	key, err := ca.GenerateKey(ca.ECDSAP256)
	Expect(err).NotTo(HaveOccurred())
	der, err := x509.CreateCertificateRequest(nil, &x509.CertificateRequest{DNSNames: []string{name}}, key)
	Expect(err).NotTo(HaveOccurred())
	csr, err := x509.ParseCertificateRequest(der)
	Expect(err).NotTo(HaveOccurred())
	certificate, err := issuer.Authority.Issue(issuer.Profiles["default"], ca.Request{
		ID: name, Identifiers: []acme.Identifier{{Type: acme.DNS, Value: name}}, CSR: csr, FinalizedAt: w.clock.Now(),
	})
	Expect(err).NotTo(HaveOccurred())
	chain, err := ca.ParseCertificates(issuer.Chain)
	Expect(err).NotTo(HaveOccurred())
	return append([]*x509.Certificate{certificate}, chain...)
}

// verify verifies a chain like a client that trusts only these roots.
func (w *issuerWorld) verify(chain []*x509.Certificate, roots ...*x509.Certificate) error {
	options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: w.clock.Now()}
	for _, root := range roots {
		options.Roots.AddCert(root)
	}
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(options)
	return err
}

func bundleOf(issuer *v1alpha1.AcmeIssuer) []*x509.Certificate {
	GinkgoHelper()
	roots, err := ca.ParseCertificates([]byte(issuer.Status.CABundle))
	Expect(err).NotTo(HaveOccurred())
	return roots
}

func readyOf(issuer *v1alpha1.AcmeIssuer) metav1.Condition {
	GinkgoHelper()
	ready := meta.FindStatusCondition(issuer.Status.Conditions, v1alpha1.ConditionReady)
	Expect(ready).NotTo(BeNil())
	return *ready
}

// faults fails writes to the API server, in place of a controller that is killed before it makes them.
type faults struct {
	mu     sync.Mutex
	writes int
	// failFrom is the number of the first write that fails; 0 if none fails.
	failFrom int
}

var errKilled = errors.New("killed before this write")

// from makes the nth write from now on fail, and all later ones.
func (f *faults) from(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes, f.failFrom = 0, n
}

func (f *faults) none() { f.from(0) }

// happened reports whether a write failed.
func (f *faults) happened() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failFrom > 0 && f.writes >= f.failFrom
}

// unless calls write, or returns errKilled if this write is to fail.
func (f *faults) unless(write func() error) error {
	f.mu.Lock()
	f.writes++
	fail := f.failFrom > 0 && f.writes >= f.failFrom
	f.mu.Unlock()
	if fail {
		return errKilled
	}
	return write()
}

// client returns a client whose lists by an index are empty: the API server doesn't know the indexes of a cache.
func (f *faults) client() client.WithWatch {
	return f.wrap(interceptor.NewClient(admin, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, o ...client.ListOption) error {
			if options := (&client.ListOptions{}).ApplyOptions(o); options.FieldSelector != nil {
				return nil
			}
			return c.List(ctx, list, o...)
		},
	}))
}

func (f *faults) wrap(inner client.WithWatch) client.WithWatch {
	return interceptor.NewClient(inner, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, object client.Object, o ...client.CreateOption) error {
			return f.unless(func() error { return c.Create(ctx, object, o...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, object client.Object, o ...client.UpdateOption) error {
			return f.unless(func() error { return c.Update(ctx, object, o...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, o ...client.PatchOption) error {
			return f.unless(func() error { return c.Patch(ctx, object, patch, o...) })
		},
		Apply: func(ctx context.Context, c client.WithWatch, object runtime.ApplyConfiguration, o ...client.ApplyOption) error {
			return f.unless(func() error { return c.Apply(ctx, object, o...) })
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, object client.Object, o ...client.SubResourceUpdateOption) error {
			return f.unless(func() error { return c.SubResource(sub).Update(ctx, object, o...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, object client.Object, patch client.Patch, o ...client.SubResourcePatchOption) error {
			return f.unless(func() error { return c.SubResource(sub).Patch(ctx, object, patch, o...) })
		},
	})
}

// recordedEvents records Events.
type recordedEvents struct {
	mu     sync.Mutex
	events []string
}

// Eventf implements events.EventRecorder.
func (r *recordedEvents) Eventf(_, _ runtime.Object, kind, reason, _, note string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, strings.Join([]string{kind, reason, fmt.Sprintf(note, args...)}, " "))
}

// taken returns the Events since the last call.
func (r *recordedEvents) taken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.events
	r.events = nil
	return taken
}
