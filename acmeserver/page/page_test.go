package page

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/acmeserver/issuers"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

func TestTheDefaultProfileIsMarked(t *testing.T) {
	for defaultProfile, want := range map[string]string{"": "short", "short": "short", "long": "long"} {
		spec := &v1alpha1.AcmeIssuerSpec{DefaultProfile: defaultProfile, Profiles: []v1alpha1.Profile{
			{Name: "short", Lifetime: metav1.Duration{Duration: time.Hour}},
			{Name: "long", Lifetime: metav1.Duration{Duration: 48 * time.Hour}},
		}}
		html, err := Render(&issuers.Issuer{Key: types.NamespacedName{Namespace: "ns", Name: "ca"}, Spec: spec, Status: &v1alpha1.AcmeIssuerStatus{}}, "https://ca.test/ns/ca", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range strings.Split(string(html), "<tr>")[1:] {
			isWanted := strings.Contains(row, "<code>"+want+"</code>")
			if strings.Contains(row, "(default)") != isWanted {
				t.Errorf("defaultProfile %q: %s", defaultProfile, row)
			}
		}
	}
}

func TestCRLsAreLinked(t *testing.T) {
	crls := []CRL{{Authority: "CN=<x>", Name: "0123456789", Number: "42", Entries: 7, NextUpdate: time.Date(2026, 12, 1, 8, 0, 0, 0, time.UTC)}}
	i := &issuers.Issuer{Key: types.NamespacedName{Namespace: "ns", Name: "ca"}, Spec: &v1alpha1.AcmeIssuerSpec{}, Status: &v1alpha1.AcmeIssuerStatus{}}
	html, err := Render(i, "https://ca.test", crls)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`<a href="https://ca.test/ns/ca/crl/0123456789.crl">CN=&lt;x&gt;</a>`, `<a href="https://ca.test/ns/ca/crl/all.pem">`, ">42<", ">7<", "1 December 2026, 08:00 UTC",
	} {
		if !strings.Contains(string(html), want) {
			t.Errorf("the page lacks %s", want)
		}
	}
}

func TestLifetimesAreReadable(t *testing.T) {
	for d, want := range map[time.Duration]string{
		24 * time.Hour: "1 day", 48 * time.Hour: "2 days", 90 * time.Minute: "90 minutes", time.Hour: "1 hour", 1500 * time.Millisecond: "1.5s",
	} {
		if got := readable(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}
