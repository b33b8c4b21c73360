package suite

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	testingclock "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/inventory"
	"github.com/acmeca/acmeca/internal/informer"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

// An operator runs all controllers, wired as in the program, with the rights of their ServiceAccount. It has a namespace of its
// own with an issuer named "ca", and a clock that the spec sets.
type operator struct {
	namespace string
	clock     *testingclock.FakeClock
	stop      func()
	// keyService is the path of a key service's socket; "" for none.
	keyService string
	// inventory knows the orders that the cache does not hold.
	inventory *inventory.Orders

	mu sync.Mutex
	// signed holds the certificates that the controllers tried to write, by order.
	signed map[string][]string
	// failing makes every write of an order's status fail.
	failing bool
	// conflicts lists the writes that failed with a conflict.
	conflicts []string
}

const (
	baseURL  = "https://acme.test"
	patience = 10 * time.Second
)

// controllerConfig returns the client configuration of the controllers' ServiceAccount.
var controllerConfig = sync.OnceValue(func() *rest.Config {
	ctx := context.Background()
	namespace := &unstructured.Unstructured{}
	Expect(namespace.UnmarshalJSON([]byte(`{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "acmeca-system"}}`))).To(Succeed())
	Expect(plane.Apply(ctx, namespace)).To(Succeed())
	Expect(plane.ApplyProject(ctx, "config/rbac")).To(Succeed())
	config, err := plane.ServiceAccountConfig(ctx, "acmeca-system", "acmeca-controller")
	Expect(err).NotTo(HaveOccurred())
	return config
})

// newOperator starts controllers, and waits until the issuer is ready.
func newOperator(ctx SpecContext, edit ...func(*v1alpha1.AcmeIssuerSpec)) *operator {
	GinkgoHelper()
	return newOperatorWithKeys(ctx, "", edit...)
}

// newOperatorWithKeys is newOperator with a key service.
func newOperatorWithKeys(ctx SpecContext, socket string, edit ...func(*v1alpha1.AcmeIssuerSpec)) *operator {
	GinkgoHelper()
	o := &operator{keyService: socket, namespace: newNamespace(ctx), clock: testingclock.NewFakeClock(time.Now().Truncate(time.Second)), signed: map[string][]string{}}
	issuer := &v1alpha1.AcmeIssuer{Spec: selfSigned(v1alpha1.SelfSignedCA{})}
	issuer.Namespace, issuer.Name = o.namespace, "ca"
	for _, change := range edit {
		change(&issuer.Spec)
	}
	Expect(admin.Create(ctx, issuer)).To(Succeed())
	o.start()
	Eventually(ctx, func() string { return readyReason(ctx, issuer) }).WithTimeout(patience).Should(Equal(v1alpha1.ReasonReady))
	return o
}

func readyReason(ctx context.Context, issuer *v1alpha1.AcmeIssuer) string {
	GinkgoHelper()
	Expect(admin.Get(ctx, client.ObjectKeyFromObject(issuer), issuer)).To(Succeed())
	for _, condition := range issuer.Status.Conditions {
		if condition.Type == v1alpha1.ConditionReady && condition.ObservedGeneration == issuer.Generation {
			return condition.Reason
		}
	}
	return ""
}

// start starts controllers with empty memory.
func (o *operator) start() {
	GinkgoHelper()
	ctx, cancel := context.WithCancel(context.Background())
	skip := true
	o.inventory = inventory.New(nil)
	restConfig := rest.CopyConfig(controllerConfig())
	restConfig.Wrap(informer.DecodeAnswers)
	informers := informer.New(informer.Options{Orders: o.inventory})
	newClient := func(config *rest.Config, options client.Options) (client.Client, error) {
		if _, err := informers.NewClient(config, options); err != nil { // by which the informer reads
			return nil, err
		}
		return o.client(config, options)
	}
	mgr, err := ctrl.NewManager(restConfig, ctrl.Options{
		Scheme: scheme, Cache: informers.CacheOptions(o.namespace), Client: controllers.ClientOptions(), NewClient: newClient,
		Metrics: metricsserver.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: &skip}, Logger: GinkgoLogr,
	})
	Expect(err).NotTo(HaveOccurred())
	Expect(controllers.Setup(ctx, mgr, controllers.Options{
		ExternalURLs: []string{baseURL}, PlainURL: "http://acme.test", DefaultIssuer: client.ObjectKey{Namespace: o.namespace, Name: "ca"},
		Concurrency: 4, Clock: o.clock, KeyService: o.keyService, Inventory: o.inventory, Namespaces: []string{o.namespace},
	})).To(Succeed())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	Expect(mgr.GetCache().WaitForCacheSync(ctx)).To(BeTrue())
	o.stop = sync.OnceFunc(func() {
		cancel()
		Expect(<-ended).To(Succeed())
	})
	DeferCleanup(o.stop)
}

