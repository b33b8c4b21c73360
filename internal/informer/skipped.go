package informer

import (
	"context"
	"maps"
	"sync"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/acmeca/acmeca/api/acme"
)

// maxReason is the number of bytes of a reason in the log. A reason quotes the object.
const maxReason = 512

// skippedObject is a stored object that can't be decoded.
type skippedObject struct {
	name   types.NamespacedName
	reason error
}

// skippedObjects are the objects that an informer's cache lacks because they can't be decoded.
type skippedObjects struct {
	kind   string
	gauge  *skippedGauge
	logger logr.Logger

	mu sync.Mutex
	// list is the number of the list that replaced the names last. A watch that follows an earlier one changes nothing any more.
	list  int
	names map[types.NamespacedName]struct{}
}

func newSkippedObjects(ctx context.Context, kind string, gauge *skippedGauge) *skippedObjects {
	return &skippedObjects{kind: kind, gauge: gauge, logger: logf.FromContext(ctx), names: map[types.NamespacedName]struct{}{}}
}

func (s *skippedObjects) has(name types.NamespacedName) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, found := s.names[name]
	return found
}

// replaceAll notes the objects skipped in a new list.
func (s *skippedObjects) replaceAll(list int, skipped []skippedObject) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = list
	before := maps.Clone(s.names)
	for _, object := range skipped {
		s.insert(object)
		delete(before, object.name)
	}
	for name := range before {
		s.drop(name)
	}
}

// add notes a skipped object, for a watch that follows the given list.
func (s *skippedObjects) add(list int, object skippedObject) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if list == s.list {
		s.insert(object)
	}
}

// remove notes that an object is no longer skipped, for a watch that follows the given list.
func (s *skippedObjects) remove(list int, name types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if list == s.list {
		s.drop(name)
	}
}

func (s *skippedObjects) insert(object skippedObject) {
	if _, known := s.names[object.name]; known {
		return
	}
	s.names[object.name] = struct{}{}
	if s.gauge.add(s.kind, object.name) {
		s.logger.Info("ignoring an object that cannot be decoded", "kind", s.kind, "namespace", object.name.Namespace, "name", object.name.Name,
			"reason", acme.Printable(object.reason.Error(), maxReason))
	}
}

func (s *skippedObjects) drop(name types.NamespacedName) {
	if _, known := s.names[name]; !known {
		return
	}
	delete(s.names, name)
	if s.gauge.remove(s.kind, name) {
		s.logger.Info("an object can be decoded again, or was deleted", "kind", s.kind, "namespace", name.Namespace, "name", name.Name)
	}
}

// skippedGauge is the metric of skipped objects. The informers of both components may skip an object; it counts once.
type skippedGauge struct {
	gauge *prometheus.GaugeVec

	mu        sync.Mutex
	informers map[string]map[types.NamespacedName]int // how many skip an object, by kind
}

// skippedInProcess is the gauge of all informers of this process.
var skippedInProcess = newSkippedGauge(metrics.Registry)

func newSkippedGauge(registry prometheus.Registerer) *skippedGauge {
	g := &skippedGauge{
		gauge: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "acmeca_undecodable_objects", Help: "Stored objects that cannot be decoded and are ignored, by kind.",
		}, []string{"kind"}),
		informers: map[string]map[types.NamespacedName]int{},
	}
	for _, kind := range []string{"AcmeIssuer", "AcmeAccount", "AcmeOrder", "AcmeAuthorization"} {
		g.informers[kind] = map[types.NamespacedName]int{}
		g.gauge.WithLabelValues(kind)
	}
	registry.MustRegister(g.gauge)
	return g
}

// add reports whether the object was not skipped before.
func (g *skippedGauge) add(kind string, name types.NamespacedName) (first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.informers[kind][name]++
	g.gauge.WithLabelValues(kind).Set(float64(len(g.informers[kind])))
	return g.informers[kind][name] == 1
}

// remove reports whether no informer skips the object any more.
func (g *skippedGauge) remove(kind string, name types.NamespacedName) (last bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.informers[kind][name]--; g.informers[kind][name] > 0 {
		return false
	}
	delete(g.informers[kind], name)
	g.gauge.WithLabelValues(kind).Set(float64(len(g.informers[kind])))
	return true
}
