package history

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Observe records all writes in a namespace until stop is called. A broken watch is resumed.
func (h *History) Observe(ctx context.Context, c client.WithWatch, namespace string) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	stop = func() { cancel(); all.Wait() }
	for _, list := range []client.ObjectList{&v1alpha1.AcmeOrderList{}, &v1alpha1.AcmeAuthorizationList{}, &corev1.ConfigMapList{}} {
		if err := c.List(ctx, list, client.InNamespace(namespace)); err != nil {
			stop()
			return nil, err
		}
		all.Go(func() { h.follow(ctx, c, list, namespace) })
	}
	return stop, nil
}

// rewatch is the pause before a broken watch is resumed.
const rewatch = 50 * time.Millisecond

func (h *History) follow(ctx context.Context, c client.WithWatch, list client.ObjectList, namespace string) {
	from := list.GetResourceVersion()
	for ctx.Err() == nil {
		events, err := c.Watch(ctx, list.DeepCopyObject().(client.ObjectList), client.InNamespace(namespace),
			&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: from}})
		goesOn := !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err)
		if err == nil {
			from, goesOn = h.drain(ctx, events, from)
			events.Stop()
		}
		if !goesOn {
			from = h.replay(ctx, c, list, namespace, from)
		}
		select {
		case <-ctx.Done():
		case <-time.After(rewatch):
		}
	}
}

// replay records the writes that a watch missed. A restarted API server has no events from before its start, but
// still lists the objects at each revision. replay returns the revision for the next watch, or the old one if a list
// fails, so that the watch fails again.
func (h *History) replay(ctx context.Context, c client.WithWatch, kind client.ObjectList, namespace, after string) (from string) {
	now, err := listAt(ctx, c, kind, namespace, "")
	if err != nil {
		return after
	}
	first, err1 := strconv.ParseUint(after, 10, 64)
	last, err2 := strconv.ParseUint(now.GetResourceVersion(), 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		h.Gap(err.Error())
		return now.GetResourceVersion()
	}
	before := map[string]client.Object{}
	for revision := first; revision <= last; revision++ {
		text := strconv.FormatUint(revision, 10)
		then, err := listAt(ctx, c, kind, namespace, text)
		if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			h.Gap("stored versions are compacted: " + err.Error())
			return now.GetResourceVersion()
		}
		if err != nil {
			return after
		}
		before = h.difference(before, then, text, revision > first)
		after = text
	}
	return now.GetResourceVersion()
}

// listAt lists the objects at a revision, or the current ones for "".
func listAt(ctx context.Context, c client.Client, kind client.ObjectList, namespace, revision string) (client.ObjectList, error) {
	list := kind.DeepCopyObject().(client.ObjectList)
	raw := &metav1.ListOptions{}
	if revision != "" {
		raw.ResourceVersion, raw.ResourceVersionMatch = revision, metav1.ResourceVersionMatchExact
	}
	return list, c.List(ctx, list, client.InNamespace(namespace), &client.ListOptions{Raw: raw})
}

// difference records the changes of a revision, and returns the objects at that revision by name.
func (h *History) difference(
	before map[string]client.Object, then client.ObjectList, revision string, record bool,
) map[string]client.Object {
	now := map[string]client.Object{}
	err := meta.EachListItem(then, func(item runtime.Object) error {
		object := item.(client.Object)
		now[object.GetName()] = object
		if !record || object.GetResourceVersion() != revision {
			return nil
		}
		return h.store(object, false)
	})
	for name, object := range before {
		if now[name] == nil {
			object = object.DeepCopyObject().(client.Object)
			object.SetResourceVersion(revision) // as in a watch event
			err = errors.Join(err, h.store(object, true))
		}
	}
	if err != nil {
		h.Gap(err.Error())
	}
	return now
}

// drain records the events of a watch, and returns the last revision and whether a watch can resume there.
func (h *History) drain(ctx context.Context, events watch.Interface, from string) (to string, goesOn bool) {
	for {
		select {
		case <-ctx.Done():
			return from, true
		case event, ok := <-events.ResultChan():
			if !ok {
				return from, true
			}
			if event.Type == watch.Error {
				err := apierrors.FromObject(event.Object)
				return from, !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err)
			}
			if object, ok := event.Object.(client.Object); ok {
				from = object.GetResourceVersion()
				if err := h.store(object, event.Type == watch.Deleted); err != nil {
					h.Gap(err.Error())
				}
			}
		}
	}
}

// store records an object.
func (h *History) store(object client.Object, deleted bool) error {
	revision, err := strconv.ParseUint(object.GetResourceVersion(), 10, 64)
	if err != nil {
		return err
	}
	switch object := object.(type) {
	case *v1alpha1.AcmeOrder:
		h.add(func() { h.Orders = append(h.Orders, Version[*v1alpha1.AcmeOrder]{revision, deleted, object}) })
	case *v1alpha1.AcmeAuthorization:
		h.add(func() {
			h.Authorizations = append(h.Authorizations, Version[*v1alpha1.AcmeAuthorization]{revision, deleted, object})
		})
	case *corev1.ConfigMap:
		if deleted || !strings.Contains(object.Name, v1alpha1.CRLConfigMap("", "")) {
			return nil
		}
		crl, err := x509.ParseRevocationList(object.BinaryData[v1alpha1.CRLField])
		if err != nil {
			return fmt.Errorf("ConfigMap %s: %w", object.Name, err)
		}
		h.add(func() { h.CRLs = append(h.CRLs, crlFrom(revision, object.Namespace+"/"+object.Name, crl)) })
	default:
		return errors.New("an object of an unrecorded kind")
	}
	return nil
}

func crlFrom(revision uint64, shard string, list *x509.RevocationList) CRL {
	crl := CRL{
		Revision: revision, Shard: shard, Number: list.Number, ThisUpdate: list.ThisUpdate, NextUpdate: list.NextUpdate,
		Serials: map[string]bool{},
	}
	for _, entry := range list.RevokedCertificateEntries {
		crl.Serials[serialOf(entry.SerialNumber)] = true
	}
	return crl
}

func serialOf(number *big.Int) string { return hex.EncodeToString(number.Bytes()) }
