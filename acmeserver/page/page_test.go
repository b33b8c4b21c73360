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
		html, err := Render(&issuers.Issuer{Key: types.NamespacedName{Namespace: "ns", Name: "ca"}, Spec: spec, Status: &v1alpha1.AcmeIssuerStatus{}}, "https://ca.test/ns/ca")
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

func TestLifetimesAreReadable(t *testing.T) {
	for d, want := range map[time.Duration]string{
		24 * time.Hour: "1 day", 48 * time.Hour: "2 days", 90 * time.Minute: "90 minutes", time.Hour: "1 hour", 1500 * time.Millisecond: "1.5s",
	} {
		if got := readable(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}
