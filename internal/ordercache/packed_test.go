package ordercache

import (
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// finished returns a finished order with the usual fields.
func finished(name string) *v1alpha1.AcmeOrder {
	serial, _ := new(big.Int).SetString("5a74a34d198656cf3bb1358812eb7212a1", 16)
	from, to := metav1.Unix(1_800_000_000, 0), metav1.Unix(1_807_776_000, 0)
	return &v1alpha1.AcmeOrder{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "team-a", Name: name, UID: "0b4d5f0e-3c1c-4b3e-8a4e-8a4dbe0c9f6e", ResourceVersion: "4711", Generation: 2,
			CreationTimestamp: metav1.Unix(1_800_000_100, 0), Finalizers: []string{v1alpha1.RevocationFinalizer},
		},
		Spec: v1alpha1.AcmeOrderSpec{
			IssuerRef: v1alpha1.ObjectRef{Name: "default"}, AccountRef: v1alpha1.ObjectRef{Name: "account"}, Profile: "server",
			Identifiers:    []v1alpha1.Identifier{{Type: acme.DNS, Value: "a.test"}, {Type: acme.IP, Value: "192.0.2.1"}},
			Authorizations: []string{v1alpha1.OwnAuthorization(name, 0), "shared"}, Finalization: &v1alpha1.Finalization{Time: metav1.Unix(1_800_000_101, 0)},
		},
		Status: v1alpha1.AcmeOrderStatus{
			State: acme.StateValid, Serial: v1alpha1.SerialText(serial), CertificateID: acme.NewCertID([]byte("a key's identifier"), serial).String(),
			CRL: "default-crl-e6434c03f4-7", NotBefore: &from, NotAfter: &to,
		},
	}
}

func TestAFinishedOrderIsPacked(t *testing.T) {
	order := finished("o")
	p := pack(order)
	if p == nil {
		t.Fatal("it is not packed")
	}
	if diff := cmp.Diff(finished("o"), p.order()); diff != "" {
		t.Error(diff)
	}
	p.order().Spec.Identifiers[0].Value = "changed"
	if diff := cmp.Diff(finished("o"), p.order()); diff != "" {
		t.Errorf("a reader has changed it: %s", diff)
	}
}

// Nearly every order has authorizations of its own, so their names take no memory.
func TestOwnAuthorizationsAreElided(t *testing.T) {
	p := pack(finished("an-order"))
	if got := strings.Count(p.text, "an-order"); got != 1 {
		t.Errorf("the order's name occurs %d times in %q", got, p.text)
	}
}

func TestAnOrderWithGrantsIsPacked(t *testing.T) {
	for _, grants := range [][]string{{"team", ""}, {"", "team"}, {"", ""}} {
		order := finished("o")
		order.Spec.Grants = grants
		if p := pack(order); p == nil || !cmp.Equal(order, p.order()) {
			t.Errorf("%q: %+v", grants, p)
		}
	}
	order := finished("o")
	order.Spec.Grants = []string{"team"}
	if pack(order) != nil {
		t.Error("one grant for two identifiers is packed")
	}
}

func TestAnOrderWithoutFinalizersIsPacked(t *testing.T) {
	order := finished("o")
	order.Finalizers = nil
	if p := pack(order); p == nil || !cmp.Equal(order, p.order()) {
		t.Errorf("%+v", p)
	}
}

