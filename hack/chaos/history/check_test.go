package history

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func certificate(t *testing.T, serial int64, name string) (der []byte, text string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{name}, NotBefore: start, NotAfter: start.Add(time.Hour)}
	der, err = x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// world is a history without a violation: two orders, and the certificate of the first one is revoked.
func world(t *testing.T) *History {
	t.Helper()
	h := &History{}
	for i, name := range []string{"a", "b"} {
		revision := uint64(100 * (i + 1))
		serial := int64(0x80 + i)
		at, expires, notAfter := metav1.NewTime(start), metav1.NewTime(start.Add(time.Hour)), metav1.NewTime(start.Add(time.Hour))
		id := v1alpha1.Identifier{Type: acme.DNS, Value: name + ".test"}
		authz := &v1alpha1.AcmeAuthorization{}
		authz.Name, authz.Spec.Identifier = "z"+name, id
		authz.Spec.IssuerRef.Name = "ca"
		pending := authz.DeepCopy()
		pending.Status.State = acme.StatePending
		authz.Status.State, authz.Status.Expires = acme.StateValid, &expires
		h.Authorizations = append(h.Authorizations, Version[*v1alpha1.AcmeAuthorization]{revision, false, pending}, Version[*v1alpha1.AcmeAuthorization]{revision + 2, false, authz})

		order := &v1alpha1.AcmeOrder{Spec: v1alpha1.AcmeOrderSpec{
			Identifiers: []v1alpha1.Identifier{id}, Authorizations: []string{"z" + name}, Finalization: &v1alpha1.Finalization{Time: at},
		}}
		order.Name = name
		order.Spec.IssuerRef.Name = "ca"
		asked := order.DeepCopy()
		der, text := certificate(t, serial, id.Value)
		order.Status.State, order.Status.Certificate, order.Status.CRL = acme.StateValid, text, "0"
		order.Status.Serial, order.Status.NotAfter = serialOf(big.NewInt(serial)), &notAfter
		h.Orders = append(h.Orders, Version[*v1alpha1.AcmeOrder]{revision + 1, false, asked}, Version[*v1alpha1.AcmeOrder]{revision + 3, false, order})
		if name == "a" {
			revoked := order.DeepCopy()
			revoked.Status.RevokedAt = &at
			h.Orders = append(h.Orders, Version[*v1alpha1.AcmeOrder]{revision + 5, false, revoked})
			h.Answers = append(h.Answers, Answer{"c", Revocation, order.Status.Serial, "revoked"})
		}
		h.Issued = append(h.Issued, Issued{name, order.Status.Serial})
		for _, state := range []string{"pending", "ready", "valid"} {
			h.Answers = append(h.Answers, Answer{"c", Order, name, state})
		}
		h.Answers = append(h.Answers, Answer{"c", Certificate, name, string(der)},
			Answer{"c", Authorization, "z" + name, "pending"}, Answer{"c", Challenge, "z" + name + ".http-01", "processing"}, Answer{"c", Authorization, "z" + name, "valid"})
	}
	list := func(revision uint64, number int64, after time.Duration, serials ...string) {
		crl := CRL{Revision: revision, Shard: "/ca-crl-0", Number: big.NewInt(number), ThisUpdate: start.Add(after), Serials: map[string]bool{}}
		for _, serial := range serials {
			crl.Serials[serial] = true
		}
		h.CRLs = append(h.CRLs, crl)
	}
	list(50, 1, 0)
	list(110, 2, 0, "80")
	list(210, 3, time.Minute, "80")
	list(220, 4, 2*time.Hour, "80")
	list(230, 5, 3*time.Hour)
	return h
}

func TestAWorldInWhichAllWentWellHasNoViolations(t *testing.T) {
	if found := world(t).Check(); len(found) > 0 {
		t.Error(found)
	}
}

