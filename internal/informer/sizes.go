package informer

import (
	"hash/maphash"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// CountBytes is told how the stored bytes of a kind change, by issuer.
type CountBytes func(kind string, by map[types.NamespacedName]int64)

// storedSizes are the sizes of an informer's objects, in the JSON of the API server, which is nearly that of etcd. They are noted
// where the objects are decoded: caches hold only parts of the objects.
type storedSizes struct {
	kind  string
	count CountBytes // nil to note nothing
	// observer is told of the objects; nil for none.
	observer Observer

	mu sync.Mutex
	// list is the number of the list that replaced the sizes last. A watch that follows an earlier one changes nothing any more.
	list int
	sizeTable
}

// sizeTable holds sizes by a hash of the name. The hash has a secret seed, so nobody can choose names that collide.
type sizeTable struct {
	seed     maphash.Seed
	sizes    map[uint64]storedSize
	byIssuer map[types.NamespacedName]*issuerBytes
}

type storedSize struct {
	of    *issuerBytes
	bytes int64
}

// issuerBytes are the bytes of the objects that name an issuer.
type issuerBytes struct {
	issuer  types.NamespacedName
	objects int
	bytes   int64
}

func newSizeTable() sizeTable {
	return sizeTable{maphash.MakeSeed(), map[uint64]storedSize{}, map[types.NamespacedName]*issuerBytes{}}
}

func newStoredSizes(kind string, count CountBytes) *storedSizes {
	return &storedSizes{kind: kind, count: count, sizeTable: newSizeTable()}
}

// put notes the size of an object; zero for a deleted one. It returns how the bytes change, by issuer.
func (t *sizeTable) put(object client.Object, bytes int) map[types.NamespacedName]int64 {
	changes := map[types.NamespacedName]int64{}
	key := maphash.Comparable(t.seed, client.ObjectKeyFromObject(object))
	if before, known := t.sizes[key]; known {
		delete(t.sizes, key)
		before.of.bytes -= before.bytes
		changes[before.of.issuer] -= before.bytes
		if before.of.objects--; before.of.objects == 0 {
			delete(t.byIssuer, before.of.issuer)
		}
	}
	if bytes == 0 {
		return changes
	}
	issuer := types.NamespacedName{Namespace: object.GetNamespace(), Name: issuerNameOf(object)}
	of := t.byIssuer[issuer]
	if of == nil {
		of = &issuerBytes{issuer: issuer}
		t.byIssuer[issuer] = of
	}
	of.objects++
	of.bytes += int64(bytes)
	t.sizes[key] = storedSize{of, int64(bytes)}
	changes[issuer] += int64(bytes)
	return changes
}

// issuerNameOf returns the issuer that an object names. An issuer counts for itself.
func issuerNameOf(object client.Object) string {
	switch object := object.(type) {
	case *v1alpha1.AcmeOrder:
		return object.Spec.IssuerRef.Name
	case *v1alpha1.AcmeAuthorization:
		return object.Spec.IssuerRef.Name
	case *v1alpha1.AcmeAccount:
		return object.Spec.IssuerRef.Name
	}
	return object.GetName()
}

// replaceAll notes the sizes of a new list.
func (s *storedSizes) replaceAll(list int, listed *sizeTable) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changes := map[types.NamespacedName]int64{}
	for issuer, of := range s.byIssuer {
		changes[issuer] -= of.bytes
	}
	for issuer, of := range listed.byIssuer {
		changes[issuer] += of.bytes
	}
	s.list = list
	s.sizeTable = *listed
	s.report(changes)
}

// set notes the size of an object, for a watch that follows the given list; zero for a deleted one.
func (s *storedSizes) set(list int, object client.Object, bytes int) {
	if s.count == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if list == s.list {
		s.report(s.put(object, bytes))
	}
}

func (s *storedSizes) report(changes map[types.NamespacedName]int64) {
	if s.count != nil {
		s.count(s.kind, changes)
	}
}
