package suite

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/crl"
	"github.com/acmeca/acmeca/controllers/inventory"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/internal/crlstore"
	"github.com/acmeca/acmeca/internal/informer"
)

// A crlWorld is an issuerWorld with the controller of its CRLs.
type crlWorld struct {
	*issuerWorld
	// cached reads and writes orders like the controllers.
	cached client.WithWatch
	lists  *crl.Reconciler
	crl    issuers.CRLRequest
}

const crlLifetime = 100 * time.Hour

func newCRLWorld(ctx SpecContext) *crlWorld {
	GinkgoHelper()
	spec := selfSigned(v1alpha1.SelfSignedCA{RootLifetime: hours(24000), IntermediateLifetime: hours(2400)})
	spec.CRL = v1alpha1.CRL{Shards: 1, Lifetime: metav1.Duration{Duration: crlLifetime}}
	spec.Profiles = []v1alpha1.Profile{{Name: "default", Lifetime: hours(24)}}
	w := &crlWorld{issuerWorld: newIssuerWorld(ctx, spec)}
	w.reconcile(ctx)
	w.cached = w.faults.wrap(cachedClient(w.namespace))
	w.crl = w.crlOf(w.loaded().Authority)
	w.restartLists()
	return w
}

// cachedClient returns a client that reads like the controllers', in one namespace.
func cachedClient(namespace string) client.WithWatch {
	GinkgoHelper()
	informers := informer.New(informer.Options{Orders: inventory.New(nil)})
	options := informers.CacheOptions(namespace)
	options.Scheme = scheme
	_, err := informers.NewClient(plane.Config(), client.Options{Scheme: scheme}) // by which the informer reads
	Expect(err).NotTo(HaveOccurred())
	restConfig := plane.Config()
	restConfig.Wrap(informer.DecodeAnswers)
	reader, err := cache.New(restConfig, options)
	Expect(err).NotTo(HaveOccurred())
	running, stop := context.WithCancel(context.Background())
	DeferCleanup(stop)
	Expect(kube.AddIndexes(running, reader)).To(Succeed())
	go func() { _ = reader.Start(running) }()
	Expect(reader.WaitForCacheSync(running)).To(BeTrue())
	caching := *controllers.ClientOptions().Cache
	caching.Reader = reader
	c, err := client.NewWithWatch(plane.Config(), client.Options{Scheme: scheme, Cache: &caching, FieldValidation: metav1.FieldValidationStrict})
	Expect(err).NotTo(HaveOccurred())
	return c
}

// crlOf returns the request for the complete CRL of a CA, and shardOf that for its shard.
func (w *crlWorld) crlOf(authority *ca.Authority) issuers.CRLRequest {
	return issuers.CRLRequest{Namespace: w.namespace, Issuer: "ca", Name: v1alpha1.CAName(authority.Certificate())}
}

func (w *crlWorld) shardOf(authority *ca.Authority) issuers.CRLRequest {
	request := w.crlOf(authority)
	request.Name = v1alpha1.CRLShardName(authority.Certificate(), 0)
	return request
}

// restartLists replaces the CRL controller by one with empty memory.
func (w *crlWorld) restartLists() {
	w.lists = &crl.Reconciler{Publisher: &crl.Publisher{Client: w.cached, Issuers: w.reconciler.Issuers, CompromisedKeys: &issuers.CompromisedKeys{Client: w.cached}, Clock: w.clock}}
}

func (w *crlWorld) look(ctx context.Context) ctrl.Result {
	GinkgoHelper()
	result, err := w.lists.Reconcile(ctx, w.crl)
	Expect(err).NotTo(HaveOccurred())
	return result
}

// publish advances the clock by the least time between two CRLs, reconciles, and returns the published CRL.
func (w *crlWorld) publish(ctx context.Context) *x509.RevocationList {
	GinkgoHelper()
	w.clock.Step(crl.Interval)
	w.look(ctx)
	return w.published(ctx)
}

func (w *crlWorld) configMap(ctx context.Context) *corev1.ConfigMap {
	GinkgoHelper()
	configMap := &corev1.ConfigMap{}
	Expect(admin.Get(ctx, w.crl.ConfigMap(), configMap)).To(Succeed())
	return configMap
}

// configMapsOf writes the ConfigMaps of a namespace.
type configMapsOf struct{ namespace string }

