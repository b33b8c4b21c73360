package account

import (
	"encoding/base64"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/verify"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/jws/stored"
	"github.com/acmeca/acmeca/internal/policy"
)

// registration is an accepted registration.
type registration struct {
	status v1alpha1.AcmeAccountStatus
	// use is the Secret of an external account key that must be used up for the account, or nil.
	use *corev1.Secret
}

// register verifies a newAccount request (RFC 8555 section 7.3), and returns the account's status as the client signed it.
func register(account *v1alpha1.AcmeAccount, f facts) (registration, *acme.Problem) {
	message, problem := verifyRegistration(account, f)
	if problem != nil {
		return registration{}, problem
	}
	admitted, problem := policy.AdmitRegistration(message, &f.issuer.Spec.Account)
	if problem != nil {
		return registration{}, problem
	}
	r := registration{status: account.Status}
	r.status.State, r.status.Problem, r.status.Contact = acme.StateValid, nil, admitted.Contact
	r.status.JWK, r.status.Thumbprint = string(admitted.Key.JSON()), admitted.Key.Thumbprint()
	if admitted.TermsOfService != "" {
		r.status.TermsOfServiceAgreed = admitted.TermsOfService
	}
	if admitted.Binding == nil {
		return r, nil
	}
	bound, problem := bind(account.Name, admitted.Binding, f.binding, f.now)
	if problem != nil {
		return registration{}, problem
	}
	r.status.ExternalAccountKeyID, r.status.ExternalAccountPolicy, r.use = bound.keyID, bound.policy, bound.use
	return r, nil
}

// verifyRegistration verifies that the key after which the account is named signed its registration.
func verifyRegistration(account *v1alpha1.AcmeAccount, f facts) (*jws.Message, *acme.Problem) {
	if account.Spec.Registration == nil {
		return nil, acme.NewProblem(acme.Unauthorized, "the account has no signed registration")
	}
	message, problem := stored.Parse(account.Spec.Registration)
	if problem != nil {
		return nil, problem
	}
	key := message.Header.Key
	if key == nil {
		return nil, acme.NewProblem(acme.Malformed, "a newAccount request must be signed with a \"jwk\"")
	}
	if !isNamedAfter(account, f, key) {
		return nil, acme.NewProblem(acme.Unauthorized, "the account isn't that of the key which signed the registration")
	}
	if problem := verify.SignedFor(f.issuer, message, acme.NewAccountPath, acme.NewAccountAlias); problem != nil {
		return nil, problem
	}
	return message, message.Verify(key)
}

// minBindingKeyLength is in bytes.
const minBindingKeyLength = 32

// binding is an accepted external account binding.
type binding struct {
	keyID  string
	policy *v1alpha1.ExternalAccountPolicy
	// use is the Secret of a single-use key that no account has used yet, or nil.
	use *corev1.Secret
}

// bind verifies the MAC of an external account binding (RFC 8555 section 7.3.4) with the key in a Secret, which may be nil.
func bind(account string, eab *jws.EAB, secret *corev1.Secret, now time.Time) (binding, *acme.Problem) {
	// The same answer for an unknown id and for a wrong, expired or used key, so that clients cannot find out ids.
	refused := acme.NewProblem(acme.Unauthorized,
		"the external account binding is not accepted: its key id is unknown, or the key is wrong, expired or used")
	if secret == nil || secret.Type != v1alpha1.ExternalAccountKeyType || bindingExpired(secret, now) ||
		eab.Verify(bindingKey(secret)) != nil {
		return binding{}, refused
	}
	text := func(field string) string { return string(secret.Data[field]) }
	dns, ips := text(v1alpha1.ExternalAccountDNSField), text(v1alpha1.ExternalAccountIPsField)
	profiles := text(v1alpha1.ExternalAccountProfilesField)
	limits, err := policy.ParseBinding(dns, ips, profiles)
	if err != nil {
		return binding{}, acme.NewProblem(acme.ServerInternal, "the external account key %q has a policy that can't be read: %v", eab.KeyID, err)
	}
	bound := binding{keyID: eab.KeyID, policy: limits}
	if text(v1alpha1.ExternalAccountReusableField) == "true" {
		return bound, nil
	}
	switch secret.Annotations[v1alpha1.BoundAccountAnnotation] {
	case account: // used up for this account, and then the status write failed
		return bound, nil
	case "":
		bound.use = secret
		return bound, nil
	}
	return binding{}, refused
}

// toBase64URL turns base64 into base64url.
var toBase64URL = strings.NewReplacer("+", "-", "/", "_")

// bindingKey returns the HMAC key in a Secret, decoded if it is base64url, as clients are configured with, or base64, each with or without
// padding. bindingKey returns nil for a key that is too short to be safe.
func bindingKey(secret *corev1.Secret) []byte {
	key := secret.Data[v1alpha1.ExternalAccountKeyField]
	text := strings.TrimRight(toBase64URL.Replace(strings.TrimSpace(string(key))), "=")
	decoded, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil && (len(decoded) >= minBindingKeyLength || text == string(key)) { // a long text may look like base64
		key = decoded
	}
	if len(key) < minBindingKeyLength {
		return nil
	}
	return key
}

// bindingExpired reports whether the key in a Secret has expired, or has a time of expiry that can't be read.
func bindingExpired(secret *corev1.Secret, now time.Time) bool {
	text, ok := secret.Data[v1alpha1.ExternalAccountExpiresField]
	if !ok {
		return false
	}
	expires, err := time.Parse(time.RFC3339, string(text))
	return err != nil || !now.Before(expires)
}
