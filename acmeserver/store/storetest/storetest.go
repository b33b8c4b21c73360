// Package storetest provides a store whose cache and API server are in memory, for tests of the ACME server that need no
// control plane.
package storetest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Cluster is a store with its cache and API server.
type Cluster struct {
	*store.Store
	// Cache is behind the API server until Deliver is called.
	Cache *Cache
	// Live is the API server.
	Live *Live
	// Finished follows the finished orders.
	Finished *store.FinishedOrders
}

// New returns an empty cluster.
func New(tb testing.TB) *Cluster {
	tb.Helper()
	c := &Cluster{
		Cache: &Cache{objects: objects{}, informers: map[reflect.Type]*informer{}, indexes: map[string]client.IndexerFunc{}},
		Live:  &Live{objects: objects{}}, Finished: store.NewFinishedOrders(),
	}
	var err error
	if c.Store, err = store.New(tb.Context(), c.Cache, c.Live, c.Finished, nil); err != nil {
		tb.Fatal(err)
	}
	return c
}

// Deliver puts an object into the API server and into the cache, and tells the informer's handlers.
func (c *Cluster) Deliver(object client.Object) {
	c.Live.Put(object)
	before, known := c.Cache.put(object)
	handlers := c.Cache.handlersOf(object)
	for _, h := range handlers {
		if known {
			h.OnUpdate(before, object)
		} else {
			h.OnAdd(object, false)
		}
	}
}

// Remove removes an object from the cache, and tells the informer's handlers.
func (c *Cluster) Remove(object client.Object) {
	c.Cache.mu.Lock()
	delete(c.Cache.objects, idOf(object))
	c.Cache.mu.Unlock()
	c.Live.remove(object)
	for _, h := range c.Cache.handlersOf(object) {
		h.OnDelete(object)
	}
}

// Finish puts a finished order into the API server, and tells the informer's handlers and Finished. The cache does not hold it any more.
func (c *Cluster) Finish(order *v1alpha1.AcmeOrder) {
	c.Finished.Stored(order, 1, false)
	c.Deliver(order)
	c.Cache.mu.Lock()
	defer c.Cache.mu.Unlock()
	delete(c.Cache.objects, idOf(order))
}

type id struct {
	kind reflect.Type
	key  client.ObjectKey
}

func idOf(object client.Object) id {
	return id{reflect.TypeOf(object), client.ObjectKeyFromObject(object)}
}

type objects map[id]client.Object

func (o objects) get(key client.ObjectKey, into client.Object) error {
	found, ok := o[id{reflect.TypeOf(into), key}]
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
	}
	reflect.ValueOf(into).Elem().Set(reflect.ValueOf(found.DeepCopyObject()).Elem())
	return nil
}

// Cache is a cache that holds the objects that were delivered.
type Cache struct {
	cache.Cache
	// Lists counts calls of List.
	Lists atomic.Int64

	mu        sync.Mutex
	objects   objects
	informers map[reflect.Type]*informer
	indexes   map[string]client.IndexerFunc
}

func (c *Cache) put(object client.Object) (before client.Object, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, known = c.objects[idOf(object)]
	c.objects[idOf(object)] = object.DeepCopyObject().(client.Object)
	return before, known
}

func (c *Cache) handlersOf(object client.Object) []toolscache.ResourceEventHandler {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.informer(object).handlers
}

func (c *Cache) informer(object client.Object) *informer {
	kind := reflect.TypeOf(object)
	if c.informers[kind] == nil {
		c.informers[kind] = &informer{}
	}
	return c.informers[kind]
}

// Get implements client.Reader.
func (c *Cache) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.objects.get(key, into)
}

// List implements client.Reader for queries of one field.
func (c *Cache) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	c.Lists.Add(1)
	o := client.ListOptions{}
	o.ApplyOptions(options)
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []runtime.Object
	for _, object := range c.objects {
		if o.Namespace != "" && object.GetNamespace() != o.Namespace || reflect.TypeOf(list).String() != reflect.TypeOf(object).String()+"List" {
			continue
		}
		for _, field := range o.FieldSelector.Requirements() {
			if values := c.indexes[reflect.TypeOf(object).String()+field.Field](object); len(values) == 1 && values[0] == field.Value {
				found = append(found, object.DeepCopyObject())
			}
		}
	}
	return meta.SetList(list, found)
}

// GetInformer implements cache.Informers.
func (c *Cache) GetInformer(_ context.Context, object client.Object, _ ...cache.InformerGetOption) (cache.Informer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.informer(object), nil
}