// An order that packed cannot restore exactly is held unpacked.
func TestAnOrderWithMoreIsLeft(t *testing.T) {
	at := metav1.Unix(1_800_000_200, 0)
	for what, change := range map[string]func(*v1alpha1.AcmeOrder){
		"pending":                          func(o *v1alpha1.AcmeOrder) { o.Status.State = acme.StatePending },
		"failed":                           func(o *v1alpha1.AcmeOrder) { o.Status.State = acme.StateInvalid },
		"revoked":                          func(o *v1alpha1.AcmeOrder) { o.Status.RevokedAt = &at },
		"asked to be revoked":              func(o *v1alpha1.AcmeOrder) { o.Spec.Revocation = &v1alpha1.Revocation{} },
		"being deleted":                    func(o *v1alpha1.AcmeOrder) { o.DeletionTimestamp = &at },
		"labelled":                         func(o *v1alpha1.AcmeOrder) { o.Labels = map[string]string{"a": "b"} },
		"traced":                           func(o *v1alpha1.AcmeOrder) { o.Annotations = map[string]string{"a": "b"} },
		"owned":                            func(o *v1alpha1.AcmeOrder) { o.OwnerReferences = []metav1.OwnerReference{{}} },
		"with its certificate":             func(o *v1alpha1.AcmeOrder) { o.Status.Certificate = "PEM" },
		"with a condition":                 func(o *v1alpha1.AcmeOrder) { o.Status.Conditions = []metav1.Condition{{}} },
		"with its type":                    func(o *v1alpha1.AcmeOrder) { o.Kind = "AcmeOrder" },
		"with the request":                 func(o *v1alpha1.AcmeOrder) { o.Spec.Finalization.Request.Payload = "p" },
		"without the request's time":       func(o *v1alpha1.AcmeOrder) { o.Spec.Finalization = nil },
		"for a time that was asked for":    func(o *v1alpha1.AcmeOrder) { o.Spec.NotAfter = &at },
		"without an end":                   func(o *v1alpha1.AcmeOrder) { o.Status.NotAfter = nil },
		"with two finalizers":              func(o *v1alpha1.AcmeOrder) { o.Finalizers = []string{"a", "b"} },
		"without names":                    func(o *v1alpha1.AcmeOrder) { o.Spec.Identifiers, o.Spec.Authorizations = nil, nil },
		"with an authorization too few":    func(o *v1alpha1.AcmeOrder) { o.Spec.Authorizations = o.Spec.Authorizations[:1] },
		"with a separator in a name":       func(o *v1alpha1.AcmeOrder) { o.Spec.Identifiers[0].Value = "a\x00b" },
		"with another certificate's ID":    func(o *v1alpha1.AcmeOrder) { o.Status.CertificateID = "YQ.YQ" },
		"with a serial number in capitals": func(o *v1alpha1.AcmeOrder) { o.Status.Serial = strings.ToUpper(o.Status.Serial) },
		"with a long serial number":        func(o *v1alpha1.AcmeOrder) { o.Status.Serial = strings.Repeat("5a", maxSerial+1) },
		"with a serial number of letters":  func(o *v1alpha1.AcmeOrder) { o.Status.Serial = "serial" },
		"with a UID of another kind":       func(o *v1alpha1.AcmeOrder) { o.UID = "uid" },
		"with a UID in capitals":           func(o *v1alpha1.AcmeOrder) { o.UID = types.UID(strings.ToUpper(string(o.UID))) },
		"with a version of another kind":   func(o *v1alpha1.AcmeOrder) { o.ResourceVersion = "v1" },
		"with a version with zeros":        func(o *v1alpha1.AcmeOrder) { o.ResourceVersion = "007" },
		"with parts of a second":           func(o *v1alpha1.AcmeOrder) { o.CreationTimestamp = metav1.Unix(1, 5) },
	} {
		order := finished("o")
		change(order)
		if pack(order) != nil {
			t.Errorf("an order %s is packed", what)
		}
	}
}

// Every order that is packed is restored exactly.
func TestNothingIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		order := finished("o")
		text := rapid.OneOf(rapid.StringMatching("[a-z0-9.-]{0,30}"), rapid.String())
		maybe := func(what string, field *string) {
			if rapid.IntRange(0, 3).Draw(t, what) == 0 {
				*field = text.Draw(t, what+"'s text")
			}
		}
		moment := func(what string, field *metav1.Time) {
			if rapid.IntRange(0, 3).Draw(t, what) == 0 {
				*field = metav1.Time{Time: time.Unix(rapid.Int64Range(-1e12, 1e12).Draw(t, what+"'s seconds"), rapid.SampledFrom([]int64{0, 0, 1}).Draw(t, "nanoseconds"))}
			}
		}
		maybe("name", &order.Name)
		maybe("namespace", &order.Namespace)
		maybe("issuer", &order.Spec.IssuerRef.Name)
		maybe("account", &order.Spec.AccountRef.Name)
		maybe("profile", &order.Spec.Profile)
		maybe("replaces", &order.Spec.Replaces)
		maybe("CRL", &order.Status.CRL)
		maybe("version", &order.ResourceVersion)
		maybe("certificate ID", &order.Status.CertificateID)
		maybe("finalizer", &order.Finalizers[0])
		maybe("kind", &order.Kind)
		moment("creation", &order.CreationTimestamp)
		moment("finalization", &order.Spec.Finalization.Time)
		moment("start", order.Status.NotBefore)
		moment("end", order.Status.NotAfter)
		order.Generation = rapid.Int64().Draw(t, "generation")
		names := rapid.IntRange(0, 5).Draw(t, "names")
		order.Spec.Identifiers, order.Spec.Authorizations = nil, nil
		for i := range names {
			id := v1alpha1.Identifier{Type: acme.IdentifierType(text.Draw(t, "type")), Value: text.Draw(t, "value")}
			order.Spec.Identifiers = append(order.Spec.Identifiers, id)
			order.Spec.Authorizations = append(order.Spec.Authorizations, rapid.SampledFrom([]string{order.Name, v1alpha1.OwnAuthorization(order.Name, i), fmt.Sprint(i), ""}).Draw(t, "authorization"))
		}
		serial := rapid.SliceOfN(rapid.Byte(), 0, maxSerial+1).Draw(t, "serial")
		if rapid.Bool().Draw(t, "another serial") {
			order.Status.Serial = hex.EncodeToString(serial)
			order.Status.CertificateID = acme.NewCertID([]byte("key"), new(big.Int).SetBytes(serial)).String()
		}
		before := order.DeepCopy()
		if p := pack(order); p != nil {
			if diff := cmp.Diff(before, p.order()); diff != "" {
				t.Error(diff)
			}
		}
		if diff := cmp.Diff(before, order); diff != "" {
			t.Errorf("packing changed it: %s", diff)
		}
	})
}
