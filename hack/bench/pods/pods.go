// Package pods measures certificates for Pods.
package pods

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/hack/bench/acmeca"
	"github.com/acmeca/acmeca/hack/bench/load"
	"github.com/acmeca/acmeca/hack/bench/report"
	"github.com/acmeca/acmeca/internal/test/controlplane"
	"github.com/acmeca/acmeca/internal/test/local"
)

const (
	kubelets     = 16
	podNamespace = "shop"
	podIssuer    = "pods"
)

// kubelet is a node that requests certificates for its Pods.
type kubelet struct {
	client  *kubernetes.Clientset
	node    *corev1.Node
	account *corev1.ServiceAccount
	answers watch.Interface
}

// Measure lets kubelets request certificates for a number of Pods.
func Measure(ctx context.Context, on *acmeca.Plane, count int) (*report.Pods, error) {
	p := plane{on}
	all, pods, err := p.startKubelets(ctx, count+kubelets)
	defer func() {
		for _, k := range all {
			k.answers.Stop()
		}
	}()
	if err != nil {
		return nil, err
	}
	if _, err := askAll(ctx, all, pods[count:]); err != nil { // the last Pods, so that the API server knows all
		return nil, fmt.Errorf("the first requests: %w", err)
	}
	before, err := p.writes(ctx)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	latencies, err := askAll(ctx, all, pods[:count])
	if err != nil {
		return nil, err
	}
	took := time.Since(begun)
	after, err := p.writes(ctx)
	if err != nil {
		return nil, err
	}
	row := newPods(latencies, took, podWrites{after.orders - before.orders, after.answers - before.answers})
	return &row, nil
}

// plane creates the objects of nodes and Pods.
type plane struct{ *acmeca.Plane }

func newPods(latencies []time.Duration, took time.Duration, writes podWrites) report.Pods {
	slices.Sort(latencies)
	n := float64(len(latencies))
	return report.Pods{Requests: len(latencies), Kubelets: kubelets, Seconds: took.Seconds(), Rate: n / took.Seconds(),
		P50: load.Percentile(latencies, 50), P99: load.Percentile(latencies, 99),
		OrderWrites: writes.orders / n, AnswerWrites: writes.answers / n}
}

// startKubelets creates an issuer for Pods, nodes, and Pods, whose nodes take turns.
func (p plane) startKubelets(ctx context.Context, count int) (all []*kubelet, pods []*corev1.Pod, err error) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: podNamespace, Name: "front"}}
	if err := p.createPodSurroundings(ctx); err != nil {
		return nil, nil, err
	}
	if account, err = p.Client.CoreV1().ServiceAccounts(podNamespace).Create(ctx, account, metav1.CreateOptions{}); err != nil {
		return nil, nil, err
	}
	for i := range kubelets {
		k, err := p.startKubelet(ctx, fmt.Sprintf("node-%d", i), account)
		if err != nil {
			return all, nil, err
		}
		all = append(all, k)
	}
	for i := range count {
		pod, err := p.Client.CoreV1().Pods(podNamespace).Create(ctx, podOn(all[i%kubelets].node, i), metav1.CreateOptions{})
		if err != nil {
			return all, nil, err
		}
		pods = append(pods, pod)
	}
	return all, pods, nil
}

func (p plane) createPodSurroundings(ctx context.Context) error {
	mesh := map[string]string{"mesh": "on"}
	_, err1 := p.Client.CoreV1().Namespaces().Create(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: podNamespace, Labels: mesh}}, metav1.CreateOptions{})
	_, err2 := p.Client.CoreV1().Services(podNamespace).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 443}}},
	}, metav1.CreateOptions{})
	issuer := &v1alpha1.AcmeIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: podIssuer},
		Spec: v1alpha1.AcmeIssuerSpec{
			CA: v1alpha1.CertificateAuthority{SelfSigned: &v1alpha1.SelfSignedCA{}},
			PodCertificates: &v1alpha1.PodCertificates{TrustDomain: "bench.test", Rules: []v1alpha1.PodCertificateRule{{
				Name: "mesh", NamespaceSelector: &metav1.LabelSelector{MatchLabels: mesh}, Services: v1alpha1.PodServicesRequired, SPIFFEID: true,
			}}},
		},
	}
	return errors.Join(err1, err2, p.Objects.Create(ctx, issuer))
}

