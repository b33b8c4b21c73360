package podcertificates

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"sync"
	"time"

	"github.com/go-logr/logr/funcr"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/internal/informer"
)

const patience = 15 * time.Second

// A world has an issuer "ca" in a namespace, Pods in another one, and controllers with the rights of their ServiceAccount.
type world struct {
	pki, shop string
	name      string // the issuer's; by default "ca"
	disabled  bool
	// keyService is the socket of the key service, if any.
	keyService string
	registry   *prometheus.Registry
	stop       func()

	mu sync.Mutex
	// refused lists the refusals of answers to requests, which are faults of the controllers.
	refused []error
	// signed lists the certificates that the controllers tried to store.
	signed []string
	// writes counts the controllers' successful writes about Pods.
	writes int
	// failing names the kind of the writes that fail: "record" or "answer".
	failing string
	// audited are the audit lines.
	audited []string
}

var errKilled = errors.New("the controller is killed before this write")

// rule covers the Pods of labelled namespaces.
func rule(edit ...func(*v1alpha1.PodCertificateRule)) *v1alpha1.PodCertificates {
	r := v1alpha1.PodCertificateRule{
		Name: "mesh", NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"mesh": "on"}},
		Services: v1alpha1.PodServicesOptional, SPIFFEID: true,
	}
	for _, e := range edit {
		e(&r)
	}
	return &v1alpha1.PodCertificates{TrustDomain: "prod.test", Rules: []v1alpha1.PodCertificateRule{r}}
}

// newWorld starts controllers, and waits until the issuer is ready.
func newWorld(ctx context.Context, edit ...func(*v1alpha1.AcmeIssuerSpec)) *world {
	GinkgoHelper()
	return newWorldWithKeys(ctx, "", edit...)
}

// newWorldWithKeys is newWorld with a key service on a socket.
func newWorldWithKeys(ctx context.Context, socket string, edit ...func(*v1alpha1.AcmeIssuerSpec)) *world {
	GinkgoHelper()
	w := &world{pki: newNamespace(ctx, "pki-"), shop: newNamespace(ctx, "shop-"), keyService: socket}
	issuer := w.issuer()
	issuer.Spec = v1alpha1.AcmeIssuerSpec{CA: v1alpha1.CertificateAuthority{SelfSigned: &v1alpha1.SelfSignedCA{}}, PodCertificates: rule()}
	issuer.Spec.Validation.ClusterDomain = "cluster.local"
	issuer.Spec.Profiles = []v1alpha1.Profile{{Name: "default", Usages: []v1alpha1.Usage{v1alpha1.UsageServerAuth, v1alpha1.UsageClientAuth}}}
	for _, e := range edit {
		e(&issuer.Spec)
	}
	Expect(admin.Create(ctx, issuer)).To(Succeed())
	w.start()
	DeferCleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		Expect(w.refused).To(BeEmpty(), "the API server refused an answer")
	})
	w.awaitReady(ctx)
	return w
}

func (w *world) issuer() *v1alpha1.AcmeIssuer {
	return &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.pki, Name: cmp.Or(w.name, "ca")}}
}

// condition returns a condition of the issuer's current generation; nil if there is none.
func (w *world) condition(ctx context.Context, kind string) *metav1.Condition {
	GinkgoHelper()
	issuer := w.issuer()
	Expect(admin.Get(ctx, client.ObjectKeyFromObject(issuer), issuer)).To(Succeed())
	c := meta.FindStatusCondition(issuer.Status.Conditions, kind)
	if c == nil || c.ObservedGeneration != issuer.Generation {
		return nil
	}
	return c
}

func (w *world) awaitReady(ctx context.Context) {
	GinkgoHelper()
	Eventually(ctx, func() *metav1.Condition { return w.condition(ctx, v1alpha1.ConditionReady) }).WithTimeout(patience).
		Should(HaveField("Status", metav1.ConditionTrue))
}

func (w *world) edit(ctx context.Context, change func(*v1alpha1.AcmeIssuerSpec)) {
	GinkgoHelper()
	issuer := w.issuer()
	Expect(admin.Get(ctx, client.ObjectKeyFromObject(issuer), issuer)).To(Succeed())
	before := issuer.DeepCopy()
	change(&issuer.Spec)
	Expect(admin.Patch(ctx, issuer, client.MergeFrom(before))).To(Succeed())
}