// The checker finds every broken promise.
func TestViolationsAreFound(t *testing.T) {
	last := func(h *History, name string) *v1alpha1.AcmeOrder {
		var found *v1alpha1.AcmeOrder
		for _, version := range h.Orders {
			if version.Object.Name == name {
				found = version.Object
			}
		}
		return found
	}
	again := func(h *History, name string, change func(*v1alpha1.AcmeOrder)) {
		order := last(h, name).DeepCopy()
		change(order)
		h.Orders = append(h.Orders, Version[*v1alpha1.AcmeOrder]{1000, false, order})
	}
	for what, c := range map[string]struct {
		change func(*testing.T, *History)
		fault  Fault
		words  string
	}{
		"an order that never ends": {func(_ *testing.T, h *History) {
			order := &v1alpha1.AcmeOrder{}
			order.Name = "c"
			h.Orders = append(h.Orders, Version[*v1alpha1.AcmeOrder]{300, false, order})
		}, Lost, "never ended"},
		"an order that is removed before its end": {func(_ *testing.T, h *History) {
			order := &v1alpha1.AcmeOrder{}
			order.Name = "c"
			h.Orders = append(h.Orders, Version[*v1alpha1.AcmeOrder]{300, true, order})
		}, Lost, "removed"},
		"an order that only a client knows": {func(_ *testing.T, h *History) {
			h.Answers = append(h.Answers, Answer{"c", Order, "x", "pending"})
		}, Lost, "is not stored"},
		"a final state that is undone": {func(_ *testing.T, h *History) {
			again(h, "b", func(o *v1alpha1.AcmeOrder) { o.Status.State = acme.StateInvalid })
		}, Broken, "was valid and is"},
		"a second certificate": {func(t *testing.T, h *History) {
			_, other := certificate(t, 0x99, "b.test")
			again(h, "b", func(o *v1alpha1.AcmeOrder) { o.Status.Certificate = other })
		}, Duplicated, "second certificate"},
		"a shared serial number": {func(t *testing.T, h *History) {
			_, same := certificate(t, 0x80, "b.test")
			order := last(h, "b")
			order.Status.Certificate, order.Status.Serial = same, "80"
			h.Issued = h.Issued[:1]
		}, Duplicated, "serial number"},
		"a certificate that two orders replaced": {func(_ *testing.T, h *History) {
			for _, name := range []string{"a", "b"} {
				again(h, name, func(o *v1alpha1.AcmeOrder) { o.Spec.Replaces = "x" })
			}
		}, Duplicated, "orders a and b replaced"},
		"a replaced certificate that was not issued": {func(_ *testing.T, h *History) {
			again(h, "b", func(o *v1alpha1.AcmeOrder) { o.Spec.Replaces = "x" })
		}, Broken, "which was not issued"},
		"a lost certificate": {func(_ *testing.T, h *History) {
			last(h, "b").Status.Certificate = ""
		}, Lost, "without a certificate"},
		"a name that was not ordered": {func(t *testing.T, h *History) {
			_, other := certificate(t, 0x81, "evil.test")
			last(h, "b").Status.Certificate = other
		}, Broken, "lacks"},
		"an authorization that was pending": {func(_ *testing.T, h *History) {
			h.Authorizations[3].Object.Status.State = acme.StatePending
		}, Broken, `is "pending"`},
		"an authorization that was valid only later": {func(_ *testing.T, h *History) {
			h.Authorizations[3].Revision = 900
		}, Broken, `is "pending"`},
		"a deactivated authorization": {func(_ *testing.T, h *History) {
			ended := h.Authorizations[3].Object.DeepCopy()
			ended.Status.State = acme.StateDeactivated
			h.Authorizations = append(h.Authorizations, Version[*v1alpha1.AcmeAuthorization]{202, false, ended})
		}, Broken, `is "deactivated"`},
		"an expired authorization": {func(_ *testing.T, h *History) {
			past := metav1.NewTime(start.Add(-time.Second))
			h.Authorizations[3].Object.Status.Expires = &past
		}, Broken, "had expired"},
		"an authorization for another name": {func(_ *testing.T, h *History) {
			h.Authorizations[3].Object.Spec.Identifier.Value = "other.test"
		}, Broken, "is for other.test"},
		"an authorization of another account": {func(_ *testing.T, h *History) {
			h.Authorizations[3].Object.Spec.AccountRef.Name = "other"
		}, Broken, "another account"},
		"an authorization that doesn't exist": {func(_ *testing.T, h *History) {
			last(h, "b").Spec.Authorizations = []string{"none"}
		}, Broken, "doesn't exist"},
		"an issuance in two audit lines": {func(_ *testing.T, h *History) {
			h.Issued = append(h.Issued, h.Issued[0])
		}, Duplicated, "twice"},
		"an issuance that is not stored": {func(_ *testing.T, h *History) {
			h.Issued = append(h.Issued, Issued{"c", "77"})
		}, Broken, "is not stored"},
		"a revocation that is undone": {func(_ *testing.T, h *History) {
			again(h, "a", func(o *v1alpha1.AcmeOrder) { o.Status.RevokedAt = nil })
		}, Lost, "is lost"},
		"a revocation that was only answered": {func(_ *testing.T, h *History) {
			h.Answers = append(h.Answers, Answer{"c", Revocation, "81", "revoked"})
		}, Lost, "but it is not"},
		"a revocation that the complete CRL lacks": {func(_ *testing.T, h *History) {
			for i := range h.Orders {
				if order := h.Orders[i].Object; order.Status.CRL == "0" {
					order.Status.CRL = "0-3"
				}
			}
			for i := range h.CRLs {
				h.CRLs[i].Shard = "/ca-crl-0-3"
			}
		}, Lost, "no CRL of /ca-crl-0 has"},
		"a revocation in no CRL": {func(_ *testing.T, h *History) {
			for i := range h.CRLs {
				delete(h.CRLs[i].Serials, "80")
			}
		}, Lost, "no CRL"},
		"a revocation that a later CRL lacks": {func(_ *testing.T, h *History) {
			delete(h.CRLs[2].Serials, "80")
		}, Lost, "lacks 80"},
		"a revocation that is dropped at the certificate's expiry, before a CRL has listed it past the expiry": {func(_ *testing.T, h *History) {
			delete(h.CRLs[3].Serials, "80")
		}, Lost, "lacks 80"},
		"a revocation that a later one overtakes": {func(_ *testing.T, h *History) {
			at := metav1.NewTime(start)
			again(h, "b", func(o *v1alpha1.AcmeOrder) { o.Status.RevokedAt = &at })
			h.Orders[len(h.Orders)-1].Revision = 206
			delete(h.CRLs[1].Serials, "80")
			delete(h.CRLs[2].Serials, "80")
			h.CRLs[2].Serials["81"], h.CRLs[3].Serials["81"] = true, true
		}, Lost, "lacks 80"},
		"an unrevoked certificate in a CRL": {func(_ *testing.T, h *History) {
			h.CRLs[1].Revision = 104
		}, Broken, "before it was revoked"},
		"a falling CRL number": {func(_ *testing.T, h *History) {
			h.CRLs[3].Number = big.NewInt(2)
		}, Broken, "after 3"},
		"a CRL number used twice": {func(_ *testing.T, h *History) {
			h.CRLs[4].Number = big.NewInt(4)
		}, Duplicated, "twice"},
		"a state that goes back": {func(_ *testing.T, h *History) {
			h.Answers = append(h.Answers, Answer{"c", Order, "a", "processing"})
		}, Broken, "is processing after it was valid"},
		"another end": {func(_ *testing.T, h *History) {
			h.Answers = append(h.Answers, Answer{"c", Order, "a", "invalid"})
		}, Broken, "is invalid after it was valid"},
		"a final state that is not stored": {func(_ *testing.T, h *History) {
			h.Answers = append(h.Answers, Answer{"d", Order, "b", "invalid"})
		}, Lost, "is stored as"},
		"an authorization that goes back": {func(_ *testing.T, h *History) {
			h.Answers = append(h.Answers, Answer{"c", Authorization, "za", "pending"})
		}, Broken, "is pending after it was valid"},
		"a challenge that goes back": {func(_ *testing.T, h *History) {
			h.Answers = append(h.Answers, Answer{"c", Challenge, "za.http-01", "pending"})
		}, Broken, "is pending after it was processing"},
		"an unknown state": {func(_ *testing.T, h *History) {
			h.Answers = append(h.Answers, Answer{"c", Account, "k", "confused"})
		}, Broken, "confused"},
		"an account that is valid again": {func(_ *testing.T, h *History) {
			h.Answers = append(h.Answers, Answer{"c", Account, "k", "deactivated"}, Answer{"c", Account, "k", "valid"})
		}, Broken, "is valid after it was deactivated"},
		"a lost resource": {func(_ *testing.T, h *History) {
			h.Answers = append(h.Answers, Answer{"c", Order, "a", ""})
		}, Lost, "there is no order"},
		"a certificate of another order": {func(_ *testing.T, h *History) {
			h.Answers = append(h.Answers, Answer{"c", Certificate, "a", "other"})
		}, Lost, "is not the order's"},
		"a gap": {func(_ *testing.T, h *History) { h.Gap("it") }, Broken, "gap"},
	} {
		t.Run(what, func(t *testing.T) {
			h := world(t)
			c.change(t, h)
			for _, violation := range h.Check() {
				if violation.Fault == c.fault && strings.Contains(violation.What, c.words) {
					return
				}
			}
			t.Errorf("not found; found: %v", h.Check())
		})
	}
}