// startKubelet creates a node, and watches its requests with the rights of its kubelet.
func (p plane) startKubelet(ctx context.Context, name string, account *corev1.ServiceAccount) (*kubelet, error) {
	config := p.Local.Plane().Config()
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:node:" + name, Groups: []string{"system:nodes", "system:authenticated"}}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	k := &kubelet{client: client, account: account}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if k.node, err = p.Client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	k.answers, err = client.CertificatesV1().PodCertificateRequests("").Watch(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + name})
	return k, err
}

// podOn returns a Pod as the scheduler leaves it.
func podOn(node *corev1.Node, number int) *corev1.Pod {
	off := false
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("web-%d", number), Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{
			NodeName: node.Name, ServiceAccountName: "front", AutomountServiceAccountToken: &off,
			Containers: []corev1.Container{{Name: "c", Image: "web"}},
			Volumes: []corev1.Volume{{Name: "tls", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
				Sources: []corev1.VolumeProjection{{PodCertificate: &corev1.PodCertificateProjection{
					SignerName: v1alpha1.PodSigner(local.Namespace, podIssuer), KeyType: "ECDSAP256", CredentialBundlePath: "credentials.pem",
				}}},
			}}}},
		},
	}
}

// askAll makes the kubelets request a certificate for each of their Pods, and returns the time that each took.
func askAll(ctx context.Context, all []*kubelet, pods []*corev1.Pod) ([]time.Duration, error) {
	latencies := make([]time.Duration, len(pods))
	var work errgroup.Group
	var failed atomic.Bool
	for _, k := range all {
		work.Go(func() error {
			for i, pod := range pods {
				if pod.Spec.NodeName != k.node.Name || failed.Load() {
					continue
				}
				begun := time.Now()
				if err := k.ask(ctx, pod); err != nil {
					failed.Store(true)
					return fmt.Errorf("%s of %s: %w", pod.Name, k.node.Name, err)
				}
				latencies[i] = time.Since(begun)
			}
			return nil
		})
	}
	return latencies, work.Wait()
}

// ask requests a certificate, and waits for it.
func (k *kubelet) ask(ctx context.Context, pod *corev1.Pod) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return err
	}
	request := &certificatesv1.PodCertificateRequest{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name},
		Spec: certificatesv1.PodCertificateRequestSpec{
			SignerName: v1alpha1.PodSigner(local.Namespace, podIssuer), PodName: pod.Name, PodUID: pod.UID,
			ServiceAccountName: k.account.Name, ServiceAccountUID: k.account.UID,
			NodeName: types.NodeName(k.node.Name), NodeUID: k.node.UID, StubPKCS10Request: csr,
		},
	}
	for {
		_, err := k.client.CertificatesV1().PodCertificateRequests(podNamespace).Create(ctx, request, metav1.CreateOptions{})
		if err == nil {
			return k.await(ctx, pod.Name)
		}
		if !apierrors.IsForbidden(err) || ctx.Err() != nil { // the API server may not know a new Pod yet
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// await waits for the answer to a request.
func (k *kubelet) await(ctx context.Context, name string) error {
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("no answer: %w", ctx.Err())
		case event, open := <-k.answers.ResultChan():
			request, ok := event.Object.(*certificatesv1.PodCertificateRequest)
			if !open || !ok {
				return fmt.Errorf("the watch ended: %v", event.Object)
			}
			if request.Name != name || len(request.Status.Conditions) == 0 {
				continue
			}
			if c := request.Status.Conditions[0]; c.Type != certificatesv1.PodCertificateRequestConditionTypeIssued {
				return fmt.Errorf("%s: %s: %s", c.Type, c.Reason, c.Message)
			}
			return nil
		}
	}
}

// podWrites are the writes for Pods since the API server's start.
type podWrites struct{ orders, answers float64 }

// writes reads the API server's counters of successful writes: of orders, and of the status of requests.
func (p plane) writes(ctx context.Context) (podWrites, error) {
	all, err := p.Local.Plane().Requests(ctx)
	written := func(resource, subresource string) float64 {
		return all.Count(func(r controlplane.Request) bool {
			return r.IsWrite() && r.Succeeded() && r.Resource == resource && (subresource == "" || r.Subresource == subresource)
		})
	}
	return podWrites{orders: written("acmeorders", ""), answers: written("podcertificaterequests", "status")}, err
}