// restart stops the controllers, and starts new ones.
func (o *operator) restart() {
	GinkgoHelper()
	o.stop()
	o.start()
}

// client returns a client that records conflicts and the certificates written into orders, and fails such writes on demand.
func (o *operator) client(config *rest.Config, options client.Options) (client.Client, error) {
	inner, err := client.NewWithWatch(config, options)
	if err != nil {
		return nil, err
	}
	return interceptor.NewClient(inner, interceptor.Funcs{
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, object client.Object, options ...client.SubResourceUpdateOption) error {
			if order, ok := object.(*v1alpha1.AcmeOrder); ok && o.note(order) {
				return errKilled
			}
			return o.noteConflict(object, c.SubResource(sub).Update(ctx, object, options...))
		},
		Update: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.UpdateOption) error {
			return o.noteConflict(object, c.Update(ctx, object, options...))
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, object client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
			if order, ok := object.(*v1alpha1.AcmeOrder); ok && o.note(order) {
				return errKilled
			}
			return c.SubResource(sub).Patch(ctx, object, patch, options...)
		},
	}), nil
}

func (o *operator) note(order *v1alpha1.AcmeOrder) (fail bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if order.Status.Certificate != "" {
		o.signed[order.Name] = append(o.signed[order.Name], order.Status.Certificate)
	}
	return o.failing
}

func (o *operator) noteConflict(object client.Object, err error) error {
	if apierrors.IsConflict(err) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.conflicts = append(o.conflicts, object.GetName())
	}
	return err
}

// fail sets whether writes into orders fail.
func (o *operator) fail(failing bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failing = failing
}

// certificates returns the certificates that the controllers tried to write into an order.
func (o *operator) certificates(order *v1alpha1.AcmeOrder) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.signed[order.Name]...)
}

// later advances the clock, and triggers a reconcile of objects: the work queue's own timer uses the real clock.
func (o *operator) later(ctx context.Context, d time.Duration, objects ...client.Object) {
	GinkgoHelper()
	o.clock.Step(d)
	for _, object := range objects {
		o.touch(ctx, object)
	}
}

// touch triggers a reconcile of an object, which may have been decided and discarded meanwhile.
func (o *operator) touch(ctx context.Context, object client.Object) {
	GinkgoHelper()
	patch := fmt.Sprintf(`{"metadata": {"annotations": {"touched": "%d"}}}`, time.Now().UnixNano())
	err := admin.Patch(ctx, object.DeepCopyObject().(client.Object), client.RawPatch("application/merge-patch+json", []byte(patch)))
	Expect(client.IgnoreNotFound(err)).NotTo(HaveOccurred())
}

func (o *operator) issuer(ctx context.Context) *v1alpha1.AcmeIssuer {
	GinkgoHelper()
	return fresh(ctx, &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: "ca"}})
}

// deleteIssuer deletes the issuer, and waits until it is gone.
func (o *operator) deleteIssuer(ctx context.Context) {
	GinkgoHelper()
	issuer := o.issuer(ctx)
	Expect(admin.Delete(ctx, issuer)).To(Succeed())
	Eventually(ctx, func() error { return admin.Get(ctx, client.ObjectKeyFromObject(issuer), &v1alpha1.AcmeIssuer{}) }).
		WithTimeout(patience).Should(MatchError(ContainSubstring("not found")))
}

// edit changes the issuer as a person does, and waits until the controllers have observed the change.
func (o *operator) edit(ctx context.Context, change func(*v1alpha1.AcmeIssuerSpec)) *v1alpha1.AcmeIssuer {
	GinkgoHelper()
	issuer := o.issuer(ctx)
	before := issuer.DeepCopy()
	change(&issuer.Spec)
	Expect(admin.Patch(ctx, issuer, client.MergeFrom(before))).To(Succeed())
	Eventually(ctx, func() string { return readyReason(ctx, issuer) }).WithTimeout(patience).ShouldNot(BeEmpty())
	return issuer
}

// events returns the notes of the warning Events about an object.
func (o *operator) events(ctx context.Context, object client.Object) []string {
	GinkgoHelper()
	var all eventsv1.EventList
	Expect(admin.List(ctx, &all, client.InNamespace(o.namespace))).To(Succeed())
	var notes []string
	for _, event := range all.Items {
		if event.Regarding.Name == object.GetName() && event.Type == corev1.EventTypeWarning {
			notes = append(notes, event.Reason+": "+event.Note)
		}
	}
	return notes
}

