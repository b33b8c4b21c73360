package authorization

import (
	"net"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/validation"
)

// recordFrom returns a validation record in the form that status stores.
func recordFrom(r validation.Record) *v1alpha1.ValidationRecord {
	at := metav1.NewTime(r.Time.Truncate(time.Second))
	return &v1alpha1.ValidationRecord{
		Time: &at, DurationMillis: r.DurationMillis, Resolver: r.Resolver, AuthoritativeServer: r.AuthoritativeServer,
		Addresses: r.Addresses, AddressUsed: r.AddressUsed,
		URLs: r.URLs, Records: r.Records, Perspectives: perspectivesFrom(r.Perspectives),
	}
}

// shorten leaves out of the record of a proof what follows from the rest of the authorization: the time, which is validatedAt less the
// duration; the URL of the challenge, if there was no redirect; the address, if it is the only one.
func shorten(record *v1alpha1.ValidationRecord) {
	record.Time = nil
	if len(record.URLs) == 1 {
		record.URLs = nil
	}
	if host, _, err := net.SplitHostPort(record.AddressUsed); err == nil && len(record.Addresses) == 1 && record.Addresses[0] == host {
		record.Addresses = nil
	}
}

func perspectivesFrom(records []validation.PerspectiveRecord) []v1alpha1.PerspectiveRecord {
	var out []v1alpha1.PerspectiveRecord
	for _, r := range records {
		out = append(out, v1alpha1.PerspectiveRecord{
			Name: r.Name, Valid: r.Valid, Problem: r.Problem, DurationMillis: r.DurationMillis,
			Resolver: r.Resolver, AuthoritativeServer: r.AuthoritativeServer, Addresses: r.Addresses, AddressUsed: r.AddressUsed,
		})
	}
	return out
}
