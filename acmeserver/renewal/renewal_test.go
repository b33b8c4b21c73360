package renewal

import (
	"crypto/x509"
	"math/big"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/acmeca/acmeca/acmeserver/issuers"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

var issued = time.Date(2030, 3, 1, 12, 0, 0, 0, time.UTC)

// orderFor is an order with a certificate that was made at issued, backdated by an hour.
func orderFor(life time.Duration) *v1alpha1.AcmeOrder {
	from := metav1.NewTime(issued.Add(-time.Hour))
	to := metav1.NewTime(from.Add(life))
	order := &v1alpha1.AcmeOrder{}
	order.Spec.Finalization = &v1alpha1.Finalization{Time: metav1.NewTime(issued)}
	order.Status.NotBefore, order.Status.NotAfter = &from, &to
	return order
}

func TestRenewal(t *testing.T) {
	const life = 90 * 24 * time.Hour
	ours, root := []byte("key"), []byte("the root's key")
	authority := func(key, above []byte, from time.Time) *x509.Certificate {
		return &x509.Certificate{Raw: slices.Concat(key, above), SubjectKeyId: key, AuthorityKeyId: above, NotBefore: from}
	}
	another := []byte("another key")
	own := authority(ours, root, issued)
	day := 24 * time.Hour
	at := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: issued.Add(d)} }
	tests := []struct {
		name      string
		revokedAt *metav1.Time
		before    *metav1.Time
		// authorities are the CAs that sign, the one that issues first.
		authorities []*x509.Certificate
		revoked     []*x509.Certificate
		early       bool
		start       time.Time // where early
	}{
		{name: "nothing special", authorities: []*x509.Certificate{own}},
		{name: "revoked", revokedAt: at(time.Hour), authorities: []*x509.Certificate{own}, early: true, start: issued},
		{name: "revoked at once, but no earlier than it began", revokedAt: at(-time.Minute), authorities: []*x509.Certificate{own}, early: true, start: issued.Add(time.Second - time.Hour)},
		{name: "revoked when it was to be renewed anyway", revokedAt: at(80 * 24 * time.Hour), authorities: []*x509.Certificate{own}},
		{name: "issued before a mistake was corrected", before: at(time.Minute), authorities: []*x509.Certificate{own}, early: true, start: issued.Add(time.Minute)},
		{name: "issued after a mistake was corrected, though backdated to before", before: at(0), authorities: []*x509.Certificate{own}},
		{name: "signed by an intermediate whose successor is below the same root",
			authorities: []*x509.Certificate{authority(another, root, issued.Add(day)), own}},
		{name: "signed by an intermediate whose successor is below another root",
			authorities: []*x509.Certificate{authority(another, another, issued.Add(day)), own}, early: true, start: issued.Add(day)},
		{name: "signed by an intermediate that was dropped, since it was compromised",
			authorities: []*x509.Certificate{authority(another, root, issued.Add(day))}, early: true, start: issued.Add(day)},
		{name: "signed by an intermediate that the root revoked",
			authorities: []*x509.Certificate{authority(another, root, issued.Add(day)), own}, revoked: []*x509.Certificate{own}, early: true, start: issued.Add(day)},
		{name: "signed by a root, which names none above itself",
			authorities: []*x509.Certificate{authority(ours, nil, issued)}},
		{name: "signed by a root that another one followed",
			authorities: []*x509.Certificate{authority(another, another, issued.Add(day)), authority(ours, ours, issued)}, early: true, start: issued.Add(day)},
		{name: "signed with a key of an issuer that isn't ready yet"},
		{name: "the earliest of several counts", revokedAt: at(48 * time.Hour), before: at(24 * time.Hour), authorities: []*x509.Certificate{authority(another, root, issued.Add(3*day))}, early: true, start: issued.Add(24 * time.Hour)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			order := orderFor(life)
			order.Status.RevokedAt = tt.revokedAt
			i := &issuers.Issuer{Spec: &v1alpha1.AcmeIssuerSpec{RenewalInfo: v1alpha1.RenewalInfo{RenewIssuedBefore: tt.before}}, Authorities: tt.authorities, Revoked: tt.revoked}
			got, early := Suggest(i, order, acme.NewCertID(ours, big.NewInt(1)))
			if early != tt.early {
				t.Fatalf("early: %v, want %v", early, tt.early)
			}
			if early && !got.Start.Equal(tt.start) {
				t.Errorf("starts at %s, want %s", got.Start, tt.start)
			}
			if !early && (got.Start.Before(issued.Add(life*2/3-2*time.Hour)) || got.End.After(issued.Add(life*3/4))) {
				t.Errorf("the usual window is %s to %s", got.Start, got.End)
			}
		})
	}
}

// Whatever the certificate, its window has a length (RFC 9773 section 4.2), is within its life, and is the same each time.
func TestUsualWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		life := time.Duration(rapid.Int64Range(int64(time.Minute), int64(10*365*24*time.Hour)).Draw(t, "life"))
		id := acme.NewCertID([]byte("key"), big.NewInt(rapid.Int64Range(1, 1<<62).Draw(t, "serial")))
		order := orderFor(life)
		got := usual(order, id)
		if !got.End.After(got.Start) || got.Start.Before(order.Status.NotBefore.Add(life/2)) || got.End.After(order.Status.NotAfter.Time) {
			t.Fatalf("%s of a life from %s to %s", got, order.Status.NotBefore, order.Status.NotAfter)
		}
		if again := usual(order, id); again != got {
			t.Fatalf("%s, and then %s", got, again)
		}
		if d := Interval(order); d < time.Minute || d > 6*time.Hour || life > time.Hour && d > life/checksInLife {
			t.Fatalf("asked for every %s of %s", d, life)
		}
	})
}

// certbot and lego refuse a window that does not end after its start (RFC 9773 section 4.2).
func TestEveryWindowEndsAfterItsStart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := func(label string) *metav1.Time {
			if !rapid.Bool().Draw(t, label) {
				return nil
			}
			return &metav1.Time{Time: issued.Add(time.Duration(rapid.Int64Range(int64(-1000*time.Hour), int64(1000*time.Hour)).Draw(t, label)))}
		}
		order := orderFor(time.Duration(rapid.Int64Range(int64(time.Minute), int64(1000*time.Hour)).Draw(t, "life")))
		order.Status.RevokedAt = at("revoked")
		i := &issuers.Issuer{Spec: &v1alpha1.AcmeIssuerSpec{RenewalInfo: v1alpha1.RenewalInfo{RenewIssuedBefore: at("before")}}}
		if since := at("superseded"); since != nil {
			i.Authorities = []*x509.Certificate{{SubjectKeyId: []byte("another"), NotBefore: since.Time}}
		}
		if got, _ := Suggest(i, order, acme.NewCertID([]byte("key"), big.NewInt(1))); !got.End.After(got.Start) {
			t.Fatalf("%s to %s", got.Start, got.End)
		}
	})
}

func TestUsualWindowsAreSpread(t *testing.T) {
	const life = 90 * 24 * time.Hour
	starts := map[int64]bool{}
	for serial := range int64(1000) {
		starts[usual(orderFor(life), acme.NewCertID([]byte("key"), big.NewInt(serial+1))).Start.Unix()/3600] = true
	}
	if len(starts) < 80 { // of the 90 hours in a twenty-fourth of the life
		t.Errorf("1000 windows start in only %d different hours", len(starts))
	}
}