// IndexField implements client.FieldIndexer.
func (c *Cache) IndexField(_ context.Context, object client.Object, field string, value client.IndexerFunc) error {
	c.indexes[reflect.TypeOf(object).String()+field] = value
	return nil
}

type informer struct {
	cache.Informer
	handlers []toolscache.ResourceEventHandler
}

// AddEventHandler implements cache.Informer.
func (i *informer) AddEventHandler(h toolscache.ResourceEventHandler) (toolscache.ResourceEventHandlerRegistration, error) {
	i.handlers = append(i.handlers, h)
	return nil, nil
}

// Live is an API server that creates and reads objects.
type Live struct {
	client.Client
	// Fail is called at the beginning of each request; its error is the answer. nil means that all requests succeed.
	Fail func() error
	// Lists counts calls of List.
	Lists atomic.Int64

	mu      sync.Mutex
	objects objects
	version int
}

// Get implements client.Reader.
func (l *Live) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	if l.Fail != nil {
		if err := l.Fail(); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.objects.get(key, into)
}

// Put stores an object as it is.
func (l *Live) Put(object client.Object) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.objects[idOf(object)] = object.DeepCopyObject().(client.Object)
}

func (l *Live) remove(object client.Object) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.objects, idOf(object))
}

// List implements client.Reader for orders and their metadata, with field selectors and in pages. A place in a list is the base64url of a
// name.
func (l *Live) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	l.Lists.Add(1)
	if l.Fail != nil {
		if err := l.Fail(); err != nil {
			return err
		}
	}
	o := client.ListOptions{}
	o.ApplyOptions(options)
	after, err := base64.RawURLEncoding.DecodeString(o.Continue)
	if err != nil {
		return apierrors.NewBadRequest("continue key is not valid")
	}
	found := l.orders(o, string(after))
	if o.Limit > 0 && int64(len(found)) > o.Limit {
		found = found[:o.Limit]
		list.SetContinue(base64.RawURLEncoding.EncodeToString([]byte(found[o.Limit-1].Name)))
	}
	items := make([]runtime.Object, len(found))
	for i, order := range found {
		items[i] = order.DeepCopy()
		if _, metadata := list.(*metav1.PartialObjectMetadataList); metadata {
			items[i] = &metav1.PartialObjectMetadata{ObjectMeta: *order.ObjectMeta.DeepCopy()}
		}
	}
	return meta.SetList(list, items)
}

// orders returns the selected orders whose name is after another one.
func (l *Live) orders(o client.ListOptions, after string) (found []*v1alpha1.AcmeOrder) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, object := range l.objects {
		order, ok := object.(*v1alpha1.AcmeOrder)
		selectable := fields.Set{}
		if ok {
			selectable = fields.Set{
				"spec.accountRef.name": order.Spec.AccountRef.Name, "spec.replaces": order.Spec.Replaces,
				"status.serial": order.Status.Serial, "status.state": string(order.Status.State),
			}
		}
		if ok && (o.Namespace == "" || order.Namespace == o.Namespace) && order.Name > after && o.FieldSelector.Matches(selectable) {
			found = append(found, order)
		}
	}
	slices.SortFunc(found, func(a, b *v1alpha1.AcmeOrder) int { return strings.Compare(a.Name, b.Name) })
	return found
}

// Create implements client.Writer.
func (l *Live) Create(_ context.Context, object client.Object, _ ...client.CreateOption) error {
	if l.Fail != nil {
		if err := l.Fail(); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, exists := l.objects[idOf(object)]; exists {
		return apierrors.NewAlreadyExists(schema.GroupResource{}, object.GetName())
	}
	l.version++
	object.SetResourceVersion(strconv.Itoa(l.version))
	object.SetUID(types.UID("created-" + strconv.Itoa(l.version)))
	l.objects[idOf(object)] = object.DeepCopyObject().(client.Object)
	return nil
}

// Patch implements client.Writer for merge patches.
func (l *Live) Patch(_ context.Context, object client.Object, patch client.Patch, _ ...client.PatchOption) error {
	if l.Fail != nil {
		if err := l.Fail(); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.objects.get(client.ObjectKeyFromObject(object), object); err != nil {
		return err
	}
	changes, err := patch.Data(object)
	if err != nil {
		return err
	}
	before, err := json.Marshal(object)
	if err != nil {
		return err
	}
	after, err := jsonpatch.MergePatch(before, changes)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(after, object); err != nil {
		return err
	}
	l.version++
	object.SetResourceVersion(strconv.Itoa(l.version))
	l.objects[idOf(object)] = object.DeepCopyObject().(client.Object)
	return nil
}