// fresh reads an object past every cache.
func fresh[T client.Object](ctx context.Context, object T) T {
	GinkgoHelper()
	Expect(admin.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
	return object
}

// An acmeClient is an ACME client and the ACME server in one: it stores its signed requests as API objects.
type acmeClient struct {
	*operator
	key     crypto.Signer
	account *v1alpha1.AcmeAccount
}

// register returns an account object; the payload of the request may be nil.
func (o *operator) register(ctx context.Context, payload map[string]any) *acmeClient {
	GinkgoHelper()
	c := &acmeClient{operator: o, key: newSigner()}
	c.create(ctx, payload)
	return c
}

// create creates the account of the client's key.
func (c *acmeClient) create(ctx context.Context, payload map[string]any) {
	GinkgoHelper()
	key := jwstest.Key(GinkgoTB(), c.key)
	c.account = &v1alpha1.AcmeAccount{Spec: v1alpha1.AcmeAccountSpec{
		IssuerRef: v1alpha1.ObjectRef{Name: "ca"}, JWK: string(key.JSON()),
		Registration: sign(c.key, jwstest.Header{"jwk": jwstest.JWK(GinkgoTB(), c.key)}, acme.NewAccountPath, payload),
	}}
	c.account.Namespace, c.account.Name = c.namespace, v1alpha1.AccountName("ca", key.Thumbprint())
	Expect(admin.Create(ctx, c.account)).To(Succeed())
}

// registered returns a client with an accepted account.
func (o *operator) registered(ctx context.Context) *acmeClient {
	GinkgoHelper()
	c := o.register(ctx, map[string]any{})
	c.expectState(ctx, acme.StateValid)
	return c
}

// expectState waits for the account's state.
func (c *acmeClient) expectState(ctx context.Context, state acme.State) {
	GinkgoHelper()
	Eventually(ctx, func() acme.State { return fresh(ctx, c.account).Status.State }).WithTimeout(patience).Should(Equal(state))
}

// expectRefused waits for the Event that the account was refused, and until the account is gone.
func (c *acmeClient) expectRefused(ctx context.Context, words string) {
	GinkgoHelper()
	Eventually(ctx, func() []string { return c.events(ctx, c.account) }).WithTimeout(patience).Should(ContainElement(ContainSubstring(words)))
	Eventually(ctx, func() error { return admin.Get(ctx, client.ObjectKeyFromObject(c.account), &v1alpha1.AcmeAccount{}) }).
		WithTimeout(patience).Should(MatchError(ContainSubstring("not found")))
}

func (c *acmeClient) sign(path string, payload any) *v1alpha1.SignedRequest {
	GinkgoHelper()
	return sign(c.key, jwstest.Header{"kid": baseURL + "/" + acme.AccountPath(c.account.Name)}, path, payload)
}

func sign(key crypto.Signer, header jwstest.Header, path string, payload any) *v1alpha1.SignedRequest {
	GinkgoHelper()
	header["url"], header["nonce"] = baseURL+"/"+path, "bm9uY2U"
	var request v1alpha1.SignedRequest
	Expect(json.Unmarshal(jwstest.Sign(GinkgoTB(), key, header, payload), &request)).To(Succeed())
	return &request
}

func newSigner() crypto.Signer { return jwstest.NewKey(GinkgoTB(), "ES256") }

// newName returns a name for an order, an authorization or another object, also fit for a label of a domain name.
func newName() string { return v1alpha1.NewObjectName(time.Now()) }

// authorize creates an authorization for a name.
func (c *acmeClient) authorize(ctx context.Context, name string) *v1alpha1.AcmeAuthorization {
	GinkgoHelper()
	return c.authorizeIdentifier(ctx, acme.Identifier{Type: acme.DNS, Value: name})
}

func (c *acmeClient) authorizeIdentifier(ctx context.Context, id acme.Identifier) *v1alpha1.AcmeAuthorization {
	GinkgoHelper()
	authz := &v1alpha1.AcmeAuthorization{Spec: v1alpha1.AcmeAuthorizationSpec{
		IssuerRef: v1alpha1.ObjectRef{Name: "ca"}, AccountRef: v1alpha1.ObjectRef{Name: c.account.Name},
		Identifier: v1alpha1.Identifier(id.Base()), Wildcard: id.Wildcard(),
		Challenges: []v1alpha1.Challenge{{Type: acme.HTTP01, Token: "0123456789012345678901"}},
	}}
	authz.Namespace, authz.Name = c.namespace, newName()
	Expect(admin.Create(ctx, authz)).To(Succeed())
	return authz
}

// prove makes an authorization valid for an hour.
func (o *operator) prove(ctx context.Context, authz *v1alpha1.AcmeAuthorization) *v1alpha1.AcmeAuthorization {
	GinkgoHelper()
	expires := metav1.NewTime(o.clock.Now().Add(time.Hour))
	authz.Status = v1alpha1.AcmeAuthorizationStatus{State: acme.StateValid, Expires: &expires}
	Expect(admin.Status().Update(ctx, authz)).To(Succeed())
	return authz
}

// orderOfItsOwn creates an order with authorizations of its own.
func (c *acmeClient) orderOfItsOwn(ctx context.Context, authorizations ...*v1alpha1.AcmeAuthorization) *v1alpha1.AcmeOrder {
	GinkgoHelper()
	name := newName()
	for i, authz := range authorizations {
		authz.Namespace, authz.Name = c.namespace, v1alpha1.OwnAuthorization(name, i)
	}
	return c.orderNamed(ctx, name, authorizations...)
}

// order creates an order with authorizations.
func (c *acmeClient) order(ctx context.Context, authorizations ...*v1alpha1.AcmeAuthorization) *v1alpha1.AcmeOrder {
	GinkgoHelper()
	return c.orderNamed(ctx, newName(), authorizations...)
}

func (c *acmeClient) orderNamed(ctx context.Context, name string, authorizations ...*v1alpha1.AcmeAuthorization) *v1alpha1.AcmeOrder {
	GinkgoHelper()
	order := &v1alpha1.AcmeOrder{Spec: v1alpha1.AcmeOrderSpec{IssuerRef: v1alpha1.ObjectRef{Name: "ca"}, AccountRef: v1alpha1.ObjectRef{Name: c.account.Name}}}
	for _, authz := range authorizations {
		order.Spec.Identifiers = append(order.Spec.Identifiers, v1alpha1.Identifier(authz.Authorized()))
		order.Spec.Authorizations = append(order.Spec.Authorizations, authz.Name)
	}
	order.Namespace, order.Name = c.namespace, name
	Expect(admin.Create(ctx, order)).To(Succeed())
	return order
}

// readyOrder returns an order for new names whose authorizations are valid.
func (c *acmeClient) readyOrder(ctx context.Context, names ...string) *v1alpha1.AcmeOrder {
	GinkgoHelper()
	var authorizations []*v1alpha1.AcmeAuthorization
	for _, name := range names {
		authorizations = append(authorizations, c.prove(ctx, c.authorize(ctx, name)))
	}
	return c.order(ctx, authorizations...)
}

// finalize finalizes an order with a CSR for its names.
func (c *acmeClient) finalize(ctx context.Context, order *v1alpha1.AcmeOrder) {
	GinkgoHelper()
	var names []string
	for _, id := range order.Spec.Identifiers {
		names = append(names, id.Value)
	}
	c.finalizeWith(ctx, order, newCSR(newSigner(), names...))
}

func (c *acmeClient) finalizeWith(ctx context.Context, order *v1alpha1.AcmeOrder, csr []byte) {
	GinkgoHelper()
	before := order.DeepCopy()
	order.Spec.Finalization = &v1alpha1.Finalization{
		Request: *c.sign(acme.FinalizePath(order.Name), map[string]string{"csr": base64.RawURLEncoding.EncodeToString(csr)}),
		Time:    metav1.NewTime(c.clock.Now()),
	}
	Expect(admin.Patch(ctx, order, client.MergeFrom(before))).To(Succeed())
}

func newCSR(key crypto.Signer, names ...string) []byte {
	GinkgoHelper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, key)
	Expect(err).NotTo(HaveOccurred())
	return der
}

