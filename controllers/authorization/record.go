package authorization

import (
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