func (c configMapsOf) get(ctx context.Context, name string) (*corev1.ConfigMap, error) {
	configMap := &corev1.ConfigMap{}
	return configMap, admin.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: name}, configMap)
}

func (c configMapsOf) Create(ctx context.Context, part *corev1.ConfigMap) error {
	return admin.Create(ctx, part)
}

func (c configMapsOf) Put(ctx context.Context, head *corev1.ConfigMap) error {
	if head.ResourceVersion == "" {
		return admin.Create(ctx, head)
	}
	return admin.Update(ctx, head)
}

func (c configMapsOf) Delete(ctx context.Context, name string) error {
	return admin.Delete(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name}})
}

// parts returns the names of the ConfigMaps that hold parts of CRLs.
func (w *crlWorld) parts(ctx context.Context) []string {
	GinkgoHelper()
	var all corev1.ConfigMapList
	Expect(admin.List(ctx, &all, client.InNamespace(w.namespace), client.MatchingLabels{v1alpha1.IssuerLabel: "ca"})).To(Succeed())
	var names []string
	for _, configMap := range all.Items {
		if strings.HasPrefix(configMap.Name, w.crl.ConfigMap().Name+"-") {
			names = append(names, configMap.Name)
		}
	}
	return names
}

// published returns the CRL that is served, after it verified the signature.
func (w *crlWorld) published(ctx context.Context) *x509.RevocationList {
	GinkgoHelper()
	_, content, err := crlstore.Read(ctx, configMapsOf{w.namespace}.get, w.crl.ConfigMap().Name, nil)
	Expect(err).NotTo(HaveOccurred())
	list, err := x509.ParseRevocationList(content.DER)
	Expect(err).NotTo(HaveOccurred())
	Expect(list.CheckSignatureFrom(w.loaded().AuthorityOf(w.crl.Name).Certificate())).To(Succeed())
	return list
}

func serials(list *x509.RevocationList) []int64 {
	var out []int64
	for _, entry := range list.RevokedCertificateEntries {
		out = append(out, entry.SerialNumber.Int64())
	}
	return out
}

// revoke creates an order whose certificate is revoked now, and waits until the cache has it.
func (w *crlWorld) revoke(ctx context.Context, serial int64, notAfter time.Time) *v1alpha1.AcmeOrder {
	GinkgoHelper()
	return w.revokeWith(ctx, serial, notAfter, ca.Superseded, "")
}

// revokeWith is revoke with a reason and a key's fingerprint.
func (w *crlWorld) revokeWith(ctx context.Context, serial int64, notAfter time.Time, reason ca.Reason, fingerprint string) *v1alpha1.AcmeOrder {
	GinkgoHelper()
	order := &v1alpha1.AcmeOrder{Spec: v1alpha1.AcmeOrderSpec{
		IssuerRef: v1alpha1.ObjectRef{Name: "ca"}, AccountRef: v1alpha1.ObjectRef{Name: "a"},
		Identifiers: []v1alpha1.Identifier{{Type: acme.DNS, Value: "a.test"}}, Authorizations: []string{"a"},
		Revocation: &v1alpha1.Revocation{Reason: int(reason)},
	}}
	order.Namespace, order.Name, order.Finalizers = w.namespace, fmt.Sprintf("order-%d", serial), []string{v1alpha1.RevocationFinalizer}
	Expect(admin.Create(ctx, order)).To(Succeed())
	now, end := metav1.NewTime(w.clock.Now()), metav1.NewTime(notAfter)
	order.Status = v1alpha1.AcmeOrderStatus{
		State: acme.StateValid, Serial: hex.EncodeToString(big.NewInt(serial).Bytes()), NotAfter: &end, RevokedAt: &now, CRL: w.crl.Name,
		KeyFingerprint: fingerprint,
	}
	Expect(admin.Status().Update(ctx, order)).To(Succeed())
	Eventually(func() bool {
		cached := &v1alpha1.AcmeOrder{}
		return w.cached.Get(ctx, client.ObjectKeyFromObject(order), cached) == nil && cached.Status.RevokedAt != nil
	}).Should(BeTrue())
	return order
}

