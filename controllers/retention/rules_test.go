package retention

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

const day = 24 * time.Hour

// start is the time from which the tests count.
var start = time.Date(2031, 5, 17, 12, 0, 0, 0, time.UTC)

func after(d time.Duration) *metav1.Time { return &metav1.Time{Time: start.Add(d)} }

func lasting(d time.Duration) metav1.Duration { return metav1.Duration{Duration: d} }

func TestRemovalOfOrders(t *testing.T) {
	valid := func(lifetime time.Duration) v1alpha1.AcmeOrderStatus {
		return v1alpha1.AcmeOrderStatus{State: acme.StateValid, NotBefore: after(0), NotAfter: after(lifetime)}
	}
	failed := v1alpha1.AcmeOrderStatus{State: acme.StateInvalid, Conditions: []metav1.Condition{
		{Type: v1alpha1.ConditionReady, LastTransitionTime: *after(time.Hour)},
	}}
	limited := rules{limits: v1alpha1.RateLimits{NewOrders: &v1alpha1.RateLimit{Period: lasting(7 * day)}}}
	explicit := rules{kept: v1alpha1.Retention{Orders: lasting(time.Minute)}, limits: limited.limits}
	for name, c := range map[string]struct {
		rules  rules
		status v1alpha1.AcmeOrderStatus
		want   time.Duration // after start; 0 for never
	}{
		"a certificate of a day is kept for another day": {rules{}, valid(day), 2 * day},
		"one of 90 days for 30 days":                     {rules{}, valid(90 * day), 120 * day},
		"one of a day while a rate limit counts it":      {limited, valid(day), 8 * day},
		"one of an earlier version for 30 days":          {rules{}, v1alpha1.AcmeOrderStatus{State: acme.StateValid, NotAfter: after(day)}, 31 * day},
		"one as the issuer says":                         {explicit, valid(day), day + time.Minute},
		"a failed order for 30 days":                     {rules{}, failed, 30*day + time.Hour},
		"a failed order as the issuer says":              {explicit, failed, time.Hour + time.Minute},
		"a pending order for good":                       {rules{}, v1alpha1.AcmeOrderStatus{State: acme.StatePending, Expires: after(0)}, 0},
		"a valid order without a certificate for good":   {rules{}, v1alpha1.AcmeOrderStatus{State: acme.StateValid}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			expectRemoval(t, c.want)(c.rules.order(&v1alpha1.AcmeOrder{Status: c.status}))
		})
	}
}

func TestRemovalOfAuthorizations(t *testing.T) {
	proved := v1alpha1.AcmeAuthorizationStatus{
		State: acme.StateValid, Expires: after(7 * day), Challenge: &v1alpha1.ChallengeStatus{State: acme.StateValid, ValidatedAt: after(time.Hour)},
	}
	expired := proved
	expired.State = acme.StateExpired
	failed := v1alpha1.AcmeAuthorizationStatus{State: acme.StateInvalid, Expires: after(time.Hour)}
	reused := rules{lifetimes: v1alpha1.Lifetimes{ReuseAuthorizations: true}}
	pending := rules{lifetimes: v1alpha1.Lifetimes{PendingAuthorization: lasting(7 * day)}}
	limited := rules{limits: v1alpha1.RateLimits{FailedValidations: &v1alpha1.RateLimit{Period: lasting(3 * day)}}}
	explicit := rules{kept: v1alpha1.Retention{Authorizations: lasting(time.Minute)}}
	const own, other = "1lgpmk1tpcnuassd5h630u465bg-0", "1lgpmk1tpcnuassd5h630u465bg"
	for name, c := range map[string]struct {
		rules  rules
		name   string
		status v1alpha1.AcmeAuthorizationStatus
		want   time.Duration // after start; 0 for never
	}{
		"an order's own is kept for a day after the proof":      {rules{}, own, proved, day + time.Hour},
		"one that expired with its order too":                   {rules{}, own, expired, day + time.Hour},
		"one as the issuer says":                                {explicit, own, proved, time.Hour + time.Minute},
		"one that other orders may use for a day after its end": {reused, own, proved, 8 * day},
		"a pre-authorization for a day after its end":           {rules{}, other, proved, 8 * day},
		"a failed one while a rate limit counts it":             {limited, other, failed, 3*day + time.Hour},
		"a failed one of an order until its order's offer ends": {pending, own, failed, 8 * day},
		"one without a known proof for a day after its end":     {rules{}, own, v1alpha1.AcmeAuthorizationStatus{State: acme.StateValid, Expires: after(day)}, 2 * day},
		"one that does not expire for good":                     {rules{}, own, v1alpha1.AcmeAuthorizationStatus{State: acme.StatePending}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			authz := &v1alpha1.AcmeAuthorization{Status: c.status}
			authz.Name, authz.CreationTimestamp = c.name, *after(0)
			expectRemoval(t, c.want)(c.rules.authorization(authz))
		})
	}
	authz := &v1alpha1.AcmeAuthorization{Spec: v1alpha1.AcmeAuthorizationSpec{PreAuthorization: true}, Status: proved}
	authz.Name = own
	expectRemoval(t, 8*day)(rules{}.authorization(authz))
}

func expectRemoval(t *testing.T, want time.Duration) func(time.Time, bool) {
	t.Helper()
	return func(removal time.Time, ok bool) {
		t.Helper()
		if ok != (want != 0) || ok && !removal.Equal(start.Add(want)) {
			t.Errorf("removal after %v, %v; want %v", removal.Sub(start), ok, want)
		}
	}
}