// start starts controllers with empty memory.
func (w *world) start() {
	GinkgoHelper()
	ctx, cancel := context.WithCancel(context.Background())
	skip := true
	caches := informer.New(informer.Options{}).CacheOptions(w.pki, w.shop)
	mgr, err := ctrl.NewManager(rest.CopyConfig(controllerConfig), ctrl.Options{
		Scheme: scheme, Cache: caches, Client: controllers.ClientOptions(), NewClient: w.client,
		Metrics: metricsserver.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: &skip}, Logger: funcr.New(w.log, funcr.Options{}),
	})
	Expect(err).NotTo(HaveOccurred())
	w.registry = prometheus.NewRegistry()
	Expect(controllers.Setup(ctx, mgr, controllers.Options{
		ExternalURLs: []string{"https://acme.test"}, PlainURL: "http://acme.test", Concurrency: 4, PodCertificates: !w.disabled, Metrics: w.registry,
		KeyService: w.keyService,
		Namespaces: []string{w.pki, w.shop},
	})).To(Succeed())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	Expect(mgr.GetCache().WaitForCacheSync(ctx)).To(BeTrue())
	w.stop = sync.OnceFunc(func() {
		cancel()
		Expect(<-ended).To(Succeed())
	})
	DeferCleanup(func() { w.stop() })
}

// log shows a line of the controllers' log, and keeps those of the audit log.
func (w *world) log(logger, line string) {
	GinkgoLogr.Info(line, "logger", logger)
	if logger == "audit" {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.audited = append(w.audited, line)
	}
}

// auditLines returns the audit lines.
func (w *world) auditLines() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.audited...)
}

func (w *world) fail(kind string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failing = kind
}

// client returns a client that counts writes, keeps refusals, and fails writes on demand.
func (w *world) client(config *rest.Config, options client.Options) (client.Client, error) {
	inner, err := client.NewWithWatch(config, options)
	if err != nil {
		return nil, err
	}
	return interceptor.NewClient(inner, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.CreateOption) error {
			err := c.Create(ctx, object, options...)
			if _, ok := object.(*v1alpha1.AcmeOrder); ok && err == nil {
				w.count()
			}
			return err
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, object client.Object, options ...client.SubResourceUpdateOption) error {
			if w.fails(object) {
				return errKilled
			}
			err := c.SubResource(sub).Update(ctx, object, options...)
			_, answer := object.(*certificatesv1.PodCertificateRequest)
			_, record := object.(*v1alpha1.AcmeOrder)
			switch {
			case err == nil && (answer || record):
				w.count()
			case answer && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err):
				w.mu.Lock()
				defer w.mu.Unlock()
				w.refused = append(w.refused, err)
			}
			return err
		},
	}), nil
}

func (w *world) count() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes++
}

func (w *world) fails(object client.Object) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch object := object.(type) {
	case *v1alpha1.AcmeOrder:
		if object.Status.Certificate != "" {
			w.signed = append(w.signed, object.Status.Certificate)
		}
		return w.failing == "record"
	case *certificatesv1.PodCertificateRequest:
		return w.failing == "answer"
	}
	return false
}

// certificates returns the certificates that the controllers tried to store.
func (w *world) certificates() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.signed...)
}

func (w *world) signer() string { return v1alpha1.PodSigner(w.pki, w.issuer().Name) }

// pod creates a Pod with a certificate volume, a Node and a ServiceAccount, as the scheduler leaves it.
func (w *world) pod(ctx context.Context, name string, edit ...func(*corev1.Pod)) *corev1.Pod {
	GinkgoHelper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.shop, Name: "front"}}
	Expect(client.IgnoreAlreadyExists(admin.Create(ctx, account))).To(Succeed())
	off := false
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.shop, Name: name, Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{
			NodeName: nodeName, ServiceAccountName: "front", AutomountServiceAccountToken: &off,
			Containers: []corev1.Container{{Name: "c", Image: "web"}},
			Volumes: []corev1.Volume{{Name: "tls", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
				Sources: []corev1.VolumeProjection{{PodCertificate: &corev1.PodCertificateProjection{
					SignerName: w.signer(), KeyType: "ECDSAP256", CredentialBundlePath: "credentials.pem",
				}}},
			}}}},
		},
	}
	for _, e := range edit {
		e(pod)
	}
	Expect(admin.Create(ctx, pod)).To(Succeed())
	return pod
}

// service creates a Service that selects the Pods.
func (w *world) service(ctx context.Context, name string) {
	GinkgoHelper()
	Expect(admin.Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.shop, Name: name},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 443}}},
	})).To(Succeed())
}