func (w *crlWorld) remove(ctx context.Context, order *v1alpha1.AcmeOrder) {
	GinkgoHelper()
	Expect(admin.Delete(ctx, order)).To(Succeed())
	Eventually(func() bool {
		cached := &v1alpha1.AcmeOrder{}
		err := w.cached.Get(ctx, client.ObjectKeyFromObject(order), cached)
		return apierrors.IsNotFound(err) || cached.DeletionTimestamp != nil
	}).Should(BeTrue())
}

// lose deletes an order without its finalizer, as a version of the operator without complete CRLs did.
func (w *crlWorld) lose(ctx context.Context, order *v1alpha1.AcmeOrder) {
	GinkgoHelper()
	order.Finalizers = nil
	Expect(admin.Update(ctx, order)).To(Succeed())
	Expect(admin.Delete(ctx, order)).To(Succeed())
	Eventually(func() bool {
		return apierrors.IsNotFound(w.cached.Get(ctx, client.ObjectKeyFromObject(order), &v1alpha1.AcmeOrder{}))
	}).Should(BeTrue())
}

func exists(ctx context.Context, order *v1alpha1.AcmeOrder) bool {
	GinkgoHelper()
	err := admin.Get(ctx, client.ObjectKeyFromObject(order), &v1alpha1.AcmeOrder{})
	Expect(client.IgnoreNotFound(err)).To(Succeed())
	return err == nil
}