// A client that continues at another replica without the nonce of the last answer may see an older state.
func TestALossBreaksTheThreadWhereThereAreSeveralReplicas(t *testing.T) {
	for _, several := range []bool{false, true} {
		h := world(t)
		h.Several = several
		h.Answers = append(h.Answers, Answer{"d", Challenge, "za.http-01", "processing"}, Answer{Client: "c", Kind: Loss}, Answer{"d", Challenge, "za.http-01", "processing"},
			Answer{Client: "d", Kind: Loss}, Answer{"d", Challenge, "za.http-01", "pending"}, Answer{"d", Challenge, "za.http-01", "processing"})
		if found := h.Check(); (len(found) == 0) != several {
			t.Errorf("several %v: %v", several, found)
		}
		h.Answers = append(h.Answers, Answer{"d", Challenge, "za.http-01", "pending"})
		if len(h.Check()) == 0 {
			t.Error("an answer after the loss is undone")
		}
	}
}

func TestWhatRetentionRemovedIsNotLost(t *testing.T) {
	h := world(t)
	order := h.Orders[len(h.Orders)-1].Object
	h.Orders = append(h.Orders, Version[*v1alpha1.AcmeOrder]{1000, true, order})
	h.Answers = append(h.Answers, Answer{"c", Order, order.Name, ""})
	if found := h.Check(); len(found) > 0 {
		t.Error(found)
	}
}

