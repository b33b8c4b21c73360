package ordercache

import (
	"testing"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

func TestDropHandled(t *testing.T) {
	request := v1alpha1.SignedRequest{Protected: "a", Payload: "b", Signature: "c"}
	for state, kept := range map[acme.State]bool{acme.StatePending: true, "": true, acme.StateValid: false, acme.StateInvalid: false} {
		authz := &v1alpha1.AcmeAuthorization{}
		authz.Status.State, authz.Spec.Response = state, &v1alpha1.ChallengeResponse{Type: acme.HTTP01, Request: request}
		DropHandled(authz)
		if got := authz.Spec.Response; got.Type != acme.HTTP01 || (got.Request == request) != kept {
			t.Errorf("a response with the outcome %q: %+v", state, got)
		}
	}
	for name, test := range map[string]struct {
		status v1alpha1.AcmeAccountStatus
		kept   bool
	}{
		"pending":                      {v1alpha1.AcmeAccountStatus{State: acme.StatePending}, true},
		"valid":                        {v1alpha1.AcmeAccountStatus{State: acme.StateValid, JWK: "{}"}, false},
		"with an external account key": {v1alpha1.AcmeAccountStatus{State: acme.StateValid, JWK: "{}", ExternalAccountKeyID: "team-a"}, true},
	} {
		account := &v1alpha1.AcmeAccount{Status: test.status}
		account.Spec.Registration = &request
		DropHandled(account)
		if (account.Spec.Registration != nil) != test.kept {
			t.Errorf("%s: %v", name, account.Spec.Registration)
		}
	}
	DropHandled(&v1alpha1.AcmeAuthorization{}) // without a response
	DropHandled("another object")
}