// expectIssued waits for an order's certificate.
func expectIssued(ctx context.Context, order *v1alpha1.AcmeOrder) *x509.Certificate {
	GinkgoHelper()
	Eventually(ctx, func() acme.State { return fresh(ctx, order).Status.State }).WithTimeout(patience).Should(Equal(acme.StateValid), "%+v", order.Status.Problem)
	certificates, err := ca.ParseCertificates([]byte(order.Status.Certificate))
	Expect(err).NotTo(HaveOccurred())
	return certificates[0]
}

// expectFailed waits for an order to become invalid, and returns its problem, which the condition states too.
func expectFailed(ctx context.Context, order *v1alpha1.AcmeOrder) *v1alpha1.Problem {
	GinkgoHelper()
	Eventually(ctx, func() acme.State { return fresh(ctx, order).Status.State }).WithTimeout(patience).Should(Equal(acme.StateInvalid))
	Expect(order.Status.Certificate).To(BeEmpty())
	Expect(conditionOf(order)).To(And(HaveField("Status", metav1.ConditionFalse), HaveField("Message", order.Status.Problem.Detail)))
	return order.Status.Problem
}

func conditionOf(order *v1alpha1.AcmeOrder) metav1.Condition {
	for _, condition := range order.Status.Conditions {
		if condition.Type == v1alpha1.ConditionReady {
			return condition
		}
	}
	return metav1.Condition{}
}
