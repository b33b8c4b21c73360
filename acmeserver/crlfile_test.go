package acmeserver

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"net/http"
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
