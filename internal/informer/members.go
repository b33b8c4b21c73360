package informer

import (
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/ordercache"
)

// members are the orders of a cache that does not hold finished orders (ordercache.Holds), as its reflector was told of them. The cache
// follows the reflector shortly after.
//
// An order that the cache is not to hold any more is leaving. The reflector is first told of the order's last state, so that event handlers
// hear of it, and then that the order is evicted.
type members struct {
	mu sync.Mutex
	// list is the number of the list that replaced the members last. A watch that follows an earlier one changes nothing any more.
	list int
	// names may have an order that the reflector was not told of, if a watch ended before the event.
	names   map[types.NamespacedName]struct{}
	leaving []types.NamespacedName
	// later holds the versions of listed orders that are newer than the list, until the watch reaches them. It repeats the earlier events
	// about these orders.
	later map[types.NamespacedName]string
}

func newMembers() *members { return &members{names: map[types.NamespacedName]struct{}{}} }

func (m *members) all() []types.NamespacedName {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Keys(m.names))
}

// replaceAll notes the orders of a new list.
func (m *members) replaceAll(list int, l *listing) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = list
	m.names, m.later, m.leaving = map[types.NamespacedName]struct{}{}, map[types.NamespacedName]string{}, nil
	for _, item := range l.items {
		order := item.(*v1alpha1.AcmeOrder)
		m.insert(order)
		if isOlder(l.version, order.ResourceVersion) {
			m.later[client.ObjectKeyFromObject(order)] = order.ResourceVersion
		}
	}
}

// insert adds an order. m.mu is held.
func (m *members) insert(order *v1alpha1.AcmeOrder) {
	name := client.ObjectKeyFromObject(order)
	m.names[name] = struct{}{}
	if !ordercache.Holds(order) {
		m.leaving = append(m.leaving, name)
	}
}

// add notes an order of an event, for a watch that follows the given list.
func (m *members) add(list int, order *v1alpha1.AcmeOrder) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if list == m.list {
		m.insert(order)
	}
}

// repeats reports whether an event has an order in a state that is older than the listed one.
func (m *members) repeats(order client.Object) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	name := client.ObjectKeyFromObject(order)
	if listed, ok := m.later[name]; ok && isOlder(order.GetResourceVersion(), listed) {
		return true
	}
	delete(m.later, name)
	return false
}

// isAhead reports whether a listed order is newer than the list.
func (m *members) isAhead(order client.Object) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	listed, ok := m.later[client.ObjectKeyFromObject(order)]
	return ok && listed == order.GetResourceVersion()
}

// next returns an order that is leaving.
func (m *members) next(list int) (name types.NamespacedName, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if list != m.list || len(m.leaving) == 0 {
		return name, false
	}
	return m.leaving[0], true
}

// remove notes that the reflector was told that an order is evicted or deleted, for a watch that follows the given list.
func (m *members) remove(list int, name types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if list != m.list {
		return
	}
	delete(m.names, name)
	m.leaving = slices.DeleteFunc(m.leaving, func(other types.NamespacedName) bool { return other == name })
}