func TestCRLsAreFreshUntilTheLastOneExpires(t *testing.T) {
	h := &History{CRLs: []CRL{
		{Revision: 2, Shard: "a", Number: big.NewInt(2), NextUpdate: start.Add(time.Hour)},
		{Revision: 1, Shard: "a", Number: big.NewInt(1), NextUpdate: start},
		{Revision: 3, Shard: "b", Number: big.NewInt(1), NextUpdate: start.Add(2 * time.Hour)},
	}}
	if found := h.CheckFresh(start); len(found) > 0 {
		t.Error(found)
	}
	found := h.CheckFresh(start.Add(time.Hour))
	if len(found) != 1 || !strings.HasPrefix(found[0].What, "CRL a number 2 expired") {
		t.Error(found)
	}
}

// The shard and the complete CRL are published one after the other.
func TestARevocationIsListedOnceAllItsCRLsHaveIt(t *testing.T) {
	h := world(t)
	for i := range h.Orders {
		if order := h.Orders[i].Object; order.Status.CRL == "0" {
			order.Status.CRL = "0-3"
		}
	}
	complete := h.CRLs
	h.CRLs = nil
	for _, crl := range complete {
		crl.Shard = "/ca-crl-0-3"
		h.CRLs = append(h.CRLs, crl)
	}
	if h.Listed() {
		t.Error("the complete CRL is missing")
	}
	h.CRLs = append(h.CRLs, complete...)
	if !h.Listed() {
		t.Error("both CRLs list the certificate")
	}
}

// The accounts of a run end with it. Their authorizations end one by one.
func TestAuthorizationsOutliveTheirAccountForAWhile(t *testing.T) {
	h := world(t)
	for _, version := range h.Authorizations {
		version.Object.Spec.AccountRef.Name = "account"
	}
	account := v1alpha1.AcmeAccount{}
	account.Name, account.Status.State = "account", acme.StateValid
	expect := func(when string, outliving bool) {
		t.Helper()
		if name := h.outliving([]v1alpha1.AcmeAccount{account}); (name != "") != outliving {
			t.Errorf("%s: %q", when, name)
		}
	}
	expect("valid", false)
	account.Status.State = acme.StateDeactivated
	expect("ended", true)
	for i := range h.Authorizations {
		authz := h.Authorizations[i].Object.DeepCopy()
		authz.Status.State = acme.StateDeactivated
		h.Authorizations = append(h.Authorizations, Version[*v1alpha1.AcmeAuthorization]{1000, false, authz})
	}
	expect("ended with its authorizations", false)
}
