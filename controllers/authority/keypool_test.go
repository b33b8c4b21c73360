package authority

import (
	"crypto"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/tools/events"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuers"
)

func key(namespace, name string) client.ObjectKey {
	return client.ObjectKey{Namespace: namespace, Name: name}
}

// Many keys of one namespace delay a key of another namespace by one turn.
func TestNamespacesTakeTurnsAtKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var ready []string
		p := &KeyPool{
			Ready: func(issuer client.ObjectKey) {
				mu.Lock()
				defer mu.Unlock()
				ready = append(ready, issuer.Namespace)
			},
			Generate: func(ca.KeyAlgorithm) (crypto.Signer, error) {
				time.Sleep(time.Second)
				return ca.GenerateKey(ca.ECDSAP256)
			},
		}
		for i := range 30 {
			if _, err := p.take(key("many", fmt.Sprint(i)), "root", ca.RSA4096); !errors.Is(err, errKeyPending) {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if _, err := p.take(key("one", "ca"), "root", ca.RSA4096); !errors.Is(err, errKeyPending) {
			t.Fatal(err)
		}
		time.Sleep(2500 * time.Millisecond)
		p.mu.Lock()
		if p.running != keyWorkers {
			t.Errorf("%d keys are generated at the same time, want %d", p.running, keyWorkers)
		}
		p.mu.Unlock()
		if signer, err := p.take(key("one", "ca"), "root", ca.RSA4096); err != nil || signer == nil {
			t.Errorf("after two turns: %v", err)
		}
		p.Forget(key("many", "29"))
		time.Sleep(time.Minute)
		p.mu.Lock()
		defer p.mu.Unlock()
		mu.Lock()
		defer mu.Unlock()
		if len(ready) != 30 || p.running != 0 || len(p.waiting) != 0 || len(p.turns) != 0 || len(p.keys) != 29 {
			t.Errorf("at the end: %d ready, %+v", len(ready), p)
		}
	})
}

// A key whose generation never ends delays no other issuer, and is no Event.
func TestStalledKeyDelaysNoOtherIssuer(t *testing.T) {
	stall := make(chan struct{})
	woken := make(chan client.ObjectKey, 2)
	c := fake.NewClientBuilder().Build()
	a := Authorities{Client: c, Events: events.NewFakeRecorder(10), Clock: testingclock.NewFakePassiveClock(time.Now()), Keys: &KeyPool{
		Ready: func(issuer client.ObjectKey) { woken <- issuer },
		Generate: func(algorithm ca.KeyAlgorithm) (crypto.Signer, error) {
			if algorithm == ca.RSA4096 {
				<-stall
			}
			return ca.GenerateKey(ca.RSA2048)
		},
	}}
	load := func(name string, algorithm ca.KeyAlgorithm) *issuers.Fault {
		object := &v1alpha1.AcmeIssuer{}
		object.Namespace, object.Name = "ns", name
		object.Spec.CA.SelfSigned = &v1alpha1.SelfSignedCA{KeyAlgorithm: v1alpha1.KeyAlgorithm(algorithm)}
		object.Spec.CA.SelfSigned.RootLifetime.Duration, object.Spec.CA.SelfSigned.IntermediateLifetime.Duration = 1000*time.Hour, 500*time.Hour
		return a.Load(t.Context(), object, &issuers.Issuer{PlainBase: "http://acme.test"})
	}
	if f := load("stalled", ca.RSA4096); f == nil || !f.Pending || f.Transient != nil {
		t.Fatalf("got %+v, want a pending key", f)
	}
	if f := load("elliptic", ca.ECDSAP256); f != nil {
		t.Fatalf("another issuer: %+v", f)
	}
	for range 2 { // the root's key, then the intermediate's
		if f := load("rsa", ca.RSA2048); f == nil || !f.Pending {
			t.Fatalf("got %+v, want a pending key", f)
		}
		if got := <-woken; got != key("ns", "rsa") {
			t.Fatalf("woken: %v", got)
		}
	}
	if f := load("rsa", ca.RSA2048); f != nil {
		t.Fatalf("with both keys: %+v", f)
	}
	close(stall)
	<-woken
	if f := load("stalled", ca.RSA4096); f == nil || !f.Pending {
		t.Errorf("got %+v, want the intermediate's key pending", f)
	}
}
