package ordercache

import "github.com/acmeca/acmeca/api/v1alpha1"

// DropHandled drops the signed requests of an authorization or account that the controllers have handled, and that no cache holds:
//
//   - of an authorization with an outcome: the response;
//   - of an account that is not pending: the registration, unless the account has an external account key. The ACME server shows
//     that key's binding.
//
// It does nothing to objects of other kinds.
func DropHandled(object any) {
	switch object := object.(type) {
	case *v1alpha1.AcmeAuthorization:
		if response := object.Spec.Response; response != nil && !object.Pending() {
			object.Spec.Response = &v1alpha1.ChallengeResponse{Type: response.Type}
		}
	case *v1alpha1.AcmeAccount:
		if object.Status.JWK != "" && object.Status.ExternalAccountKeyID == "" {
			object.Spec.Registration = nil
		}
	}
}
