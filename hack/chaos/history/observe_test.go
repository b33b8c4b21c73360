package history

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"math/big"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/controlplane"
)

func TestStoredObjectsAreRecorded(t *testing.T) {
	h := &History{}
	order := &v1alpha1.AcmeOrder{ObjectMeta: metav1.ObjectMeta{Name: "a"}}
	text, err := json.Marshal(order)
	if err != nil {
		t.Fatal(err)
	}
	for _, write := range []controlplane.Write{{Value: text, Revision: 4}, {Value: text, Revision: 5, Deleted: true}} {
		if err := h.storeOrder(write); err != nil {
			t.Fatal(err)
		}
	}
	if len(h.Orders) != 2 || h.Orders[0].Object.Name != "a" || h.Orders[0].Revision != 4 || h.Orders[0].Deleted || !h.Orders[1].Deleted {
		t.Errorf("recorded %+v", h.Orders)
	}
	if err := h.storeAuthorization(controlplane.Write{Value: []byte(`{"metadata":{"name":"b"}}`), Revision: 6}); err != nil {
		t.Fatal(err)
	}
	if len(h.Authorizations) != 1 || h.Authorizations[0].Object.Name != "b" {
		t.Errorf("recorded %+v", h.Authorizations)
	}
}

func TestStoredCRLsAreRecorded(t *testing.T) {
	h := &History{}
	crl := signedCRL(t, 7)
	name := v1alpha1.CRLConfigMap("default", "s1")
	write := controlplane.Write{
		Path: "configmaps/acmeca/" + name, Value: storedConfigMap(t, map[string][]byte{v1alpha1.CRLField: crl}), Revision: 8,
	}
	if err := h.storeCRL(write); err != nil {
		t.Fatal(err)
	}
	other := controlplane.Write{Path: "configmaps/acmeca/kube-root-ca.crt", Revision: 9, Value: storedConfigMap(t, nil)}
	if err := h.storeCRL(other); err != nil {
		t.Fatal(err)
	}
	if len(h.CRLs) != 1 || h.CRLs[0].Shard != "acmeca/"+name || h.CRLs[0].Number.Int64() != 7 || h.CRLs[0].Revision != 8 {
		t.Errorf("recorded %+v", h.CRLs)
	}
	write.Value = storedConfigMap(t, map[string][]byte{v1alpha1.CRLField: crl[:20]})
	if h.storeCRL(write) == nil {
		t.Error("a broken CRL is no error")
	}
}

// storedConfigMap returns a ConfigMap in the form in which kube-apiserver stores it.
func storedConfigMap(t *testing.T, data map[string][]byte) []byte {
	t.Helper()
	var stored bytes.Buffer
	serializer := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)
	object := &corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, BinaryData: data}
	if err := serializer.Encode(runtime.Object(object), &stored); err != nil {
		t.Fatal(err)
	}
	return stored.Bytes()
}

func signedCRL(t *testing.T, number int64) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issuer := &x509.Certificate{KeyUsage: x509.KeyUsageCRLSign, SubjectKeyId: []byte{1}}
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(number), NextUpdate: time.Now().Add(time.Hour),
	}, issuer, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