var _ = Describe("A CRL", func() {
	var w *crlWorld
	var future time.Time
	BeforeEach(func(ctx SpecContext) {
		w = newCRLWorld(ctx)
		future = w.clock.Now().Add(1000 * time.Hour)
	})

	It("is published before anything was revoked, and not again without a reason", func(ctx SpecContext) {
		Expect(w.look(ctx).RequeueAfter).To(Equal(crl.Interval))
		Expect(serials(w.published(ctx))).To(BeEmpty())
		before := w.versions(ctx)
		for range 5 {
			w.clock.Step(time.Minute)
			Expect(w.look(ctx).RequeueAfter).To(And(BeNumerically(">", crl.Interval), BeNumerically("<=", crl.CheckPeriod)))
		}
		w.restartLists()
		w.look(ctx)
		Expect(w.versions(ctx)).To(Equal(before))
	})

	It("is renewed before half of its life has passed", func(ctx SpecContext) {
		w.look(ctx)
		first := w.published(ctx)
		w.clock.Step(crlLifetime * 39 / 100)
		w.look(ctx)
		Expect(w.published(ctx).Raw).To(Equal(first.Raw))
		w.clock.Step(crlLifetime * 2 / 100)
		w.look(ctx)
		second := w.published(ctx)
		Expect(second.Number.Cmp(first.Number)).To(Equal(1))
		Expect(second.NextUpdate).To(BeTemporally("==", w.clock.Now().Add(crlLifetime)))
	})

	It("has a burst of revocations in one CRL, a second after the last one", func(ctx SpecContext) {
		w.look(ctx)
		empty := w.published(ctx)
		var revoked []any
		for serial := range int64(50) {
			w.revoke(ctx, serial+1, future)
			revoked = append(revoked, serial+1)
			Expect(w.look(ctx).RequeueAfter).To(And(BeNumerically(">", 0), BeNumerically("<=", crl.Interval)))
		}
		Expect(w.published(ctx).Raw).To(Equal(empty.Raw))
		Expect(serials(w.publish(ctx))).To(ConsistOf(revoked...))
		version := w.configMap(ctx).ResourceVersion
		w.publish(ctx)
		Expect(w.configMap(ctx).ResourceVersion).To(Equal(version))
	})

	It("has numbers that rise, whatever happens between two CRLs", func(ctx SpecContext) {
		w.look(ctx)
		last := w.published(ctx).Number
		serial := int64(0)
		for what, happens := range map[string]func(){
			"nothing":   func() {},
			"a restart": w.restartLists,
			"the clock was set back": func() {
				w.clock.Step(-2 * time.Hour)
			},
			"the clock was set back, and a restart": func() {
				w.clock.Step(-2 * time.Hour)
				w.restartLists()
			},
			"the ConfigMap was deleted": func() {
				w.clock.Step(crl.CheckPeriod)
				Expect(admin.Delete(ctx, w.configMap(ctx))).To(Succeed())
			},
			"the write failed": func() {
				w.faults.from(1)
				_, err := w.lists.Reconcile(ctx, w.crl)
				Expect(err).To(MatchError(errKilled))
				w.faults.none()
			},
		} {
			serial++
			w.revoke(ctx, serial, future)
			w.clock.Step(crl.Interval)
			happens()
			list := w.publish(ctx)
			Expect(list.Number.Cmp(last)).To(Equal(1), what)
			Expect(serials(list)).To(ContainElement(serial), what)
			Expect(list.RevokedCertificateEntries).To(HaveLen(int(serial)), what)
			last = list.Number
		}
		w.clock.Step(12 * time.Hour) // it is right again
		Expect(admin.Delete(ctx, w.configMap(ctx))).To(Succeed())
		w.restartLists()
		list := w.publish(ctx)
		Expect(list.Number.Cmp(last)).To(Equal(1), "deleted while no controller ran")
		Expect(list.RevokedCertificateEntries).To(HaveLen(int(serial)), "from the orders")
	})

	It("has no number twice where two controllers are at it", func(ctx SpecContext) {
		other := *w
		other.restartLists()
		w.look(ctx)
		numbers := map[string][]byte{}
		for serial := range int64(8) {
			w.revoke(ctx, serial+1, future)
			w.clock.Step(crl.Interval)
			var group sync.WaitGroup
			for _, controller := range []*crlWorld{w, &other} {
				group.Go(func() { _, _ = controller.lists.Reconcile(ctx, w.crl) }) // one of them may come too late
			}
			group.Wait()
			w.publish(ctx)
			_, _ = other.lists.Reconcile(ctx, w.crl)
			list := w.published(ctx)
			Expect(list.RevokedCertificateEntries).To(HaveLen(int(serial) + 1))
			if raw, known := numbers[list.Number.String()]; known {
				Expect(list.Raw).To(Equal(raw))
			}
			numbers[list.Number.String()] = list.Raw
		}
		Expect(len(numbers)).To(BeNumerically(">=", 8))
	})

	It("keeps a certificate that has expired until it was listed once after that", func(ctx SpecContext) {
		end := w.clock.Now().Add(time.Hour)
		order := w.revoke(ctx, 7, end)
		Expect(serials(w.publish(ctx))).To(ConsistOf(int64(7)))
		w.remove(ctx, order)
		w.publish(ctx)
		Expect(exists(ctx, order)).To(BeFalse(), "the CRL has it")
		w.restartLists() // all that is known of it now is in the ConfigMap
		w.clock.SetTime(end.Add(3 * time.Hour))
		w.revoke(ctx, 8, future)
		after := w.publish(ctx)
		Expect(after.ThisUpdate).To(BeTemporally(">", end))
		Expect(serials(after)).To(ConsistOf(int64(7), int64(8)))
		w.revoke(ctx, 9, future)
		Expect(serials(w.publish(ctx))).To(ConsistOf(int64(8), int64(9)))
	})

	DescribeTable("lets an order go only once it lists the certificate", func(ctx SpecContext, killedBefore int) {
		w.look(ctx)
		order := w.revoke(ctx, 7, future)
		w.remove(ctx, order)
		Expect(exists(ctx, order)).To(BeTrue())
		w.clock.Step(crl.Interval)
		w.faults.from(killedBefore)
		_, err := w.lists.Reconcile(ctx, w.crl)
		Expect(err).To(MatchError(errKilled))
		w.faults.none()
		Expect(exists(ctx, order)).To(BeTrue())
		w.restartLists()
		Expect(serials(w.publish(ctx))).To(ConsistOf(int64(7)))
		Expect(exists(ctx, order)).To(BeFalse())
		w.restartLists()
		Expect(serials(w.publish(ctx))).To(ConsistOf(int64(7)))
	},
		Entry("also if it is killed before the CRL is stored", 1),
		Entry("also if it is killed before the order is released", 2),
	)

	It("doesn't overwrite data that is no CRL of this CA, and the issuer says so", func(ctx SpecContext) {
		w.revoke(ctx, 7, future)
		garbage := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: w.crl.ConfigMap().Name}, BinaryData: map[string][]byte{v1alpha1.CRLField: []byte("garbage")}}
		Expect(admin.Create(ctx, garbage)).To(Succeed())
		_, err := w.lists.Reconcile(ctx, w.crl)
		Expect(err).To(MatchError(ContainSubstring("holds no CRL of this CA")))
		Expect(w.configMap(ctx).ResourceVersion).To(Equal(garbage.ResourceVersion))
		ready := readyOf(w.reconcile(ctx))
		Expect(ready.Reason).To(Equal(v1alpha1.ReasonDegraded))
		Expect(ready.Message).To(ContainSubstring(garbage.Name))

		Expect(admin.Delete(ctx, garbage)).To(Succeed())
		Expect(serials(w.publish(ctx))).To(ConsistOf(int64(7)))
		Expect(readyOf(w.reconcile(ctx)).Reason).To(Equal(v1alpha1.ReasonReady))
	})

	It("is rewritten from memory if it is corrupt, and includes restored entries", func(ctx SpecContext) {
		w.revoke(ctx, 1, future)
		w.publish(ctx)
		backup := w.configMap(ctx).BinaryData
		order := w.revoke(ctx, 2, future)
		list := w.publish(ctx)
		w.remove(ctx, order)
		w.publish(ctx)
		Expect(exists(ctx, order)).To(BeFalse())
		for _, data := range []map[string][]byte{{v1alpha1.CRLField: []byte("garbage")}, backup} {
			spoiled := w.configMap(ctx)
			spoiled.BinaryData = data
			Expect(admin.Update(ctx, spoiled)).To(Succeed())
			w.clock.Step(crl.CheckPeriod)
			next := w.publish(ctx)
			Expect(serials(next)).To(ConsistOf(int64(1), int64(2)))
			Expect(next.Number.Cmp(list.Number)).To(Equal(1))
			list = next
		}
	})

	It("stays fresh after its CA was replaced, and takes revocations of what that issued", func(ctx SpecContext) {
		w.look(ctx)
		old := w.published(ctx)
		w.annotate(ctx, v1alpha1.RotateIntermediateAnnotation, "now")
		w.reconcile(ctx)
		Expect(w.crlOf(w.loaded().Authority)).NotTo(Equal(w.crl))
		requests := w.reconciler.Issuers.CRLRequests(w.key())
		now, before := w.loaded().Authority, w.loaded().Retired[0]
		Expect(requests).To(ConsistOf(w.crl, w.shardOf(before), w.crlOf(now), w.shardOf(now), w.crlOf(w.loaded().Roots[0].Authority)))
		w.revoke(ctx, 7, future)
		Expect(serials(w.publish(ctx))).To(ConsistOf(int64(7)))
		w.clock.Step(crlLifetime / 2)
		fresh := w.publish(ctx)
		Expect(fresh.Number.Cmp(old.Number)).To(Equal(1))
		Expect(fresh.NextUpdate).To(BeTemporally(">", w.clock.Now().Add(crlLifetime/2)))
	})

	It("is published while a bad edit keeps the issuer from issuing", func(ctx SpecContext) {
		w.look(ctx)
		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) { issuer.Spec.DefaultProfile = "nonesuch" })
		Expect(readyOf(w.reconcile(ctx)).Reason).To(Equal(v1alpha1.ReasonInvalidSpec))
		Expect(w.canIssue()).To(BeFalse())
		w.revoke(ctx, 7, future)
		Expect(serials(w.publish(ctx))).To(ConsistOf(int64(7)))
	})

	It("of a CA whose key is gone lets orders go when their certificates have expired", func(ctx SpecContext) {
		w.look(ctx)
		w.annotate(ctx, v1alpha1.RotateIntermediateAnnotation, "now")
		w.reconcile(ctx)
		Expect(admin.Delete(ctx, w.secret(ctx, "ca-intermediate-"+w.crl.Name[:10]))).To(Succeed())
		w.reconcile(ctx)
		order := w.revoke(ctx, 7, w.clock.Now().Add(time.Hour))
		w.remove(ctx, order)
		Expect(w.look(ctx).RequeueAfter).To(Equal(crl.CheckPeriod))
		Expect(exists(ctx, order)).To(BeTrue())
		w.clock.Step(2 * time.Hour)
		w.look(ctx)
		Expect(exists(ctx, order)).To(BeFalse())
	})

	It("that is complete takes over the entries of shards whose orders are gone", func(ctx SpecContext) {
		complete := w.crl
		w.crl = w.shardOf(w.loaded().Authority)
		order := w.revoke(ctx, 7, future)
		Expect(serials(w.publish(ctx))).To(ConsistOf(int64(7)))
		w.lose(ctx, order)
		w.restartLists()
		w.crl = complete
		w.look(ctx)
		list := w.published(ctx)
		Expect(serials(list)).To(ConsistOf(int64(7)))
		Expect(list.Extensions).To(HaveEach(HaveField("Critical", BeFalse())))
	})

	It("lists a revocation whose order lost its finalizer, with the next check of the published CRL", func(ctx SpecContext) {
		w.look(ctx)
		order := w.revoke(ctx, 7, future)
		order.Finalizers = nil
		Expect(admin.Update(ctx, order)).To(Succeed())
		Eventually(func() []string {
			cached := &v1alpha1.AcmeOrder{}
			Expect(w.cached.Get(ctx, client.ObjectKeyFromObject(order), cached)).To(Succeed())
			return cached.Finalizers
		}).Should(BeEmpty())
		w.clock.Step(crl.CheckPeriod)
		w.look(ctx)
		Expect(serials(w.published(ctx))).To(ConsistOf(int64(7)))
	})

	It("lets an order go only once the complete CRL and the shard list the certificate", func(ctx SpecContext) {
		complete := w.crl
		shard := w.shardOf(w.loaded().Authority)
		w.look(ctx)
		w.crl = shard
		order := w.revoke(ctx, 7, future)
		w.remove(ctx, order)
		Expect(serials(w.publish(ctx))).To(ConsistOf(int64(7)))
		Expect(exists(ctx, order)).To(BeTrue(), "the complete CRL lacks it")
		w.crl = complete
		Expect(serials(w.publish(ctx))).To(ConsistOf(int64(7)))
		Expect(exists(ctx, order)).To(BeFalse())
	})

	It("is published at once where it has moved to, and still names where it was, for the certificates that do", func(ctx SpecContext) {
		named := func(list *x509.RevocationList) []string {
			GinkgoHelper()
			crl, err := ca.ParseCRL(list.Raw, w.loaded().Authority.Certificate())
			Expect(err).NotTo(HaveOccurred())
			return crl.URLs
		}
		w.crl = w.shardOf(w.loaded().Authority)
		url := func(base string) string { return base + "/" + w.namespace + "/ca/crl/" + w.crl.Name + ".crl" }
		w.look(ctx)
		first := w.published(ctx)
		Expect(named(first)).To(Equal([]string{url(w.reconciler.PlainURL)}))
		w.reconciler.PlainURL = "http://moved.test"
		w.reconcile(ctx)
		w.restartLists()
		moved := w.publish(ctx)
		Expect(moved.Number).NotTo(Equal(first.Number))
		Expect(named(moved)).To(Equal([]string{url("http://moved.test"), named(first)[0]}))
		Expect(w.publish(ctx).Number).To(Equal(moved.Number), "that is all")
		for i := range ca.MaxURLs {
			w.reconciler.PlainURL = fmt.Sprintf("http://moved-%d.test", i)
			w.reconcile(ctx)
			Expect(named(w.publish(ctx))[0]).To(Equal(url(w.reconciler.PlainURL)))
		}
		Expect(named(w.published(ctx))).To(HaveLen(ca.MaxURLs))
	})

	It("goes into parts if one ConfigMap has no room for it, and back", func(ctx SpecContext) {
		authority, expiry := w.loaded().Authority, w.clock.Now().Add(time.Hour)
		large := ca.CRL{Number: big.NewInt(1), ThisUpdate: w.clock.Now().Add(-time.Hour), NextUpdate: w.clock.Now().Add(crlLifetime)}
		highest := new(big.Int).Lsh(big.NewInt(0x5a), 128)
		var listed []ca.Entry
		for i := range int64(40_000) {
			listed = append(listed, ca.Entry{Serial: new(big.Int).Add(highest, big.NewInt(i)), RevokedAt: w.clock.Now().Add(-time.Hour), Reason: ca.KeyCompromise, NotAfter: expiry})
		}
		var err error
		large.Entries, err = ca.NewEntries(listed...)
		Expect(err).NotTo(HaveOccurred())
		der, err := authority.SignCRL(large)
		Expect(err).NotTo(HaveOccurred())
		head := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: w.crl.ConfigMap().Name, Labels: map[string]string{v1alpha1.IssuerLabel: "ca"}}}
		content := crlstore.Content{DER: der, Expiries: ca.MarshalExpiries(large.Entries)}
		Expect(crlstore.Write(ctx, configMapsOf{w.namespace}, head, "1", content)).To(Succeed())
		Expect(w.parts(ctx)).To(HaveLen(3))

		w.revoke(ctx, 1, future)
		w.clock.Step(time.Hour)
		w.look(ctx)
		Expect(w.published(ctx).RevokedCertificateEntries).To(HaveLen(40_001))
		Expect(w.parts(ctx)).To(HaveLen(6), "those of the CRL before are kept for its readers")
		w.revoke(ctx, 2, future)
		Expect(w.look(ctx).RequeueAfter).To(BeNumerically(">", crl.Interval), "a large CRL is stored less often")
		w.restartLists()
		for serial := int64(3); serial < 5; serial++ {
			w.clock.Step(2 * time.Hour)
			w.revoke(ctx, serial, future)
			w.look(ctx)
		}
		Expect(serials(w.published(ctx))).To(ConsistOf(int64(1), int64(2), int64(3), int64(4)))
		Expect(w.configMap(ctx).BinaryData).To(HaveKey(v1alpha1.CRLField))
		w.clock.Step(2 * time.Hour)
		w.revoke(ctx, 5, future)
		w.look(ctx)
		Expect(w.parts(ctx)).To(BeEmpty())
	})

	It("of shards stays published after its issuer has no shards any more, also if the status was lost", func(ctx SpecContext) {
		setShards := func(n int) {
			w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) { issuer.Spec.CRL.Shards = n })
			w.reconcile(ctx)
		}
		shards := func() []string { return w.loaded().Shards(w.loaded().Authority) }
		order := &v1alpha1.AcmeOrder{ObjectMeta: metav1.ObjectMeta{UID: "a"}}
		setShards(4)
		Expect(shards()).To(HaveLen(4))
		named := w.loaded().CRLOf(order)
		Expect(shards()).To(ContainElement(named))
		setShards(0)
		Expect(w.loaded().CRLOf(order)).To(Equal(w.crl.Name))
		Expect(w.reconciler.Issuers.CRLRequests(w.key())).To(HaveLen(6), "the complete CRL, the shards and the CRL of the root")
		for _, request := range w.reconciler.Issuers.CRLRequests(w.key()) {
			_, err := w.lists.Reconcile(ctx, request)
			Expect(err).NotTo(HaveOccurred())
		}

		issuer := &v1alpha1.AcmeIssuer{}
		Expect(admin.Get(ctx, w.key(), issuer)).To(Succeed())
		issuer.Status.CRLShards = nil
		Expect(admin.Status().Update(ctx, issuer)).To(Succeed())
		w.reconcile(ctx)
		Expect(shards()).To(HaveLen(4), "by the ConfigMaps")
		Expect(admin.DeleteAllOf(ctx, &corev1.ConfigMap{}, client.InNamespace(w.namespace))).To(Succeed())
		Expect(admin.Get(ctx, w.key(), issuer)).To(Succeed())
		issuer.Status.CRLShards = nil
		Expect(admin.Status().Update(ctx, issuer)).To(Succeed())
		w.reconciler.Issuers.NoteCRL(issuers.CRLRequest{Namespace: w.namespace, Issuer: "ca", Name: v1alpha1.CRLShardName(w.loaded().Authority.Certificate(), 2)})
		w.reconcile(ctx)
		Expect(shards()).To(HaveLen(3), "by the orders")
	})

	It("that is complete isn't read from the CRL of a shard", func(ctx SpecContext) {
		complete := w.crl
		w.crl = w.shardOf(w.loaded().Authority)
		w.revoke(ctx, 7, future)
		w.publish(ctx)
		shard := w.configMap(ctx)
		w.crl = complete
		Expect(admin.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: w.crl.ConfigMap().Name}, BinaryData: shard.BinaryData})).To(Succeed())
		_, err := w.lists.Reconcile(ctx, w.crl)
		Expect(err).To(MatchError(ContainSubstring("it is for other certificates")))
	})
})
