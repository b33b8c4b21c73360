package acmeserver

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

func pemOf(certificates ...*x509.Certificate) string {
	var text []byte
	for _, certificate := range certificates {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})...)
	}
	return string(text)
}

func TestTheFileOfAllCRLsHasTheCRLOfEachCA(t *testing.T) {
	s := newServed(t)
	root, issuing, retired := caCertificate(t), caCertificate(t), caCertificate(t)
	issuer := &v1alpha1.AcmeIssuer{}
	issuer.Namespace, issuer.Name, issuer.ResourceVersion = "ns", "ca", "2"
	issuer.Status.CABundle = pemOf(root)
	issuer.Status.IssuingCertificate = &v1alpha1.IssuingCertificate{Chain: pemOf(issuing, root)}
	issuer.Status.RetiredCertificates = pemOf(retired)
	s.cluster.Deliver(issuer)

	at := time.Now()
	s.now = func() time.Time { return at }
	var want []byte
	publish := func(authority *x509.Certificate, crl string) {
		configMap := &corev1.ConfigMap{BinaryData: map[string][]byte{v1alpha1.CRLField: []byte(crl)}}
		configMap.Namespace, configMap.Name = "ns", v1alpha1.CRLConfigMap("ca", v1alpha1.CAName(authority))
		if err := s.cluster.Live.Create(t.Context(), configMap); err != nil {
			t.Fatal(err)
		}
		want = append(want, v1alpha1.EncodeCRL([]byte(crl))...)
	}
	expect := func(step string, code int) {
		t.Helper()
		at = at.Add(time.Minute) // no CRL is cached so long
		w := s.get(t, "crl/all.pem")
		if w.Code != code {
			t.Errorf("%s: %d, want %d: %s", step, w.Code, code, w.Body)
		}
		if code == http.StatusOK && !bytes.Equal(w.Body.Bytes(), want) {
			t.Errorf("%s: got\n%s\nwant\n%s", step, w.Body, want)
		}
	}
	expect("no CRL", http.StatusServiceUnavailable)
	publish(issuing, "of the issuing CA")
	expect("no CRL of the retired CA", http.StatusServiceUnavailable)
	publish(retired, "of the retired CA")
	expect("no CRL of the root, which may be elsewhere", http.StatusOK)
	publish(root, "of the root")
	expect("all", http.StatusOK)
}

// stopped is the connection of a client that has taken a first piece and waits.
type stopped struct {
	header  http.Header
	started chan struct{}
	more    chan struct{}
	once    sync.Once
	size    int
}

func (s *stopped) Header() http.Header { return s.header }
func (s *stopped) WriteHeader(int)     {}
func (s *stopped) Write(data []byte) (int, error) {
	s.once.Do(func() { close(s.started); <-s.more })
	s.size += len(data)
	return len(data), nil
}

// All clients that get a large CRL, or the file of all CRLs, get it from one copy in memory.
func TestClientsShareALargeCRL(t *testing.T) {
	s := newServed(t)
	issuing := caCertificate(t)
	issuer := &v1alpha1.AcmeIssuer{}
	issuer.Namespace, issuer.Name, issuer.ResourceVersion = "ns", "ca", "2"
	issuer.Status.CABundle, issuer.Status.IssuingCertificate = pemOf(issuing), &v1alpha1.IssuingCertificate{Chain: pemOf(issuing)}
	s.cluster.Deliver(issuer)
	const size, clients = 8 << 20, 10
	configMap := &corev1.ConfigMap{BinaryData: map[string][]byte{v1alpha1.CRLField: make([]byte, size)}}
	configMap.Namespace, configMap.Name = "ns", v1alpha1.CRLConfigMap("ca", v1alpha1.CAName(issuing))
	if err := s.cluster.Live.Create(t.Context(), configMap); err != nil {
		t.Fatal(err)
	}
	heap := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	more, before := make(chan struct{}), heap()
	var connections []*stopped
	var done sync.WaitGroup
	for i := range clients {
		path := []string{"all.pem", v1alpha1.CAName(issuing) + ".crl"}[i%2]
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/ns/ca/crl/"+path, http.NoBody)
		w := &stopped{header: http.Header{}, started: make(chan struct{}), more: more}
		connections = append(connections, w)
		done.Go(func() { s.Plain().ServeHTTP(w, r) })
		<-w.started
	}
	if used := heap() - before; used > 2*size {
		t.Errorf("%d clients take %d bytes for a CRL of %d", clients, used, size)
	}
	close(more)
	done.Wait()
	for _, w := range connections {
		if length := w.header.Get("Content-Length"); length != strconv.Itoa(w.size) || w.size < size {
			t.Errorf("got %d bytes, announced %s", w.size, length)
		}
	}
}
