package issuers

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// party is a name with a key, to certify and to be certified.
type party struct {
	name string
	key  *ecdsa.PrivateKey
}

func newParty(t *testing.T, name string) party {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return party{name, key}
}

func (p party) template() *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: p.name}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
		BasicConstraintsValid: true, IsCA: true,
	}
}

func (p party) signedBy(t *testing.T, issuer party) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, p.template(), issuer.template(), p.key.Public(), issuer.key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func encoded(certificates ...*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, c := range certificates {
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	return out.Bytes()
}

func TestChains(t *testing.T) {
	first, second, third, ca, end := newParty(t, "root"), newParty(t, "root 2"), newParty(t, "root 3"), newParty(t, "ca"), newParty(t, "end")
	namesake := newParty(t, "root 2")
	roots := []*x509.Certificate{first.signedBy(t, first), second.signedBy(t, second), third.signedBy(t, third)}
	leaf := end.signedBy(t, ca)
	underFirst, underSecond, underThird := ca.signedBy(t, first), ca.signedBy(t, second), ca.signedBy(t, third)
	secondByFirst, thirdBySecond := second.signedBy(t, first), third.signedBy(t, second)
	tests := map[string]struct {
		chain []*x509.Certificate
		roots []*x509.Certificate
		want  []int // lengths
	}{
		"one root":                       {[]*x509.Certificate{leaf, underFirst}, roots[:1], []int{2}},
		"a cross-certificate":            {[]*x509.Certificate{leaf, underSecond, secondByFirst}, roots[:2], []int{3, 2}},
		"two cross-certificates":         {[]*x509.Certificate{leaf, underThird, thirdBySecond, secondByFirst}, roots, []int{4, 3, 2}},
		"of a root that isn't published": {[]*x509.Certificate{leaf, underSecond, secondByFirst}, roots[:1], []int{3}},
		"of a namesake of a root":        {[]*x509.Certificate{leaf, underSecond, namesake.signedBy(t, first)}, roots, []int{3}},
		"a root that issues":             {[]*x509.Certificate{leaf, roots[0]}, roots, []int{2}},
		"an intermediate above another":  {[]*x509.Certificate{leaf, ca.signedBy(t, newParty(t, "above")), underFirst}, roots, []int{3}},
		"no roots":                       {[]*x509.Certificate{leaf, underSecond, secondByFirst}, nil, []int{3}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			found := Chains(encoded(test.chain...), test.roots)
			if len(found) != len(test.want) {
				t.Fatalf("%d chains, want %d", len(found), len(test.want))
			}
			for i, length := range test.want {
				if !bytes.Equal(found[i], encoded(test.chain[:length]...)) {
					t.Errorf("chain %d isn't the first %d certificates", i, length)
				}
			}
		})
	}
	if found := Chains([]byte("no PEM"), roots); len(found) != 1 || string(found[0]) != "no PEM" {
		t.Errorf("text that is not a chain: %q", found)
	}
}

// reader is an API server with one issuer.
type reader struct {
	client.Reader
	status v1alpha1.AcmeIssuerStatus
	reads  int
}

func (r *reader) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	r.reads++
	into.(*v1alpha1.AcmeIssuer).Status = r.status
	return nil
}

func TestWholeChain(t *testing.T) {
	root, ca, end := newParty(t, "root"), newParty(t, "ca"), newParty(t, "end")
	authority, leaf := ca.signedBy(t, root), end.signedBy(t, ca)
	chain := v1alpha1.NewChain(string(encoded(authority, root.signedBy(t, root))))
	has, lacks := v1alpha1.AcmeIssuerStatus{Chains: []v1alpha1.Chain{{ID: "other"}, chain}}, v1alpha1.AcmeIssuerStatus{}
	pem := string(encoded(leaf))
	for name, c := range map[string]struct {
		certificate  store.Certificate
		cached, live v1alpha1.AcmeIssuerStatus
		want         string
		reads        int
	}{
		"in the issuer":                     {store.Certificate{PEM: pem, Chain: chain.ID}, has, lacks, pem + chain.Certificates, 0},
		"in the issuer, not cached yet":     {store.Certificate{PEM: pem, Chain: chain.ID}, lacks, has, pem + chain.Certificates, 1},
		"lost":                              {store.Certificate{PEM: pem, Chain: chain.ID}, lacks, lacks, string(encoded(leaf, authority)), 1},
		"in an order of an earlier version": {store.Certificate{PEM: pem + "the chain"}, has, has, pem + "the chain", 0},
	} {
		live := &reader{status: c.live}
		i := &Issuer{Status: &c.cached, Authorities: []*x509.Certificate{root.signedBy(t, root), authority}}
		got, err := New(nil, live, nil, nil).WholeChain(t.Context(), i, c.certificate)
		if err != nil || string(got) != c.want || live.reads != c.reads {
			t.Errorf("%s: %v after %d reads, %s", name, err, live.reads, got)
		}
	}
}
