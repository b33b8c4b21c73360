package history

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"path"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/controlplane"
)

// Observe records all writes in a namespace until stop is called. It follows etcd: a restarted kube-apiserver no longer has the
// versions from before its start.
func (h *History) Observe(ctx context.Context, plane *controlplane.Plane, namespace string) (stop func(), err error) {
	from, err := plane.Revision(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for prefix, store := range map[string]func(controlplane.Write) error{
		v1alpha1.GroupVersion.Group + "/acmeorders/":         h.storeOrder,
		v1alpha1.GroupVersion.Group + "/acmeauthorizations/": h.storeAuthorization,
		"configmaps/": h.storeCRL,
	} {
		all.Go(func() {
			err := plane.Follow(ctx, prefix+namespace+"/", from, func(write controlplane.Write) {
				if err := store(write); err != nil {
					h.Gap(write.Path + ": " + err.Error())
				}
			})
			if err != nil {
				h.Gap(err.Error())
			}
		})
	}
	return func() { cancel(); all.Wait() }, nil
}

func (h *History) storeOrder(write controlplane.Write) error {
	return storeVersion(h, &h.Orders, write)
}

func (h *History) storeAuthorization(write controlplane.Write) error {
	return storeVersion(h, &h.Authorizations, write)
}

// storeVersion records a custom resource, which is stored as JSON.
func storeVersion[T any](h *History, versions *[]Version[*T], write controlplane.Write) error {
	object := new(T)
	if err := json.Unmarshal(write.Value, object); err != nil {
		return err
	}
	h.add(func() { *versions = append(*versions, Version[*T]{write.Revision, write.Deleted, object}) })
	return nil
}

// storeCRL records the CRL in a ConfigMap. Other ConfigMaps are ignored.
func (h *History) storeCRL(write controlplane.Write) error {
	shard := strings.TrimPrefix(write.Path, "configmaps/")
	if write.Deleted || !strings.Contains(path.Base(shard), v1alpha1.CRLConfigMap("", "")) {
		return nil
	}
	var stored corev1.ConfigMap
	if err := runtime.DecodeInto(scheme.Codecs.UniversalDeserializer(), write.Value, &stored); err != nil {
		return err
	}
	crl, err := x509.ParseRevocationList(stored.BinaryData[v1alpha1.CRLField])
	if err != nil {
		return err
	}
	h.add(func() { h.CRLs = append(h.CRLs, crlFrom(write.Revision, shard, crl)) })
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
