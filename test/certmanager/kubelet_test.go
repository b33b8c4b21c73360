package certmanager

import (
	"context"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/acmeca/acmeca/internal/test/http01"
	"github.com/acmeca/acmeca/test/internal/suite"
)

// solverPods answers for the Pods that cert-manager creates for http-01, because there is no kubelet to run them and
// no ingress.
type solverPods struct {
	responder *http01.Responder

	mu   sync.Mutex
	seen int
}

func startSolverPods() *solverPods {
	GinkgoHelper()
	responder := suite.Respond(acmeca.Ports().HTTP01)
	k := &solverPods{responder: responder}
	ctx, cancel := context.WithCancel(context.Background())
	DeferCleanup(cancel)
	objects, err := cache.New(acmeca.Plane().Config(), cache.Options{})
	Expect(err).NotTo(HaveOccurred())
	pods, err := objects.GetInformer(ctx, &corev1.Pod{}, cache.BlockUntilSynced(false))
	Expect(err).NotTo(HaveOccurred())
	_, err = pods.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: k.run})
	Expect(err).NotTo(HaveOccurred())
	go func() {
		defer GinkgoRecover()
		Expect(objects.Start(ctx)).To(Succeed())
	}()
	return k
}

// run does the work of the Pod's program, configured by its arguments.
func (k *solverPods) run(object any) {
	pod, ok := object.(*corev1.Pod)
	if !ok || pod.Labels["acme.cert-manager.io/http01-solver"] != "true" {
		return
	}
	arguments := map[string]string{}
	for _, argument := range pod.Spec.Containers[0].Args {
		name, value, _ := strings.Cut(argument, "=")
		arguments[name] = value
	}
	k.responder.Put(arguments["--token"], arguments["--key"])
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seen++
}

// count returns the number of Pods so far.
func (k *solverPods) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.seen
}
