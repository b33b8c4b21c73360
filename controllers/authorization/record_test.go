package authorization

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/validation"
)

func TestAProofsRecordLacksOnlyDerivedFields(t *testing.T) {
	at := time.Date(2031, 5, 17, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		record validation.Record
		want   v1alpha1.ValidationRecord
	}{
		"the only address and URL": {
			validation.Record{Time: at, DurationMillis: 7, Addresses: []string{"2001:db8::1"}, AddressUsed: "[2001:db8::1]:80", URLs: []string{"http://a.test/x"}},
			v1alpha1.ValidationRecord{DurationMillis: 7, AddressUsed: "[2001:db8::1]:80"},
		},
		"several addresses, and a redirect": {
			validation.Record{Addresses: []string{"192.0.2.1", "192.0.2.2"}, AddressUsed: "192.0.2.2:80", URLs: []string{"http://a.test/x", "http://b.test/x"}},
			v1alpha1.ValidationRecord{Addresses: []string{"192.0.2.1", "192.0.2.2"}, AddressUsed: "192.0.2.2:80", URLs: []string{"http://a.test/x", "http://b.test/x"}},
		},
		"another address than the name's": {
			validation.Record{Addresses: []string{"192.0.2.1"}, AddressUsed: "192.0.2.9:80"},
			v1alpha1.ValidationRecord{Addresses: []string{"192.0.2.1"}, AddressUsed: "192.0.2.9:80"},
		},
		"DNS records": {
			validation.Record{Resolver: "192.0.2.53:53", Records: []string{"x"}}, v1alpha1.ValidationRecord{Resolver: "192.0.2.53:53", Records: []string{"x"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := recordFrom(c.record)
			shorten(got)
			if diff := cmp.Diff(c.want, *got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
