package v1alpha1_test

import (
	"testing"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

func TestPendingAndFinished(t *testing.T) {
	for _, test := range []struct {
		state                                acme.State
		pending, accountFinished, orderFinal bool
	}{
		{"", true, false, false},
		{acme.StatePending, true, false, false},
		{acme.StateReady, false, false, false},
		{acme.StateProcessing, false, false, false},
		{acme.StateValid, false, false, true},
		{acme.StateInvalid, false, true, true},
		{acme.StateDeactivated, false, true, false},
		{acme.StateExpired, false, true, false},
		{acme.StateRevoked, false, true, false},
		{v1alpha1.StateClaim, false, false, false},
	} {
		account := &v1alpha1.AcmeAccount{Status: v1alpha1.AcmeAccountStatus{State: test.state}}
		authorization := &v1alpha1.AcmeAuthorization{Status: v1alpha1.AcmeAuthorizationStatus{State: test.state}}
		order := &v1alpha1.AcmeOrder{Status: v1alpha1.AcmeOrderStatus{State: test.state}}
		if account.Pending() != test.pending || authorization.Pending() != test.pending {
			t.Errorf("%q: pending is not %v", test.state, test.pending)
		}
		if account.Finished() != test.accountFinished || authorization.Finished() != test.accountFinished {
			t.Errorf("%q: account or authorization finished is not %v", test.state, test.accountFinished)
		}
		if order.Finished() != test.orderFinal {
			t.Errorf("%q: order finished is not %v", test.state, test.orderFinal)
		}
	}
}