func newKey() crypto.Signer {
	GinkgoHelper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Expect(err).NotTo(HaveOccurred())
	return key
}

// requestOf returns the request of a Pod's kubelet.
func (w *world) requestOf(ctx context.Context, pod *corev1.Pod, key crypto.Signer, edit ...func(*certificatesv1.PodCertificateRequest)) *certificatesv1.PodCertificateRequest {
	GinkgoHelper()
	account := &corev1.ServiceAccount{}
	Expect(admin.Get(ctx, client.ObjectKey{Namespace: pod.Namespace, Name: pod.Spec.ServiceAccountName}, account)).To(Succeed())
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	Expect(err).NotTo(HaveOccurred())
	request := &certificatesv1.PodCertificateRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, GenerateName: "req-"},
		Spec: certificatesv1.PodCertificateRequestSpec{
			SignerName: w.signer(), PodName: pod.Name, PodUID: pod.UID, ServiceAccountName: account.Name, ServiceAccountUID: account.UID,
			NodeName: types.NodeName(pod.Spec.NodeName), NodeUID: node.UID, StubPKCS10Request: csr,
		},
	}
	for _, e := range edit {
		e(request)
	}
	return request
}

// ask creates a request as the kubelet. The informers of the API server's admission may lag behind.
func (w *world) ask(ctx context.Context, pod *corev1.Pod, key crypto.Signer, edit ...func(*certificatesv1.PodCertificateRequest)) *certificatesv1.PodCertificateRequest {
	GinkgoHelper()
	request := w.requestOf(ctx, pod, key, edit...)
	Eventually(ctx, func() error { return kubelet.Create(ctx, request) }).WithTimeout(patience).Should(Succeed())
	return request
}

// conditionOf returns the condition of a request; the zero condition while it has none.
func conditionOf(ctx context.Context, request *certificatesv1.PodCertificateRequest) metav1.Condition {
	GinkgoHelper()
	Expect(admin.Get(ctx, client.ObjectKeyFromObject(request), request)).To(Succeed())
	if len(request.Status.Conditions) == 0 {
		return metav1.Condition{}
	}
	Expect(request.Status.Conditions).To(HaveLen(1))
	return request.Status.Conditions[0]
}

// expectIssued waits for the certificate of a request, and returns the leaf.
func expectIssued(ctx context.Context, request *certificatesv1.PodCertificateRequest) *x509.Certificate {
	GinkgoHelper()
	Eventually(ctx, func() metav1.Condition { return conditionOf(ctx, request) }).WithTimeout(patience).Should(HaveField("Type", "Issued"))
	chain, err := ca.ParseCertificates([]byte(request.Status.CertificateChain))
	Expect(err).NotTo(HaveOccurred())
	return chain[0]
}

// expectDenied waits for the denial of a request, and returns its reason and message.
func expectDenied(ctx context.Context, request *certificatesv1.PodCertificateRequest) (reason, message string) {
	GinkgoHelper()
	Eventually(ctx, func() metav1.Condition { return conditionOf(ctx, request) }).WithTimeout(patience).Should(HaveField("Type", "Denied"))
	return request.Status.Conditions[0].Reason, request.Status.Conditions[0].Message
}

// records returns the orders of a Pod, by the field that people select by.
func (w *world) records(ctx context.Context, pod string) []v1alpha1.AcmeOrder {
	GinkgoHelper()
	var list v1alpha1.AcmeOrderList
	Expect(admin.List(ctx, &list, client.InNamespace(w.pki), client.MatchingFields{"spec.pod.name": pod})).To(Succeed())
	return list.Items
}

// notes returns the notes of the Events about a Pod, by reason.
func (w *world) notes(ctx context.Context, pod string) map[string]string {
	GinkgoHelper()
	var list eventsv1.EventList
	Expect(admin.List(ctx, &list, client.InNamespace(w.shop))).To(Succeed())
	notes := map[string]string{}
	for _, e := range list.Items {
		if e.Regarding.Kind == "Pod" && e.Regarding.Name == pod {
			notes[e.Reason] = e.Note
		}
	}
	return notes
}

// newKeyOnce returns a function that returns one key.
func newKeyOnce() func() crypto.Signer { return sync.OnceValue(newKey) }

func csrOf(key crypto.Signer) []byte {
	GinkgoHelper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	Expect(err).NotTo(HaveOccurred())
	return der
}
